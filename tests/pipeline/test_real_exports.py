"""The real exports of ../shared: they commit, balance, validate, open elsewhere, keep every interval, and name nobody.

What is searched, and how. (a) Everything that the Patient resource says of a subject, in all strings of that subject:
names as printed (Synthea writes `Abbott774`, so they are no words of the language), numbers, addresses. (b) Full names,
MRN, SSN, phone numbers and streets of all patients, in every string of the store and in its raw bytes. Birth dates only
among the strings of their own subject: a moved date of one person may fall on another's birthday.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hospital import KEY, balanced, go

import mayo_data as md
from mayo_data.keys import Secret
from mayo_data.lineage.ledger import verify
from mayo_data.pipeline import RunReport

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "fhir"
NAMES = ["synthea_notes_79", "mimic_iv_demo", "synthea_615"]
SECRET = Secret(KEY)
DAY = timedelta(days=1)
AS_OF = "2024-01-01"  # the reference day of the pipeline that these tests use
STRINGS = ("code", "text_value", "unit", "status", "value_text")

_MOMENT = re.compile(rb'"(\d{4}-\d\d-\d\d(?:T\d\d:\d\d[^"]{0,30})?)"')
_VISIT = re.compile(rb'"reference"\s*:\s*"Encounter/([^"]+)"')
_ANY_DATE = re.compile(
    r"\b\d{4}-\d\d-\d\d\b|\b\d{1,2}/\d{1,2}/(?:\d\d){1,2}\b"
    r"|\b(?:January|February|March|April|May|June|July|August|September|October|November|December) \d{1,2}\b"
)


class Run(NamedTuple):
    source: Path
    store: Path
    report: RunReport


@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.slow) for name in NAMES])
def done(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    source = SHARED / request.param
    if not source.is_dir():
        pytest.skip("../shared is not here: this machine has no real exports")
    store = tmp_path_factory.mktemp(request.param) / "store"
    return Run(source, store, go(source, store, workers=2))


def rows(source: Path, pattern: str = "*") -> Iterator[tuple[int, int, bytes]]:
    """Number of the file, line, and the line itself: what the lineage of an event leads to."""
    for table, path in enumerate(sorted(path for path in source.rglob("*.ndjson.gz"))):
        if path.match(pattern):
            with gzip.open(path, "rb") as file:
                for number, line in enumerate(file, 1):
                    yield table, number, line


def patients(source: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for _, _, line in rows(source, "*Patient.ndjson.gz")]


def names(patient: dict[str, Any]) -> set[str]:
    """Every name of a patient, and relatives of whom the record tells."""
    found: set[str] = set()
    for name in patient.get("name", []):
        found |= {name.get("family", ""), *name.get("given", [])}
    for extension in patient.get("extension", []):
        if extension["url"].endswith("mothersMaidenName"):
            found |= set(extension["valueString"].split())
    return {name for name in found if sum(map(str.isalpha, name)) >= 3}


def numbers(patient: dict[str, Any]) -> set[str]:
    """MRN, SSN, licences, phone numbers, the id, and streets."""
    found = {patient["id"], *(entry["value"] for entry in patient.get("identifier", []))}
    found |= {entry["value"] for entry in patient.get("telecom", [])}
    found |= {line for address in patient.get("address", []) for line in address.get("line", [])}
    return {text for text in found if len(text) >= 6}


def full_names(patient: dict[str, Any]) -> set[str]:
    found = set()
    for name in patient.get("name", []):
        for given in name.get("given", []):
            found |= {f"{given} {name['family']}", f"{name['family']}, {given}", f"{name['family']} {given}"}
    return found


def ordinary_words(source: Path) -> set[str]:
    """Names without digits that are also words of public codes: `White` is a race before it is a mother's name."""
    found: set[str] = set()
    for _, _, line in rows(source):
        for display in re.findall(rb'"display"\s*:\s*"([^"\\]*)"', line):
            found.update(display.decode().split())
    return {word for word in found if word.isalpha()}


def strings(store: Path) -> dict[int, set[str]]:
    """All output strings of each subject, descriptions of its codes included."""
    path = md.open(store).path
    described = {row["code"]: row for row in pq.read_table(path / "metadata" / "codes.parquet").to_pylist()}
    found: dict[int, set[str]] = defaultdict(set)
    for batch in ds.dataset(path / "data").to_batches(columns=["subject_id", *STRINGS]):
        subjects = batch.column("subject_id").to_pylist()
        for name in STRINGS:
            for subject, text in set(zip(subjects, batch.column(name).to_pylist(), strict=True)):
                if text is not None:
                    found[subject].add(text)
                    if name == "code":
                        found[subject] |= {
                            described[text]["description"] or "",
                            *(described[text]["parent_codes"] or ()),
                        }
    return found


def test_it_commits_and_every_arrow_balances(done: Run) -> None:
    balanced(done.report)
    lines = sum(1 for _ in rows(done.source))
    assert done.report.steps[0].rows_in == lines
    assert done.report.steps[0].rows_out == lines
    assert done.report.steps[1].dropped == {}, "all of it is valid FHIR"
    assert set(done.report.steps[2].dropped) <= {"not_about_a_patient", "type_not_in_policy"}
    assert done.report.subjects == len(patients(done.source))
    assert [verdict for verdict in done.report.verdicts if not verdict.passed and verdict.action == "stop"] == []
    assert not list((done.store.with_name("store.phi") / "quarantine").rglob("*.ndjson"))


def test_it_is_a_valid_meds_dataset_for_others_too(done: Run) -> None:
    assert md.validate(done.store) == []
    assert verify(md.open(done.store).store.ledger) == []
    meds_reader = pytest.importorskip("meds_reader")
    import subprocess
    import sys

    target = done.store.parent / "reader"
    command = [
        Path(sys.executable).parent / "meds_reader_convert",
        md.open(done.store).path,
        target,
        "--num_threads",
        "2",
    ]
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    with meds_reader.SubjectDatabase(str(target)) as database:
        assert len(database) == done.report.subjects
        assert sum(len(database[subject].events) for subject in database) == done.report.events


def test_nobody_is_named(done: Run) -> None:
    found = strings(done.store)
    every = "\n".join(set().union(*found.values()))
    low = every.lower()
    tokens = set(re.findall(r"[^\W_]+", low))
    ordinary = ordinary_words(done.source)
    for number, patient in enumerate(patients(done.source)):
        subject = SECRET.subject_id(f"Patient/{patient['id']}")
        assert subject in found, f"patient {number} has no events"
        own = "\n".join(found[subject]).lower()
        words = set(re.findall(r"[^\W_]+", own))
        assert [
            name for name in names(patient) - ordinary if name.lower() in words or ("_" in name and name.lower() in own)
        ] == []
        assert [text for text in numbers(patient) if text.lower() in own] == []
        assert [name for name in full_names(patient) if name.lower() in low] == []
        assert [text for text in numbers(patient) if text.lower() in low] == []
        assert [name for name in names(patient) if any(map(str.isdigit, name)) and name.lower() in tokens] == []


def test_no_file_of_the_store_names_anybody(done: Run) -> None:
    sought = {text.encode() for patient in patients(done.source) for text in numbers(patient) | full_names(patient)}
    sought |= {path.name.partition(".")[0].encode() + b".ndjson" for path in done.source.glob("*.ndjson.gz")}
    for path in done.store.rglob("*"):
        if path.is_file() and path.suffix in (".json", ".jsonl", ".duckdb"):
            raw = path.read_bytes()
            assert [1 for token in sought if token in raw] == [], path.name


def test_birthdays_are_moved(done: Run) -> None:
    found = strings(done.store)
    data = ds.dataset(md.open(done.store).path / "data")
    births = data.to_table(columns=["subject_id", "time"], filter=ds.field("code") == "MEDS_BIRTH").to_pylist()
    born = {row["subject_id"]: row["time"].date() for row in births}
    for patient in patients(done.source):
        subject = SECRET.subject_id(f"Patient/{patient['id']}")
        birth = date.fromisoformat(patient["birthDate"])
        assert born[subject] != birth
        last = date.fromisoformat(patient.get("deceasedDateTime", AS_OF)[:10])
        if min(last, date.fromisoformat(AS_OF)).year - birth.year > 90:
            assert born[subject].year > birth.year  # one group of everybody over 89 (45 CFR 164.514(b)(2)(i)(C))
        elif min(last, date.fromisoformat(AS_OF)).year - birth.year < 89:
            assert born[subject] == birth + SECRET.offset_days(subject) * DAY
        # Elsewhere in the subject's text. A date of an infant's record may be moved onto the birthday: not a leak.
        if born[subject].year < 2000:
            own = "\n".join(found[subject])
            forms = [birth.isoformat(), f"{birth:%m/%d/%Y}", f"{birth:%B} {birth.day}, {birth.year}", f"{birth:%Y%m%d}"]
            near = [
                form
                for form in forms
                if re.search(rf"(?:born|birth|dob)\D{{0,20}}{re.escape(form)}", own, re.IGNORECASE)
            ]
            assert near == []


def micros(text: bytes) -> int | None:
    try:
        moment = datetime.fromisoformat(text.decode())
    except ValueError:
        return None
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(microseconds=1)


def test_every_interval_is_kept_exactly(done: Run) -> None:
    """Each event lies its subject's offset, to the microsecond, from a date of the line that it comes from.

    A line without a date of its own (the diagnoses of MIMIC) may take that of its encounter.
    """
    wanted: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    offsets: dict[int, int] = {}
    columns = ["subject_id", "time", "end_time", "code", "source_table", "source_row"]
    checked = 0
    for batch in ds.dataset(md.open(done.store).path / "data").to_batches(columns=columns):
        times = [batch.column(name).cast("int64").to_pylist() for name in ("time", "end_time")]
        others = [batch.column(name).to_pylist() for name in ("subject_id", "code", "source_table", "source_row")]
        for time, end, subject, code, table, row in zip(*times, *others, strict=True):
            offset = offsets.setdefault(subject, SECRET.offset_days(subject) * 86_400_000_000)
            if code != "MEDS_BIRTH":
                wanted[table, row] += [(at - offset, at) for at in (time, end) if at is not None]
    known: dict[bytes, int | None] = {}

    def dates(line: bytes) -> set[int | None]:
        found = set(_MOMENT.findall(line))
        known.update({text: micros(text) for text in found if text not in known})
        return {known[text] for text in found}

    visits = {
        orjson.loads(line)["id"].encode(): dates(line) for _, _, line in rows(done.source, "*Encounter*.ndjson.gz")
    }
    for table, row, line in rows(done.source):
        sought = wanted.pop((table, row), None)
        if sought:
            said = dates(line)
            if not said:
                visit = _VISIT.search(line)
                said = visits[visit[1]] if visit else set()
            # An end that is known to the day only may be put to the start (FHIR Period): then the start is said.
            assert all(at in said for at, _ in sought), f"file {table}, line {row}"
            checked += len(sought)
    assert not wanted
    assert checked > 90_000


def test_units_and_public_codes_are_as_in_the_source(done: Run) -> None:
    """A scrub that writes names into units or into the words of public terminologies makes data useless."""
    said: set[str] = set()
    for _, _, line in rows(done.source):
        said.update(
            orjson.loads(text) for text in re.findall(rb'"(?:unit|currency|code)"\s*:\s*("(?:[^"\\]|\\.){1,80}")', line)
        )
    units = {
        text
        for batch in ds.dataset(md.open(done.store).path / "data").to_batches(columns=["unit"])
        for text in batch.column(0).unique().to_pylist()
    }
    allowed = said | {
        f"{above}/{below}" for above in said for below in ("h", "hr", "1", "/hr", "L", "mL") if len(above) < 20
    }
    assert [unit for unit in units - allowed if unit] == []
    displays = set()
    for _, _, line in rows(done.source):
        displays.update(zlib.crc32(text) for text in re.findall(rb'"(?:display|text)"\s*:\s*"((?:[^"\\]|\\.)*)"', line))
    codes = pq.read_table(md.open(done.store).path / "metadata" / "codes.parquet").to_pylist()
    public = [row for row in codes if row["description"] and not re.search("//(MASKED|TEXT|UNKNOWN)", row["code"])]
    changed = [row["code"] for row in public if zlib.crc32(orjson.dumps(row["description"])[1:-1]) not in displays]
    assert len(changed) <= len(public) // 200, changed[:20]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_safe_harbor_leaves_years_only(name: str, tmp_path: Path) -> None:
    if not (SHARED / name).is_dir():
        pytest.skip("../shared is not here: this machine has no real exports")
    report = go(SHARED / name, tmp_path / "store", workers=2, phi={"policy": "safe_harbor"})
    balanced(report)
    assert md.validate(tmp_path / "store") == []
    data = ds.dataset(md.open(tmp_path / "store").path / "data")
    for batch in data.to_batches(columns=["time", "end_time", "available_time", *STRINGS]):
        for column in ("time", "end_time", "available_time"):
            days = {(at.month, at.day, at.hour, at.minute) for at in batch.column(column).unique().to_pylist() if at}
            assert days <= {(1, 1, 0, 0)}
        for code in batch.column("code").unique().to_pylist():
            assert not code.startswith("ZIP3//") or re.fullmatch(r"ZIP3//\d{3}", code)
        for column in ("text_value", "value_text", "status", "unit"):
            for text in batch.column(column).unique().to_pylist():
                assert not text or not _ANY_DATE.search(text), column
    ids = set(data.to_table(columns=["subject_id"])["subject_id"].unique().to_pylist())
    assert not ids & {SECRET.subject_id(f"Patient/{patient['id']}") for patient in patients(SHARED / name)}
