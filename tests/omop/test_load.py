"""Reading typed rows: the quick way and the thorough way say the same of whatever a cell may hold."""

from __future__ import annotations

import csv
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mayo_data.engine.relational import Session
from mayo_data.omop import load
from mayo_data.omop.model import tables
from mayo_data.pipeline import omop_load
from mayo_data.sources.omop import Part

FIELDS = ("measurement_id", "person_id", "measurement_datetime", "value_as_number", "value_source_value")
TABLE = tables()["measurement"]
CELLS = {
    "measurement_id": ["1", "2", " 3", "4.0", "5.5", "-9223372036854775808", "9223372036854775808", "x", "", "\\N", "1e3"],
    "person_id": ["1", "+2", "3.", "3.0001", "", "  ", "0x10"],
    "measurement_datetime": ["2020-01-05", "2020-01-05 10:11:12", "20200105", "2020-02-30", "", "soon", " 2020-01-05 ", "infinity"],
    "value_as_number": ["1", "1.50", "nan", "inf", "-0", "", "\\N", "high", "1e400", " 2 "],
    "value_source_value": ["a", "", "\\N", " ", 'say "no"', "x,y", "línea", "NULL"],
}  # fmt: skip


def read(db: Session, path: Path) -> list[tuple[object, ...]]:
    """The rows as a run reads them."""
    task = omop_load.LoadTask("measurement", ((7, Part("measurement", path, "csv")),), path.parent)
    omop_load.load_table(db, task)
    columns = ", ".join(FIELDS)
    return db.rows(
        f"SELECT source_table, source_row, twin, fate, fate_path, {columns} FROM loaded_measurement ORDER BY 2"
    )


def thorough(db: Session, path: Path) -> list[tuple[object, ...]]:
    """The same rows, each looked at closely."""
    given_ = [load.Given(name, "VARCHAR") for name in FIELDS]
    found, _ = load.columns(TABLE, given_)
    db.run(f"CREATE TABLE raw AS SELECT * FROM {load.csv(path, FIELDS, ',', True)}")
    db.run(f"CREATE VIEW typed AS {load.typed(TABLE, found, 'raw', 7)}")
    db.run(f"CREATE TABLE apart AS {load.told_apart(TABLE, list(found), 'typed')}")
    columns = ", ".join(FIELDS)
    return db.rows(f"SELECT source_table, source_row, twin, fate, fate_path, {columns} FROM apart ORDER BY 2")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*(st.sampled_from(CELLS[name]) for name in FIELDS)), min_size=1, max_size=6))
def test_both_ways_of_reading_agree(lines: list[tuple[str, ...]]) -> None:
    with TemporaryDirectory() as folder, Session(Path(folder) / "s1") as one, Session(Path(folder) / "s2") as other:
        path = Path(folder) / "measurement.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([FIELDS, *lines])
        assert repr(read(one, path)) == repr(thorough(other, path))


def test_a_table_without_a_fault_is_read_without_a_copy_of_its_text(tmp_path: Path) -> None:
    path = tmp_path / "measurement.csv"
    path.write_text(",".join(FIELDS) + "\n1,1,2020-01-05,1.5,a\n2,1,2020-01-06,,\n")
    with Session(tmp_path / "spill") as db:
        assert [row[3] for row in read(db, path)] == [None, None]
        assert not db.has("raw_7")
        assert not list(tmp_path.glob("*.ndjson"))


def test_branches_share_tables_and_keep_what_is_temporary_to_themselves(tmp_path: Path) -> None:
    with Session(tmp_path / "spill") as db, db.branch() as one, db.branch() as other:
        one.run("CREATE TABLE shared AS SELECT 1 AS a")
        one.run("CREATE TEMP TABLE own AS SELECT 2 AS a")
        other.run("CREATE TEMP TABLE own AS SELECT 3 AS a")
        assert [one.one("SELECT a FROM own"), other.one("SELECT a FROM own"), db.one("SELECT a FROM shared")] == [
            2,
            3,
            1,
        ]


@pytest.mark.parametrize("column", ["measurement_id", "person_id"])
def test_without_the_column_that_names_a_row_nothing_is_read(column: str, tmp_path: Path) -> None:
    path = tmp_path / "measurement.csv"
    path.write_text(",".join(name for name in FIELDS if name != column) + "\n")
    with Session(tmp_path / "spill") as db, pytest.raises(Exception, match=f"has no column {column}"):
        read(db, path)
