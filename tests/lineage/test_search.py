from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mayo_data.errors import StoreError
from mayo_data.lineage import search
from mayo_data.lineage.ledger import Ledger


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(-2, 2)), max_size=40),
    a=st.integers(0, 3),
    b=st.integers(-2, 2),
)
def test_rows_are_found_as_a_filter_would(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int]], a: int, b: int
) -> None:
    path = tmp_path_factory.mktemp("rows") / "t.parquet"
    table = pa.table(
        {
            "a": pa.array([one for one, _ in rows], pa.int64()),
            "b": pa.array([two for _, two in rows], pa.int64()),
            "text": pa.array([str(number) for number in range(len(rows))], pa.string()),
        }
    )
    pq.write_table(table, path, row_group_size=5)
    wanted = [str(number) for number, row in enumerate(rows) if row == (a, b)]
    assert search.found(path, {"a": a, "b": b}, ["text"]).column("text").to_pylist() == wanted
    assert search.found(path, {}).num_rows == len(rows)


def test_a_missing_or_damaged_file_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="missing or unreadable"):
        search.found(tmp_path / "none.parquet", {})
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no PAR1")
    with pytest.raises(StoreError, match="missing or unreadable"):
        search.found(tmp_path / "bad.parquet", {})


def test_a_subject_in_a_file_of_another_name_is_found_too(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name, subject in (("0000", 3), ("0001", 2)):  # not subject modulo files
        pq.write_table(pa.table({"subject_id": pa.array([subject], pa.int64())}), tmp_path / "data" / f"{name}.parquet")
    assert search.of_subject(tmp_path, "data", 3).num_rows == 1
    assert search.of_subject(tmp_path, "data", 9).num_rows == 0


def test_records_come_in_order_and_once(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.jsonl")
    for number in range(5):
        ledger.append("run" if number % 2 else "step", {"run_id": "a", "n": number})
    found = list(search.records(ledger.path, '"run_id":"a"', kinds=("run",)))
    assert [one["body"]["n"] for one in found] == [0, 1, 2, 3, 4]
    assert [one["body"]["n"] for one in search.of_kind(ledger.path, "run")] == [1, 3]
    assert list(search.records(tmp_path / "none", "x")) == []
    (tmp_path / "empty").touch()
    assert list(search.records(tmp_path / "empty", "x")) == []


def test_places_tell_rows_apart() -> None:
    table = pa.table({"source_table": [1, 1, 2], "source_row": [1, 2, 1], "source_item": [0, 0, 0]})
    two = search.places(table, ["source_table", "source_row"])
    three = search.places(table, ["source_table", "source_row", "source_item"])
    assert len(np.unique(two)) == len(np.unique(three)) == 3
