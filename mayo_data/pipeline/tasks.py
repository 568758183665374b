"""What the engine's processes execute: survey a file, map a split. How a shard is built is in `shards`.

A finished task writes a receipt, last and all at once; a task that finds its receipt has nothing to do. That is how
a killed run resumes.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from mayo_data import assets, schema
from mayo_data.config import GatesConfig
from mayo_data.conformance.validate import Validate
from mayo_data.engine.exchange import ExchangeWriter, Parcel, save
from mayo_data.events.normalize import Normalize
from mayo_data.keys import Secret
from mayo_data.phi import identifiers
from mayo_data.phi.structured import Scrub, try_out
from mayo_data.pipeline.crashes import MARK, survived, telling
from mayo_data.pipeline.place import private
from mayo_data.quality import gates
from mayo_data.sources import fhir
from mayo_data.sources.bundles import Deletion
from mayo_data.sources.watch import At
from mayo_data.stage import TALLY, alive, fate, fates
from mayo_data.store import write
from mayo_data.types import Json

_WITHDRAWN = fate("normalize", "entered_in_error")
_DELETION = fate("read", "deletion")
_CROSSED = pa.schema({"resource_key": pa.int64(), "subject_id": pa.int64(), "name": pa.string()})
_QUARANTINED_BODY = 1 << 20  # how much of a bad line is kept; file and line lead to the rest


@dataclass(frozen=True)
class SurveyTask:
    """Read one file for the first time."""

    file: fhir.SourceFile
    longest: int
    split_bytes: int
    records: Path  # PHI zone: what the file says of people
    place: Path | None = None

    def closely(self, crashed: frozenset[int], near: frozenset[int], place: Path) -> SurveyTask:
        """Return a task that leaves rows alone, and tells at which it is: see `crashes`."""
        return replace(self, file=without(self.file, crashed), place=place)


@dataclass(frozen=True)
class MapTask:
    """Read, validate, scrub and normalise one split."""

    split: fhir.Split
    validate: Validate | None
    scrub: Scrub
    normalize: Normalize
    rules: GatesConfig
    longest: int
    shards: int
    folder: Path
    quarantine: Path
    crosswalk: bool = False
    place: Path | None = None
    near: frozenset[int] = frozenset()

    def closely(self, crashed: frozenset[int], near: frozenset[int], place: Path) -> MapTask:
        """Return a task that leaves rows alone, and tells at which it is: see `crashes`."""
        split = replace(self.split, file=without(self.split.file, crashed))
        return replace(self, split=split, place=place, near=near)


class MapReceipt(msgspec.Struct, frozen=True):
    """What a finished map task leaves: where its events lie, and what became of every row."""

    name: str
    source_table: int
    parcels: list[Parcel]
    rows: dict[str, int]
    fates: dict[str, int]
    tallies: dict[str, int]
    checks: dict[str, int]
    deletions: int = 0


class Reading(Protocol):
    """A task that reads a split."""

    @property
    def split(self) -> fhir.Split:
        """What it reads."""
        ...

    @property
    def scrub(self) -> Scrub:
        """What is done with it."""
        ...

    @property
    def longest(self) -> int:
        """Longest line that is read, in bytes."""
        ...

    @property
    def place(self) -> Path | None:
        """Where it tells at which place it is."""
        ...

    @property
    def near(self) -> frozenset[int]:
        """First rows of batches that are read row by row."""
        ...


class _Called(msgspec.Struct):
    """What a resource is called."""

    resourceType: str  # noqa: N815 - FHIR's name
    id: str


_called = msgspec.json.Decoder(_Called)


def survey_file(task: SurveyTask) -> fhir.Survey:
    """Survey one file; what it says of people goes to a file in the PHI zone, so memory stays flat."""
    return survived(_survey, task, task.records.with_suffix(MARK))


def _survey(task: SurveyTask) -> fhir.Survey:
    with private(task.records) as out:

        def named(resource: Json) -> None:
            for record in identifiers.from_fhir(resource):
                out.write(msgspec.json.encode(record) + b"\n")

        names: set[tuple[str, str]] = set()
        found = fhir.survey(
            task.file, named, longest=task.longest, split_bytes=task.split_bytes,
            texts=lambda region: names.update(identifiers.displays(region)),
            at=telling(task.place) if task.place else None,
        )  # fmt: skip
        for record in identifiers.directory_of(names):
            out.write(msgspec.json.encode(record) + b"\n")
        return found


def map_split(task: MapTask) -> MapReceipt:
    """Take one split from lines to staged events, ordered by shard."""
    receipt = task.folder / f"{task.split.name}.json"
    if receipt.exists():
        return msgspec.json.decode(receipt.read_bytes(), type=MapReceipt)
    done = survived(_map, task, task.folder / f"{task.split.name}{MARK}")
    write.write_bytes(msgspec.json.encode(done), receipt)  # only now: an attempt may be made again
    return done


def _map(task: MapTask) -> MapReceipt:
    rows: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    tallies: Counter[str] = Counter()
    checks: Counter[str] = Counter()
    deletions: list[dict[str, int | None]] = []
    raw = _counted(source(task), "read", rows)
    checked = _counted(task.validate(raw), "validate", rows) if task.validate else raw
    arrived: Counter[tuple[int, str]] = Counter()
    names: dict[int, str] = {}
    crossed: list[dict[str, object]] = []
    checked = _naming(checked, names) if task.crosswalk else checked
    scrubbed = _arriving(_counted(task.scrub(checked), "scrub", rows), arrived)
    scrubbed = _crossing(scrubbed, names, crossed) if task.crosswalk else scrubbed
    staged = task.normalize(scrubbed)
    path = task.folder / f"{task.split.name}.arrow"
    quarantine = task.quarantine / f"{task.split.name}.ndjson"
    writer = ExchangeWriter(path, schema.table("staged"), "subject_id", task.shards)
    try:
        with private(quarantine) as rejected:
            for batch in staged:
                ended += fates(batch)
                live = alive(batch)
                if live.num_rows < batch.num_rows:
                    set_aside(batch, task.split.file.path.name, rejected, tallies)
                if live.num_rows:
                    rows["normalize"] += live.column("source_item").to_numpy().tolist().count(0)
                    rows["events"] += live.num_rows
                    checks += gates.events(live, task.rules)
                    writer.write(live)
                withdrawn = batch.filter(pc.equal(batch.column("fate"), _WITHDRAWN))
                if withdrawn.num_rows:  # ends the earlier versions of the resource, wherever they are
                    writer.write(withdrawn)
                ordered = batch.filter(pc.equal(batch.column("fate"), _DELETION))
                deletions += [_deletion(body, task.scrub.secret) for body in ordered.column("body").to_pylist()]
        parcels = writer.close()
    except BaseException:
        writer.abandon()
        raise
    if quarantine.stat().st_size == 0:
        quarantine.unlink()
    if deletions:
        left = pa.Table.from_pylist(deletions, schema=schema.table("deletions"))
        save(left, deletions_of(task.folder, task.split.name))
    save(_arrivals(task.split.file.source_table, arrived), arrivals_of(task.folder, task.split.name))
    if task.crosswalk:
        save(pa.Table.from_pylist(crossed, schema=_CROSSED), crosswalk_of(task.folder, task.split.name))
    return MapReceipt(
        task.split.name, task.split.file.source_table, parcels, dict(rows), dict(ended), dict(tallies), dict(checks),
        len(deletions),
    )  # fmt: skip


def without(file: fhir.SourceFile, crashed: frozenset[int]) -> fhir.SourceFile:
    """Return a file of which further places are left alone."""
    return replace(file, crashed=file.crashed | crashed)


def source(task: Reading) -> Iterator[pa.RecordBatch]:
    """Read the split of a task; closely where it has a file to tell its place.

    Args:
        task: The task.
    """
    return fhir.read(task.split, longest=task.longest, at=told(task.scrub, task.place), near=task.near)


def told(scrub: Scrub, place: Path | None) -> At | None:
    """Return what a task tells its places to, once the models have shown that they can be loaded; None: to nobody.

    Args:
        scrub: Whose models they are.
        place: The file for it, where the task is done closely.
    """
    if place is None:
        return None
    try_out(scrub)
    return telling(place)


def deletions_of(folder: Path, name: str) -> Path:
    """Return the file in which a map task leaves what the source has deleted."""
    return folder / f"{name}-deleted.arrow"


def arrivals_of(folder: Path, name: str) -> Path:
    """Return the file in which a map task leaves what arrived of whom: table `arrivals`."""
    return folder / f"{name}-arrived.arrow"


def crosswalk_of(folder: Path, name: str) -> Path:
    """Return the file in which a map task leaves which keyed id stands for which resource of the source. PHI zone."""
    return folder / f"{name}-crosswalk.arrow"


def _naming(batches: Iterator[pa.RecordBatch], names: dict[int, str]) -> Iterator[pa.RecordBatch]:
    """Note, before the scrub, what each row is called in the source: `Type/id`."""
    for batch in batches:
        columns = (batch.column(name).to_pylist() for name in ("source_row", "body", "fate"))
        for row, body, ended in zip(*columns, strict=True):
            if ended is not None:
                continue
            try:
                said = _called.decode(body or b"")
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue  # the scrub says why it is bad
            names[row] = f"{said.resourceType}/{said.id}"
        yield batch


def _crossing(
    batches: Iterator[pa.RecordBatch], names: dict[int, str], crossed: list[dict[str, object]]
) -> Iterator[pa.RecordBatch]:
    """Note, after the scrub, which keyed id stands for it, and whose it is."""
    for batch in batches:
        columns = ("source_row", "resource_key", "subject_id")
        for row, key, subject in zip(*(alive(batch).column(one).to_pylist() for one in columns), strict=True):
            if key is not None and row in names:
                crossed.append({"resource_key": key, "subject_id": subject, "name": names.pop(row)})
        yield batch


def _arriving(batches: Iterator[pa.RecordBatch], arrived: Counter[tuple[int, str]]) -> Iterator[pa.RecordBatch]:
    """Count, after the scrub, the resources of each subject by type: also those that will give no event."""
    for batch in batches:
        whose = alive(batch).select(["subject_id", "resource_type"])
        for row in (
            pa.Table.from_batches([whose]).group_by(whose.schema.names).aggregate([([], "count_all")]).to_pylist()
        ):
            if row["subject_id"] is not None:
                arrived[row["subject_id"], row["resource_type"]] += row["count_all"]
        yield batch


def _arrivals(source_table: int, arrived: Counter[tuple[int, str]]) -> pa.Table:
    rows = [
        {"source_table": source_table, "subject_id": subject, "resource_type": kind, "resources": count}
        for (subject, kind), count in sorted(arrived.items())
    ]
    return pa.Table.from_pylist(rows, schema=schema.table("arrivals"))


def _deletion(body: bytes, secret: Secret) -> dict[str, int | None]:
    """An order to delete, under the keys that the events carry."""
    order = msgspec.json.decode(body, type=Deletion)
    subject = secret.subject_id(order.reference) if order.reference.startswith("Patient/") else None
    key = secret.integer("resource", order.reference)
    return {"resource_key": key, "subject_id": subject, "version": order.version}


def _counted(batches: Iterator[pa.RecordBatch], name: str, rows: Counter[str]) -> Iterator[pa.RecordBatch]:
    """Count, between two stages, the rows that are alive (and for read, all of them)."""
    for batch in batches:
        if name == "read":
            rows["read_in"] += batch.num_rows
        rows[name] += int(batch.column("fate").null_count)
        yield batch


def set_aside(batch: pa.RecordBatch, file: str, rejected: BinaryIO, tallies: Counter[str]) -> None:
    """Add up the tallies of a batch, and write its bad rows to the quarantine: file, line, reason, body."""
    names = ("source_row", "fate", "fate_path", "body")
    columns = {name: batch.column(name).to_pylist() for name in names}
    file = os.fsencode(file).decode("utf-8", "backslashreplace")  # a file name can be any bytes
    for row, ending in enumerate(columns["fate"]):
        if ending is None:
            continue
        body = columns["body"][row]
        if ending == TALLY:
            tallies.update(orjson.loads(body))
        elif is_quarantined(ending):
            arrow, reason = ending.split("/", 1)
            kept = (body or b"")[:_QUARANTINED_BODY].decode("utf-8", "backslashreplace")
            rejected.write(
                orjson.dumps(
                    {
                        "file": file, "line": columns["source_row"][row], "arrow": arrow, "reason": reason,
                        "path": columns["fate_path"][row], "body": kept,
                    },
                    option=orjson.OPT_APPEND_NEWLINE,
                )
            )  # fmt: skip


def is_quarantined(ending: str) -> bool:
    """Return whether rows of a fate are kept in the quarantine."""
    arrow, reason = ending.split("/", 1)
    return bool(assets.toml("schemas", "reasons.toml")[arrow][reason]["quarantine"])


def summed(counters: Iterable[dict[str, int]]) -> Counter[str]:
    """Add up counts by name.

    >>> summed([{"a": 1}, {"a": 2}])
    Counter({'a': 3})
    """
    total: Counter[str] = Counter()
    for counts in counters:
        total.update(counts)
    return total


def rows_of(maps: Iterable[MapReceipt]) -> Counter[int]:
    """Return source file to the number of its rows."""
    rows: Counter[int] = Counter()
    for receipt in maps:
        rows[receipt.source_table] += receipt.rows.get("read_in", 0)
    return rows
