"""The suites in a run and on a store: what they stop, what they record, and that no value leaves them."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hospital import cli, events, export, go, key_file, observation, patient, pipeline_file, quarantined

import mayo_data as md
from mayo_data import config
from mayo_data.errors import ConfigError, StoreError
from mayo_data.lineage.ledger import Ledger
from mayo_data.store.layout import Store

PLAIN = {"phi": {"model": "none"}, "validate": "off"}
TOKENS = {
    "code": "OBSERVATION//LOINC//zqxcodeb", "unit": "zqxunitab", "status": "zqxstatab", "text_value": "zqxtextab",
    "value_text": "zqxvaltab", "time_precision": "zqxprecab",
}  # fmt: skip


def suite(path: Path, action: str, **more: Any) -> Path:
    """A suite of a site: no unit but mg/dL."""
    about = {"table": "unit_labels", "check": "our_units", "action": action, "category": "Conformance", **more}
    one = {
        "type": "expect_column_values_to_be_in_set",
        "kwargs": {"column": "label", "value_set": ["mg/dL"]},
        "meta": about,
    }
    path.write_text(json.dumps({"name": "site", "meta": {"gate": "G2"}, "expectations": [one]}))
    return path


def feed(folder: Path, *rows: dict[str, Any]) -> Path:
    return export(folder / "export", {"Patient.ndjson": [patient()], "Observation.ndjson": [observation("o1"), *rows]})


def kilos(ident: str = "o2") -> dict[str, Any]:
    value = {"value": 80, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"}
    return observation(
        ident, code={"coding": [{"system": "http://loinc.org", "code": "29463-7"}]}, valueQuantity=value
    )  # fmt: skip


def gates_of(store: Path) -> list[dict[str, Any]]:
    return [record["body"] for record in Ledger(Store.open(store).ledger).records("gate")]


def test_every_expectation_is_a_verdict_in_the_ledger(tmp_path: Path) -> None:
    from mayo_data.quality import suites

    report = go(feed(tmp_path), tmp_path / "store", **PLAIN)
    wanted = {(one.gate, e.meta.check) for one in suites.load() for e in one.expectations}
    assert wanted <= {(body["gate"], body["check"]) for body in gates_of(tmp_path / "store")}
    assert wanted <= {(verdict.gate, verdict.check) for verdict in report.verdicts}
    assert all(verdict.passed for verdict in report.verdicts)


def test_a_site_adds_its_suite_with_one_line(tmp_path: Path) -> None:
    suite(tmp_path / "site.json", "stop")
    toml = pipeline_file(tmp_path / "night.toml", gates={"suites": ["site.json"]}, **PLAIN)
    assert config.load(toml).gates.suites == (str(tmp_path / "site.json"),)
    source, key = feed(tmp_path, kilos()), key_file(tmp_path)
    done = cli("run", toml, "--input", source, "--store", tmp_path / "store", "--key-file", key)
    assert done.returncode == 4, done.stderr
    assert "our_units" in done.stderr
    assert "kg" not in done.stderr + done.stdout
    assert Store.open(tmp_path / "store").snapshots() == []
    assert not list((tmp_path / "store" / "staging").iterdir())
    stopped = [body for body in gates_of(tmp_path / "store") if body["check"] == "our_units"]
    assert [(body["passed"], body["action"]) for body in stopped] == [(False, "stop")]


def test_quarantine_lists_file_and_line_and_commits(tmp_path: Path) -> None:
    man = patient(gender="male")
    pregnant = {
        "resourceType": "Condition", "id": "c1", "subject": {"reference": "Patient/p1"}, "onsetDateTime": "2019-02-03",
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": "72892002"}]},
    }  # fmt: skip
    source = export(tmp_path / "export", {"Patient.ndjson": [man], "Condition.ndjson": [pregnant]})
    go(source, tmp_path / "store", **PLAIN)
    listed = [row for row in quarantined(tmp_path / "store") if row["arrow"] == "quality"]
    assert [(row["file"], row["line"], row["reason"]) for row in listed] == [("Condition.ndjson", 1, "sex_implausible")]
    assert any(row["code"].endswith("72892002") for row in events(tmp_path / "store"))


def test_a_check_can_be_left_out_and_an_unknown_suite_is_refused(tmp_path: Path) -> None:
    source = feed(tmp_path)
    report = go(source, tmp_path / "store", gates={"skip": ["file_twice"]}, **PLAIN)
    assert "file_twice" not in {verdict.check for verdict in report.verdicts}
    with pytest.raises(ConfigError):
        go(source, tmp_path / "other", gates={"suites": [str(tmp_path / "nowhere.json")]}, **PLAIN)
    assert Store.open(tmp_path / "other").snapshots() == []


def test_the_command_tells_and_has_an_exit_code(tmp_path: Path) -> None:
    go(feed(tmp_path, kilos()), tmp_path / "store", **PLAIN)
    done = cli("quality", tmp_path / "store")
    assert done.returncode == 0, done.stderr
    assert "value_impossible" in done.stdout
    site = suite(tmp_path / "site.json", "stop", by="")
    done = cli("quality", tmp_path / "store", "--suite", site, "--json")
    assert done.returncode == 4
    found = {one["check"]: one for one in json.loads(done.stdout)["checks"]}
    assert (found["our_units"]["passed"], found["our_units"]["unexpected"], found["our_units"]["rows"]) == (False, 1, 2)
    records = list(Ledger(Store.open(tmp_path / "store").ledger).records("inspection"))
    assert records[-1]["body"]["not_as_expected"] == [{"gate": "G2", "check": "our_units", "action": "stop"}]


def test_a_wrong_key_is_refused(tmp_path: Path, synthetic_run: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(synthetic_run / "store", store)
    other = key_file(tmp_path, b"x" * 32)
    with pytest.raises(ConfigError):
        md.inspect(store, key_file=other)
    assert md.inspect(store, key_file=synthetic_run / "site.key").stopped == ()


@pytest.fixture
def canary(tmp_path: Path, synthetic_run: Path) -> Path:
    """A store whose events hold a token in every column of text."""
    store = tmp_path / "store"
    shutil.copytree(synthetic_run / "store", store)
    for path in (Store.open(store).current() / "data").glob("*.parquet"):
        path.chmod(0o600)
        events = pq.read_table(path)
        for column, token in TOKENS.items():
            at = events.schema.get_field_index(column)
            events = events.set_column(
                at, events.schema.field(at), pa.array([token] * events.num_rows, events.schema.field(at).type)
            )
        pq.write_table(events, path)
    return store


def test_no_value_is_in_results_logs_and_docs(canary: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("duckdb_engine", reason="the extra quality is not installed")
    with caplog.at_level(logging.DEBUG):
        ours = md.inspect(canary)
        theirs = md.inspect(canary, data_docs=tmp_path / "docs")
    assert theirs.engine == "gx"
    assert [(one.check, one.passed) for one in ours.checks] == [(one.check, one.passed) for one in theirs.checks]
    failed = {one.check for one in ours.checks if not one.passed}
    assert {"status_known", "birth_known"} <= failed  # the tokens were looked at
    pages = list((tmp_path / "docs").rglob("*.html"))
    assert theirs.data_docs in pages
    assert len(pages) > 20
    assert all("img-src data:" in page.read_text() for page in pages)  # the picture that counts readers stays away
    said = [str(asdict(ours)), str(asdict(theirs)), caplog.text, Store.open(canary).ledger.read_text()]
    said += [path.read_text(errors="replace") for path in (tmp_path / "docs").rglob("*") if path.is_file()]
    said += [path.name for path in (tmp_path / "docs").rglob("*")]
    assert [token for token in TOKENS.values() for text in said if token.rpartition("//")[2] in text] == []


def test_a_suite_that_counts_by_what_is_not_there_is_refused(tmp_path: Path) -> None:
    go(feed(tmp_path, kilos()), tmp_path / "store", **PLAIN)
    done = cli("quality", tmp_path / "store", "--suite", suite(tmp_path / "site.json", "warn", by="reason"))
    assert (done.returncode, "our_units" in done.stderr) == (2, True), done.stderr


def test_what_a_site_says_is_text(tmp_path: Path) -> None:
    go(feed(tmp_path, kilos()), tmp_path / "store", **PLAIN)
    odd = "[/nope] [red]\x1b[31m<script>"
    done = cli("quality", tmp_path / "store", "--suite", suite(tmp_path / "site.json", "warn", says=odd))
    assert done.returncode == 0, done.stderr
    assert "our_units: [/nope] [red]\ufffd[31m<script>" in done.stdout


def test_years_alone_repeat_nothing(tmp_path: Path) -> None:
    """Under Safe Harbor only years are left: two results of one year are no repeat."""
    rows = [observation(f"o{n}", effectiveDateTime=f"2019-{n % 12 + 1:02}-{n % 28 + 1:02}") for n in range(40)]
    again = [{**row, "id": f"again-{row['id']}"} for row in rows]
    source = export(tmp_path / "export", {"Patient.ndjson": [patient()], "Observation.ndjson": rows})
    doubled = export(tmp_path / "doubled", {"Patient.ndjson": [patient()], "Observation.ndjson": rows + again})

    def found(source: Path, policy: str) -> bool:
        phi = {"model": "none", "policy": policy}
        report = go(source, tmp_path / f"{source.name}-{policy}", phi=phi, validate="off")
        return {one.check: one.passed for one in report.verdicts}["results_repeated"]

    assert found(source, "safe_harbor")
    assert found(source, "expert_determination")
    assert not found(doubled, "expert_determination")


def test_a_snapshot_of_somebody_who_withdrew_is_not_looked_at(tmp_path: Path) -> None:
    go(feed(tmp_path), tmp_path / "store", **PLAIN)
    [subject] = md.open(tmp_path / "store").subjects()
    md.withdraw(tmp_path / "store", subject, "consent withdrawn", key_file=key_file(tmp_path))
    with pytest.raises(StoreError, match="withdrawn"):
        md.inspect(tmp_path / "store", snapshot="000001")
    found = md.inspect(tmp_path / "store")
    assert "subjects_found" in [one.check for one in found.checks if not one.verdict.passed]
    assert not found.stopped  # an empty snapshot may be read


def test_a_suite_reads_no_other_file(tmp_path: Path) -> None:
    go(feed(tmp_path), tmp_path / "store", **PLAIN)
    (tmp_path / "beside.txt").write_text("secret")
    site = suite(tmp_path / "site.json", "warn")
    body = json.loads(site.read_text())
    read = f"(SELECT count(*) FROM read_text('{tmp_path / 'beside.txt'}')) > 0"
    query = {"unexpected_rows_query": f"SELECT * FROM {{batch}} WHERE {read}"}
    body["expectations"][0] |= {"type": "unexpected_rows_expectation", "kwargs": query}
    site.write_text(json.dumps(body))
    with pytest.raises(ConfigError, match="our_units"):
        md.inspect(tmp_path / "store", more=[site])
