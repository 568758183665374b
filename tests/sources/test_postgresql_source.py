"""PostgreSQL: a real server, started here from Debian's binaries, with a CDM in it."""

from __future__ import annotations

import glob
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mayo_data import config as configs
from mayo_data.errors import SourceError
from mayo_data.keys import Secret
from mayo_data.omop.model import tables
from mayo_data.pipeline import run
from mayo_data.sources import postgresql

FEW = ("person", "visit_occurrence", "condition_occurrence", "measurement", "concept", "death")


def binary(name: str) -> str:
    found = shutil.which(name) or next(iter(sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))), None)
    if found is None:
        pytest.skip(f"no PostgreSQL server here: {name} is not installed (apt-get install postgresql)")
    return found


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """URL of an empty server that is gone afterwards."""
    pytest.importorskip("adbc_driver_postgresql", reason="pip install 'mayo-data[postgresql]'")
    initdb, pg_ctl = binary("initdb"), binary("pg_ctl")
    # The server refuses to run as root; its folder is then its user's.
    user = "postgres" if os.geteuid() == 0 else None
    root = Path(tempfile.mkdtemp(prefix="pg-"))
    if user:
        shutil.chown(root, user)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def call(*command: str) -> None:
        subprocess.run(command, user=user, check=True, cwd=root, capture_output=True, timeout=120)

    try:
        call(initdb, "-D", str(root / "data"), "-A", "trust", "-U", "reader", "--no-sync")
        options = f"-h 127.0.0.1 -p {port} -k {root} -F"
        call(pg_ctl, "-D", str(root / "data"), "-w", "-l", str(root / "log"), "-o", options, "start")
    except (subprocess.CalledProcessError, LookupError) as error:
        shutil.rmtree(root, ignore_errors=True)
        pytest.skip(f"the PostgreSQL server does not start here: {error}")
    try:
        yield f"postgresql://reader@127.0.0.1:{port}/postgres"
    finally:
        call(pg_ctl, "-D", str(root / "data"), "-m", "immediate", "stop")
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="module")
def filled(server: str, synthetic_export: Path) -> str:
    """The server with tables of a CDM in schema `omop`, as its DDL types them."""
    from adbc_driver_postgresql import dbapi

    types = {"float": "numeric", "date": "date", "datetime": "timestamp", "text": "text"}
    with dbapi.connect(server) as db, db.cursor() as cursor:
        cursor.execute("CREATE SCHEMA omop")
        for table in FEW:
            path = synthetic_export / "omop_csv" / f"{table}.csv"
            names = path.read_text().partition("\n")[0].split(",")
            fields = tables()[table].fields
            listed = ", ".join(f'"{name}" {types.get(fields[name].kind, "bigint")}' for name in names)
            cursor.execute(f"CREATE TABLE omop.{table} ({listed})")
            _copy(cursor, table, path, names)
        db.commit()
    return server


def _copy(cursor: object, table: str, path: Path, names: list[str]) -> None:
    import csv

    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        cells = ", ".join("NULL" if row[name] == "" else "'" + row[name].replace("'", "''") + "'" for name in names)
        cursor.execute(f"INSERT INTO omop.{table} VALUES ({cells})")  # type: ignore[attr-defined]


def test_a_server_and_its_csv_files_say_the_same(filled: str, synthetic_export: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for table in FEW:
        shutil.copy(synthetic_export / "omop_csv" / f"{table}.csv", folder)
    config, secret = configs.load(Path("omop.toml")), Secret(bytes(range(32)))
    from_files = run(config, folder, tmp_path / "files", secret, workers=1)
    from_server = run(config, filled, tmp_path / "server", secret, workers=1)
    assert (from_server.subjects, from_server.events) == (from_files.subjects, from_files.events)
    assert from_server.steps[-1].rows_out == from_files.steps[-1].rows_out
    assert run(config, filled, tmp_path / "server", secret, workers=1).repeated


def test_a_server_that_does_not_answer_is_a_clear_error_without_its_password(tmp_path: Path) -> None:
    pytest.importorskip("adbc_driver_postgresql", reason="pip install 'mayo-data[postgresql]'")
    with pytest.raises(SourceError) as caught:
        postgresql.fetch("postgresql://reader:hunter2@127.0.0.1:1/cdm", tmp_path / "x", FEW)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
