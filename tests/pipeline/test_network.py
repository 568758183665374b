"""No network, ever: everything is run where there is none, and under a guard that would see an attempt."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from hospital import key_file, pipeline_file
from offline import REACHED_OUT, alone, guarded

import mayo_data as md

PATIENT_VIEW = {
    "resourceType": "ViewDefinition",
    "status": "active",
    "resource": "Patient",
    "select": [{"column": [{"name": "id", "path": "getResourceKey()"}]}],
}
ASK = (
    "import mayo_data as md\n"
    "with md.connect(sys.argv[1]) as db:\n"
    " print(db.sql('SELECT count(*) FROM event').fetchall()[0][0])\n"
    "dataset = md.open(sys.argv[1])\n"
    "print(len(dataset.subjects()))\n"
)


def works(*arguments: str | Path, script: str = "") -> str:
    """Run a command in a world without network and under the guard; it has to succeed there."""
    done = alone(guarded(*arguments, script=script))
    assert done.returncode == 0, (arguments[0], done.returncode, done.stderr)
    assert "REACHED OUT" not in done.stderr
    return done.stdout


def test_there_is_no_network_in_that_world() -> None:
    script = "import socket\nsocket.create_connection(('127.0.0.1', 9), timeout=5)"
    free = alone([*guarded(script=script)[:2], script])
    assert free.returncode == 1
    assert "unreachable" in free.stderr
    assert alone(guarded(script=script)).returncode == REACHED_OUT


@pytest.mark.slow
@pytest.mark.parametrize("form", ["fhir", "omop"])
def test_a_run_and_all_that_reads_its_store(synthetic_export: Path, tmp_path: Path, form: str) -> None:
    key, store = key_file(tmp_path), tmp_path / "store"
    toml = pipeline_file(tmp_path / "night.toml", source={"format": form} if form == "omop" else {})
    source = synthetic_export / ("omop_csv" if form == "omop" else "fhir")
    works("run", toml, "--input", source, "--store", store, "--key-file", key, "--workers", "2")
    events, subjects = works(store, script=ASK).split()
    assert int(events) > 100
    assert int(subjects) > 5
    page = tmp_path / "page.html"
    works("report", store, "--html", page)
    assert "<html" in page.read_text()
    for words in (
        ["quality", store, "--key-file", key], ["validate", store], ["verify", store], ["info", store],
        ["ledger", "verify", store], ["completeness", store], ["risk", store], ["coverage", store],
    ):  # fmt: skip
        works(*words)
    [first, *_] = md.open(store).subjects()
    assert str(first) in works("trace", str(first), "--store", store, "--json")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["fhir", "omop_csv"])
def test_a_copy(synthetic_export: Path, tmp_path: Path, form: str) -> None:
    copy = tmp_path / "copy"
    works(
        "scrub",
        "--input",
        synthetic_export / form,
        "--output",
        copy,
        "--key-file",
        key_file(tmp_path),
        "--workers",
        "2",
    )
    assert (copy / "loss.json").exists()
    if form == "fhir":
        (tmp_path / "view.json").write_text(json.dumps(PATIENT_VIEW))
        works("view", tmp_path / "view.json", "--fhir", copy, "--out", tmp_path / "patients.csv")
        assert len((tmp_path / "patients.csv").read_text().splitlines()) > 5


def test_texts_are_read(tmp_path: Path) -> None:
    said = {"id": "1", "text": "Seen by Dr. Quimbleford on 3/4/2021, see http://a.b.example/x, a@b.example.org"}
    (tmp_path / "texts.jsonl").write_text(json.dumps(said) + "\n")
    works("detect", tmp_path / "texts.jsonl", tmp_path / "spans.jsonl")
    [found] = map(json.loads, (tmp_path / "spans.jsonl").read_text().splitlines())
    assert {span["category"] for span in found["spans"]} >= {"EMAIL", "URL", "DATE"}
    assert "uimbleford" in works("detect", tmp_path / "texts.jsonl", "--explain")


def test_the_guard_sees_an_attempt() -> None:
    for script in (
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9/')",
        "import socket; socket.getaddrinfo('a.example', 80)",
        "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))",
    ):
        assert subprocess.run(guarded(script=script), capture_output=True, check=False).returncode == REACHED_OUT


def test_no_module_reaches_out_when_it_is_loaded_or_scrubs() -> None:
    everything = (
        "import importlib, pkgutil, mayo_data\n"
        "for module in pkgutil.walk_packages(mayo_data.__path__, 'mayo_data.'):\n"
        " if module.name.endswith('__main__') or '.training' in module.name: continue\n"
        " try: importlib.import_module(module.name)\n"
        " except ImportError: pass\n"
        "from mayo_data.keys import Secret\n"
        "from mayo_data.phi.known import Known\n"
        "from mayo_data.phi.text import Gazetteer, TextScrubber, TextSettings\n"
        "scrubber = TextScrubber(TextSettings(), Secret(bytes(32)), Gazetteer([]), model='default')\n"
        "print(scrubber.scrub('See http://a.b.example/x, a@b.example.org, Ms. Doe, 10.0.0.1', Known((), 1, 5))[0])\n"
    )
    done = subprocess.run(guarded(script=everything), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "See" in done.stdout
    assert "Doe" not in done.stdout
