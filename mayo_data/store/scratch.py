"""DuckDB connections for work on files: bounded memory, spilling beside the work, never the network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from mayo_data import sql

SPILL = ".spill"  # folder in a draft, gone before it is sealed
OFFLINE = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}


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
