from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mayo_data.errors import StoreError
from mayo_data.store import catalog, validate, write
from mayo_data.store.layout import Store

VIEWS = {
    "event", "subject", "encounter", "condition", "medication", "measurement", "procedure", "note", "code", "lineage", "fact",
    "source", "arrival", "resource", "scrub", "decision", "macro",
}  # fmt: skip


def test_it_has_the_tables_and_says_what_every_column_means(store: Store) -> None:
    with catalog.connect(store.root) as db:
        assert {name for (name,) in db.sql("SHOW TABLES").fetchall()} == VIEWS
        where = "WHERE NOT internal AND coalesce(comment, '') = ''"
        assert db.sql(f"SELECT table_name, column_name FROM duckdb_columns() {where}").fetchall() == []
        assert db.sql(f"SELECT view_name FROM duckdb_views() {where}").fetchall() == []
        assert db.sql(f"SELECT table_name FROM duckdb_tables() {where}").fetchall() == []


def test_a_subject_is_summed_up(store: Store, made: Any) -> None:
    with catalog.connect(str(store.root)) as db:
        row = db.sql(f"FROM subject WHERE subject_id = {made.subjects[2]}").fetchall()
        born, died, first = datetime(1950, 1, 2), datetime(2021, 5, 5), datetime(2020, 3, 1, 8, 30, 0, 123456)
        who = (made.subjects[2], "train", born, died, True, "female", "White", None, "021")
        assert row == [(*who, first, died, 8)]
        assert db.sql("SELECT encounter_id, status, codes FROM encounter WHERE subject_id = 7").fetchall() == [
            (9, "finished", ["ENCOUNTER//ACT_CODE//AMB"])
        ]
        assert db.sql("SELECT text FROM note WHERE subject_id = 7").fetchall() == [("Seen in clinic.",)]


def test_a_timeline_is_in_order(store: Store) -> None:
    with catalog.connect(store.root) as db:
        rows = db.sql("SELECT time, code, event_id FROM timeline(7)").fetchall()
    assert [code for _, code, _ in rows][:4] == [
        "SEX//female",
        "RACE//CDCREC//2106-3",
        "ZIP3//021",
        "MEDS_BIRTH",
    ]
    assert [event_id for _, _, event_id in rows] == [f"1.7.{n}" for n in range(8)]


def test_it_moves_with_the_store(store: Store, tmp_path: Path) -> None:
    there = tmp_path / "else where" / "it's [here]*"
    there.parent.mkdir()
    shutil.move(store.root, there)
    with catalog.connect(there) as db:
        assert db.sql("SELECT count(*) FROM event JOIN code USING (code)").fetchall() == [(24,)]
        assert db.cursor().execute("SELECT count(*) FROM timeline(42)").fetchall() == [(8,)]


def test_files_in_the_working_directory_are_not_mistaken_for_the_store(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in catalog.FILES.values():
        other = tmp_path / "cwd" / path.replace("*.parquet", ".parquet").replace("/.parquet", "/0000.parquet")
        other.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"subject_id": [-1], "code": ["WRONG"]}), other)
    monkeypatch.chdir(tmp_path / "cwd")
    with catalog.connect(store.root) as db:
        assert db.sql("SELECT count(*) FROM event").fetchall() == [(24,)]
        for view in sorted(VIEWS):
            assert "WRONG" not in str(db.sql(f"FROM {view}").fetchall())


def test_nothing_can_be_written_and_nothing_loaded(store: Store) -> None:
    with catalog.connect(store.root) as db:
        for statement in (
            "CREATE TABLE x (a INTEGER)",
            "DROP VIEW event",
            "DELETE FROM subject",
            "UPDATE subject SET sex = 'x'",
        ):
            with pytest.raises(duckdb.Error):
                db.execute(statement)
        settings = "('autoinstall_known_extensions', 'autoload_known_extensions')"
        found = db.sql(f"SELECT DISTINCT value FROM duckdb_settings() WHERE name IN {settings}").fetchall()
        assert found == [("false",)]
        assert db.sql("SELECT current_setting('TimeZone')").fetchall() == [("UTC",)]
        db.execute("CREATE TEMP TABLE cohort AS SELECT DISTINCT subject_id FROM event")  # an analyst's own
    assert validate.validate(store.root) == []  # neither a new file nor a changed one


def test_a_big_query_does_not_spill_into_the_snapshot(store: Store) -> None:
    with catalog.connect(store.root) as db:
        spill = db.sql("SELECT current_setting('temp_directory')").fetchall()[0][0]
    assert not Path(spill).is_relative_to(store.root)


def test_an_older_snapshot_can_be_asked(store: Store, made: Any) -> None:
    draft = store.staging("b")
    made.draft(draft, made.subjects[:1])
    made.seal(draft, previous="000001")
    store.commit(draft)
    with catalog.connect(store.root) as new, catalog.connect(store.root, "000001") as old:
        assert (len(new.sql("FROM subject").fetchall()), len(old.sql("FROM subject").fetchall())) == (1, 3)


def test_what_is_missing_is_said(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such snapshot"):
        catalog.connect(store.root, "000009")
    with pytest.raises(StoreError, match="no store"):
        catalog.connect(tmp_path)
    (store.current() / catalog.NAME).unlink()
    with pytest.raises(StoreError, match="cannot be opened"):
        catalog.connect(store.root)


def test_a_snapshot_without_a_table_gets_no_catalog(tmp_path: Path, made: Any) -> None:
    made.draft(tmp_path)
    with pytest.raises(StoreError, match="missing or unreadable"):
        catalog.build_catalog(tmp_path)  # resources and decisions are not there


def test_hostile_text_stays_text(tmp_path: Path, made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = tmp_path / "d"
    made.draft(draft)
    rows = [{"code": code, "description": "'; DROP TABLE subjects; --\x00"} for code in ("SEX//female", "SEX//'")]
    write.write_table(made.table("codes", rows), draft / "metadata" / "codes.parquet", schema_name="codes")
    made.seal(draft)
    with duckdb.connect(str(draft / catalog.NAME), read_only=True) as db:
        monkeypatch.chdir(draft)  # as in DuckDB's own shell, without md.connect
        assert db.sql("SELECT count(*) FROM subject").fetchall() == [(3,)]
        assert db.sql("SELECT count(*) FROM event").fetchall() == [(24,)]
