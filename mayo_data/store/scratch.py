"""DuckDB connections for work on files: bounded memory, spilling beside the work, never the network."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from mayo_data import sql

SPILL = ".spill"  # folder in a draft, gone before it is sealed
OFFLINE = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}


def aside() -> Path:
    """Return where a connection that outlives this call may spill: a new name in a folder that is closed to others.

    DuckDB makes the folder of that name when it needs it, as open as the account is used to, and removes it.

    >>> oct(aside().parent.stat().st_mode & 0o777)
    '0o700'
    """
    parent = Path(tempfile.gettempdir()) / f"mayo-data-{os.getuid()}"
    try:
        parent.mkdir(mode=0o700)
    except FileExistsError:
        found = parent.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            parent = Path(tempfile.mkdtemp(prefix="mayo-data-"))  # somebody else was here first
    return parent / secrets.token_hex(8)


@contextmanager
def connection(spill: Path, *, threads: int = 2, memory: str = "768MB") -> Iterator[duckdb.DuckDBPyConnection]:
    """Lend an in-memory DuckDB that spills into a folder, and remove the folder afterwards.

    Args:
        spill: Folder for what does not fit into memory; made and removed here.
        threads: Threads it may use.
        memory: Memory it may use before it spills, as DuckDB writes it.
    """
    lent = duckdb.connect(":memory:", config={**OFFLINE, "threads": threads, "memory_limit": memory})
    try:
        lent.execute(f"SET temp_directory = {sql.text(str(spill))}")
        lent.execute("SET TimeZone = 'UTC'")
        yield lent
    finally:
        lent.close()
        shutil.rmtree(spill, ignore_errors=True)
