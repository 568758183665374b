"""The stage between scrub and build: de-identified FHIR resources in, events out.

Nothing is lost without a word: a resource gives at least one event, or one row whose fate says why not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mayo_data import assets, keys, schema, stage
from mayo_data.events import answers, mapping, subject, walk
from mayo_data.events.elements import Json, Shape, whole
from mayo_data.events.rows import FACT, PLACE, Rows

VERSION = "1"
_SLICE = 1024  # resources decoded at a time
_EVENTS = 16_384  # an outgoing batch is closed at the first resource that reaches this many
_OF_SOURCE = ("source_table", "source_row", "resource_type", "resource_key", "version", "subject_id")
_OF_DEAD = ("body", "fate_path")

_TYPED = Shape(["resourceType"])

Writer = Callable[[Json, int, Rows], str | None]


@dataclass(frozen=True)
class Normalize:
    """Turns batches of `scrubbed` into batches of `staged`.

    Args:
        mapping: Folder under `schemas/` whose `events.toml` says what becomes an event.
        scrub_ref: Under which policy, key and detector the batches were scrubbed; written on every event.

    Raises:
        ConfigError: On the first call, where the mapping is not sound. Never because of data.

    >>> stage_ = Normalize()
    >>> stage_.name, stage_.reads, stage_.writes
    ('normalize', 'scrubbed', 'staged')
    """

    mapping: str = "fhir"
    scrub_ref: int = 0

    name = "normalize"
    reads = "scrubbed"
    writes = "staged"

    @property
    def fingerprint(self) -> str:
        """Digest of name, version, schemas, mapping, code systems and parameters."""
        files = [("tables", "scrubbed.toml"), ("tables", "staged.toml"), ("tables", "events.toml")]
        files += [(self.mapping, "events.toml"), ("fhir", "code_systems.toml")]
        texts = [assets.path("schemas", *parts).read_text(encoding="utf-8") for parts in files]
        return keys.fingerprint(self.name, VERSION, self.mapping, str(self.scrub_ref), *texts)

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Turn batches of `scrubbed` into batches of `staged`; dead rows and tallies are passed on."""
        writers = _writers(self.mapping)
        for batch in batches:
            for start in range(0, len(batch), _SLICE):
                yield from self._turn(batch.slice(start, _SLICE), writers)

    def _turn(self, batch: pa.RecordBatch, writers: dict[str, Writer]) -> Iterator[pa.RecordBatch]:
        rows = Rows()
        types = batch.column("resource_type").to_pylist()
        bodies = batch.column("body").to_pylist()
        for origin, fate in enumerate(batch.column("fate").to_pylist()):
            if fate is not None:
                rows.end(origin, fate)
                continue
            reason = _events(types[origin], bodies[origin], origin, rows, writers)
            if reason is not None:
                rows.end(origin, stage.fate(self.name, reason))
            if len(rows) >= _EVENTS:
                yield self._batch(batch, rows)
                rows = Rows()
        if rows:
            yield self._batch(batch, rows)

    def _batch(self, batch: pa.RecordBatch, rows: Rows) -> pa.RecordBatch:
        table = schema.table(self.writes)
        facts = zip(FACT, zip(*rows.facts, strict=True), strict=True)
        places = zip(PLACE, zip(*rows.places, strict=True), strict=True)
        made = {name: _array(column, table.field(name).type) for name, column in facts}
        place = pa.array(np.repeat(np.arange(len(rows.places)), rows.counts))
        columns = dict(places)
        origin = np.repeat(np.array(columns.pop("origin"), dtype=np.int64), rows.counts)
        made |= {name: _array(column, table.field(name).type).take(place) for name, column in columns.items()}
        first = np.flatnonzero(np.r_[True, origin[1:] != origin[:-1]])
        item = np.arange(len(origin)) - np.repeat(first, np.diff(np.r_[first, len(origin)]))
        ended = np.asarray(pc.is_valid(made["fate"]))
        passed_on = np.asarray(pc.is_valid(batch.column("fate")))[origin]

        taken = pa.array(origin)
        made |= {name: batch.column(name).take(taken) for name in _OF_SOURCE}
        of_dead = pa.array(origin, mask=~passed_on)
        made |= {name: batch.column(name).take(of_dead) for name in _OF_DEAD}
        made["decisions"] = batch.column("decisions").take(pa.array(origin, mask=(item != 0) | ended))
        made["source_item"] = pa.array(item.astype(np.int32), mask=ended)
        made["scrub_ref"] = pa.array(np.full(len(origin), self.scrub_ref, np.int32), mask=ended)
        return pa.RecordBatch.from_arrays([made[field.name] for field in table], schema=table)


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """An Arrow array; all nulls, which many columns are for most batches, cost nothing."""
    some = any(value is not None for value in values)
    return pa.array(values, kind) if some else pa.nulls(len(values), kind)


def _events(kind: str | None, body: bytes | None, origin: int, rows: Rows, writers: dict[str, Writer]) -> str | None:
    if kind is None:
        element = _TYPED.one(body or b"")
        if element is None:
            return "no_facts"
        kind = whole(element.resourceType or b"")
    writer = writers.get(kind) if type(kind) is str else None
    if writer is None:
        return "type_not_mapped"
    return writer(body or b"", origin, rows)


@cache
def _writers(name: str) -> dict[str, Writer]:
    found: dict[str, Writer] = {kind: partial(walk.resource, node) for kind, node in mapping.nodes(name).items()}
    return {**found, "Patient": subject.resource, "QuestionnaireResponse": answers.resource}
