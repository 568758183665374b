"""Frames out: pandas, Arrow and Polars hold the same rows as SQL, and errors hold no value."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import mayo_data as md
from mayo_data.store.layout import Store
from mayo_data.store.rows import Rows


def test_a_view_comes_out_in_every_form(store: Store) -> None:
    pl = pytest.importorskip("polars")
    dataset = md.open(store.root)
    table = dataset.table("event")
    ids = [row[0] for row in table.relation.project("event_id").fetchall()]
    assert len(ids) == 24
    assert list(table.df()["event_id"]) == table.arrow().column("event_id").to_pylist() == ids
    frame = table.pl()
    assert isinstance(frame, pl.DataFrame)
    assert frame["event_id"].to_list() == ids
    assert frame.schema["time"] == pl.Datetime("us")
    with md.connect(store.root) as db:
        assert db.sql("FROM event").pl().equals(frame)


def test_without_polars_the_error_says_what_to_install(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(md.ConfigError, match="not installed") as caught:
        md.open(store.root).table("subject").pl()
    assert "mayo-data[polars]" in str(caught.value.hint)


def test_a_timeline_is_the_same_through_both_doors(store: Store, made: Any) -> None:
    dataset = md.open(store.root)
    for subject in made.subjects:
        with md.connect(store.root) as db:
            assert dataset.timeline(subject).equals(db.sql(f"FROM timeline({subject})").df())
    with pytest.raises(md.StoreError, match="no such subject"):
        dataset.timeline(1)
    assert list(dataset.codes()["n_events"]) == [3] * len(dataset.codes())


def test_a_view_that_is_not_there_is_refused_by_name(store: Store) -> None:
    with pytest.raises(md.ConfigError, match="no view 'events'") as caught:
        md.open(store.root).table("events")
    assert "condition" in str(caught.value.hint)


def test_a_lost_file_is_told_without_its_path(store: Store) -> None:
    table = md.open(store.root).table("event")
    for path in (store.current() / "data").iterdir():
        path.unlink()
    for ask in (table.df, table.arrow, lambda: table.relation):
        with pytest.raises(md.StoreError, match="cannot be read") as caught:
            ask()
        assert str(store.root) not in f"{caught.value}{caught.value.hint}{caught.value.__cause__}"


def test_a_dataset_asks_the_snapshot_that_it_names(store: Store, made: Any, tmp_path: Path) -> None:
    draft = store.staging("b")
    made.draft(draft, made.subjects[:1])
    made.seal(draft, previous="000001")
    store.commit(draft)
    assert [len(md.open(store.root, name).table("subject").df()) for name in ("000001", "000002")] == [3, 1]
    assert isinstance(md.open(store.root).table("code"), Rows)
