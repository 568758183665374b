"""Writes the tables of an OMOP CDM: drafted in DuckDB, put in order by SQL that it is handed, then one file a table."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal

import duckdb
import pyarrow as pa

from mayo_data import sql
from mayo_data.errors import StoreError
from mayo_data.store import scratch

Form = Literal["csv", "parquet"]


class Draft:
    """Tables in the making, in a DuckDB file that is gone afterwards; use it as a context manager.

    Args:
        out: Folder that the tables go to; the draft lies beside them while it is made.
        creates: SQL that makes the empty tables.

    Raises:
        StoreError: The folder holds files already.
    """

    def __init__(self, out: Path, creates: Iterable[str]) -> None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise StoreError("the folder for the OMOP tables is not empty", hint="give a new folder")
        out.mkdir(parents=True, exist_ok=True)
        self.out = out
        self._place = tempfile.TemporaryDirectory(prefix=".draft-", dir=out)
        self._db = duckdb.connect(
            str(Path(self._place.name) / "draft.duckdb"),
            config={**scratch.OFFLINE, "threads": 2, "memory_limit": "768MB", "temp_directory": self._place.name},
        )
        self._db.execute("SET TimeZone = 'UTC'")
        for statement in creates:
            self._db.execute(statement)

    def append(self, table: str, rows: pa.Table) -> None:
        """Add rows to a table.

        Args:
            table: Its name.
            rows: Rows with all its columns, in order.
        """
        self._db.register("rows_to_add", rows)
        self._db.execute(f"INSERT INTO {sql.name(table)} SELECT * FROM rows_to_add")
        self._db.unregister("rows_to_add")

    def change(self, count: str, change: str) -> int:
        """Count what a statement will change, then change it.

        Args:
            count: SQL that counts.
            change: SQL that changes; not run where there is nothing to change.
        """
        found = int(self._db.execute(count).fetchall()[0][0])
        if found:
            self._db.execute(change)
        return found

    def run(self, statement: str) -> None:
        """Run a statement."""
        self._db.execute(statement)

    def count(self, query: str) -> int:
        """Return the one number that a query yields."""
        return int(self._db.execute(query).fetchall()[0][0])

    def write(self, queries: Mapping[str, str], form: Form) -> dict[str, int]:
        """Write each query as a file, and return the rows of each.

        Args:
            queries: Query by table name.
            form: `csv` (comma, header, empty for NULL, quotes where needed) or `parquet` (zstd).
        """
        options = "FORMAT parquet, COMPRESSION zstd" if form == "parquet" else "FORMAT csv, HEADER true"
        written = {}
        for table, query in queries.items():
            path = sql.text(str(self.out / f"{table}.{form}"))
            written[table] = int(self._db.execute(f"COPY ({query}) TO {path} ({options})").fetchall()[0][0])
        return written

    def __enter__(self) -> Draft:
        """Return the draft."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the draft; what was written stays."""
        self._db.close()
        self._place.cleanup()
