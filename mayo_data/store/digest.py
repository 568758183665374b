"""The logical digest of a table: the same for the same rows, however they lie on disk.

Row order, compression, row groups and the split into files do not change it; any changed, lost, added or
doubled row does. It is a sum of row digests, so it compares runs and engines; that nobody has altered a file
is what the sha256 of each file in the manifest shows.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from mayo_data import sql
from mayo_data.errors import StoreError
from mayo_data.store import scratch, sums

if TYPE_CHECKING:
    import duckdb

_LOW = 2**64 - 1


def logical_digest(files: Sequence[Path], *, leave_out: Sequence[str] = ()) -> str:
    """Return the logical digest of Parquet files that together are one table, 64 hex digits.

    Args:
        files: The files, in any order; they have the same columns.
        leave_out: Columns that do not count, for example the lineage columns when a nightly delta is compared
            with a full rebuild, which number their source files differently.

    Raises:
        StoreError: A file cannot be read, or the files have different columns.

    >>> import pyarrow as pa, pyarrow.parquet as pq
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     one, two = Path(folder) / "1.parquet", Path(folder) / "2.parquet"
    ...     pq.write_table(pa.table({"a": [1, 2]}), one)
    ...     pq.write_table(pa.table({"a": [2, 1]}), two, compression="gzip")
    ...     logical_digest([one]) == logical_digest([two])
    True
    """
    with (
        tempfile.TemporaryDirectory(prefix="mayo-data-") as folder,
        scratch.connection(Path(folder) / "spill") as db,
    ):
        return digest(db, files, leave_out=leave_out)


def digest(db: duckdb.DuckDBPyConnection, files: Sequence[Path], *, leave_out: Sequence[str] = ()) -> str:
    """Return the same as `logical_digest`, on a connection that is open already."""
    return totalled(db, files, leave_out=leave_out).digest


class Total(NamedTuple):
    """What a digest is made of. Totals of parts of a table add up: a delta is added, what it replaces taken away.

    Attributes:
        layout: Names and types of the columns.
        rows: Number of rows.
        sum: Sum of the digests of the rows, modulo 2**128.
    """

    layout: str
    rows: int
    sum: int

    @property
    def digest(self) -> str:
        """The logical digest, 64 hex digits."""
        return hashlib.sha256(f"1|{self.layout}|{self.rows}|{self.sum:032x}".encode()).hexdigest()

    def plus(self, rows: int, more: int) -> Total:
        """Return the total with some rows added, or taken away where the numbers are negative."""
        return Total(self.layout, self.rows + rows, (self.sum + more) % 2**128)


def totalled(db: duckdb.DuckDBPyConnection, files: Sequence[Path], *, leave_out: Sequence[str] = ()) -> Total:
    """Return the total of Parquet files that together are one table.

    Args:
        db: Any connection.
        files: The files, in any order; they have the same columns.
        leave_out: Columns that do not count.

    Raises:
        StoreError: A file cannot be read, or the files have different columns.
    """
    import duckdb

    if not files:
        raise StoreError("a digest needs at least one file")
    try:
        layouts = {_columns(db, path, leave_out) for path in files}
        if len(layouts) > 1:
            raise StoreError("the files of one table have different columns", hint="write them anew")
        columns = layouts.pop()
        rows, total = _summed(
            db, columns, "read_parquet(?, hive_partitioning = false)", [sql.literal(f) for f in files]
        )
    except duckdb.Error as error:
        raise StoreError("a file of the table cannot be read", hint="run mayo-data validate") from error
    return Total(",".join(f"{column}:{kind}" for column, kind in columns), rows, total)


def layout(db: duckdb.DuckDBPyConnection, path: Path) -> str:
    """Return names and types of the columns of a Parquet file, as a digest has them."""
    return ",".join(f"{column}:{kind}" for column, kind in _columns(db, path, ()))


def total_of(table: pa.Table) -> Total:
    """Return the total of a table in memory: the same as that of a file with these rows."""
    db = _memory().cursor()
    try:
        db.register("totalled", table)
        described = db.execute("SELECT column_name, column_type FROM (DESCRIBE FROM totalled)").fetchall()
        columns = tuple(sorted((str(column), str(kind)) for column, kind in described))
        rows, total = _summed(db, columns, "totalled")
        db.unregister("totalled")
    finally:
        db.close()
    return Total(",".join(f"{column}:{kind}" for column, kind in columns), rows, total)


def difference(changed: pa.Table) -> tuple[int, int]:
    """Return by how many rows, and by what sum of their digests, a table is more than it was.

    Args:
        changed: Rows that go and rows that come: what `sums.before_and_after` returned.

    >>> import pyarrow as pa
    >>> changed = pa.table({"a": [1, 2, 2, 1, 2], "is_new": [False, False, True, True, True]})
    >>> difference(changed) == (1, total_of(pa.table({"a": [2]})).sum)
    True
    """
    rows = 0
    total = 0
    for is_new, sign in ((True, 1), (False, -1)):
        part = changed.filter(pc.equal(changed.column(sums.IS_NEW), is_new)).drop_columns(sums.IS_NEW)
        if part.num_rows:
            found = total_of(part)
            rows, total = rows + sign * found.rows, total + sign * found.sum
    return rows, total % 2**128


@cache
def _memory() -> duckdb.DuckDBPyConnection:
    """One small DuckDB a process: to make one costs more than the few rows of a delta."""
    import duckdb

    return duckdb.connect(":memory:", config={**scratch.OFFLINE, "threads": 1})


def row_text(columns: Sequence[tuple[str, str]], of: str = "") -> str:
    """Return SQL for the text of a row, which can be read back in one way only.

    Args:
        columns: Names and DuckDB types.
        of: Name of the table, where there are several.

    >>> print(row_text([("a", "BIGINT")], "t"))
    concat(t."a", '|')
    """
    return "concat(" + ", ".join(_text(column, kind, of) for column, kind in columns) + ")"


def _summed(
    db: duckdb.DuckDBPyConnection, columns: Sequence[tuple[str, str]], relation: str, files: Sequence[str] = ()
) -> tuple[int, int]:
    found = db.execute(
        f"""
        SELECT count(*), sum((m >> 64)::UBIGINT), sum((m & {_LOW}::UHUGEINT)::UBIGINT)
        FROM (SELECT md5_number({row_text(columns)}) AS m FROM {relation})
        """,
        [list(files)] if files else [],
    ).fetchall()[0]
    rows, high, low = (int(value or 0) for value in found)
    return rows, ((high << 64) + low) % 2**128


def _columns(db: duckdb.DuckDBPyConnection, path: Path, leave_out: Sequence[str]) -> tuple[tuple[str, str], ...]:
    described = db.execute(
        "SELECT column_name, column_type FROM (DESCRIBE FROM read_parquet(?, hive_partitioning = false))",
        [sql.literal(path)],
    ).fetchall()
    return tuple(sorted((str(column), str(kind)) for column, kind in described if column not in leave_out))


def _text(column: str, kind: str, of: str = "") -> str:
    """Return SQL arguments for `concat` whose text can be read back in one way only.

    `concat` skips nulls. A number is digits and `|`, without digits when null. A text is its length in bytes,
    `:` and itself, without length when null. Numbers are spelled out by us: DuckDB's own spelling of floats
    and times may change between versions.
    """
    value = f"{of}.{sql.name(column)}" if of else sql.name(column)
    if kind == "FLOAT":
        return f"printf('%.9g', {value}::DOUBLE), '|'"
    if kind == "DOUBLE":
        return f"printf('%.17g', {value}), '|'"
    if kind == "TIMESTAMP":
        return f"epoch_us({value}), '|'"
    if kind.endswith("INT") or kind in {"INTEGER", "UINTEGER"}:
        return f"{value}, '|'"
    if kind == "VARCHAR":
        return f"strlen({value}), ':', {value}"
    text = f"to_json({value})::VARCHAR"  # lists, and whatever a foreign data set may hold
    return f"strlen({text}), ':', {text}"
