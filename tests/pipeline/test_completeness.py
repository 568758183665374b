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
        resources = dict(db.sql("select resource_type, count(*) from resources group by all").fetchall())
        subject = db.sql("select min(subject_id) from subjects").fetchall()[0][0]
    assert {row["resource_type"]: row["resources"] for row in found["types"]} == resources
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
