"""Merging a delta into a shard: the shard's own rows become staged rows again, and `build` decides anew.

Only subjects of whom the delta speaks are built again. The others are taken over as they lie, column by column.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mayo_data import schema
from mayo_data.timeline.build import Shard, build, codes
from mayo_data.timeline.same import same

Ints = npt.NDArray[np.int64]
_LINEAGE = ("source_table", "source_row")


class Held(NamedTuple):
    """A shard as a snapshot holds it.

    Attributes:
        events: Table `events`, sorted by subject.
        resources: Table `resources`.
        decisions: Table `decisions`.
        same_facts: Table `same_facts`.
        memory: Table `memory`, row by row beside the events.
        waiting: Table `staged`: of deleted Patients, what comes back where they are recorded anew.
    """

    events: pa.Table
    resources: pa.Table
    decisions: pa.Table
    same_facts: pa.Table
    memory: pa.Table
    waiting: pa.Table


class Merged(NamedTuple):
    """A shard after a delta.

    Attributes:
        held: The shard.
        codes: Table `codes`, of the shard.
        shard: What was built anew: the subjects of whom the delta speaks.
        before: The same subjects as they were.
        staged: The rows of which they were built.
        replaced: Resources that went because the delta brings all rows of their subject anew.
        waited: Resources that waited for a Patient to come back, and were looked at again.
    """

    held: Held
    codes: pa.Table
    shard: Shard
    before: Held
    staged: pa.Table
    replaced: int
    waited: int


def spoken_of(resources: pa.Table, fresh: pa.Table, deletions: pa.Table | None, replaced: Collection[int] = ()) -> Ints:
    """Return the subjects whose timeline a delta can change, ascending.

    Args:
        resources: Table `resources` of the shard as it is.
        fresh: Table `staged`: what the delta brings for this shard.
        deletions: Table `deletions`: what the delta deletes, whatever the shard.
        replaced: Subjects of whom the delta brings all rows of an OMOP export; those of other shards do not matter.

    >>> spoken_of(schema.table("resources").empty_table(), schema.table("staged").empty_table(), None).tolist()
    []
    """
    here = _ints(resources, "subject_id")
    found = [_ints(fresh, "subject_id"), np.intersect1d(here, np.fromiter(replaced, np.int64))]
    if deletions is not None and deletions.num_rows:
        found.append(here[np.isin(_ints(resources, "resource_key"), _ints(deletions, "resource_key"))])
        people = deletions.filter(pc.is_valid(deletions.column("subject_id")))
        found.append(np.intersect1d(here, _ints(people, "subject_id")))
    return np.unique(np.concatenate(found))


def merge(
    held: Held,
    fresh: pa.Table,
    deletions: pa.Table | None,
    subjects: Ints,
    *,
    replaced: Collection[int] = (),
    tables: Collection[int] = (),
    second: Collection[int] = (),
) -> Merged:
    """Merge a delta into a shard.

    Args:
        held: The shard as it is.
        fresh: Table `staged`: what the delta brings for this shard.
        deletions: Table `deletions`: of the delta and of all runs before it.
        subjects: Who is built anew, ascending: `spoken_of`.
        replaced: Subjects of whom the delta brings all OMOP rows: those that are here go.
        tables: Source files from which the rows that go came: the OMOP exports of earlier runs.
        second: Source files of the second source (see `same`), where there are two.
    """
    before, rest = _parted(held, subjects)
    old = again(before)
    gone = np.isin(_ints(old, "subject_id"), np.fromiter(replaced, np.int64))
    gone &= np.isin(_ints(old, "source_table"), np.fromiter(tables, np.int64))
    heads = np.asarray(pc.equal(old.column("source_item"), 0))
    staged = pa.concat_tables([old.filter(pa.array(~gone)), before.waiting, fresh.cast(old.schema)])
    shard = build(staged, deletions)
    facts = same(shard.events, second) if second else schema.table("same_facts").empty_table()
    merged = Held(
        events=_spliced(held.events, held.events, subjects, shard.events, shard.events),
        resources=_together([rest.resources, shard.resources], _LINEAGE),
        decisions=_together([rest.decisions, shard.decisions], (*_LINEAGE, "path", "start")),
        same_facts=_together([rest.same_facts, facts], (*_LINEAGE, "source_item")),
        memory=_spliced(held.memory, held.events, subjects, shard.memory, shard.events),
        waiting=pa.concat_tables([rest.waiting, shard.waiting]),
    )
    return Merged(
        held=merged,
        codes=codes([merged.memory.append_column("code", merged.events.column("code"))]),
        shard=shard,
        before=before,
        staged=staged,
        replaced=int((gone & heads).sum()),
        waited=int(pc.sum(pc.equal(before.waiting.column("source_item"), 0)).as_py() or 0),
    )


def again(held: Held) -> pa.Table:
    """Return the staged rows of which `build` makes this very shard.

    >>> names = ("events", "resources", "decisions", "same_facts", "memory", "staged")
    >>> again(Held(*(schema.table(name).empty_table() for name in names))).num_rows
    0
    """
    target = schema.table("staged")
    events, memory = held.events, held.memory
    places = _places(events)
    resources = held.resources.take(pa.array(np.argsort(_places(held.resources), kind="stable")))
    found = pa.array(np.searchsorted(_places(resources), places))
    undated = pc.fill_null(pc.equal(events.column("time_precision"), "encounter"), False)
    columns = {name: events.column(name) for name in events.column_names}
    columns |= {name: memory.column(name) for name in ("version", "description", "parent_codes")}
    columns |= {name: resources.column(name).take(found) for name in ("resource_type", "resource_key")}
    for name in ("time", "time_precision"):
        columns[name] = pc.if_else(undated, pa.scalar(None, columns[name].type), columns[name])
    known = columns["available_time"]
    columns["available_time"] = pc.if_else(memory.column("available_unknown"), pa.scalar(None, known.type), known)
    columns["decisions"] = _decisions(held.decisions, places, np.asarray(events.column("source_item")))
    nothing = {field.name: pa.nulls(events.num_rows, field.type) for field in target if field.name not in columns}
    return pa.table({**columns, **nothing}).select(target.names).cast(target)


def _decisions(decisions: pa.Table, places: Ints, items: Ints) -> pa.Array:
    """The decisions of each resource as a list on its first event."""
    kind = schema.table("staged").field("decisions").type
    if not decisions.num_rows:
        return pa.nulls(len(places), kind)
    first = np.flatnonzero(items == 0)
    order = first[np.argsort(places[first], kind="stable")]
    rows = order[np.searchsorted(places[order], _places(decisions))]
    turn = np.argsort(rows, kind="stable")
    counts = np.bincount(rows, minlength=len(places))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    ordered = decisions.take(pa.array(turn)).combine_chunks()
    fields = list(kind.value_type)
    values = pa.StructArray.from_arrays(
        [ordered.column(field.name).combine_chunks().cast(field.type) for field in fields], fields=fields
    )
    return pa.ListArray.from_arrays(pa.array(offsets), values, type=kind, mask=pa.array(counts == 0))


def _parted(held: Held, subjects: Ints) -> tuple[Held, Held]:
    """Take a shard apart: the subjects that are named, and the others. Of the others, only what is no event."""
    of_event = np.isin(_ints(held.events, "subject_id"), subjects)
    of_resource = np.isin(_ints(held.resources, "subject_id"), subjects)
    of_decision = np.isin(_ints(held.decisions, "subject_id"), subjects)
    of_waiting = np.isin(_ints(held.waiting, "subject_id"), subjects)
    events = held.events.filter(pa.array(of_event))
    of_fact = np.isin(_places(held.same_facts), _places(events))
    before = Held(
        events,
        held.resources.filter(pa.array(of_resource)),
        held.decisions.filter(pa.array(of_decision)),
        held.same_facts.filter(pa.array(of_fact)),
        held.memory.filter(pa.array(of_event)),
        held.waiting.filter(pa.array(of_waiting)),
    )
    rest = Held(
        held.events.slice(0, 0),
        held.resources.filter(pa.array(~of_resource)),
        held.decisions.filter(pa.array(~of_decision)),
        held.same_facts.filter(pa.array(~of_fact)),
        held.memory.slice(0, 0),
        held.waiting.filter(pa.array(~of_waiting)),
    )
    return before, rest


def _spliced(old: pa.Table, old_events: pa.Table, subjects: Ints, new: pa.Table, new_events: pa.Table) -> pa.Table:
    """Put the rows of some subjects in place of those they had: slices of what is there, nothing is copied."""
    was, will = _ints(old_events, "subject_id"), _ints(new_events, "subject_id")
    starts, ends = np.searchsorted(was, subjects, "left"), np.searchsorted(was, subjects, "right")
    begins, stops = np.searchsorted(will, subjects, "left"), np.searchsorted(will, subjects, "right")
    pieces = []
    at = 0
    for start, end, begin, stop in zip(starts, ends, begins, stops, strict=True):
        pieces += [old.slice(at, start - at), new.slice(begin, stop - begin)]
        at = end
    pieces.append(old.slice(at))
    kept = [piece for piece in pieces if piece.num_rows] or [old.slice(0, 0)]
    return pa.concat_tables([piece.cast(old.schema) for piece in kept])


def _together(tables: list[pa.Table], order: tuple[str, ...]) -> pa.Table:
    kept = [table for table in tables if table.num_rows] or tables[:1]
    if len(kept) == 1:
        return kept[0]
    return pa.concat_tables([table.cast(kept[0].schema) for table in kept]).sort_by(
        [(name, "ascending") for name in order]
    )


def _places(table: pa.Table) -> Ints:
    """Source file and row as one number."""
    return (_ints(table, "source_table") << 40) | _ints(table, "source_row")


def _ints(table: pa.Table, name: str) -> Ints:
    found: Ints = np.asarray(table.column(name)).astype(np.int64, copy=False)
    return found
