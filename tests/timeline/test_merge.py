"""A shard that a delta was merged into is the shard of all rows at once."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from mayo_data import schema
from mayo_data.timeline.build import Shard, build, codes
from mayo_data.timeline.merge import Held, again, merge, spoken_of
from mayo_data.timeline.same import same

STAGED, DELETIONS = schema.table("staged"), schema.table("deletions")
DECISION = {"path": "a", "start": 1, "end": 4, "category": "DATE", "recognizer": "x", "score": 0.5, "action": "shift"}
TYPES = ("Patient", "Encounter", "Observation")

resources = st.tuples(
    st.integers(0, 3),  # subject
    st.integers(0, 5),  # resource key; it says the type, and an Encounter's key is its encounter_id
    st.none() | st.integers(0, 4),  # version
    st.lists(st.none() | st.integers(-9, 9), min_size=0, max_size=3),  # times of its events; none: withdrawn
    st.booleans(),  # whether it says when it became known
)
orders = st.tuples(st.integers(0, 5), st.integers(0, 3), st.none() | st.integers(0, 4))


def rows_of(table: int, found: Sequence[Any]) -> pa.Table:
    rows: list[dict[str, Any]] = []
    for row, (subject, key, version, times, known) in enumerate(found):
        kind = TYPES[key % 3]
        head = {
            "subject_id": subject, "source_table": table, "source_row": row, "resource_type": kind,
            "resource_key": key * 10 + subject, "version": version,
        }  # fmt: skip
        if not times:
            rows.append({**head, "fate": "normalize/entered_in_error"})
        for item, time in enumerate(times):
            rows.append(
                {
                    **head, "source_item": item, "scrub_ref": 0, "time": time, "code": f"C//{key}",
                    "end_time": None if time is None else time + 1,
                    "encounter_id": key * 10 + subject if kind == "Encounter" else 10 + subject,
                    "available_time": 5 if known else None, "description": f"d{row % 2}",
                    "time_precision": None if time is None else "day", "parent_codes": [f"P//{row}"] if row % 2 else None,
                    "decisions": [DECISION, {**DECISION, "start": 0}] if not item and row % 3 == 0 else None,
                }
            )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=STAGED)


def deleted(found: Sequence[Any]) -> pa.Table:
    rows = [
        {"resource_key": key * 10 + subject, "subject_id": None if key % 3 else subject, "version": version}
        for key, subject, version in found
    ]
    return pa.Table.from_pylist(rows, schema=DELETIONS)


def held(shard: Shard) -> Held:
    return Held(shard.events, shard.resources, shard.decisions, same(shard.events, [1]), shard.memory, shard.waiting)


def plain(table: pa.Table) -> list[str]:
    return sorted(map(str, table.combine_chunks().to_pylist()))


def agree(one: Held, other: Held) -> None:
    assert one.events.to_pylist() == other.events.to_pylist()
    for name in Held._fields[1:-1]:  # what waits may be out of date; it is judged when it matters
        assert plain(getattr(one, name)) == plain(getattr(other, name)), name


parts = st.lists(st.tuples(st.lists(resources, max_size=8), st.lists(orders, max_size=2)), min_size=1, max_size=4)


@given(parts)
@settings(deadline=None, max_examples=100)
def test_base_and_deltas_give_what_all_rows_at_once_give(found: list[Any]) -> None:
    tables = [rows_of(number, rows) for number, (rows, _) in enumerate(found)]
    ends = [deleted(some) for _, some in found]
    whole = build(pa.concat_tables(tables), pa.concat_tables(ends))
    first = build(tables[0], ends[0])
    now, kept = held(first), pa.concat_tables([ends[0], first.withdrawn])
    for fresh, end in zip(tables[1:], ends[1:], strict=True):
        subjects = spoken_of(now.resources, fresh, end)
        kept = pa.concat_tables([kept, end])
        merged = merge(now, fresh, kept, subjects, second=[1])
        kept = pa.concat_tables([kept, merged.shard.withdrawn])
        now = merged.held
        assert merged.codes.equals(
            codes([now.memory.append_column("code", now.events.column("code"))]), check_metadata=False
        )
    agree(now, held(whole))
    assert merged.codes.to_pylist() == whole.codes.to_pylist() if len(found) > 1 else True


@given(st.lists(resources, max_size=12), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_a_shard_can_be_staged_again(found: list[Any], dice: random.Random) -> None:
    shard = build(rows_of(0, found))
    rows = again(held(shard)).to_pylist()
    dice.shuffle(rows)
    twice = build(pa.Table.from_pylist(rows, schema=STAGED))
    agree(held(twice), held(shard))
    assert twice.codes == shard.codes


@given(st.lists(resources, max_size=12))
@settings(deadline=None)
def test_the_same_rows_again_change_nothing(found: list[Any]) -> None:
    versioned = [(subject, key, version or 0, times, known) for subject, key, version, times, known in found]
    shard = build(rows_of(0, versioned))
    fresh = rows_of(7, versioned)
    merged = merge(held(shard), fresh, shard.withdrawn, spoken_of(shard.resources, fresh, None), second=[1])
    agree(merged.held, held(shard))


def test_who_is_not_spoken_of_is_not_built_again() -> None:
    shard = build(rows_of(0, [(0, 2, 1, [1], False), (1, 2, 1, [1], False), (2, 2, 1, [1], False)]))
    fresh = rows_of(1, [(1, 2, 2, [7], False)])
    subjects = spoken_of(shard.resources, fresh, deleted([(2, 0, None)]))
    assert subjects.tolist() == [0, 1]  # key 20 is of subject 0
    merged = merge(held(shard), fresh, deleted([(2, 0, None)]), subjects)
    assert merged.held.events["subject_id"].to_pylist() == [1, 2]
    assert merged.held.resources.select(["source_table", "subject_id"]).to_pylist() == [
        {"source_table": 0, "subject_id": 2}, {"source_table": 1, "subject_id": 1},
    ]  # fmt: skip
    assert sorted(set(merged.staged["subject_id"].to_pylist())) == [0, 1]


def test_rows_of_a_person_are_replaced() -> None:
    shard = build(rows_of(0, [(0, 2, None, [1, 2], False), (0, 5, None, [1], False), (1, 2, None, [1], False)]))
    other = rows_of(1, [(0, 3, None, [4], False)])  # of the other source: it stays
    both = merge(held(shard), other, None, np.array([0]), second=[1]).held
    fresh = rows_of(2, [(0, 2, None, [9], False)])
    subjects = spoken_of(both.resources, fresh, None, {0, 99})
    merged = merge(both, fresh, None, subjects, replaced={0, 99}, tables={0}, second=[0, 2])
    assert subjects.tolist() == [0]
    assert merged.replaced == 2
    assert merged.held.resources.select(["source_table", "subject_id"]).to_pylist() == [
        {"source_table": 0, "subject_id": 1}, {"source_table": 1, "subject_id": 0}, {"source_table": 2, "subject_id": 0},
    ]  # fmt: skip
