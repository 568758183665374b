"""What can go wrong around a run: a full disk, a store that is read-only, memory, clocks, locks, a poisoned document.

Each ends with an exit code and a sentence, commits nothing, and is mended by running again: the same digest.
"""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hospital import (
    balanced,
    cli,
    command_line,
    events,
    export,
    go,
    key_file,
    note,
    observation,
    patient,
    pipeline_file,
    quarantined,
)

import mayo_data as md
from mayo_data.lineage.ledger import Ledger, verify
from mayo_data.store.layout import Store
from mayo_data.store.snapshot import Manifest

pytestmark = pytest.mark.slow

SECTIONS: dict[str, Any] = {"phi": {"model": "none"}, "store": {"shards": 3}}
PATIENTS = 6


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files: dict[str, list[Any]] = {"Patient.ndjson": [patient(f"p{n}") for n in range(PATIENTS)]}
    for n in range(PATIENTS):
        rows: list[Any] = [observation(f"o{n}-{row}", f"p{n}") for row in range(60)]
        files[f"{n}.ndjson"] = [*rows, note(f"n{n}", "Ms. Quimbleford is well. " * 40, of=f"p{n}"), b"{bad"]
    return export(tmp_path_factory.mktemp("faults") / "in", files)


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    report = go(source, tmp_path_factory.mktemp("undisturbed") / "store", **SECTIONS)
    balanced(report)
    return report.logical_digest


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own that can be filled, and made read-only."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("this user cannot mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def words(source: Path, folder: Path, store: Path | None = None, *more: str, workers: int = 1) -> list[str | Path]:
    toml = pipeline_file(folder / "night.toml", **SECTIONS)
    where = store or folder / "store"
    options = ["--input", source, "--store", where, "--key-file", key_file(folder), "--workers", str(workers)]
    return ["run", toml, *options, *more]


def mended(source: Path, undisturbed: str, folder: Path, store: Path | None = None, *more: str) -> None:
    """Run again, and find what an undisturbed run leaves."""
    done = cli(*words(source, folder, store, *more))
    assert done.returncode == 0, done.stderr
    opened = Store.open(store or folder / "store")
    assert len(opened.snapshots()) == 1
    assert Manifest.read(opened.current()).logical_digest == undisturbed
    assert verify(opened.ledger) == []
    assert md.validate(opened.root) == []
    assert list((opened.root / "staging").iterdir()) == []


def refused(done: subprocess.CompletedProcess[str], code: int, said: str) -> None:
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "Quimbleford" not in done.stdout + done.stderr


def test_the_disk_of_the_store_is_full(source: Path, undisturbed: str, tmp_path: Path, small_disk: Path) -> None:
    filled = small_disk / "filled"
    filled.write_bytes(bytes(940 << 10))
    more = ("--phi-zone", str(tmp_path / "zone"))
    done = cli(*words(source, tmp_path, small_disk / "store", *more))
    refused(done, 3, "No space left on device")
    assert not list(small_disk.glob("store/snapshots/*"))
    filled.unlink()
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    mended(source, undisturbed, tmp_path, small_disk / "store", *more)


def test_the_disk_of_the_phi_zone_is_full(source: Path, undisturbed: str, tmp_path: Path, small_disk: Path) -> None:
    filled = small_disk / "filled"
    filled.write_bytes(bytes(900 << 10))
    more = ("--phi-zone", str(small_disk / "zone"))
    done = cli(*words(source, tmp_path, None, *more))
    refused(done, 3, "space")
    assert not list((tmp_path / "store").glob("snapshots/*"))
    filled.unlink()
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    mended(source, undisturbed, tmp_path, None, *more)


@pytest.mark.parametrize("kib", [1, 4, 12, 40])
@pytest.mark.parametrize("workers", [1, 2])
def test_no_file_may_grow(source: Path, undisturbed: str, tmp_path: Path, kib: int, workers: int) -> None:
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (kib << 10, kib << 10))  # noqa: E731
    done = subprocess.run(
        command_line(*words(source, tmp_path, workers=workers)), capture_output=True, text=True, preexec_fn=limit
    )
    refused(done, 3, "")
    assert not list((tmp_path / "store").glob("snapshots/*"))
    mended(source, undisturbed, tmp_path)


def test_a_store_that_is_read_only(source: Path, undisturbed: str, tmp_path: Path, small_disk: Path) -> None:
    more = ("--phi-zone", str(tmp_path / "zone"))
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    go(source, tmp_path / "other", **SECTIONS)
    (small_disk / "store").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    refused(cli(*words(source, tmp_path, small_disk / "store", *more)), 3, "Read-only file system")
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    mended(source, undisturbed, tmp_path, small_disk / "store", *more)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    refused(cli(*words(source, tmp_path, small_disk / "store", *more)), 3, "Read-only file system")
    with md.connect(small_disk / "store") as db:  # who only reads needs no right to write
        assert db.sql("SELECT count(*) FROM subject").fetchall() == [(PATIENTS,)]
    assert md.validate(small_disk / "store") == []
    assert cli("ledger", "verify", small_disk / "store").returncode == 0


def dying_workers(folder: Path, what: str) -> str:
    """Break the scrub in spawned workers, on the first document of patient 3; return the folder for PYTHONPATH."""
    (folder / "sitecustomize.py").write_text(
        "import sys\nclass Late:\n"
        " def find_spec(self, name, path=None, target=None):\n"
        "  if name == 'mayo_data.events.walk' and 'spawn_main' in ' '.join(sys.orig_argv):\n"
        "   import os, re, resource, signal\n"
        "   from mayo_data.phi.structured import _Scrubber\n"
        "   real = _Scrubber._one\n"
        "   def deadly(self, resource_, kind):\n"
        "    if kind == 'DocumentReference' and b'Patient/p3' in bytes(resource_['subject']):\n"
        f"     {what}\n"
        "    return real(self, resource_, kind)\n"
        "   _Scrubber._one = deadly\n"
        "sys.meta_path.insert(0, Late())\n"
    )
    return str(folder)


def test_workers_that_die_wherever_they_are(source: Path, undisturbed: str, tmp_path: Path) -> None:
    """Nobody can say of what: the document is read to its end, and then the process dies."""
    what = "import mayo_data.engine.exchange as x; x.ExchangeWriter.close = lambda self: os.kill(os.getpid(), 9)"
    done = cli(*words(source, tmp_path, workers=2), timeout=600, PYTHONPATH=dying_workers(tmp_path, what))
    refused(done, 1, "a worker process died")
    assert "fewer --workers" in done.stderr
    assert not list((tmp_path / "store").glob("snapshots/*"))
    mended(source, undisturbed, tmp_path)


def test_a_worker_that_is_refused_memory(source: Path, undisturbed: str, tmp_path: Path) -> None:
    what = "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)); bytes(8 << 30)"
    done = cli(*words(source, tmp_path, workers=2), timeout=600, PYTHONPATH=dying_workers(tmp_path, what))
    refused(done, 1, "out of memory")
    assert "fewer --workers" in done.stderr
    assert not list((tmp_path / "store").glob("snapshots/*"))
    mended(source, undisturbed, tmp_path)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_document_that_hangs_an_expression_is_set_aside(source: Path, tmp_path: Path, workers: int) -> None:
    what = "import re; re.match('(a+)+$', 'a' * 60 + 'b')"
    config = {**SECTIONS, "phi": {"model": "none", "seconds": 1}}
    toml = pipeline_file(tmp_path / "night.toml", **config)
    options = ["--input", source, "--store", tmp_path / "store", "--key-file", key_file(tmp_path)]
    if workers == 2:
        done = cli("run", toml, *options, "--workers", "2", PYTHONPATH=dying_workers(tmp_path, what))
    else:
        before = (
            "from mayo_data.phi.structured import _Scrubber\nreal = _Scrubber._one\n"
            "def deadly(self, resource_, kind):\n"
            f" if kind == 'DocumentReference' and b'Patient/p3' in bytes(resource_['subject']): {what}\n"
            " return real(self, resource_, kind)\n_Scrubber._one = deadly\n"
        )
        done = cli("run", toml, *options, "--workers", "1", before=before)
    assert done.returncode == 0, done.stderr
    slow = [row for row in quarantined(tmp_path / "store") if row["reason"] == "too_slow"]
    assert [(row["file"], row["line"], row["arrow"]) for row in slow] == [("3.ndjson", 61, "scrub")]
    notes = [row for row in events(tmp_path / "store") if row["text_value"] and "is well" in row["text_value"]]
    assert len({row["subject_id"] for row in notes}) == PATIENTS - 1
    assert len(quarantined(tmp_path / "store")) == PATIENTS + 1


def test_a_clock_that_jumps_back_breaks_nothing(source: Path, undisturbed: str, tmp_path: Path) -> None:
    late = (
        "import datetime as d\nreal = d.datetime\n"
        "class Late(real):\n"
        " @classmethod\n"
        " def now(cls, tz=None): return real(2031, 1, 1, tzinfo=tz)\n"
        "d.datetime = Late\nimport mayo_data.lineage.ledger\nd.datetime = real\n"
    )
    done = subprocess.run(command_line(*words(source, tmp_path), before=late), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ledger = Ledger(Store.open(tmp_path / "store").ledger)
    ledger.append("note", {"said": "now"})  # years before the record in front of it
    times = [record["at"] for record in ledger.records()]
    assert times != sorted(times)
    assert verify(ledger.path) == []
    mended(source, undisturbed, tmp_path)
    again = go(source, tmp_path / "store", gates={"warn_quarantined": 0.5}, **SECTIONS)
    assert again.logical_digest == undisturbed
    for record in (tmp_path / "store" / "store.json", *(tmp_path / "store.phi").rglob("*")):
        os.utime(record, (0, 0))  # and of every file
    assert go(source, tmp_path / "store", gates={"warn_quarantined": 0.5}, **SECTIONS).repeated


def test_a_lock_that_was_left_is_free(source: Path, undisturbed: str, tmp_path: Path) -> None:
    store, zone = tmp_path / "store", tmp_path / "store.phi"
    zone.mkdir(mode=0o700)
    (zone / "lock").write_text("1\n")
    mended(source, undisturbed, tmp_path)
    (store / "lock").write_text("999999\n")  # whoever wrote that is gone, and so is the lock
    assert go(source, store, **SECTIONS).repeated
