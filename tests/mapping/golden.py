"""The golden cases of HealthSamurai/fhir2omop: how they are found, run and compared."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from mayo_data.mapping import cdm, seal
from mayo_data.mapping.mapper import Mapper
from mayo_data.mapping.vocabulary import Concept, MemoryVocabulary

SUITE = Path(__file__).resolve().parents[3] / "shared" / "suites" / "fhir2omop_cases"
SCOPED = {"Patient", "Location"}  # several maps read these; a case asserts one of them
OWNER = {  # column: table whose row a `ref:` means
    "person_id": "person", "visit_occurrence_id": "visit_occurrence", "provider_id": "provider",
    "care_site_id": "care_site", "location_id": "location", "preceding_visit_occurrence_id": "visit_occurrence",
}  # fmt: skip


class Case(NamedTuple):
    name: str
    about: str  # resource type
    table: str  # its first target
    resources: list[dict[str, Any]]
    expected: dict[str, list[dict[str, Any]]]


def cases() -> Iterator[Case]:
    for path in sorted((SUITE / "cases").glob("*.json")):
        body = json.loads(path.read_text(encoding="utf-8"))
        kind, table = path.stem.split("--")[:2]
        for at, case in enumerate(body["cases"]):
            resources = [*body.get("fixtures", ()), *case["fhir"]]
            about = next(
                (one["resourceType"] for one in resources if one["resourceType"].lower() == kind), kind.title()
            )
            yield Case(f"{path.stem}:{at}", about, table.replace("-", "_"), resources, case["omop"])


def vocabulary() -> MemoryVocabulary:
    with (SUITE / "vocabulary" / "concept.csv").open(encoding="utf-8", newline="") as file:
        concepts = [
            Concept(
                int(row["concept_id"]), row["domain_id"], row["vocabulary_id"], row["concept_class_id"],
                row["standard_concept"] == "S" and not row["invalid_reason"], row["concept_code"],
            )
            for row in csv.DictReader(file, delimiter="\t")
        ]  # fmt: skip
    with (SUITE / "vocabulary" / "concept_relationship.csv").open(encoding="utf-8", newline="") as file:
        pairs = [
            (int(row["concept_id_1"]), int(row["concept_id_2"]))
            for row in csv.DictReader(file, delimiter="\t")
            if row["relationship_id"] == "Maps to" and not row["invalid_reason"]
        ]
    return MemoryVocabulary(concepts, pairs)


def produced(case: Case, known: MemoryVocabulary) -> dict[str, list[dict[str, Any]]]:
    """Return the rows that a case is about, by table: those of its resources, or of all where a case names tables."""
    mapper = Mapper(known)
    for resource in case.resources:
        mapper.learn(resource)
    rows: dict[str, list[dict[str, Any]]] = {}
    for resource in case.resources:
        for table, row in mapper.rows(resource):
            if resource["resourceType"] == case.about:
                rows.setdefault(table, []).append({name: cdm.plain(value) for name, value in row.items()})
    if "observation_period" in (*case.expected, case.table):
        rows["observation_period"] = periods(rows, mapper.period_kind())
    if case.about in SCOPED:
        rows = {table: found for table, found in rows.items() if table in (*case.expected, case.table)}
    return rows


def periods(rows: dict[str, list[dict[str, Any]]], kind: int) -> list[dict[str, Any]]:
    with duckdb.connect() as db:
        for table in cdm.MADE:
            db.execute(seal.create(table))
            if rows.get(table):
                db.register("found", pa.Table.from_pylist(rows[table]))
                db.execute(f"INSERT INTO {table} BY NAME SELECT * FROM found")
        db.execute(seal.periods(kind))
        found = db.execute("SELECT * FROM observation_period").to_arrow_table().to_pylist()
    return [{name: cdm.plain(value) for name, value in row.items()} for row in found]


def differences(case: Case, rows: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Return what differs, one line a row or field; an expected row is compared with the most similar one."""
    told = []
    bound: dict[str, Any] = {}
    for table in sorted({*rows, *case.expected}):
        left = list(rows.get(table, []))
        for wanted in case.expected.get(table, []):
            if not left:
                told.append(f"{table}: a row is missing")
                continue
            best = min(left, key=lambda row: len(_row(table, wanted, row, dict(bound))))
            left.remove(best)
            told += _row(table, wanted, best, bound)
        told += [f"{table}: a row too many" for _ in left]
    return told


def _row(table: str, wanted: dict[str, Any], row: dict[str, Any], bound: dict[str, Any]) -> list[str]:
    told = []
    key = cdm.fields(table)[0].name
    for name in row:
        want = wanted.get(name)
        if name == key and name not in wanted:
            continue
        if isinstance(want, str) and want.startswith("id:"):
            same = bound.setdefault(want, row[name]) == row[name] and row[name] is not None
        elif isinstance(want, str) and want.startswith("ref:"):
            same = row[name] == cdm.key(OWNER[name], want[4:])
        elif isinstance(want, float):
            same = row[name] is not None and abs(row[name] - want) < 1e-9
        else:
            same = row[name] == want
        if not same:
            told.append(f"{table}.{name}: {row[name]!r} is not {want!r}")
    told += [f"{table}.{name}: no such field" for name in wanted if name not in row and not name.endswith("__name")]
    return told
