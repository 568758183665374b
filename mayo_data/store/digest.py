"""The logical digest of a table: the same for the same rows, however they lie on disk.

Row order, compression, row groups and the split into files do not change it; any changed, lost, added or
doubled row does. It is a sum of row digests, so it compares runs and engines; that nobody has altered a file
is what the sha256 of each file in the manifest shows.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mayo_data import sql
from mayo_data.errors import StoreError
from mayo_data.store import scratch

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
    import duckdb

    if not files:
        raise StoreError("a digest needs at least one file")
    try:
        layouts = {_columns(db, path, leave_out) for path in files}
        if len(layouts) > 1:
            raise StoreError("the files of one table have different columns", hint="write them anew")
        columns = layouts.pop()
        row = "concat(" + ", ".join(_text(column, kind) for column, kind in columns) + ")"
        found = db.execute(
            f"""
            SELECT count(*), sum((m >> 64)::UBIGINT), sum((m & {_LOW}::UHUGEINT)::UBIGINT)
            FROM (SELECT md5_number({row}) AS m FROM read_parquet(?, hive_partitioning = false))
            """,
            [[sql.literal(path) for path in files]],
        ).fetchall()[0]
    except duckdb.Error as error:
        raise StoreError("a file of the table cannot be read", hint="run mayo-data validate") from error
    rows, high, low = (int(value or 0) for value in found)
    total = ((high << 64) + low) % 2**128
    layout = ",".join(f"{column}:{kind}" for column, kind in columns)
    return hashlib.sha256(f"1|{layout}|{rows}|{total:032x}".encode()).hexdigest()


def _columns(db: duckdb.DuckDBPyConnection, path: Path, leave_out: Sequence[str]) -> tuple[tuple[str, str], ...]:
    described = db.execute(
        "SELECT column_name, column_type FROM (DESCRIBE FROM read_parquet(?, hive_partitioning = false))",
        [sql.literal(path)],
    ).fetchall()
    return tuple(sorted((str(column), str(kind)) for column, kind in described if column not in leave_out))


def _text(column: str, kind: str) -> str:
    """Return SQL arguments for `concat` whose text can be read back in one way only.

    `concat` skips nulls. A number is digits and `|`, without digits when null. A text is its length in bytes,
    `:` and itself, without length when null. Numbers are spelled out by us: DuckDB's own spelling of floats
    and times may change between versions.
    """
    value = sql.name(column)
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
