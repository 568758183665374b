"""The rows of a query, handed out as analysts want them: DuckDB, pandas, Arrow, Polars."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from mayo_data.errors import ConfigError, MayoDataError, StoreError

if TYPE_CHECKING:
    import pandas as pd


class Rows:
    """The rows of an SQL statement, computed each time they are asked for.

    Args:
        sql: The statement.
        db: Connection to run on.

    >>> Rows("SELECT 42 AS answer", duckdb.connect()).arrow().to_pylist()
    [{'answer': 42}]
    """

    def __init__(self, sql: str, db: duckdb.DuckDBPyConnection) -> None:
        self.sql = sql
        self._db = db

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.sql})"

    @property
    def relation(self) -> duckdb.DuckDBPyRelation:
        """The rows as a DuckDB relation, for more SQL on top of it.

        Raises:
            MayoDataError: DuckDB does not take the statement.
        """
        with self._told():
            return self._db.sql(self.sql)

    def arrow(self) -> pa.Table:
        """Return all rows as an Arrow table.

        Raises:
            MayoDataError: A file cannot be read, or a value does not fit.
        """
        with self._told():
            found = self._db.sql(self.sql).arrow()
            return found if isinstance(found, pa.Table) else found.read_all()

    def df(self) -> pd.DataFrame:
        """Return all rows as a pandas data frame; the errors are those of `arrow`."""
        with self._told():
            frame: pd.DataFrame = self._db.sql(self.sql).df()
            return frame

    def pl(self) -> Any:
        """Return all rows as a Polars data frame; the errors are those of `arrow`.

        Raises:
            ConfigError: Polars is not installed.
        """
        try:
            import polars as pl
        except ModuleNotFoundError as error:
            raise ConfigError("Polars is not installed", hint='pip install "mayo-data[polars]"') from error
        return pl.from_arrow(self.arrow())

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn DuckDB's errors into ours: its messages hold values and file names."""
        try:
            yield
        except duckdb.Error as error:
            raise self._error(error) from None

    @staticmethod
    def _error(error: duckdb.Error) -> MayoDataError:
        if isinstance(error, duckdb.IOException | duckdb.InvalidInputException):
            return StoreError("a file of the snapshot cannot be read", hint="run mayo-data validate")
        return StoreError(f"the rows cannot be read ({type(error).__name__})", hint="run mayo-data validate")
