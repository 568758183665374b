from __future__ import annotations

import json
import pickle
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from clinic import DAY, commit, hospital, row, split
from hypothesis import given, settings
from hypothesis import strategies as st

import mayo_data as md
from mayo_data.dataset import Labels, Reader, cut
from mayo_data.dataset.splitting import by_time, shuffled
from mayo_data.errors import ConfigError, StoreError
from mayo_data.lineage.consumption import subjects_digest
from mayo_data.lineage.ledger import Ledger

STAY = "ENCOUNTER//ACT//IMP"


def plain(samples: Any) -> list[tuple[Any, ...]]:
    return [(one.subject_id, one.prediction_time, one.value, one.events.to_pylist()) for one in samples]


def labels_at(*given: tuple[int, datetime]) -> Labels:
    columns = {
        "subject_id": [subject for subject, _ in given],
        "prediction_time": pa.array([time for _, time in given], pa.timestamp("us")),
        "boolean_value": [subject % 2 == 0 for subject, _ in given],
    }
    return Labels.of(pa.table(columns), name="made")


def at_every_stay() -> Labels:
    """A label in the middle of every stay, before its laboratory result is known."""
    starts = [(it["subject_id"], it["time"] + timedelta(days=1)) for it in hospital() if it["code"] == STAY]
    return labels_at(*starts)


def reads(store: Path) -> list[dict[str, Any]]:
    return [record["body"] for record in Ledger(store / "ledger" / "ledger.jsonl").records("read")]


def test_without_labels_every_event_comes_once(ward: Path) -> None:
    reader = md.open(ward).reader(consumer="test", seed=None)
    found = pa.Table.from_batches(reader.batches())
    assert found.num_rows == len(hospital())
    assert [one.events.num_rows for one in reader.samples()] == [
        sum(it["subject_id"] == subject for it in hospital()) for subject in reader.subjects
    ]
    assert reader.pandas().equals(found.to_pandas())


def test_a_split_is_that_of_the_store(ward: Path) -> None:
    for name in ("train", "tuning", "held_out"):
        reader = md.open(ward).reader(name, consumer="test")
        assert {one.subject_id for one in reader.samples()} == {s for s in range(1, 24) if split(s) == name}
    with pytest.raises(StoreError, match="no such split"):
        md.open(ward).reader("validation", consumer="test")


@settings(deadline=None, max_examples=30)
@given(world=st.integers(1, 30), seed=st.none() | st.integers(0, 5), labelled=st.booleans())
def test_ranks_share_the_subjects_out(ward: Path, world: int, seed: int | None, labelled: bool) -> None:
    dataset = md.open(ward)
    labels = at_every_stay() if labelled else None
    whole = dataset.reader("train", consumer="test", seed=seed, labels=labels)
    parts = [
        dataset.reader("train", consumer="test", seed=seed, labels=labels, rank=rank, world=world)
        for rank in range(world)
    ]
    shares = [part.subjects.tolist() for part in parts]
    assert [subject for share in shares for subject in share] == whole.subjects.tolist()
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert [one for part in parts for one in plain(part.samples())] == plain(whole.samples())


@settings(deadline=None, max_examples=30)
@given(done=st.integers(0, 60), seed=st.none() | st.integers(0, 3), labelled=st.booleans())
def test_a_resumed_read_gives_exactly_the_rest(ward: Path, done: int, seed: int | None, labelled: bool) -> None:
    def make() -> Reader:
        labels = at_every_stay() if labelled else None
        return md.open(ward).reader(consumer="test", labels=labels, seed=seed)

    first = make()
    whole = plain(first.samples())
    walk = first.samples()
    given_out = [one for _, one in zip(range(done), walk, strict=False)]
    state = json.loads(json.dumps(first.state()))
    rest = plain(make().resume(state).samples())
    assert plain(given_out) + rest == whole
    again = make().resume(state)
    assert plain(again.samples()) == rest
    assert plain(again.samples()) == whole, "the iteration after it starts at the top"


@pytest.mark.parametrize("labelled", [False, True])
def test_batches_resume_too(ward: Path, monkeypatch: pytest.MonkeyPatch, labelled: bool) -> None:
    monkeypatch.setattr("mayo_data.dataset.reader._ROWS", 20)
    labels = at_every_stay() if labelled else None

    def make() -> Reader:
        return md.open(ward).reader(consumer="test", labels=labels)

    whole = [batch.to_pylist() for batch in make().batches()]
    assert len(whole) > 4
    for done in range(len(whole) + 1):
        reader = make()
        walk = reader.batches()
        for _ in range(done):
            next(walk)
        rest = [batch.to_pylist() for batch in make().resume(reader.state()).batches()]
        assert [it for batch in rest for it in batch] == [it for batch in whole[done:] for it in batch]


def test_the_state_of_another_read_is_refused(ward: Path) -> None:
    dataset = md.open(ward)
    state = dataset.reader("train", consumer="test").state()
    for other in (
        dataset.reader("tuning", consumer="test"),
        dataset.reader("train", consumer="test", seed=1),
        dataset.reader("train", consumer="test", rank=0, world=2),
        dataset.reader("train", consumer="test", labels=at_every_stay()),
    ):
        with pytest.raises(ConfigError, match="another read"):
            other.resume(state)
    for wrong in ({}, {"of": state["of"]}, {**state, "position": [1]}, {**state, "position": [99, 0]}, [], None):
        with pytest.raises(ConfigError):
            dataset.reader("train", consumer="test").resume(wrong)  # type: ignore[arg-type]


def test_a_seed_decides_the_order(ward: Path) -> None:
    def order(seed: int | None) -> list[int]:
        return md.open(ward).reader(consumer="test", seed=seed).subjects.tolist()

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert sorted(order(1)) == sorted(order(None))


@given(st.sets(st.integers(0, 2**63 - 1), max_size=40), st.integers(0, 2**70))
def test_a_shuffle_loses_nobody(keys: set[int], seed: int) -> None:
    known = np.array(sorted(keys), dtype=np.int64)
    assert sorted(known[shuffled(known, seed)].tolist()) == sorted(keys)


def test_training_and_inference_see_the_same(ward: Path) -> None:
    dataset = md.open(ward)
    samples = list(dataset.reader(consumer="test", labels=at_every_stay()).samples())
    assert len(samples) == len(at_every_stay().table)
    for one in samples:
        seen = dataset.context(one.subject_id, one.prediction_time, consumer="test")
        assert seen.events.equals(one.events)
        assert seen.events.num_rows


@settings(deadline=None, max_examples=40)
@given(subject=st.integers(1, 23), hour=st.integers(-100, 24 * 220))
def test_a_context_never_holds_the_future(ward: Path, subject: int, hour: int) -> None:
    at = DAY + timedelta(hours=hour)
    dataset = md.open(ward)
    seen = dataset.context(subject, at, consumer="test").events
    known = {it["source_row"]: it for it in dataset.reader(consumer="test").pandas().to_dict("records")}
    for it in seen.to_pylist():
        whole = known[it["source_row"]]
        assert it["available_time"] is None or it["available_time"] <= at
        assert it["end_time"] is None or it["end_time"] <= at
        assert whole["code"] == it["code"]
    sample = next(dataset.reader(consumer="test", labels=labels_at((subject, at))).samples())
    assert sample.events.equals(seen)


def test_chosen_columns_are_cut_by_the_others(ward: Path) -> None:
    dataset = md.open(ward)
    all_of_it = list(dataset.reader(consumer="test", labels=at_every_stay()).samples())
    some = list(dataset.reader(consumer="test", labels=at_every_stay(), columns=["end_time", "code"]).samples())
    for one, other in zip(all_of_it, some, strict=True):
        assert other.events.equals(one.events.select(["end_time", "code"]))
    one = all_of_it[0]
    seen = dataset.context(one.subject_id, one.prediction_time, consumer="test", columns=["code"])
    assert seen.events.equals(one.events.select(["code"]))
    with pytest.raises(ConfigError, match="no such column"):
        dataset.reader(consumer="test", columns=["name"])


def test_batches_with_labels_say_when_and_what(ward: Path) -> None:
    frame = md.open(ward).reader("train", consumer="test", labels=at_every_stay(), columns=["subject_id"]).pandas()
    assert list(frame.columns) == ["prediction_time", "label", "subject_id"]
    assert (frame["label"] == (frame["subject_id"] % 2 == 0)).all()
    none = md.open(ward).reader(consumer="test", labels=labels_at((9999, DAY)))
    assert none.pandas().empty
    assert list(none.pandas().columns)[:2] == ["prediction_time", "label"]


def test_a_read_is_recorded_once(clinic: Path) -> None:
    labels = at_every_stay()
    reader = md.open(clinic).reader("train", labels=labels, consumer="trainer", purpose="a test", rank=1, world=2)
    list(reader.samples())
    list(reader.batches())
    (body,) = reads(clinic)
    assert body["lineage_id"] == reader.lineage_id
    assert body["labels"] == {"name": "made", "digest": labels.digest, "rows": labels.table.num_rows}
    assert (body["split"], body["rank"], body["world"], body["consumer"]) == ("train", 1, 2, "trainer")
    assert body["subjects"] == len(reader.subjects)
    assert body["subjects_sha256"] == subjects_digest(reader.subjects)
    assert body["manifest_sha256"] == md.dataset.manifest(clinic).sha256
    assert body["override"] is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"consumer": "Jane Doe, MRN 12 34"},
        {"consumer": ""},
        {"purpose": "x" * 300},
        {"purpose": "line\nbreak"},
        {"rank": 2, "world": 2},
        {"rank": -1},
        {"world": 0},
        {"rank": 0.5, "world": 2},
        {"seed": "1"},
        {"seed": 2**64},
        {"by_time": "2020-02-01"},
        {"override": ""},
        {"verify": "never"},
    ],
)
def test_what_makes_no_sense_is_refused_and_leaves_no_record(clinic: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        md.open(clinic).reader(**{"consumer": "test", **wrong})
    assert not reads(clinic)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 400)), max_size=30, unique=True),
    st.lists(st.tuples(st.integers(10, 19), st.integers(0, 400)), max_size=10, unique=True),
    st.integers(0, 400),
)
def test_splits_by_time_are_of_subjects_and_stay_when_others_come(
    old: list[tuple[int, int]], new: list[tuple[int, int]], day: int
) -> None:
    def table(rows: list[tuple[int, int]]) -> pa.Table:
        return labels_at(*((subject, DAY + timedelta(days=number)) for subject, number in rows)).table

    cut_date = DAY + timedelta(days=day)

    def whose(rows: list[tuple[int, int]], name: str) -> set[int]:
        return set(by_time(table(rows), name, cut_date).column("subject_id").to_pylist())

    train, held_out = by_time(table(old), "train", cut_date), by_time(table(old), "held_out", cut_date)
    assert all(time < cut_date for time in train.column("prediction_time").to_pylist())
    assert all(time >= cut_date for time in held_out.column("prediction_time").to_pylist())
    assert not whose(old, "train") & whose(old, "held_out")
    assert whose(old, "train") | whose(old, "held_out") == {subject for subject, _ in old}
    for name in ("train", "held_out"):
        assert whose(old, name) == whose([*old, *new], name) & {subject for subject, _ in old}


def test_a_reader_splits_by_time(ward: Path) -> None:
    labels, cut_date = at_every_stay(), DAY + timedelta(days=60)
    dataset = md.open(ward)
    parts = {
        name: list(dataset.reader(name, consumer="test", labels=labels, by_time=cut_date).samples())
        for name in ("train", "held_out")
    }
    assert all(one.prediction_time < cut_date for one in parts["train"])
    assert all(one.prediction_time >= cut_date for one in parts["held_out"])
    assert not {one.subject_id for one in parts["train"]} & {one.subject_id for one in parts["held_out"]}
    with pytest.raises(ConfigError, match="train or held_out"):
        dataset.reader("tuning", consumer="test", labels=labels, by_time=cut_date)


def test_splits_by_hash_stay_when_subjects_come(empty: Any) -> None:
    commit(empty, hospital(12))
    before = {name: set(md.open(empty.root).reader(name, consumer="test").subjects.tolist()) for name in ("train",)}
    commit(empty, hospital(23), shards=5)
    after = set(md.open(empty.root).reader("train", consumer="test").subjects.tolist())
    assert before["train"] == after & set(range(1, 13))


def test_another_snapshot_can_be_read(empty: Any) -> None:
    commit(empty, hospital(3))
    commit(empty, hospital(9))
    dataset = md.open(empty.root)
    assert len(dataset.reader(consumer="test").subjects) == 9
    old = dataset.reader(consumer="test", snapshot="000001")
    assert (len(old.subjects), old.snapshot) == (3, "000001")
    with pytest.raises(StoreError, match="no such snapshot"):
        dataset.reader(consumer="test", snapshot="000009")


def test_a_subject_of_many_row_groups_is_whole(empty: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mayo_data.store.write.ROW_GROUP", 7)
    rows = [row(subject, DAY + timedelta(hours=n), f"A//{n}") for subject in (1, 2, 3, 5) for n in range(subject * 13)]
    commit(empty, rows, shards=1)
    dataset = md.open(empty.root)
    for seed in (None, 0, 3):
        found = {one.subject_id: one.events for one in dataset.reader(consumer="test", seed=seed).samples()}
        assert {subject: events.num_rows for subject, events in found.items()} == {1: 13, 2: 26, 3: 39, 5: 65}
    assert dataset.context(3, DAY + timedelta(hours=20), consumer="test").events.equals(
        cut(found[3], DAY + timedelta(hours=20))
    )


def test_a_reader_can_go_to_another_process(ward: Path) -> None:
    reader = md.open(ward).reader("train", consumer="test")
    other = pickle.loads(pickle.dumps(reader))
    assert plain(other.samples()) == plain(reader.samples())


def test_parts_of_a_rank_are_all_of_it(ward: Path) -> None:
    reader = md.open(ward).reader(consumer="test", labels=at_every_stay())
    whole = plain(reader.samples())
    assert [one for number in range(4) for one in plain(reader.part(number, 4))] == whole


@pytest.mark.parametrize("name", ["torch", "huggingface"])
def test_a_framework_that_is_absent_is_named(ward: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for module in ("torch", "torch.utils", "torch.utils.data", "datasets"):
        monkeypatch.setitem(sys.modules, module, None)
    reader = md.open(ward).reader(consumer="test")
    with pytest.raises(ConfigError, match="is not installed") as caught:
        getattr(reader, name)()
    assert f"mayo-data[{name}]" in caught.value.hint
