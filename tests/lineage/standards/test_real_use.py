"""Exports of what readers, trainings and models really note, without a hand-written record."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from fhir.resources.R4B import get_fhir_model_class
from prov.model import ProvDocument
from typer.testing import CliRunner

import mayo_data as md
from mayo_data.cli.commands import app
from mayo_data.dataset import standards


@pytest.fixture(scope="module")
def used(synthetic_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("used") / "site"
    shutil.copytree(synthetic_run, folder)
    store = folder / "store"
    opened = md.open(store)
    reader = opened.reader("train", consumer="trainer")
    for _ in reader.batches():
        pass
    model = folder / "model.bin"
    model.write_bytes(b"weights")
    trained = md.training_run(
        store, name="risk", reads=[reader.lineage_id], files=[model], config={"depth": 3}, metrics={"auroc": 0.5}
    )
    subject = opened.subjects("train")[0]
    context = opened.context(subject, "2030-01-01T00:00:00", consumer="server")
    said = md.inference_log(store).record(context, trained.model_digest, output=0.25, keep_output=True, latency_ms=1.0)
    md.inference_log(store).feedback(said, "accepted")
    return store


def test_a_prediction_is_in_every_standard(used: Path) -> None:
    found = standards.account(used)
    (inference,), (training,) = found.of("inference"), found.of("training")
    prediction, digest = inference["body"]["prediction_id"], training["body"]["model_digest"]
    text = standards.export(used, "prov")
    assert ProvDocument.deserialize(content=text, format="json").get_record(f"mayo:prediction-{prediction}")
    bundle = json.loads(standards.export(used, "fhir"))
    get_fhir_model_class("Bundle").model_validate(bundle)
    (risk,) = [one["resource"] for one in bundle["entry"] if one["resource"]["resourceType"] == "RiskAssessment"]
    assert risk["identifier"][0]["value"] == prediction
    assert risk["prediction"] == [{"rationale": "output: 0.25"}]
    last = json.loads(standards.export(used, "openlineage").splitlines()[-1])
    assert (last["eventType"], last["job"]["name"]) == ("COMPLETE", "training/risk")
    assert digest in standards.export(used, "model-card")


def test_the_commands_write_what_the_library_gives(used: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    for form in standards.FORMS:
        out = tmp_path / form
        done = runner.invoke(app, ["export", form, str(used), "--out", str(out)])
        assert done.exit_code == 0, done.output
        if form != "croissant":
            assert out.read_text() == standards.export(used, form)
    said = runner.invoke(app, ["export", "datasheet", str(used), "--json"])
    assert json.loads(said.stdout)["card"] == "datasheet"


def test_croissant_finds_its_files_from_where_it_lies(used: Path, tmp_path: Path) -> None:
    out = tmp_path / "croissant.json"
    assert CliRunner().invoke(app, ["export", "croissant", str(used), "--out", str(out)]).exit_code == 0
    for one in json.loads(out.read_text())["distribution"]:
        if one["@type"] == "cr:FileObject":
            assert (tmp_path / one["contentUrl"]).is_file()


def test_a_withdrawn_subject_is_in_the_audit(used: Path, tmp_path: Path) -> None:
    shutil.copytree(used.parent, tmp_path / "site")
    store = tmp_path / "site" / "store"
    subject = md.open(store).subjects("train")[0]
    made = md.withdraw(store, subject, "asked for it")
    bundle = json.loads(standards.export(store, "fhir"))
    events = [one["resource"] for one in bundle["entry"] if one["resource"]["resourceType"] == "AuditEvent"]
    (gone,) = [one for one in events if one["subtype"][0]["code"] == "withdrawal"]
    assert gone["entity"][0]["what"]["identifier"]["value"] == str(subject)
    events = [json.loads(one) for one in standards.export(store, "openlineage").splitlines()]
    taken = [one for one in events if one["eventType"] == "COMPLETE" and one["outputs"][:1] and one["outputs"][0]["name"] == "events"]  # fmt: skip
    assert taken[-1]["outputs"][0]["facets"]["mayo_recordLineage"]["snapshot"] == made.snapshot
    card = standards.export(store, "model-card", snapshot="000001")
    assert "1 subjects that the training read have withdrawn since" in card


def test_no_identifier_of_a_patient_is_in_any_export(used: Path, synthetic_export: Path) -> None:
    values: set[str] = set()
    for row in (synthetic_export / "fhir" / "Patient.ndjson").read_text().splitlines():
        patient = json.loads(row)
        values |= {patient["id"], patient["birthDate"]}
        values |= {one["value"] for key in ("identifier", "telecom") for one in patient.get(key, []) if "value" in one}
        values |= {line for one in patient.get("address", []) for line in one.get("line", [])}
    assert len(values) > 30
    for form in standards.FORMS:
        text = standards.export(used, form)
        assert [value for value in values if value in text] == [], form
