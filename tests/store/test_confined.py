"""What an analyst's connection refuses: every other file, every write, the network, and to be set free."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from mayo_data.errors import StoreError
from mayo_data.store import catalog, scratch, validate
from mayo_data.store.layout import Store

REFUSED = {
    "read a file": "SELECT * FROM read_csv('/etc/passwd')",
    "read a file as text": "SELECT * FROM read_text('/etc/passwd')",
    "read a file by its name": "SELECT * FROM '/etc/passwd'",
    "read what lies beside the catalog": "SELECT * FROM read_blob('{snapshot}/manifest.json')",
    "read the ledger": "SELECT * FROM read_text('{snapshot}/../../ledger/ledger.jsonl')",
    "read by a relative path": "SELECT * FROM read_text('../../store.json')",
    "read by a link": "SELECT * FROM read_text('{outside}/link')",
    "list files": "SELECT * FROM glob('/etc/*')",
    "list the snapshot": "SELECT * FROM glob('{snapshot}/*')",
    "read from the network": "SELECT * FROM read_parquet('http://127.0.0.1:1/a.parquet')",
    "copy out": "COPY (SELECT 1) TO '{outside}/out.csv'",
    "copy into the snapshot": "COPY (SELECT 1) TO '{snapshot}/data/9999.parquet'",
    "copy over a file": "COPY (SELECT 1 AS a) TO '{snapshot}/data/0000.parquet' (FORMAT parquet)",
    "export": "EXPORT DATABASE '{outside}/exported'",
    "import": "IMPORT DATABASE '{outside}'",
    "attach": "ATTACH '{outside}/other.duckdb'",
    "attach into the snapshot": "ATTACH '{snapshot}/other.duckdb'",
    "install": "INSTALL httpfs",
    "load": "LOAD httpfs",
    "load a file": "LOAD '{outside}/evil.duckdb_extension'",
    "external access": "SET enable_external_access = true",
    "unlock": "SET lock_configuration = false",
    "allow a folder": "SET allowed_directories = ['/']",
    "search elsewhere": "SET file_search_path = '/'",
    "spill elsewhere": "SET temp_directory = '{outside}'",
    "write a log": "CALL enable_logging(storage = 'file', storage_path = '{outside}')",
    "write a profile": "PRAGMA profiling_output = '{outside}/profile.json'",
    "secrets": "SELECT * FROM duckdb_secrets()",
    "environment": "SELECT getenv('HOME')",
    "create": "CREATE TABLE x (a INTEGER)",
}


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "link").symlink_to("/etc/passwd")
    return folder


@pytest.mark.parametrize("what", REFUSED)
def test_it_is_refused(store: Store, outside: Path, what: str) -> None:
    before = sorted(outside.iterdir())
    with catalog.connect(store.root) as db:
        with pytest.raises(duckdb.Error):
            db.execute(REFUSED[what].format(snapshot=store.current(), outside=outside))
        assert db.sql("SELECT count(*) FROM event").fetchall() == [(24,)]
    assert sorted(outside.iterdir()) == before
    assert validate.validate(store.root) == []  # every file is the one that the manifest lists


def test_every_view_and_macro_works_in_it(store: Store) -> None:
    with catalog.connect(store.root) as db:
        for (view,) in db.sql("SHOW TABLES").fetchall():
            db.sql(f"FROM {view}").fetchall()
        examples = [row[0] for row in db.sql("SELECT example FROM macro").fetchall()]
        assert examples
        for example in examples:
            db.sql(example.replace("{subject}", "7")).fetchall()


def test_a_frame_is_joined_when_it_is_registered(store: Store) -> None:
    with catalog.connect(store.root) as db:
        db.register("mine", pa.table({"subject_id": [7]}))
        assert db.sql("SELECT count(*) FROM event JOIN mine USING (subject_id)").fetchall() == [(8,)]


def test_what_does_not_fit_into_memory_spills_where_it_may(store: Store) -> None:
    with catalog.connect(store.root) as db:
        spill = Path(db.sql("SELECT current_setting('temp_directory')").fetchall()[0][0])
        size = db.sql("SELECT count(*) FROM duckdb_temporary_files()").fetchall()
    assert size == [(0,)]
    assert not spill.is_relative_to(store.root)
    assert not spill.is_relative_to(Path.cwd())
    assert stat.S_IMODE(spill.parent.stat().st_mode) == 0o700


def test_nobody_lays_a_folder_for_what_spills(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others may write into the folder for temporary files: what they have put there beforehand is not used."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    laid, theirs = tmp_path / f"mayo-data-{os.getuid()}", tmp_path / "theirs"
    theirs.mkdir(mode=0o755)
    laid.symlink_to(theirs)
    for _ in range(2):
        spill = scratch.aside()
        assert not spill.resolve().is_relative_to(theirs)
        assert spill.parent != laid
        assert stat.S_IMODE(spill.parent.stat().st_mode) == 0o700
        if laid.is_symlink():
            laid.unlink()
            laid.mkdir()
            laid.chmod(0o777)
    laid.chmod(0o700)
    assert scratch.aside().parent == laid


def test_free_and_confined_do_not_mix(store: Store, outside: Path) -> None:
    with catalog.connect(store.root, confined=False) as free:
        free.execute(f"COPY (SELECT count(*) AS n FROM event) TO '{outside}/out.csv'")
        assert (outside / "out.csv").read_text().split() == ["n", "24"]
        with pytest.raises(StoreError, match="open already"):
            catalog.connect(store.root)
    with catalog.connect(store.root) as db, catalog.connect(store.root) as second:
        for one in (db, second, db.cursor()):
            assert one.sql("SELECT count(*) FROM event").fetchall() == [(24,)]
            with pytest.raises(duckdb.PermissionException):
                one.execute(f"SELECT * FROM read_csv('{outside}/out.csv')").fetchall()
        with pytest.raises(StoreError, match="open already"):
            catalog.connect(store.root, confined=False)


def test_after_a_change_of_directory_it_refuses_and_never_reads_another_file(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with catalog.connect(store.root) as db:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(duckdb.PermissionException):
            db.sql("SELECT count(*) FROM event").fetchall()
    with catalog.connect(os.path.relpath(store.root)) as db:
        assert db.sql("SELECT count(*) FROM event").fetchall() == [(24,)]
