"""Runs the SQL of views over FHIR, and hands the result out: Arrow, pandas, Polars, files."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from mayo_data import sql
from mayo_data.errors import ConfigError, MayoDataError, SourceError
from mayo_data.store import scratch
from mayo_data.store.rows import Rows

FORMATS = (".csv", ".parquet", ".ndjson")
_OURS = "view: "  # begins every message that the SQL of a view raises on purpose
_DIGITS = "DIGITS"


class ViewTable(Rows):
    """A view over FHIR resources, computed each time it is asked for.

    Decimals are `DECIMAL(38,18)`: exact, where floating point would not be. pandas makes floats of them, as of any
    decimal. Dates and times are text, because FHIR dates can be partial; a tag `ansi/type` in the view casts them.

    Args:
        sql: The statement.
        written: The statement that gives decimals as text, for files of text.
        columns: Name and SQL type of each column; in `written` a decimal is `DIGITS`.
        name: Name of the view, or empty.
        notes: What is suspicious in the view.
        db: Connection to run on. Default: one of its own, in memory.
    """

    def __init__(
        self,
        sql: str,
        written: str,
        columns: Sequence[tuple[str, str]],
        *,
        name: str = "",
        notes: Sequence[str] = (),
        db: duckdb.DuckDBPyConnection | None = None,
    ) -> None:
        super().__init__(sql, _connection() if db is None else db)
        self.columns = tuple(column for column, _ in columns)
        self.name = name
        self.notes = tuple(notes)
        self._written = written
        self._columns = tuple(columns)

    def __repr__(self) -> str:
        return f"ViewTable({self.name or 'view'!s}: {', '.join(self.columns)})"

    def preview(self, rows: int = 20) -> list[tuple[Any, ...]]:
        """Return the first rows, decimals as text with the digits of their source; the errors are those of `arrow`.

        Args:
            rows: How many.
        """
        with self._told():
            found: list[tuple[Any, ...]] = self._db.sql(self._written).limit(rows).fetchall()
            return found

    def write(self, out: Path | str) -> int:
        """Write all rows to a file; it appears when it is complete.

        In `.csv` and `.ndjson` a decimal has the digits of its source: 1.10 stays 1.10. A list in `.csv` is JSON.

        Args:
            out: `.csv`, `.parquet` or `.ndjson`.

        Returns:
            The number of rows.

        Raises:
            ConfigError: The format is not known, or a value does not fit the view.
            SourceError: A file cannot be read.
        """
        path = Path(out)
        if path.suffix not in FORMATS:
            raise ConfigError(f"no format {path.suffix[:20]!r}", hint=f"the file ends in {', '.join(FORMATS)}")
        if not path.absolute().parent.is_dir():
            raise ConfigError("the folder of the output does not exist", hint="make it first")
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        select, options = self._copied(path.suffix)
        try:
            with self._told():
                done = self._db.execute(f"COPY ({select}) TO {sql.text(str(draft))} ({options})").fetchone()
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)
        return int(done[0]) if done else 0

    @staticmethod
    def _error(error: duckdb.Error) -> MayoDataError:
        return _error(error)

    def _copied(self, suffix: str) -> tuple[str, str]:
        if suffix == ".parquet":
            return self.sql, "FORMAT parquet, COMPRESSION zstd"
        if suffix == ".csv":
            cells = ", ".join(f"{_cell(name, kind)} AS {sql.name(name)}" for name, kind in self._columns)
            return f"SELECT {cells} FROM ({self._written})", "FORMAT csv, HEADER true"
        # A row as text: DuckDB's own writer of JSON would round the digits.
        keys = (sql.text(f'"{name}":') for name, _ in self._columns)
        values = (f"coalesce({_json(name, kind)}, 'null')" for name, kind in self._columns)
        pairs = " || ',' || ".join(f"{key} || {value}" for key, value in zip(keys, values, strict=True))
        return f"SELECT '{{' || {pairs} || '}}' FROM ({self._written})", "FORMAT csv, HEADER false, QUOTE '', ESCAPE ''"


def _cell(name: str, kind: str) -> str:
    return _json(name, kind) if kind.endswith("[]") or kind == "JSON" else sql.name(name)


def _json(name: str, kind: str) -> str:
    column = sql.name(name)
    if kind in (_DIGITS, "JSON"):
        return f"CAST({column} AS VARCHAR)"
    if kind in (f"{_DIGITS}[]", "JSON[]"):
        texts = f"list_transform({column}, lambda z: CAST(z AS VARCHAR))"
        return f"'[' || array_to_string({texts}, ',') || ']'"
    return f"CAST(to_json({column}) AS VARCHAR)"


def _connection() -> duckdb.DuckDBPyConnection:
    db = duckdb.connect(":memory:", config=dict(scratch.OFFLINE))
    db.execute("SET TimeZone = 'UTC'")
    db.execute(f"SET temp_directory = {sql.text(str(scratch.aside()))}")
    return db


def _error(error: duckdb.Error) -> MayoDataError:
    text = str(error)
    if isinstance(error, duckdb.InvalidInputException) and _OURS in text:
        return ConfigError(text.partition(_OURS)[2].splitlines()[0], hint="correct the view, or the data")
    if isinstance(error, duckdb.ConversionException | duckdb.OutOfRangeException):
        return ConfigError(
            "a value does not fit the type of its column, or of a number or date in an expression",
            hint="give the column another type, or the tag ansi/type CHARACTER VARYING",
        )
    if isinstance(error, duckdb.IOException | duckdb.InvalidInputException):
        return SourceError(
            "a FHIR file cannot be read: a line is no JSON, is too long, or the file is damaged",
            hint="run the scrub again, or repair the file",
        )
    if isinstance(error, duckdb.OutOfMemoryException):
        return MayoDataError("there is not enough memory for this view", hint="write it to a file instead")
    return ConfigError(f"the view cannot be computed ({type(error).__name__})", hint="make it simpler: fewer levels")
