"""What arrived when, from which file, and what is missing against the manifest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import mayo_data as md
from mayo_data import keys
from mayo_data.errors import StoreError
from mayo_data.pipeline import run_file


def test_counts_are_those_of_the_store(synthetic_store: Path) -> None:
    found = md.completeness(synthetic_store)
    with md.connect(synthetic_store) as db:
        resources = dict(db.sql("select resource_type, count(*) from resource group by all").fetchall())
        subject = db.sql("select min(subject_id) from subject").fetchall()[0][0]
    assert {row["resource_type"]: row["with_events"] for row in found["types"] if row["with_events"]} == resources
    assert all(row["resources"] >= row["with_events"] for row in found["types"])
    assert all(row["first_arrived"] for row in found["types"])
    assert all(source["arrived"] and source["missing"] is None for source in found["sources"])
    own = md.completeness(synthetic_store, subject)["subject"]
    assert {row["resource_type"] for row in own} <= set(resources)
    with pytest.raises(StoreError):
        md.completeness(synthetic_store, 1)


def test_what_the_manifest_lists_and_the_file_lacks_is_missing(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    patient = {"resourceType": "Patient", "id": "p1", "gender": "female"}
    (source / "Patient.ndjson").write_text(json.dumps(patient) + "\n")
    listed = [{"type": "Patient", "url": "https://example.org/Patient.ndjson", "count": 3}]
    (source / "manifest.json").write_text(json.dumps({"output": listed}))
    keys.generate(tmp_path / "site.key")
    run_file("fhir.toml", source, tmp_path / "store", key_file=tmp_path / "site.key", workers=1)
    [file] = md.completeness(tmp_path / "store")["sources"]
    assert (file["rows"], file["listed"], file["missing"]) == (1, 3, 2)


def test_what_gives_no_event_arrived_all_the_same(tmp_path: Path) -> None:
    """A resource without a fact and an older version are counted; of a deleted patient nothing is."""
    source = tmp_path / "in"
    source.mkdir()

    def claim(number: int, patient: str, when: str) -> dict:
        meta = {"lastUpdated": f"2024-01-0{when}T00:00:00Z"}
        return {
            "resourceType": "Observation", "id": f"o{number}", "meta": meta, "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
            "subject": {"reference": f"Patient/{patient}"},
        }  # fmt: skip

    people = [{"resourceType": "Patient", "id": name, "gender": "female"} for name in ("p1", "p2")]
    appointment = {
        "resourceType": "Appointment", "id": "a1", "status": "booked",
        "participant": [{"actor": {"reference": "Patient/p1"}, "status": "accepted"}],
    }  # fmt: skip
    rows = [*people, claim(1, "p1", "1"), claim(1, "p1", "2"), claim(2, "p2", "1"), appointment]
    (source / "all.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    keys.generate(tmp_path / "site.key")
    run_file("fhir.toml", source, tmp_path / "store", key_file=tmp_path / "site.key", workers=1)
    found = {row["resource_type"]: row for row in md.completeness(tmp_path / "store")["types"]}
    observations = found["Observation"]
    assert (observations["resources"], observations["with_events"], observations["subjects"]) == (3, 2, 2)
    assert (found["Patient"]["resources"], found["Patient"]["subjects_without"]) == (2, 0)

    gone = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [{"request": {"method": "DELETE", "url": "Patient/p2"}}],
    }
    (source / "deleted").mkdir()
    (source / "deleted" / "1.ndjson").write_text(json.dumps(gone) + "\n")
    listed = {
        "output": [{"type": "Patient", "url": "all.ndjson"}],
        "deleted": [{"type": "Bundle", "url": "deleted/1.ndjson"}],
    }
    (source / "manifest.json").write_text(json.dumps(listed))
    run_file("fhir.toml", source, tmp_path / "store", key_file=tmp_path / "site.key", workers=1)
    found = {row["resource_type"]: row for row in md.completeness(tmp_path / "store")["types"]}
    assert (found["Observation"]["resources"], found["Observation"]["subjects"]) == (2, 1)
