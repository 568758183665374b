"""The two sides of an attack: what the raw export says of its people, and what a store says of its subjects."""

from __future__ import annotations

import csv
import gzip
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from mayo_data.omop.model import tables
from mayo_data.phi import omop_people
from mayo_data.sources import omop
from mayo_data.store.write import sha256

DATES = ("effectiveDateTime", "recordedDate", "authoredOn", "performedPeriod", "performedDateTime", "period", "issued")


@dataclass
class Person:
    """What one side knows of one person."""

    lines: set[tuple[int, int]] = field(default_factory=set)
    codes: Counter[str] = field(default_factory=Counter)
    days: set[date] = field(default_factory=set)  # of encounters
    dated: set[tuple[str, date]] = field(default_factory=set)
    resources: int = 0
    first: int = 0
    bytes: int = 0
    stays: dict[tuple[int, int], date] = field(default_factory=dict)  # encounters, by file and line


People = Mapping[Any, Person]


def raw(export: Path, snapshot: Path) -> tuple[dict[str, Person], dict[int, Path]]:
    """What an export says, by patient (`Patient/1`), and its files by number: their digests stand in the lineage."""
    sources = pq.read_table(snapshot / "lineage" / "sources.parquet").to_pylist()
    numbers = {row["sha256"]: row["source_table"] for row in sources}
    return (_omop if omop.is_omop(export) else _fhir)(export, numbers)


def _fhir(export: Path, numbers: Mapping[str, int]) -> tuple[dict[str, Person], dict[int, Path]]:
    people: dict[str, Person] = defaultdict(Person)
    files = sorted(path for path in export.rglob("*") if ".ndjson" in path.name)
    for path in files:
        number = numbers.get(sha256(path), -1)
        unpack: Callable[[Path], Any] = gzip.open if path.suffix == ".gz" else Path.open
        with unpack(path) as file:
            for line, text in enumerate(file, 1):
                body = orjson.loads(text)
                ref = (body.get("subject") or body.get("patient") or {}).get("reference", "")
                who = body["id"] if body["resourceType"] == "Patient" else ref.rpartition("/")[2].rpartition(":")[2]
                if not who or (body["resourceType"] != "Patient" and "Patient" not in ref and "urn:" not in ref):
                    continue
                person = people["Patient/" + who]
                person.lines.add((number, line))
                person.first = person.first or len(people)
                if body["resourceType"] == "Patient":
                    continue
                person.resources += 1
                person.bytes += len(text)
                day = _day(body)
                concept = body.get("code") or body.get("medicationCodeableConcept") or {}
                for code in {coding.get("code") for coding in concept.get("coding", [])}:
                    person.codes[code] += 1
                    if day:
                        person.dated.add((code, day))
                if day and body["resourceType"] == "Encounter":
                    person.days.add(day)
                    person.stays[number, line] = day
    return {who: one for who, one in people.items() if one.resources}, dict(enumerate(files))


def _omop(export: Path, numbers: Mapping[str, int]) -> tuple[dict[str, Person], dict[int, Path]]:
    people: dict[str, Person] = defaultdict(Person)
    found = omop.discover(export, tables())
    codes: dict[str, str] = {}
    for part in found.parts:
        if part.table == "concept":
            codes = {row["concept_id"]: row["concept_code"] for row in _rows(part.path)}
    for part in found.parts:
        number = numbers.get(sha256(part.path), -1)
        for line, row in enumerate(_rows(part.path), 1):
            if not row.get("person_id"):
                continue
            person = people[omop_people.reference(int(row["person_id"]))]
            person.lines.add((number, line))
            person.first = person.first or len(people)
            if part.table == "person":
                continue
            person.resources += 1
            person.bytes += sum(map(len, row.values()))
            kind = part.table.partition("_")[0]
            code = codes.get(row.get(f"{kind}_concept_id", ""), "")
            days = (
                row[name] for name in (f"{part.table}_start_date", f"{kind}_start_date", f"{kind}_date") if name in row
            )
            said = next((day for day in days if day), None)
            person.codes[code] += 1
            if said:
                day = date.fromisoformat(said[:10])
                person.dated.add((code, day))
                if part.table == "visit_occurrence":
                    person.days.add(day)
                    person.stays[number, line] = day
    return dict(people), {number: part.path for number, part in enumerate(found.parts)}


def _rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        return [{name.lower(): value or "" for name, value in row.items()} for row in csv.DictReader(file)]


def _day(body: dict[str, Any]) -> date | None:
    for name in DATES:
        value = body.get(name)
        value = value.get("start") if isinstance(value, dict) else value
        if isinstance(value, str) and len(value) >= 10:
            return date.fromisoformat(value[:10])
    return None


def stored(snapshot: Path) -> dict[int, Person]:
    """What the store says, by subject."""
    people: dict[int, Person] = defaultdict(Person)
    columns = ["subject_id", "time", "code", "source_table", "source_row"]
    for batch in ds.dataset(snapshot / "data", format="parquet").to_batches(columns=columns):
        for row in zip(*(batch.column(name).to_pylist() for name in columns), strict=True):
            subject, time, code, table, line = row
            person = people[subject]
            person.lines.add((table, line))
            person.codes[code.rpartition("//")[2]] += 1
            if time is not None and not code.startswith("MEDS_"):
                if code.startswith("ENCOUNTER//"):
                    person.days.add(time.date())
                person.dated.add((code.rpartition("//")[2], time.date()))
    arrived = pq.read_table(snapshot / "lineage" / "arrivals.parquet")
    if not arrived.num_rows:  # of tables, only the rows themselves are counted
        held = ds.dataset(snapshot / "lineage" / "resources", format="parquet").to_table()
        arrived = held.group_by(["subject_id", "resource_type"]).aggregate([([], "count_all")])
        arrived = arrived.rename_columns(["subject_id", "resource_type", "resources"])
    for row in arrived.to_pylist():
        if row["resource_type"] not in ("Patient", "person") and row["subject_id"] in people:
            people[row["subject_id"]].resources += row["resources"]
    return dict(people)
