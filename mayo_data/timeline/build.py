"""The build stage: the staged events of a shard in, sorted timelines with their lineage out.

Set-wise over Arrow columns: which version of a resource counts, the order of events, the codes in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mayo_data import schema

Ints = npt.NDArray[np.int64]
_STATIC = np.iinfo(np.int64).min  # a null time sorts first


class Shard(NamedTuple):
    """Everything a shard of the store consists of.

    Attributes:
        events: Table `events`, sorted by subject, time (null first), then source.
        resources: Table `resources`: where each event came from.
        decisions: Table `decisions`: PHI decisions on free text.
        codes: Table `codes`, of this shard.
        memory: Table `memory`: row by row, what the events do not say and a later delta needs.
        withdrawn: Table `deletions`: what the source took back, so that an older version that comes late stays out.
        waiting: Table `staged`: of deleted Patients, what comes back where a later delta records them anew.
        resources_in: Resources before versions were settled.
        superseded: Resources that lost against a newer version or are exact duplicates.
        deleted: Resources that the source has deleted, or whose Patient it has.
    """

    events: pa.Table
    resources: pa.Table
    decisions: pa.Table
    codes: pa.Table
    memory: pa.Table
    withdrawn: pa.Table
    waiting: pa.Table
    resources_in: int
    superseded: int
    deleted: int


def build(staged: pa.Table, deletions: pa.Table | None = None) -> Shard:
    """Build the shard of some subjects from all of their staged events.

    The newest `meta.lastUpdated` of a resource wins; among equals, the first in source order, and among those that
    have none, the last: what is read later is newer, as far as anybody knows. Where the newest was withdrawn, none is
    left; where it was deleted later, none either, and of a deleted Patient nothing at all. The result depends on the
    rows alone, not on their order.

    Args:
        staged: Table `staged`: live rows, and one row with a fate for every resource that was withdrawn.
        deletions: Table `deletions`: of the whole run and those before it, whatever the shard.

    >>> build(schema.table("staged").empty_table()).events.num_rows
    0
    """
    withdrawn = pc.is_valid(staged.column("fate"))
    first = pc.or_kleene(withdrawn, pc.equal(staged.column("source_item"), 0))
    heads = staged.filter(first).select(
        ["source_table", "source_row", "resource_type", "resource_key", "subject_id", "version", "decisions", "fate"]
    )
    taken_back = _withdrawn(heads)
    live = np.asarray(pc.is_null(heads.column("fate")))
    keep = _winners(heads) & live
    named, orphaned = _gone(heads, keep, deletions)
    waits = keep & orphaned & ~named
    keep &= ~(named | orphaned)
    gone = int((live & (named | orphaned)).sum())
    rows = int(live.sum())
    waiting = _of(staged, heads, waits)
    if keep.sum() < heads.num_rows:
        staged, heads = _of(staged, heads, keep), heads.filter(pa.array(keep))
    events = _sorted(_dated(staged))
    return Shard(
        events=events.select(schema.table("events").names).cast(schema.table("events")),
        resources=_resources(heads, staged),
        decisions=_decisions(heads),
        codes=codes([staged]),
        memory=events.select(schema.table("memory").names).cast(schema.table("memory")),
        withdrawn=taken_back,
        waiting=waiting,
        resources_in=rows,
        superseded=rows - heads.num_rows - gone,
        deleted=gone,
    )


def codes(tables: Sequence[pa.Table]) -> pa.Table:
    """Merge the codes of several tables: every code once, its most frequent description, all parents.

    The most frequent, because the scrub reads a display with one subject's names in hand: of whoever is called White,
    the display of the race is replaced too.

    Args:
        tables: Tables with columns `code`, `description`, `parent_codes`.
    """
    columns = ["code", "description", "parent_codes"]
    joined = pa.concat_tables([table.select(columns) for table in tables]).combine_chunks()
    said = joined.filter(pc.is_valid(joined["description"])).group_by(["code", "description"])
    order = [("code", "ascending"), ("count_all", "descending"), ("description", "ascending")]
    ranked = said.aggregate([([], "count_all")]).sort_by(order).combine_chunks()
    lists = joined.column("parent_codes").combine_chunks()
    pairs = pa.table(
        {
            "code": joined.column("code").combine_chunks().take(pc.list_parent_indices(lists)),
            "parent": pc.list_flatten(lists),
        }
    )
    parents: dict[str, set[str]] = {}
    for pair in pairs.group_by(["code", "parent"]).aggregate([]).to_pylist():
        parents.setdefault(pair["code"], set()).add(pair["parent"])
    out = joined.group_by("code").aggregate([]).sort_by("code")
    return pa.table(
        {
            "code": out["code"],
            "description": ranked["description"].take(pc.index_in(out["code"], ranked["code"])),
            "parent_codes": pa.array(
                [sorted(parents[code]) if code in parents else None for code in out["code"].to_pylist()],
                pa.list_(pa.string()),
            ),
        },
        schema=schema.table("codes"),
    )


def _winners(heads: pa.Table) -> npt.NDArray[np.bool_]:
    """Which resources count: one of each key."""
    keys = _ints(heads, "resource_key")
    if len(np.unique(keys)) == len(keys):
        return np.ones(len(keys), dtype=bool)
    version = np.asarray(pc.fill_null(heads.column("version"), _STATIC + 1))
    # Within a subject only: what else lies in the shard must not matter.
    subject = _ints(heads, "subject_id")
    live = np.asarray(pc.is_null(heads.column("fate")))
    # Without versions the last in the source is first here.
    turn = np.where(np.asarray(pc.is_null(heads.column("version"))), -1, 1)
    place = (turn * _ints(heads, "source_row"), turn * _ints(heads, "source_table"))
    order = np.lexsort((*place, live, -version, subject, keys))
    leads = np.ones(len(keys), dtype=bool)
    leads[1:] = (np.diff(keys[order]) != 0) | (np.diff(subject[order]) != 0)
    winners = np.zeros(len(keys), dtype=bool)
    winners[order[leads]] = True
    return winners


def _of(staged: pa.Table, heads: pa.Table, mask: npt.NDArray[np.bool_]) -> pa.Table:
    """Return the rows of some resources."""
    if not mask.any():
        return staged.slice(0, 0)
    return staged.filter(pa.array(np.isin(_places(staged), _places(heads)[mask])))


def _gone(
    heads: pa.Table, winners: npt.NDArray[np.bool_], deletions: pa.Table | None
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which resources were deleted after they were written; which belong to a Patient who was and did not come back."""
    if deletions is None or deletions.num_rows == 0:
        nothing = np.zeros(heads.num_rows, dtype=bool)
        return nothing, nothing
    latest = deletions.set_column(2, "version", pc.fill_null(deletions.column("version"), np.iinfo(np.int64).max))
    latest = latest.group_by("resource_key").aggregate([("version", "max"), ("subject_id", "max")])
    latest = latest.sort_by("resource_key")
    ordered, until = _ints(latest, "resource_key"), _ints(latest, "version_max")
    keys, subjects = _ints(heads, "resource_key"), _ints(heads, "subject_id")
    place = np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)
    version = np.asarray(pc.fill_null(heads.column("version"), _STATIC + 1))
    named: npt.NDArray[np.bool_] = (ordered[place] == keys) & (version <= until[place])
    people = latest.filter(pc.is_valid(latest.column("subject_id_max")))
    of_person = np.isin(keys, _ints(people, "resource_key"))
    back = subjects[of_person & winners & ~named & np.asarray(pc.equal(heads.column("resource_type"), "Patient"))]
    return named, np.isin(subjects, np.setdiff1d(_ints(people, "subject_id_max"), back))


def _withdrawn(heads: pa.Table) -> pa.Table:
    """Return the resources that were withdrawn as orders to delete them and what is older."""
    found = heads.filter(pc.is_valid(heads.column("fate")))
    target = schema.table("deletions")
    columns = {
        "resource_key": found.column("resource_key"),
        "subject_id": pa.nulls(found.num_rows, pa.int64()),
        "version": pc.fill_null(found.column("version"), _STATIC + 1),
    }
    return pa.table(columns, schema=target)


def _dated(staged: pa.Table) -> pa.Table:
    """Give facts that only their encounter dates the time at which that encounter ended, or at least began.

    A column `available_unknown` is added: whether the encounter also had to say when the fact became known.
    """
    lacking = pc.and_(pc.is_null(staged.column("time")), pc.is_valid(staged.column("encounter_id")))
    ends = _ends(staged, lacking)
    dated = pc.is_valid(ends)
    unknown = pc.and_(dated, pc.is_null(staged.column("available_time")))
    filled = {
        "time": pc.coalesce(staged.column("time"), ends),
        "available_time": pc.if_else(unknown, ends, staged.column("available_time")),
        "time_precision": pc.if_else(dated, "encounter", staged.column("time_precision")),
    }
    for name, column in filled.items():
        index = staged.schema.get_field_index(name)
        staged = staged.set_column(index, staged.schema.field(index), column)
    return staged.append_column("available_unknown", unknown)


def _ends(staged: pa.Table, lacking: pa.ChunkedArray) -> pa.Array:
    """When the encounters of the rows that lack a time ended: of the same subject, whatever else lies in the shard."""
    out = np.full(staged.num_rows, np.datetime64("NaT", "us"))
    rows = np.flatnonzero(np.asarray(lacking))
    visits = staged.filter(
        pc.and_(pc.equal(staged.column("resource_type"), "Encounter"), pc.equal(staged.column("source_item"), 0))
    )
    visits = visits.filter(pc.is_valid(visits.column("encounter_id")))
    if len(rows) and visits.num_rows:
        wanted = staged.select(["subject_id", "encounter_id"]).take(pa.array(rows))
        people, stays = np.unique(_ints(visits, "subject_id")), np.unique(_ints(visits, "encounter_id"))

        def named(table: pa.Table) -> Ints:
            """Subject and encounter as one number; -1 for what no visit has."""
            subject, stay = _ints(table, "subject_id"), _ints(table, "encounter_id")
            one = np.minimum(np.searchsorted(people, subject), len(people) - 1)
            two = np.minimum(np.searchsorted(stays, stay), len(stays) - 1)
            there = (people[one] == subject) & (stays[two] == stay)
            return np.where(there, one * len(stays) + two, -1).astype(np.int64)

        keys = named(visits)
        ends = np.asarray(pc.coalesce(visits.column("end_time"), visits.column("time"))).astype("M8[us]")
        order = np.lexsort((ends, keys))
        found = named(wanted)
        place = np.minimum(np.searchsorted(keys[order], found), len(order) - 1)
        hit = keys[order][place] == found
        out[rows[hit]] = ends[order][place[hit]]
    return pa.array(out, pa.timestamp("us"))


def _sorted(staged: pa.Table) -> pa.Table:
    time = np.asarray(pc.fill_null(staged.column("time").cast(pa.int64()), _STATIC))
    order = np.lexsort(
        (
            _ints(staged, "source_item"),
            _ints(staged, "source_row"),
            _ints(staged, "source_table"),
            time,
            _ints(staged, "subject_id"),
        )
    )
    return staged.take(pa.array(order))


def _places(table: pa.Table) -> Ints:
    """Source file and row as one number."""
    return (_ints(table, "source_table") << 40) | _ints(table, "source_row")


def _ints(table: pa.Table, name: str) -> Ints:
    found: Ints = np.asarray(table.column(name)).astype(np.int64, copy=False)
    return found


def _resources(heads: pa.Table, staged: pa.Table) -> pa.Table:
    counted = staged.group_by(["source_table", "source_row"]).aggregate([("source_item", "count")])
    joined = heads.drop_columns(["version", "decisions", "fate"]).join(counted, ["source_table", "source_row"])
    joined = joined.rename_columns({"source_item_count": "events"}).sort_by(
        [("source_table", "ascending"), ("source_row", "ascending")]
    )
    target = schema.table("resources")
    return joined.select(target.names).cast(target)


def _decisions(heads: pa.Table) -> pa.Table:
    target = schema.table("decisions")
    touched = heads.filter(pc.is_valid(heads.column("decisions"))).combine_chunks()
    if touched.num_rows == 0:
        return target.empty_table()
    lists = touched.column("decisions")
    parents = pc.list_parent_indices(lists)
    flat = pc.list_flatten(lists)
    places = touched.select(["source_table", "source_row", "subject_id"]).take(parents)
    inner = flat.combine_chunks() if isinstance(flat, pa.ChunkedArray) else flat
    columns = {name: places.column(name) for name in places.column_names}
    columns |= {inner.type.field(index).name: pc.struct_field(inner, index) for index in range(inner.type.num_fields)}
    found = pa.table(columns).select(target.names).cast(target)
    return found.sort_by([(name, "ascending") for name in ("source_table", "source_row", "path", "start")])
