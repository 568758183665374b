"""DuckDB connections for work on files: bounded memory, spilling beside the work, never the network."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

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
        lent.execute(f"SET temp_directory = {quote(str(spill))}")
        lent.execute("SET TimeZone = 'UTC'")
        yield lent
    finally:
        lent.close()
        shutil.rmtree(spill, ignore_errors=True)


def quote(text: str) -> str:
    """Return text as an SQL string.

    >>> quote("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def name(text: str) -> str:
    """Return text as an SQL name.

    >>> name("end")
    '"end"'
    """
    return '"' + text.replace('"', '""') + '"'


def literal(path: Path) -> str:
    """Return a path as DuckDB must be given it where `*`, `?` and `[` are to mean themselves.

    >>> literal(Path("a[1]/b.parquet"))
    'a[[]1]/b.parquet'
    """
    return re.sub(r"([*?\[])", r"[\1]", str(path))
