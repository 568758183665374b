"""One question in SQL over the events of a snapshot: bounded memory, nothing written, no error that holds a value."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from mayo_data import sql
from mayo_data.errors import ConfigError, StoreError
from mayo_data.store import scratch


def ask(files: Sequence[Path], query: str) -> pa.Table:
    """Return the answer to a query over a view `events` of the files.

    Args:
        files: Parquet files of events.
        query: SQL of our own making; never the text of somebody else.

    Raises:
        StoreError: A file cannot be read.
        ConfigError: DuckDB does not take the query, for example a regular expression in it.
    """
    listed = ", ".join(sql.text(sql.literal(path)) for path in files)
    with (
        tempfile.TemporaryDirectory(prefix="mayo-data-") as folder,
        scratch.connection(Path(folder) / "spill") as db,
    ):
        try:
            db.execute(f"CREATE VIEW events AS FROM read_parquet([{listed}], hive_partitioning = false)")
            return db.sql(query).to_arrow_table()
        except (duckdb.IOException, duckdb.SerializationException) as error:
            raise StoreError("a file of the snapshot cannot be read", hint="run mayo-data validate") from error
        except duckdb.Error as error:
            raise ConfigError(
                "this cannot be asked", hint="is each code pattern a regular expression of RE2?"
            ) from error
