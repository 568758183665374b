"""Validation within a run: all, a sample, or off; what is refused is accounted for and leaves no value behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hospital import balanced, cli, export, go, key_file, observation, patient, quarantined

from mayo_data.errors import SourceError

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
