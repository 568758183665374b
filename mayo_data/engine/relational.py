"""DuckDB as an engine: set-wise work on tables, in one process, with bounded memory, never on the network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from mayo_data.errors import SourceError

_BATCH = 1 << 17  # rows of a record batch: as many as the exchange writes at once
_SHARE = 0.3  # of the machine's memory, for all sessions of a run together


class Session:
    """An in-memory DuckDB that spills into a folder of its own.

    Errors of DuckDB carry values, so none of them leaves this class: it becomes a SourceError that says what was
    being done.

    Args:
        spill: Folder for what does not fit into memory; removed at the end. PHI zone.
        threads: Threads it may use.
        sessions: How many sessions share the machine's memory.
    """

    def __init__(self, spill: Path, *, threads: int = 1, sessions: int = 1) -> None:
        self._spill: Path | None = spill
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        limit = max(512, int(size * _SHARE / sessions) >> 20)
        import duckdb  # only when there are tables to read

        self._error: type[Exception] = duckdb.Error
        self._db = duckdb.connect(
            ":memory:",
            config={
                "autoinstall_known_extensions": "false", "autoload_known_extensions": "false", "threads": threads,
                "memory_limit": f"{limit}MB", "temp_directory": str(spill),
            },
        )  # fmt: skip
        self._settle()

    def _settle(self) -> None:
        self._db.execute("SET TimeZone = 'UTC'")
        with suppress(self._error):  # a notebook without ipywidgets has no bar that could be switched off
            self._db.execute("SET enable_progress_bar = false")

    def branch(self) -> Session:
        """Return a session on the same tables, for another thread; its temporary tables and views are its own."""
        other = object.__new__(Session)
        other._spill = None
        other._error = self._error
        other._db = self._db.cursor()
        other._settle()
        return other

    def close(self) -> None:
        """Close it; the one that branches came from closes last, and takes its spill with it."""
        self._db.close()
        if self._spill is not None:
            shutil.rmtree(self._spill, ignore_errors=True)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, query: str, doing: str = "a table cannot be read") -> None:
        """Run a statement.

        Args:
            query: SQL, made of names and paths only.
            doing: What to say where it fails.

        Raises:
            SourceError: It failed.
        """
        try:
            self._db.execute(query)
        except self._error as error:
            raise SourceError(f"{doing} ({type(error).__name__})", hint="check the file, or ask for it again") from None

    def rows(self, query: str, doing: str = "a table cannot be read") -> list[tuple[Any, ...]]:
        """Return all rows of a small result."""
        try:
            found: list[tuple[Any, ...]] = self._db.execute(query).fetchall()
        except self._error as error:
            raise SourceError(f"{doing} ({type(error).__name__})", hint="check the file, or ask for it again") from None
        return found

    def one(self, query: str, doing: str = "a table cannot be read") -> Any:
        """Return the only value of a result."""
        return self.rows(query, doing)[0][0]

    def table(self, query: str, doing: str = "a table cannot be read") -> pa.Table:
        """Return a result as an Arrow table."""
        return pa.Table.from_batches(*_with_schema(self.batches(query, doing)))

    def batches(self, query: str, doing: str = "a table cannot be read") -> pa.RecordBatchReader:
        """Return a result as Arrow batches, made while they are read."""
        try:
            return self._db.sql(query).to_arrow_reader(_BATCH)
        except self._error as error:
            raise SourceError(f"{doing} ({type(error).__name__})", hint="check the file, or ask for it again") from None

    def give(self, name: str, table: pa.Table | pa.RecordBatchReader) -> None:
        """Let queries read an Arrow table under a name."""
        self._db.register(name, table)

    def keep(self, name: str, table: pa.Table) -> None:
        """Copy an Arrow table into a table that all branches see."""
        self.give(f"given_{name}", table)
        self.run(f"CREATE TABLE {name} AS SELECT * FROM given_{name}")
        self._db.unregister(f"given_{name}")

    def has(self, table: str) -> bool:
        """Return whether there is a table of a name."""
        return table in self.tables()

    def tables(self) -> set[str]:
        """Return the names of the tables that were made here: not those of a database that is only read."""
        return {
            row[0]
            for row in self.rows("SELECT table_name FROM duckdb_tables() WHERE database_name = current_database()")
        }

    def columns(self, relation: str, doing: str = "a table cannot be read") -> list[tuple[str, str]]:
        """Return names and types of the columns of a relation."""
        return [(row[0], row[1]) for row in self.rows(f"DESCRIBE SELECT * FROM {relation}", doing)]


def _with_schema(reader: pa.RecordBatchReader) -> tuple[list[pa.RecordBatch], pa.Schema]:
    import duckdb

    batches: list[pa.RecordBatch] = []
    try:
        batches += iter(reader)
    except (duckdb.Error, pa.ArrowInvalid, OSError):
        raise SourceError("a table cannot be read", hint="check the file, or ask for it again") from None
    return batches, reader.schema


def checked(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a reader; what goes wrong on the way says no value."""
    import duckdb

    try:
        yield from reader
    except (duckdb.Error, pa.ArrowInvalid, OSError):
        raise SourceError("a table cannot be read", hint="check the file, or ask for it again") from None
