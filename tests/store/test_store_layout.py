from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mayo_data.errors import MayoDataError, StoreError
from mayo_data.store import snapshot, validate, write
from mayo_data.store.layout import Store

HERE = Path(__file__).resolve().parent


def test_a_store_belongs_to_one_key(tmp_path: Path) -> None:
    assert Store.create(tmp_path / "s", "aaa").key_id == "aaa"
    assert Store.create(tmp_path / "s", "aaa").snapshots() == []
    with pytest.raises(StoreError, match="another generation"):
        Store.create(tmp_path / "s", "bbb")


def test_only_an_empty_folder_becomes_a_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="not empty"):
        Store.create(tmp_path, "aaa")
    with pytest.raises(StoreError) as caught:
        Store.create(tmp_path / "file", "aaa")
    assert caught.value.hint
    with pytest.raises(StoreError, match="comma"):
        Store.create(tmp_path / "a,b", "aaa")


def test_who_writes_removes_what_founders_left_that_died(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead = [tmp_path / f".store.json.{ended.pid}", tmp_path / f".store.json.{ended.pid}.1a2b.writing"]
    alive = tmp_path / f".store.json.{os.getpid()}.3c4d.writing"
    for path in (*dead, alive):
        path.write_text('{"form')
    with Store.create(tmp_path, "aaa").lock():
        assert not any(path.exists() for path in dead)
        assert alive.exists()


def test_a_creation_that_was_killed_can_be_repeated(tmp_path: Path) -> None:
    (tmp_path / ".store.json.99.writing").write_text('{"form')
    assert Store.create(tmp_path, "aaa").key_id == "aaa"


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"format": 2, "key_id": "a"}', '{"format": 1, "key_id": 3}'])
def test_a_damaged_store_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "store.json").write_text(content)
    with pytest.raises(StoreError) as caught:
        Store.open(tmp_path)
    assert caught.value.hint


def test_no_store_no_snapshot(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store"):
        Store.open(tmp_path / "none")
    store = Store.create(tmp_path / "s", "aaa")
    with pytest.raises(StoreError, match="no snapshot yet"):
        store.current()
    assert store.next_snapshot() == "000001"
    with pytest.raises(StoreError, match="no such snapshot"):
        store.snapshot("../..")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "a\n", "x" * 101])
def test_a_draft_stays_in_staging(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError):
        Store.create(tmp_path / "s", "aaa").staging(name)


def test_commits_are_numbered_and_read_only(store: Store, made: Any) -> None:
    first = store.current()
    draft = store.staging("run-2")
    made.draft(draft)
    made.seal(draft, previous="000001")
    assert store.current() == first
    second = store.commit(draft)
    assert (store.snapshots(), store.current(), draft.exists()) == (["000001", "000002"], second, False)
    assert {path.stat().st_mode & 0o777 for path in second.rglob("*") if path.is_file()} == {0o444}
    assert validate.validate(store.root) == []


def test_two_runs_on_the_same_snapshot_cannot_both_commit(store: Store, made: Any) -> None:
    for name in ("a", "b"):
        made.draft(store.staging(name))
        made.seal(store.staging(name), previous="000001")
    store.commit(store.staging("a"))
    with pytest.raises(StoreError, match="another run has committed"):
        store.commit(store.staging("b"))


def test_an_unfinished_or_altered_draft_is_not_committed(tmp_path: Path, made: Any) -> None:
    store = Store.create(tmp_path / "s", made.key_id)
    draft = store.staging("a")
    made.draft(draft)
    with pytest.raises(StoreError, match="no manifest"):
        store.commit(draft)
    made.seal(draft)
    (draft / "data" / "0007.parquet").write_bytes(b"late")
    with pytest.raises(StoreError, match="differ"):
        store.commit(draft)
    assert store.snapshots() == []


def test_one_writer_at_a_time(store: Store) -> None:
    with store.lock(), pytest.raises(StoreError, match=f"process {os.getpid()} is writing"), store.lock():
        pass
    with store.lock():
        pass


def test_the_lock_of_a_dead_run_is_free(store: Store) -> None:
    (store.root / "lock").write_text("999999 and what a crash left")
    code = "import sys, time; from pathlib import Path; from mayo_data.store.layout import Store\n"
    code += "with Store.open(Path(sys.argv[1])).lock(): print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, str(store.root)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match=f"process {child.pid} "), store.lock():
            pass
        child.kill()
    with store.lock():
        pass


def test_the_errors_name_no_path(tmp_path: Path) -> None:
    for call in (lambda: Store.open(tmp_path / "SECRET"), lambda: Store.create(tmp_path / "SECRET,", "a")):
        with pytest.raises(StoreError) as caught:
            call()
        assert "SECRET" not in f"{caught.value} {caught.value.hint}"


def test_a_table_must_fit_its_schema(tmp_path: Path, made: Any) -> None:
    table = made.table("events", made.events(7))
    path = tmp_path / "data" / "0000.parquet"
    for wrong, why in (
        (table.drop_columns("unit"), "unit"),
        (table.select(table.column_names[::-1]), "order"),
        (table.set_column(0, "subject_id", table["subject_id"].cast("int32")), "int32"),
        (table.set_column(2, "code", pa.nulls(len(table), pa.string())), "nulls"),
    ):
        with pytest.raises(MayoDataError, match=why):
            write.write_table(wrong, path, schema_name="events")
    assert not path.exists()
    receipt = write.write_table(table, path, schema_name="events")
    assert receipt == write.FileReceipt("data/0000.parquet", 8, path.stat().st_size, write.sha256(path))


def test_the_manifest_reads_back_and_is_checked(store: Store, made: Any) -> None:
    manifest = snapshot.Manifest.read(store.current())
    assert manifest.encode() == (store.current() / "manifest.json").read_bytes()
    assert manifest.sha256 == write.sha256(store.current() / "manifest.json")
    assert (manifest.tables["events"].rows, manifest.tables["events"].files) == (24, 2)
    assert manifest.counts["subjects"] == 3
    with pytest.raises(StoreError, match="no manifest"):
        snapshot.Manifest.read(store.root)


@pytest.mark.parametrize("change", [{"files": 3}, {"format": 9}, {"tables": {"events": {}}}, {"files": [{"path": 1}]}])
def test_a_damaged_manifest_is_an_error_of_ours(tmp_path: Path, store: Store, change: dict[str, object]) -> None:
    about = json.loads((store.current() / "manifest.json").read_bytes())
    (tmp_path / "manifest.json").write_text(json.dumps({**about, **change}))
    with pytest.raises(StoreError):
        snapshot.Manifest.read(tmp_path)


def test_the_logical_digest_does_not_depend_on_the_run(tmp_path: Path, made: Any) -> None:
    for name in ("a", "b"):
        made.draft(tmp_path / name)
    one = made.seal(tmp_path / "a")
    two = made.seal(tmp_path / "b", previous="000004", fingerprints={"scrub": "x"})
    assert one.logical_digest == two.logical_digest
    assert one.sha256 != two.sha256


def test_a_receipt_that_tells_of_another_file_is_refused(tmp_path: Path, made: Any) -> None:
    receipts = made.draft(tmp_path / "d")
    (tmp_path / "d" / receipts[0].path).unlink()
    write.write_table(made.table("events", []), tmp_path / "d" / receipts[0].path, schema_name="events")
    with pytest.raises(StoreError, match="receipt"):
        made.seal(tmp_path / "d", receipts=receipts)


def test_a_draft_without_events_or_with_a_bad_time_is_not_sealed(tmp_path: Path, made: Any) -> None:
    with pytest.raises(StoreError, match="no events"):
        made.seal(tmp_path)
    made.draft(tmp_path)
    with pytest.raises(StoreError, match="ISO 8601"):
        snapshot.seal(
            tmp_path,
            run_id="",
            code_version="",
            policy="",
            policy_fingerprint="",
            key_id="",
            created_at="2024-01-01",
            previous=None,
        )


# Kills itself the moment it asks the disk for the N-th time to keep something, or to rename a folder.
MURDER = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from conftest import Made
from mayo_data.store.layout import Store
left = int(sys.argv[3])
def count(call):
    def counted(*args, **more):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **more)
    return counted
for name in ("fsync", "rename", "replace"):
    setattr(os, name, count(getattr(os, name)))
made = Made()
store = Store.create(Path(sys.argv[2]), made.key_id)
with store.lock():
    draft = store.staging("run-1")
    made.seal(draft, receipts=made.draft(draft))
    store.commit(draft)
print("done", os.getpid(), left)
"""


def murder(root: Path, moment: int) -> tuple[int, str]:
    call = [sys.executable, "-c", MURDER, str(HERE), str(root), str(moment)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    return done.returncode, done.stdout


def test_killed_at_any_moment_nothing_half_is_seen(tmp_path: Path, made: Any) -> None:
    made.store(tmp_path / "undisturbed")
    whole = snapshot.Manifest.read(tmp_path / "undisturbed" / "snapshots" / "000001")
    _, told = murder(tmp_path / "count", 10_000)
    moments = 10_000 - int(told.split()[-1])
    chosen = sorted({*range(1, moments, max(1, moments // 3)), moments - 2, moments - 1, moments})
    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(lambda at: murder(tmp_path / str(at), at), chosen))
    assert all(code == -signal.SIGKILL for code, _ in ends)
    for moment in chosen:
        store = Store.create(tmp_path / str(moment), made.key_id)
        for name in store.snapshots():  # only the last moments leave one, and then it is whole
            assert validate.validate(store.snapshot(name)) == []
        if not store.snapshots():
            with store.lock():
                draft = store.staging("run-1")
                made.seal(draft, receipts=made.draft(draft))
                store.commit(draft)
        assert store.snapshots() == ["000001"]
        assert validate.validate(store.root) == []
        assert snapshot.Manifest.read(store.current()).logical_digest == whole.logical_digest


def test_killed_at_random_while_many_are_committed(tmp_path: Path, made: Any) -> None:
    code = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from conftest import Made
from mayo_data.store.layout import Store
made, store = Made(), Store.open(Path(sys.argv[2]))
with store.lock():
    while True:
        draft = store.staging("run-1")
        names = store.snapshots()
        made.seal(draft, names[-1] if names else None, receipts=made.draft(draft))
        store.commit(draft)
        print("one", flush=True)
"""
    store = Store.create(tmp_path / "s", made.key_id)
    for pause in (0.0, 0.07):
        with subprocess.Popen(
            [sys.executable, "-c", code, str(HERE), str(store.root)], stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"one\n"
            time.sleep(pause)
            child.kill()
        assert len(store.snapshots()) >= 1
        assert [validate.validate(store.snapshot(name)) for name in store.snapshots()] == [[]] * len(store.snapshots())
