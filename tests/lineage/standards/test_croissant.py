"""Croissant, read by mlcroissant: valid as 1.1, and its records are those of the snapshot."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import mlcroissant
import pyarrow.parquet as pq
import pytest

from mayo_data import schema
from mayo_data.lineage.standards import croissant, writing
from mayo_data.lineage.standards.account import Account


@pytest.fixture(scope="module")
def described(story: Any) -> Path:
    path = story.store / "croissant.json"
    path.write_text(writing.encoded(croissant.document(story.account, prefix="snapshots/000001/")))
    return path


@pytest.fixture(scope="module")
def dataset(described: Path) -> mlcroissant.Dataset:
    return mlcroissant.Dataset(str(described))


def test_it_is_valid_and_there_is_nothing_to_warn_of(dataset: mlcroissant.Dataset) -> None:
    context = dataset.metadata.ctx
    assert context.issues.errors == set()
    assert context.issues.warnings == set()
    assert context.conforms_to.value == "http://mlcommons.org/croissant/1.1"
    assert "http://mlcommons.org/croissant/RAI/1.0" in dataset.metadata.conforms_to


def test_the_context_is_the_standard_one(described: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        mlcroissant.Dataset(str(described))
    assert "not standard" not in caplog.text


def test_every_file_has_its_digest(described: Path, story: Any) -> None:
    files = [one for one in json.loads(described.read_text())["distribution"] if one["@type"] == "cr:FileObject"]
    assert len(files) == len(story.account.manifest["files"])
    for one in files:
        body = (described.parent / one["contentUrl"]).read_bytes()
        assert hashlib.sha256(body).hexdigest() == one["sha256"]
        assert one["contentSize"] == f"{len(body)} B"


def test_its_fields_are_the_columns_of_the_tables(described: Path) -> None:
    sets = {one["name"]: one for one in json.loads(described.read_text())["recordSet"]}
    for name, one in sets.items():
        assert [field["name"] for field in one["field"]] == schema.table(name).names
        assert all(field["description"] for field in one["field"])
    assert {"events", "codes", "subject_splits", "decisions"} <= set(sets)


def test_its_records_are_those_of_the_snapshot(dataset: mlcroissant.Dataset, story: Any) -> None:
    snapshot = story.store / "snapshots" / "000001"
    splits = pq.read_table(snapshot / "metadata" / "subject_splits.parquet").to_pylist()
    found = [
        (int(row["subject_splits/subject_id"]), row["subject_splits/split"].decode())
        for row in dataset.records("subject_splits")
    ]
    assert sorted(found) == sorted((row["subject_id"], row["split"]) for row in splits)
    events = sum(1 for _ in dataset.records("events"))
    assert events == story.account.manifest["tables"]["events"]["rows"]


def test_what_is_known_is_said_and_what_is_not_is_a_marked_blank(dataset: mlcroissant.Dataset, story: Any) -> None:
    said = dataset.metadata
    assert f"{story.account.manifest['counts']['subjects']} subjects" in str(said.description)
    assert "rows" in said.data_collection_missing_data
    assert "No value is imputed" in said.data_imputation_protocol
    assert story.account.manifest["policy"] in said.personal_sensitive_information[0]
    assert said.data_biases[0].startswith(croissant.BLANK)
    assert said.data_social_impact.startswith(croissant.BLANK)
    assert str(said.license[0]).startswith(croissant.BLANK)


def test_names_that_people_chose_are_on_one_line(described: Path) -> None:
    uses = json.loads(described.read_text())["rai:dataUseCases"]
    assert "script" in uses
    assert not any(char in uses for char in "\r\n\x00\u202e")


def test_a_table_of_several_files_is_a_set(story: Any) -> None:
    manifest = json.loads(json.dumps(story.account.manifest))
    made = croissant.document(Account(story.account.records, "000001", manifest, "x"))
    sets = {one["@id"]: one["includes"] for one in made["distribution"] if one["@type"] == "cr:FileSet"}
    assert sets["events-files"] == ["data/*.parquet"]
    assert "codes-files" not in sets
