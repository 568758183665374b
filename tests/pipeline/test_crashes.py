"""A document that ends its process is set aside, it alone, in this run or the next; a kill from outside sets nothing aside."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from closely import Rows, work
from hospital import cli, export, go, key_file, note, observation, patient, pipeline_file, quarantined
from poison import TOKEN, dies, poisoned

import mayo_data as md
from mayo_data.errors import MayoDataError
from mayo_data.lineage.ledger import Ledger, verify
from mayo_data.pipeline import crashes, tasks
from mayo_data.pipeline.crashes import MARK, emptied, survived
from mayo_data.store.layout import Store
from mayo_data.store.snapshot import Manifest

pytestmark = pytest.mark.slow

SECTIONS: dict[str, Any] = {"phi": {"model": "none"}, "store": {"shards": 3}}
PATIENTS = 4


def written(folder: Path, line: Any) -> Path:
    """An export with one line that is not like the others: line 32 of the file of patient 2."""
    files: dict[str, list[Any]] = {"Patient.ndjson": [patient(f"p{n}") for n in range(PATIENTS)]}
    for n in range(PATIENTS):
        rows: list[Any] = [observation(f"o{n}-{row}", f"p{n}") for row in range(60)]
        if n == 2:
            rows[31] = line
        files[f"{n}.ndjson"] = [*rows, note(f"n{n}", "Ms. Quimbleford is well.", of=f"p{n}")]
    return export(folder, files)


@pytest.fixture(scope="module")
def poison() -> bytes:
    line = observation("poison", "p2")
    line["code"]["text"] = TOKEN
    return orjson.dumps(line)


@pytest.fixture(scope="module")
def rejected(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of a run that meets a line which is no JSON in its place."""
    root = tmp_path_factory.mktemp("rejected")
    return go(written(root / "in", b"{bad"), root / "store", **SECTIONS).logical_digest


def run(folder: Path, env: dict[str, str], workers: int, *more: str) -> subprocess.CompletedProcess[str]:
    toml = pipeline_file(folder / "night.toml", **SECTIONS)
    where = ["--input", folder / "in", "--store", folder / "store", "--key-file", key_file(folder)]
    return cli("run", toml, *where, "--workers", str(workers), *more, timeout=600, **env)


def only_it_is_missing(folder: Path, poison: bytes, rejected: str) -> None:
    store = Store.open(folder / "store")
    assert Manifest.read(store.current()).logical_digest == rejected
    assert len(store.snapshots()) == 1
    (row,) = quarantined(folder / "store")
    assert (row["file"], row["line"], row["arrow"], row["reason"]) == ("2.ndjson", 32, "read", "crashed")
    assert row["body"].encode() == poison
    steps = [record["body"] for record in Ledger(store.ledger).records("step")]
    assert steps[0]["dropped"] == {"crashed": 1}
    for step in steps:
        assert step["rows_in"] == step["rows_out"] + sum(step["dropped"].values())
    assert verify(store.ledger) == []
    assert md.validate(store.root) == []
    assert list((folder / "store.phi" / "work").iterdir()) == []
    assert not [path for path in folder.rglob("*") if path.suffix in (".writing", ".begun", ".place", ".part")]


@pytest.mark.parametrize(
    ("where", "how"),
    [("survey", "SIGSEGV"), ("scrub", "SIGSEGV"), ("scrub", "SIGABRT"), ("scrub", "SIGKILL")],
)
def test_the_run_goes_on_without_it(where: str, how: str, poison: bytes, rejected: str, tmp_path: Path) -> None:
    written(tmp_path / "in", poison)
    done = run(tmp_path, poisoned(tmp_path, where, dies(how)), 2)
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stdout + done.stderr
    only_it_is_missing(tmp_path, poison, rejected)


def test_spark_tries_again_and_sets_it_aside(poison: bytes, rejected: str, tmp_path: Path) -> None:
    pytest.importorskip("pyspark", reason="PySpark is not installed: nothing of Spark is tested")
    if shutil.which("java") is None:
        pytest.skip("Java is not installed: nothing of Spark is tested")
    written(tmp_path / "in", poison)
    env = poisoned(tmp_path, "scrub", dies("SIGSEGV"))
    done = run(tmp_path, env, 2, "--engine", "spark", "--master", "local[2,4]")
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stdout + done.stderr
    only_it_is_missing(tmp_path, poison, rejected)


@pytest.mark.parametrize("where", ["survey", "scrub"])
def test_with_one_worker_the_next_run_does(where: str, poison: bytes, rejected: str, tmp_path: Path) -> None:
    written(tmp_path / "in", poison)
    env = poisoned(tmp_path, where, dies("SIGSEGV"))
    assert run(tmp_path, env, 1).returncode == -signal.SIGSEGV
    done = run(tmp_path, env, 1)
    assert done.returncode == 0, done.stderr
    only_it_is_missing(tmp_path, poison, rejected)
    again = run(tmp_path, env, 1)  # and the night after
    assert again.returncode == 0, again.stderr
    only_it_is_missing(tmp_path, poison, rejected)


def scrubbing(folder: Path, sections: dict[str, Any]) -> list[str | Path]:
    """What `mayo-data scrub` is given, but for the number of workers."""
    toml = pipeline_file(folder / "night.toml", **sections)
    where = ["--input", folder / "in", "--output", folder / "out"]
    return [*where, "--key-file", key_file(folder), "--pipeline", toml]


def test_an_export_is_scrubbed_without_it(poison: bytes, tmp_path: Path) -> None:
    written(tmp_path / "in", poison)
    words = scrubbing(tmp_path, SECTIONS)
    env = poisoned(tmp_path, "scrub", dies("SIGSEGV"))
    assert cli("scrub", *words, "--workers", "1", **env).returncode == -signal.SIGSEGV
    done = cli("scrub", *words, "--workers", "1", **env)
    assert done.returncode == 0, done.stderr
    (row,) = quarantined(tmp_path / "out")
    assert (row["file"], row["line"], row["arrow"], row["reason"]) == ("2.ndjson", 32, "read", "crashed")
    kept = [line for path in (tmp_path / "out").glob("*.ndjson") for line in path.read_bytes().splitlines()]
    assert len(kept) == PATIENTS * 62 - 1


# ── OMOP: the texts of tables are read in processes, or by threads that leave them to the main one ─────────────────────


def tables(folder: Path, whose: str = "1") -> Path:
    """An OMOP export in which a note and a condition are not like the others."""
    folder.mkdir(parents=True)
    person = "person_id,gender_concept_id,year_of_birth,race_concept_id,ethnicity_concept_id,person_source_value\n"
    condition = "condition_occurrence_id,person_id,condition_concept_id,condition_start_date,condition_type_concept_id,condition_source_value\n"
    notes = "note_id,person_id,note_date,note_type_concept_id,note_class_concept_id,note_title,note_text,encoding_concept_id,language_concept_id\n"
    long = "A long and quiet night. Nothing to report. All well. " * 3
    rows = {
        "person.csv": person + "".join(f"{n},8532,1970,0,0,MRN-8841207{n}\n" for n in (1, 2)),
        "condition_occurrence.csv": condition
        + f"1,1,0,2020-01-05,32817,cough\n2,{whose},0,2020-01-05,32817,{TOKEN}\n3,2,0,2020-01-05,32817,fever\n",
        "note.csv": notes
        + f"1,1,2020-01-05,0,0,Note,{long}1,0,0\n2,{whose},2020-01-06,0,0,Note,{long}{TOKEN},0,0\n"
        + "".join(f"{n},2,2020-01-07,0,0,Note,{long}{n},0,0\n" for n in range(3, 9)),
    }
    for name, text in rows.items():
        (folder / name).write_text(text)
    return folder


OMOP: dict[str, Any] = {"source": {"format": "omop"}, "phi": {"model": "none", "seconds": 1}, "store": {"shards": 3}}
HANGS = "re.match('(a+)+$', 'a' * 60 + 'b')"


@pytest.fixture(scope="module")
def of_nobody(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of a run in which the same two rows are set aside: they are of nobody."""
    root = tmp_path_factory.mktemp("nobody")
    return go(tables(root / "in", "99"), root / "store", **OMOP).logical_digest


def two_rows_are_missing(folder: Path, reason: str, digest: str) -> None:
    store = Store.open(folder / "store")
    found = sorted((row["file"], row["line"], row["arrow"], row["reason"]) for row in quarantined(folder / "store"))
    assert found == [("condition_occurrence.csv", 2, "scrub", reason), ("note.csv", 2, "scrub", reason)]
    assert all(TOKEN in row["body"] and "." in row["path"] for row in quarantined(folder / "store"))
    steps = {record["body"]["name"]: record["body"] for record in Ledger(store.ledger).records("table")}
    assert steps["note"]["dropped"] == steps["condition_occurrence"]["dropped"] == {f"scrub/{reason}": 1}
    assert all(step["rows_in"] == step["rows_out"] + sum(step["dropped"].values()) for step in steps.values())
    assert Manifest.read(store.current()).logical_digest == digest
    assert list((folder / "store.phi" / "work").iterdir()) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_a_text_of_a_table_that_hangs_an_expression(workers: int, of_nobody: str, tmp_path: Path) -> None:
    tables(tmp_path / "in")
    toml = pipeline_file(tmp_path / "night.toml", **OMOP)
    words = ["--input", tmp_path / "in", "--store", tmp_path / "store", "--key-file", key_file(tmp_path)]
    env = poisoned(tmp_path, "texts", HANGS)
    done = cli("run", toml, *words, "--workers", str(workers), timeout=600, **env)
    assert done.returncode == 0, done.stderr
    two_rows_are_missing(tmp_path, "too_slow", of_nobody)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_text_of_a_table_that_ends_the_process(workers: int, of_nobody: str, tmp_path: Path) -> None:
    tables(tmp_path / "in")
    toml = pipeline_file(tmp_path / "night.toml", **OMOP)
    words = ["--input", tmp_path / "in", "--store", tmp_path / "store", "--key-file", key_file(tmp_path)]
    env = poisoned(tmp_path, "texts", dies("SIGSEGV"))
    codes = []
    while not codes or codes[-1]:
        codes.append(cli("run", toml, *words, "--workers", str(workers), **env).returncode)
        assert len(codes) < 4, codes
    assert set(codes[:-1]) == {-signal.SIGSEGV}
    two_rows_are_missing(tmp_path, "crashed", of_nobody)


@pytest.mark.parametrize(("does", "reason"), [(HANGS, "too_slow"), (dies("SIGSEGV"), "crashed")])
def test_tables_are_scrubbed_without_it(does: str, reason: str, tmp_path: Path) -> None:
    tables(tmp_path / "in")
    words = scrubbing(tmp_path, OMOP)
    done = cli("scrub", *words, "--workers", "2", timeout=600, **poisoned(tmp_path, "texts", does))
    assert done.returncode == 0, done.stderr
    notes = (tmp_path / "out" / "note.csv").read_text()
    assert len(notes.splitlines()) == 8
    assert TOKEN not in notes
    found = sorted((row["file"], row["line"], row["reason"]) for row in quarantined(tmp_path / "out"))
    assert found == [("condition_occurrence.csv", 2, reason), ("note.csv", 2, reason)]


# ── what counts as evidence ───────────────────────────────────────────────────────────────────────────────────────────

ALL = list(range(1, 10))


def attempted(folder: Path, *ends: str) -> list[int]:
    """Do the rows after an attempt that left its mark; return those that were done."""
    mark = folder / f"rows{MARK}"
    mark.touch()
    process, done = survived(work, Rows(folder, ends), mark)
    assert process != os.getpid()
    assert {path.name for path in folder.iterdir()} == {"attempts"}
    return done


def test_without_a_mark_nothing_is_different(tmp_path: Path) -> None:
    mark = tmp_path / f"rows{MARK}"
    assert survived(work, Rows(tmp_path, ("fine",)), mark) == (os.getpid(), ALL)
    with pytest.raises(ValueError, match="a value"):
        survived(work, Rows(tmp_path, ("3 ValueError",)), mark)
    assert not mark.exists()  # whoever can still speak leaves no mark


@pytest.mark.parametrize("how", ["SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE", "SIGKILL", "exit"])
def test_a_row_at_which_processes_end_again_and_again_is_left_alone(how: str, tmp_path: Path) -> None:
    assert attempted(tmp_path, f"3 {how}") == [1, 2, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize(
    "ends",
    [
        ("fine",),
        ("3 SIGKILL", "fine"),
        ("3 SIGKILL", "3 SIGKILL", "fine"),
        ("3 SIGKILL", "3 SIGKILL", "3 SIGKILL", "fine"),
        ("3 SIGKILL", "3 SIGKILL", "3 SIGKILL", "3 SIGKILL", "fine"),  # memory was short, and then it was not
        ("3 SIGTERM", "5 SIGKILL", "7 SIGKILL", "fine"),
        ("3 SIGSEGV", "fine"),
        ("0 SIGKILL", "0 SIGSEGV", "fine"),
    ],
    ids=lambda ends: ", ".join(ends),
)
def test_a_process_that_ends_for_another_reason_costs_no_row(ends: tuple[str, ...], tmp_path: Path) -> None:
    assert attempted(tmp_path, *ends) == ALL


@pytest.mark.parametrize(
    "ends", [("0 SIGKILL",), ("0 SIGSEGV",), ("1 SIGKILL", "2 SIGKILL", "4 SIGKILL", "5 SIGKILL", "6 SIGKILL")]
)
def test_where_no_row_is_the_cause_the_run_ends(ends: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(MayoDataError, match="a worker process died") as caught:
        attempted(tmp_path, *ends)
    assert "fewer --workers" in str(caught.value.hint)


def test_an_error_in_the_other_process_says_no_value(tmp_path: Path) -> None:
    with pytest.raises(MayoDataError, match=r"a task failed \(ValueError\)") as caught:
        attempted(tmp_path, "3 ValueError")
    assert "nobody" not in str(caught.value)


def test_a_folder_is_emptied_but_for_its_marks(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    emptied(folder)
    for name in (f"a{MARK}", "b.arrow"):
        (folder / name).write_bytes(b"x")
    emptied(folder)
    assert [path.name for path in folder.iterdir()] == [f"a{MARK}"]


def test_a_model_that_cannot_be_loaded_is_no_row_s_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sentence is read before the first place is told: whoever dies of it died between places."""

    def broken(stage: object) -> None:
        raise MemoryError

    monkeypatch.setattr(tasks, "try_out", broken)
    task = SimpleNamespace(place=tmp_path / "place", scrub=None, split=None, longest=1, near=frozenset())
    with pytest.raises(MemoryError):
        tasks.source(task)
    assert not (tmp_path / "place").exists()


def test_what_is_damaged_of_the_places_is_found_out_again(tmp_path: Path) -> None:
    for content in (b"\xff\xfe", b"[", b'[{"version": 1}]', b""):
        (tmp_path / "crashed.json").write_bytes(content)
        assert crashes.recalled(tmp_path / "crashed.json", []) == []
