"""No network, ever: everything is run where there is none, and under a guard that would see an attempt."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hospital import command_line, key_file, pipeline_file

import mayo_data as md

GUARD = (
    "import sys\n"
    "def guard(event, arguments):\n"
    " if event in ('socket.connect', 'socket.getaddrinfo', 'socket.gethostbyname', 'socket.sendto', 'urllib.Request'):\n"
    "  import os; os.write(2, b'REACHED OUT ' + event.encode()); os._exit(77)\n"
    "sys.addaudithook(guard)\n"
)


def alone(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run where there is no interface, not even loopback."""
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode:
        pytest.skip("NOT TESTED: this user may not make a network namespace (unshare -rn)")
    return subprocess.run(["unshare", "-rn", *words], capture_output=True, text=True, timeout=300, check=False)


def test_a_whole_run_in_a_world_without_network(synthetic_export: Path, tmp_path: Path) -> None:
    toml, store = pipeline_file(tmp_path / "night.toml"), tmp_path / "store"
    words = ["run", toml, "--input", synthetic_export / "fhir", "--store", store, "--key-file", key_file(tmp_path)]
    done = alone(command_line(*words, "--workers", "2"))
    assert done.returncode == 0, done.stderr
    for command in (["validate", store], ["info", store], ["ledger", "verify", store], ["completeness", store]):
        said = alone(command_line(*command))
        assert said.returncode == 0, said.stderr
    with md.connect(store) as db:
        assert db.sql("SELECT count(*) > 0 FROM event").fetchall() == [(True,)]


@pytest.mark.slow
def test_tables_and_copies_in_a_world_without_network(synthetic_export: Path, tmp_path: Path) -> None:
    toml, key = pipeline_file(tmp_path / "night.toml", source={"format": "omop"}), key_file(tmp_path)
    store, copy = tmp_path / "store", tmp_path / "copy"
    for words in (
        ["run", toml, "--input", synthetic_export / "omop_csv", "--store", store, "--key-file", key, "--workers", "1"],
        ["scrub", "--input", synthetic_export / "fhir", "--output", copy, "--key-file", key, "--workers", "1"],
    ):
        done = alone(command_line(*words))
        assert done.returncode in (0, 2), done.stderr
        assert done.returncode == 0 or words[0] == "scrub", done.stderr


def test_the_guard_sees_an_attempt() -> None:
    words = command_line("version", before=GUARD + "import socket; socket.create_connection(('127.0.0.1', 9))")
    assert subprocess.run(words, capture_output=True, check=False).returncode == 77


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
    done = subprocess.run(
        command_line("version", before=GUARD + everything), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Doe" not in done.stdout
