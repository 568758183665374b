from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from mayo_data import schema
from mayo_data.timeline.build import build, codes

STAGED = schema.table("staged")
DECISION = {
    "path": "Observation.note[0].text", "start": 1, "end": 4, "category": "DATE", "recognizer": "x",
    "score": 0.5, "action": "shift",
}  # fmt: skip


def event(row: int, item: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "subject_id": 1, "time": 1_000_000, "code": "A//B", "source_table": 0, "source_row": row, "source_item": item,
        "scrub_ref": 0, "resource_type": "Observation", "resource_key": row, **more,
    }  # fmt: skip


def staged(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=STAGED)


resources = st.lists(
    st.tuples(
        st.integers(0, 3),  # subject
        st.integers(0, 4),  # resource key
        st.none() | st.integers(-5, 5),  # version
        st.lists(st.none() | st.integers(-9, 9), min_size=1, max_size=3),  # times of its events
    ),
    max_size=14,
)


@given(resources, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_the_rows_does_not_matter(found: list[Any], dice: random.Random) -> None:
    rows = [
        event(
            row, item, subject_id=subject, resource_key=key, version=version, time=time,
            code=f"C//{row % 3}", description=f"d{row}", parent_codes=[f"P//{key}"], decisions=[DECISION] if item == 0 else None,
        )
        for row, (subject, key, version, times) in enumerate(found)
        for item, time in enumerate(times)
    ]  # fmt: skip
    one = build(staged(rows))
    dice.shuffle(rows)
    assert build(staged(rows)) == one
    # the winner of a subject's resource is its newest version, then the first in the source; without one, the last
    best: dict[tuple[int, int], tuple[float, int]] = {}
    for row, (subject, key, version, _) in enumerate(found):
        rank = (float("inf"), -row) if version is None else (-version, row)
        best[subject, key] = min(best.get((subject, key), rank), rank)
    assert sorted(one.resources["source_row"].to_pylist()) == sorted(abs(row) for _, row in best.values())
    assert one.resources_in == len(found)
    assert one.superseded == len(found) - len(best)
    assert set(one.events["source_row"].to_pylist()) == {abs(row) for _, row in best.values()}
    # sorted: subject, then null time, then time
    order = [
        (subject, time is not None, time or 0)
        for subject, time in zip(
            one.events["subject_id"].to_pylist(), one.events["time"].cast(pa.int64()).to_pylist(), strict=True
        )
    ]
    assert order == sorted(order)
    assert one.codes["code"].to_pylist() == sorted(set(one.events["code"].to_pylist()))


def test_what_else_lies_in_the_shard_does_not_matter() -> None:
    rows = [event(1, resource_key=7), event(2, resource_key=7, subject_id=2)]
    together = build(staged(rows))
    assert together.superseded == 0
    assert together.events.num_rows == 2


def test_a_loser_leaves_nothing_behind() -> None:
    old = [
        event(1, item, resource_key=7, version=1, code="OLD", decisions=[DECISION] if not item else None)
        for item in (0, 1)
    ]
    shard = build(staged([*old, event(2, resource_key=7, version=2, code="NEW")]))
    assert shard.events["code"].to_pylist() == ["NEW"]
    assert shard.codes["code"].to_pylist() == ["NEW"]
    assert shard.decisions.num_rows == 0
    assert shard.resources.select(["source_row", "events"]).to_pylist() == [{"source_row": 2, "events": 1}]


def test_what_was_withdrawn_takes_its_earlier_versions_along() -> None:
    def withdrawn(row: int, **more: Any) -> dict[str, Any]:
        return {**event(row, **more), "source_item": None, "code": None, "time": None, "scrub_ref": None, "fate": "x/y"}

    rows = [event(1, resource_key=7, version=1), withdrawn(2, resource_key=7, version=2), withdrawn(3), event(4)]
    for order in (rows, rows[::-1]):
        shard = build(staged(order))
        assert shard.events["source_row"].to_pylist() == [4]
        assert (shard.resources_in, shard.superseded, shard.resources.num_rows) == (2, 1, 1)
    assert build(staged([withdrawn(1)])).events.num_rows == 0


def test_decisions_lead_back_to_their_resource() -> None:
    shard = build(staged([event(1, decisions=[DECISION, {**DECISION, "start": 9, "end": 12}]), event(2)]))
    assert shard.decisions.to_pylist() == [
        {"source_table": 0, "source_row": 1, "subject_id": 1, **DECISION, "start": start, "end": end, "score": 0.5}
        for start, end in ((1, 4), (9, 12))
    ]


def test_the_schemas_are_those_of_the_store() -> None:
    for shard in (build(staged([])), build(staged([event(1)]))):
        for name in ("events", "resources", "decisions", "codes"):
            assert getattr(shard, name).schema.remove_metadata() == schema.table(name).remove_metadata()


def test_the_meaning_of_a_code_is_what_most_events_say() -> None:
    said = ["White"] * 3 + ["Adams"] + [None] * 9  # of a patient called White, the display of the race was replaced
    codes_of = pa.table(
        {"code": ["race"] * 13, "description": said, "parent_codes": pa.nulls(13, pa.list_(pa.string()))}
    )
    assert codes([codes_of])["description"].to_pylist() == ["White"]
    assert codes([codes_of.slice(3)])["description"].to_pylist() == ["Adams"]
    assert codes([codes_of.slice(4)])["description"].to_pylist() == [None]


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.none() | st.sampled_from("xyz"), st.lists(st.sampled_from("pq"))),
        max_size=9,
    )
)
@settings(deadline=None)
def test_codes_merge_in_any_order(found: list[tuple[str, str | None, list[str]]]) -> None:
    tables = [
        staged([event(1, code=code, description=text, parent_codes=parents or None)]) for code, text, parents in found
    ]
    if not tables:
        tables = [staged([])]
    merged = codes(tables)
    assert merged == codes(tables[::-1])
    for row in merged.to_pylist():
        of = [one for one in found if one[0] == row["code"]]
        said = Counter(text for _, text, _ in of if text)
        assert row["description"] == min(said, key=lambda text: (-said[text], text), default=None)
        assert row["parent_codes"] == (sorted({parent for *_, parents in of for parent in parents}) or None)
