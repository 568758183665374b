"""Validation within a run and a scrub: all, a sample, or off; what is refused is accounted for and leaves no value behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hospital import balanced, cli, export, go, key_file, observation, patient, quarantined

from mayo_data.errors import SourceError
from mayo_data.phi import masks
from mayo_data.pipeline import ScrubReport, scrub

WRONG = observation("o9", valueQuantity=None, valueDateTime="Jane Quimbleford")
ROWS = [patient(), observation("o1"), WRONG]


def test_a_row_that_is_no_fhir_goes_to_the_quarantine(tmp_path: Path) -> None:
    report = go(export(tmp_path / "in", {"a.ndjson": ROWS}), tmp_path / "store")
    balanced(report)
    assert [(step.name, step.dropped) for step in report.steps if step.dropped] == [("validate", {"not_fhir": 1})]
    [row] = quarantined(tmp_path / "store")
    assert (row["line"], row["arrow"], row["reason"]) == (3, "validate", "not_fhir")
    assert row["path"] == "Observation.valueDateTime: value_error"
    assert "Quimbleford" not in json.dumps(row)
    with pytest.raises(SourceError, match="1 rows went to the quarantine"):
        go(tmp_path / "in", tmp_path / "strict", strict=True)


@pytest.mark.parametrize(("share", "arrow"), [("all", "validate"), ("sample", "scrub"), ("off", "scrub")])
def test_the_option_says_how_much(tmp_path: Path, share: str, arrow: str) -> None:
    export(tmp_path / "in", {"a.ndjson": ROWS})
    done = cli(
        "run", "fhir.toml", "--input", tmp_path / "in", "--store", tmp_path / "store", "--key-file", key_file(tmp_path),
        "--workers", "1", "--validate", share,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Quimbleford" not in done.stdout + done.stderr
    assert [row["arrow"] for row in quarantined(tmp_path / "store")] in ([arrow], [])
    assert bool(quarantined(tmp_path / "store")) or share != "all"
    assert ("validate" in done.stdout) is (share != "off")


# ── scrub: what is read, and what is written ──────────────────────────────────────────────────────


def scrubbed(tmp_path: Path, *rows: Any, **more: Any) -> tuple[ScrubReport, list[Any]]:
    export(tmp_path / "in", {"Observation.ndjson": rows})
    report = scrub(tmp_path / "in", tmp_path / "out", key_file=key_file(tmp_path), workers=1, **more)
    return report, [json.loads(line) for line in (tmp_path / "out" / "Observation.ndjson").read_bytes().splitlines()]


def test_scrub_reads_valid_fhir_only(tmp_path: Path) -> None:
    report, out = scrubbed(tmp_path, *ROWS)
    dropped = {step.name: step.dropped for step in report.steps}
    assert dropped == {"read": {}, "validate": {"not_fhir": 1}, "scrub": {}, "write": {}}
    assert all(step.balanced for step in report.steps)
    [row] = quarantined(tmp_path / "out")
    assert (row["line"], row["arrow"], row["path"]) == (3, "validate", "Observation.valueDateTime: value_error")
    assert "Quimbleford" not in json.dumps(row)
    assert len(out) == 2
    loss = json.loads((tmp_path / "out" / "loss.json").read_bytes())
    assert loss["validate"] == "all"
    assert [step["dropped"] for step in loss["steps"]] == [{}, {"not_fhir": 1}, {}, {}]


@pytest.mark.parametrize(("share", "written"), [("all", 2), ("sample", 102), ("off", 104)])
def test_scrub_writes_valid_fhir_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: Any, written: int
) -> None:
    """What the scrub spoils is not written, and it is said which resource it was, and where it is wrong."""
    monkeypatch.setattr(masks, "required", lambda kind: {})  # the policy drops what FHIR requires, and nothing masks it
    local = [observation(f"o{n}", status="the-local-status") for n in range(102)]
    report, out = scrubbed(tmp_path, patient(), *local, observation("o102"), validate=share)
    steps = {step.name: step for step in report.steps}
    assert len(out) == sum(report.resources.values()) == written
    assert all(step.balanced for step in report.steps)
    assert ("write" in steps) is (share != "off")
    if share == "off":
        return
    assert steps["write"].dropped == {"not_fhir": 104 - written}
    rows = quarantined(tmp_path / "out")
    assert {(row["arrow"], row["reason"], row["path"]) for row in rows} == {
        ("write", "not_fhir", "Observation.status: model_field_validation.missing")
    }
    assert [row["line"] for row in rows] == (list(range(2, 104)) if share == "all" else [51, 101])


def test_the_option_of_scrub(tmp_path: Path) -> None:
    export(tmp_path / "in", {"a.ndjson": ROWS})
    done = cli(
        "scrub", "--input", tmp_path / "in", "--output", tmp_path / "out", "--key-file", key_file(tmp_path), "--workers", "1",
        "--validate", "off", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    steps = json.loads(done.stdout)["steps"]
    assert [(step["name"], step["dropped"]) for step in steps] == [("read", {}), ("scrub", {"bad_date": 1})]


def test_a_document_without_its_resource_is_not_written(tmp_path: Path) -> None:
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": WRONG}]}
    files = {"p.json": json.dumps(patient()), "wrong.json": json.dumps(WRONG), "bundle.json": json.dumps(bundle)}
    export(tmp_path / "in", {name: text.encode() for name, text in files.items()})
    scrub(tmp_path / "in", tmp_path / "out", key_file=key_file(tmp_path), workers=1)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"bundle-000000.json", "resource-000001.json", "manifest.json", "loss.json"}
    empty = json.loads((tmp_path / "out" / "bundle-000000.json").read_bytes())
    assert empty == {"resourceType": "Bundle", "type": "collection"}
