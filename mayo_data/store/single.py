"""The events of one subject out of a file of many, in milliseconds: DuckDB decodes only what can be hers or his."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import duckdb
import pyarrow as pa

from mayo_data import sql
from mayo_data.errors import StoreError
from mayo_data.store import scratch


def events(path: Path, subject_id: int, schema: pa.Schema, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the rows of a subject, in the order of the file; none where the subject is not in it.

    Args:
        path: A Parquet file of events.
        subject_id: The subject.
        schema: Arrow schema of the file: the rows come back as Arrow itself would read them.
        columns: Which columns; all by default.

    Raises:
        StoreError: The file cannot be read.
    """
    wanted = schema.names if columns is None else list(columns)
    target = pa.schema([schema.field(name) for name in wanted])
    selected = ", ".join(sql.name(name) for name in wanted)
    query = f"SELECT {selected} FROM read_parquet({sql.text(sql.literal(path))}) WHERE subject_id = {int(subject_id)}"
    try:
        db = _memory().cursor()
        try:
            found = db.sql(query).to_arrow_table()
        finally:
            db.close()
    except duckdb.Error as error:
        raise StoreError("a file of the snapshot cannot be read", hint="run mayo-data validate") from error
    return found.cast(target).combine_chunks()


_TURN = threading.Lock()


def _memory() -> duckdb.DuckDBPyConnection:
    with _TURN:
        return _made()


@cache
def _made() -> duckdb.DuckDBPyConnection:
    """One small DuckDB a process; each thread works on a cursor of its own."""
    db = duckdb.connect(":memory:", config={**scratch.OFFLINE, "threads": 1})
    db.execute("SET GLOBAL TimeZone = 'UTC'")
    db.execute("SET GLOBAL parquet_metadata_cache = true")  # it asks for the time of change before it believes itself
    return db
