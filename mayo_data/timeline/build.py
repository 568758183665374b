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
        resources_in: Resources before versions were settled.
        superseded: Resources that lost against a newer version or are exact duplicates.
        deleted: Resources that the source has deleted, or whose Patient it has.
    """

    events: pa.Table
    resources: pa.Table
    decisions: pa.Table
    codes: pa.Table
    resources_in: int
    superseded: int
    deleted: int


def build(staged: pa.Table, deletions: pa.Table | None = None) -> Shard:
    """Build the shard of some subjects from all of their staged events.

    The newest `meta.lastUpdated` of a resource wins; among equals, the first in source order. Where the newest
    was withdrawn, none is left; where it was deleted later, none either, and of a deleted Patient nothing at all.
    The result depends on the rows alone, not on their order.

    Args:
        staged: Table `staged`: live rows, and one row with a fate for every resource that was withdrawn.
        deletions: Table `deletions`: of the whole run, whatever the shard.

    >>> build(schema.table("staged").empty_table()).events.num_rows
    0
    """
    withdrawn = pc.is_valid(staged.column("fate"))
    first = pc.or_kleene(withdrawn, pc.equal(staged.column("source_item"), 0))
    heads = staged.filter(first).select(
        ["source_table", "source_row", "resource_type", "resource_key", "subject_id", "version", "decisions", "fate"]
    )
    gone = _gone(heads, deletions)
    keep = _winners(heads) & ~gone
    live = np.asarray(pc.is_null(heads.column("fate")))
    if not live.all():
        staged = staged.filter(pc.invert(withdrawn))
        heads, keep, gone = heads.filter(pa.array(live)), keep[live], gone[live]
    lost = int(heads.num_rows - keep.sum())
    if lost:
        losers = heads.filter(pa.array(~keep))
        staged = staged.filter(pa.array(~np.isin(_places(staged), _places(losers))))
        heads = heads.filter(pa.array(keep))
    events = _sorted(_dated(staged))
    return Shard(
        events=events.select(schema.table("events").names).cast(schema.table("events")),
        resources=_resources(heads, staged),
        decisions=_decisions(heads),
        codes=codes([staged]),
        resources_in=len(keep),
        superseded=lost - int(gone.sum()),
        deleted=int(gone.sum()),
    )


def codes(tables: Sequence[pa.Table]) -> pa.Table:
    """Merge the codes of several tables: every code once, the first description in order, all parents.

    Args:
        tables: Tables with columns `code`, `description`, `parent_codes`.
    """
    columns = ["code", "description", "parent_codes"]
    joined = pa.concat_tables([table.select(columns) for table in tables]).combine_chunks()
    described = joined.group_by("code").aggregate([("description", "min")])
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
    out = described.sort_by("code")
    return pa.table(
        {
            "code": out["code"],
            "description": out["description_min"],
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
    order = np.lexsort((_ints(heads, "source_row"), _ints(heads, "source_table"), live, -version, subject, keys))
    leads = np.ones(len(keys), dtype=bool)
    leads[1:] = (np.diff(keys[order]) != 0) | (np.diff(subject[order]) != 0)
    winners = np.zeros(len(keys), dtype=bool)
    winners[order[leads]] = True
    return winners


def _gone(heads: pa.Table, deletions: pa.Table | None) -> npt.NDArray[np.bool_]:
    """Which resources were deleted after they were written, or belong to a Patient who was."""
    if deletions is None or deletions.num_rows == 0:
        return np.zeros(heads.num_rows, dtype=bool)
    latest = deletions.set_column(2, "version", pc.fill_null(deletions.column("version"), np.iinfo(np.int64).max))
    latest = latest.group_by(["resource_key", "subject_id"]).aggregate([("version", "max")]).sort_by("resource_key")
    ordered, until = _ints(latest, "resource_key"), _ints(latest, "version_max")
    keys, subjects = _ints(heads, "resource_key"), _ints(heads, "subject_id")
    place = np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)
    named = ordered[place] == keys
    version = np.asarray(pc.fill_null(heads.column("version"), _STATIC + 1))
    gone: npt.NDArray[np.bool_] = named & (version <= until[place])
    people = latest.filter(pc.is_valid(latest.column("subject_id")))
    back = subjects[named & ~gone & np.asarray(pc.equal(heads.column("resource_type"), "Patient"))]
    gone |= np.isin(subjects, np.setdiff1d(_ints(people, "subject_id"), back))
    return gone


def _dated(staged: pa.Table) -> pa.Table:
    """Give facts that only their encounter dates the time at which that encounter ended, or at least began."""
    lacking = pc.and_(pc.is_null(staged.column("time")), pc.is_valid(staged.column("encounter_id")))
    visits = staged.filter(
        pc.and_(pc.equal(staged.column("resource_type"), "Encounter"), pc.equal(staged.column("source_item"), 0))
    )
    if visits.num_rows == 0 or not pc.any(lacking).as_py():
        return staged
    ends = pc.coalesce(visits.column("end_time"), visits.column("time")).combine_chunks()
    places = pc.index_in(staged.column("encounter_id"), value_set=visits.column("encounter_id").combine_chunks())
    ends_here = pc.if_else(lacking, ends.take(places.combine_chunks()), None)
    dated = pc.is_valid(ends_here)
    filled = {
        "time": pc.coalesce(staged.column("time"), ends_here),
        "available_time": pc.if_else(
            dated, pc.coalesce(staged.column("available_time"), ends_here), staged.column("available_time")
        ),
        "time_precision": pc.if_else(dated, "encounter", staged.column("time_precision")),
    }
    for name, column in filled.items():
        index = staged.schema.get_field_index(name)
        staged = staged.set_column(index, staged.schema.field(index), column)
    return staged


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
