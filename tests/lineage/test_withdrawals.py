from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mayo_data.errors import StoreError
from mayo_data.lineage import withdrawals
from mayo_data.lineage.ledger import Ledger


@pytest.fixture
def book(tmp_path: Path) -> Ledger:
    ledger = Ledger(tmp_path / "ledger" / "ledger.jsonl")
    ledger.append("run", {"run_id": "r", "subject_id": 99})
    ledger.append("withdrawal", {"subject_id": 7, "models": ["T-1"]})
    ledger.append("inference", {"subject_id": 8, "note": '"kind":"withdrawal"'})
    ledger.append("erasure", {"subject_id": 2**62, "models": ["T-2"]})
    return ledger


def test_only_withdrawals_and_erasures_count(book: Ledger) -> None:
    assert withdrawals.withdrawn(book.path) == {7, 2**62}
    assert withdrawals.tainted(book.path) == {"T-1", "T-2"}


def test_a_snapshot_knows_how_many_of_its_subjects_withdrew(book: Ledger, tmp_path: Path) -> None:
    folder = tmp_path / "snapshots" / "000001" / "metadata"
    folder.mkdir(parents=True)
    table = pa.table({"subject_id": pa.array([1, 7, 8], pa.int64()), "split": ["train"] * 3})
    pq.write_table(table, folder / "subject_splits.parquet")
    assert withdrawals.within(folder.parent, book.path) == 1
    assert withdrawals.within(folder.parent, tmp_path / "none.jsonl") == 0


def test_a_damaged_ledger_is_an_error_and_not_an_empty_answer(book: Ledger) -> None:
    text = book.path.read_bytes()
    book.path.write_bytes(text.replace(b'"subject_id":7', b'"subject_id":x'))
    with pytest.raises(StoreError, match="damaged"):
        withdrawals.withdrawn(book.path)
    book.path.write_bytes(text.replace(b'"subject_id":7', b'"subjekt_id":7'))
    with pytest.raises(StoreError, match="damaged"):
        withdrawals.withdrawn(book.path)


def test_a_record_that_is_being_written_is_not_seen(book: Ledger) -> None:
    text = book.path.read_bytes()
    book.path.write_bytes(text[:-1])
    assert withdrawals.withdrawn(book.path) == {7}
