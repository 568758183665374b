from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mayo_data import schema
from mayo_data.errors import StoreError
from mayo_data.lineage.ledger import Ledger
from mayo_data.lineage.trace import trace

EVENTS = 4_000


def write(path: Path, name: str, rows: list[dict[str, Any]]) -> None:
    wanted = schema.table(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist([{column: row.get(column) for column in wanted.names} for row in rows], schema=wanted)
    pq.write_table(table, path, row_group_size=200)


def event(number: int) -> dict[str, Any]:
    """Line n of file 1 or 2 is about subject n % 40 and gives events 0 and 1."""
    table, row, item = 1 + number % 2, 1 + number // 4, number // 2 % 2
    where = {"source_table": table, "source_row": row, "source_item": item, "scrub_ref": table}
    return {
        "subject_id": row % 40,
        "time": datetime(2020, 1, 1),
        "code": f"C{number}",
        "numeric_value": 1.5,
        **where,
    }


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("store") / "snapshots" / "000001"
    rows = sorted((event(number) for number in range(EVENTS)), key=lambda row: row["subject_id"])
    resources = [
        {"resource_type": "Observation", "resource_key": row["source_row"], "events": 2, **row}
        for row in rows
        if not row["source_item"]
    ]
    for shard in range(4):
        mine = [row for row in rows if row["subject_id"] % 4 == shard]
        write(root / "data" / f"{shard:04d}.parquet", "events", mine)
        theirs = sorted((row for row in resources if row["subject_id"] % 4 == shard), key=lambda row: row["source_row"])
        write(root / "lineage" / "resources" / f"{shard:04d}.parquet", "resources", theirs)
    spot = {
        "path": "note[0].text",
        "category": "PATIENT",
        "recognizer": "known",
        "score": 1.0,
        "action": "surrogate",
    }
    decisions = [
        {"source_table": 2, "source_row": 5, "subject_id": 5, "start": start, "end": start + 4, **spot}
        for start in (30, 10)
    ]
    write(root / "lineage" / "decisions" / "0000.parquet", "decisions", decisions)
    file = {"name_key": "k", "bytes": 10, "rows": 9, "format": "ndjson"}
    sources = [{"source_table": n, "sha256": f"sha-{n}", "run_id": f"r{n}", **file} for n in (1, 2)]
    write(root / "lineage" / "sources.parquet", "sources", sources)
    rule = {"policy": "p", "policy_fingerprint": "f", "detector": "d", "key_id": "k", "code_version": "0"}
    write(
        root / "lineage" / "scrubs.parquet",
        "scrubs",
        [{"scrub_ref": n, "run_id": f"r{n}", **rule} for n in (1, 2)],
    )
    return root


@pytest.fixture(scope="module")
def book(snapshot: Path) -> Path:
    ledger = Ledger(snapshot.parents[1] / "ledger" / "ledger.jsonl")
    for run in ("r1", "r2", "r22"):
        ledger.append("run", {"run_id": run})
        ledger.append("step", {"run_id": run, "name": "scrub"})
        ledger.append("step", {"run_id": run, "name": "build"})
        ledger.append("snapshot", {"run_id": run, "of": "r2"})
    return ledger.path


def test_the_way_back_is_complete(snapshot: Path, book: Path) -> None:
    found = trace(snapshot, book, "2.5.1")
    assert found["event"]["subject_id"] == 5
    assert found["event"]["time"] == "2020-01-01T00:00:00"
    assert found["source"] == {
        "source_table": 2,
        "name_key": "k",
        "sha256": "sha-2",
        "bytes": 10,
        "rows": 9,
    } | {
        "format": "ndjson",
        "run_id": "r2",
        "row": 5,
    }
    assert (found["resource"]["resource_type"], found["resource"]["resource_key"]) == ("Observation", 5)
    assert (found["scrub"]["policy_fingerprint"], found["scrub"]["key_id"]) == ("f", "k")
    assert [(spot["start"], spot["end"], spot["category"]) for spot in found["decisions"]] == [
        (10, 14, "PATIENT"),
        (30, 34, "PATIENT"),
    ]
    assert found["run"]["body"] == {"run_id": "r2"}
    assert [step["body"]["name"] for step in found["steps"]] == ["scrub", "build"]
    assert len(found["snapshots"]) == 1
    assert orjson.loads(orjson.dumps(found)) == found


def test_every_event_leads_to_its_own_line(snapshot: Path, book: Path) -> None:
    for number in range(0, EVENTS, 97):
        row = event(number)
        found = trace(snapshot, book, f"{row['source_table']}.{row['source_row']}.{row['source_item']}")
        assert found["event"]["code"] == row["code"]
        assert found["source"]["sha256"] == f"sha-{row['source_table']}"
        assert found["resource"]["source_row"] == found["source"]["row"] == row["source_row"]


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "1.1",
        "1.1.1.1",
        "a.b.c",
        "-1.2.3",
        "1.2.3\n",
        " 1.2.3",
        "１.2.3",
        "1.99999999999999999999.0",
        "9999999999.1.0",
        "2147483648.1.0",
    ],
)
def test_a_malformed_id_is_refused_and_not_repeated(snapshot: Path, book: Path, wrong: str) -> None:
    with pytest.raises(StoreError, match="no event id") as caught:
        trace(snapshot, book, wrong)
    assert caught.value.hint


@pytest.mark.parametrize("unknown", ["1.5.9", "3.5.0", "1.9223372036854775807.0"])
def test_an_unknown_event_is_an_error(snapshot: Path, book: Path, unknown: str) -> None:
    with pytest.raises(StoreError, match="no such event") as caught:
        trace(snapshot, book, unknown)
    assert caught.value.hint


def test_a_missing_file_is_an_error_of_ours(book: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="missing or unreadable"):
        trace(tmp_path, book, "1.1.0")


def test_without_a_ledger_the_rest_is_known(snapshot: Path, tmp_path: Path) -> None:
    found = trace(snapshot, tmp_path / "none", "1.7.0")
    assert (found["run"], found["steps"]) == (None, [])
    assert found["resource"] is not None
