"""OMOP in, de-identified OMOP out: types, keys and references stay, identifiers do not."""

from __future__ import annotations

import csv
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mayo_data import keys
from mayo_data.omop.model import tables
from mayo_data.pipeline.scrubbed import scrub

Table = list[dict[str, str]]


@pytest.fixture(scope="module")
def out(synthetic_export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("omop-out")
    keys.generate(root / "site.key")
    scrub(synthetic_export / "omop_csv", root / "out", key_file=root / "site.key", workers=1)
    scrub(synthetic_export / "omop_parquet", root / "parquet", key_file=root / "site.key", workers=1)
    return root


def read(folder: Path) -> dict[str, Table]:
    found = {}
    for path in sorted(folder.glob("*.csv")):
        with path.open(newline="") as file:
            found[path.stem] = list(csv.DictReader(file))
    return found


def test_no_row_is_lost_and_every_column_stands_where_it_stood(out: Path, synthetic_export: Path) -> None:
    before, after = read(synthetic_export / "omop_csv"), read(out / "out")
    assert set(before) == set(after)
    for name, rows in before.items():
        assert len(after[name]) == len(rows), name
        assert list(after[name][0]) == list(rows[0]), name
    loss = json.loads((out / "out" / "loss.json").read_text())
    for table in loss["tables"]:
        assert table["rows_in"] == table["rows_out"] + sum(table["dropped"].values())


def test_keys_stay_keys_and_references_lead_home(out: Path, synthetic_export: Path) -> None:
    before, after = read(synthetic_export / "omop_csv"), read(out / "out")
    for name, rows in after.items():
        table = tables()[name]
        if table.of == "vocabulary":
            assert rows == before[name]
            continue
        if table.key:
            ids = [row[table.key] for row in rows]
            assert len(set(ids)) == len(ids), name
        for field in table.fields.values():
            if field.target not in after or field.name not in rows[0]:
                continue
            key = tables()[field.target].key or ""
            lost = [len({row[field.name] for row in side[name] if row[field.name]} - {row[key] for row in side[field.target]})
                    for side in (before, after)]  # fmt: skip
            assert lost[0] == lost[1], (name, field.name)
    costs = {row["cost_event_id"] for row in after["cost"]}
    assert costs <= {row["visit_occurrence_id"] for row in after["visit_occurrence"]}


def test_intervals_and_numbers_stay_and_days_move(out: Path, synthetic_export: Path) -> None:
    from datetime import date

    secret = keys.load(out / "site.key")

    def keyed(table: str) -> list[tuple[dict[str, str], dict[str, str]]]:
        """Rows of the source beside those that came out, which lie in another order."""
        before, after = (read(folder)[table] for folder in (synthetic_export / "omop_csv", out / "out"))
        key = f"{table}_id"
        named = secret.integers(f"omop:{table}", np.array([int(row[key]) for row in before], np.int64)).tolist()
        there = {int(row[key]): row for row in after}
        assert len(there) == len(after) == len(before)
        return [(row, there[number]) for row, number in zip(before, named, strict=True)]

    for old, new in keyed("visit_occurrence"):
        starts, ends = (
            [date.fromisoformat(row[f"visit_{part}_date"]) for row in (old, new)] for part in ("start", "end")
        )
        assert starts[0] != starts[1]
        assert ends[0] - starts[0] == ends[1] - starts[1]
    measured = [(old["value_as_number"], new["value_as_number"]) for old, new in keyed("measurement")]
    assert [old and float(old) for old, _ in measured] == [new and float(new) for _, new in measured]


def test_the_place_of_a_row_tells_nothing(out: Path, synthetic_export: Path) -> None:
    secret, before = keys.load(out / "site.key"), read(synthetic_export / "omop_csv")
    for form in ("out", "parquet"):
        found = {path.stem: pq.read_table(path).to_pylist() for path in (out / form).glob("*.parquet")} or read(
            out / form
        )
        for table in ("measurement", "visit_occurrence", "drug_exposure"):
            key = f"{table}_id"
            named = secret.integers(f"omop:{table}", np.array([int(row[key]) for row in before[table]], np.int64))
            place = {number: line for line, number in enumerate(named.tolist())}
            lines = [place[int(row[key])] for row in found[table]]
            assert sorted(lines) == list(range(len(lines)))
            upwards = sum(one < other for one, other in pairwise(lines)) / len(lines)
            assert 0.3 < upwards < 0.7, table  # a shuffled row goes up half of the time


def test_identifiers_are_gone(out: Path, synthetic_export: Path) -> None:
    before = read(synthetic_export / "omop_csv")
    after = "\n".join(path.read_text() for path in (out / "out").glob("*.csv"))
    hidden = [row["person_source_value"] for row in before["person"]]
    hidden += [value for row in before["location"] for value in (row["address_1"], row["zip"]) if len(value) > 5]
    hidden += [value for row in before["provider"] for value in (row["npi"], row["dea"], row["provider_source_value"])]
    hidden += [row["visit_source_value"] for row in before["visit_occurrence"]]
    hidden += [row["family_source_value"] for row in before["payer_plan_period"]]
    assert len(hidden) > 100
    assert [value for value in hidden if value and value in after] == []


def test_parquet_stays_parquet_with_its_types(out: Path, synthetic_export: Path) -> None:
    old = pq.read_schema(synthetic_export / "omop_parquet" / "measurement.parquet")
    new = pq.read_schema(out / "parquet" / "measurement.parquet")
    assert old.names == new.names
    assert [str(new.field(name).type) for name in ("measurement_id", "measurement_date", "measurement_datetime")] == [
        "int64", "date32[day]", "timestamp[us]",
    ]  # fmt: skip
