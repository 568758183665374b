"""Writes the files of a snapshot so that a file that can be seen is a file that is whole.

Every file is written under a temporary name, flushed to the disk and then renamed. A process that is killed
leaves at most a temporary name behind, which nobody reads.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mayo_data import schema
from mayo_data.errors import MayoDataError

ROW_GROUP = 131_072  # rows; about what one DuckDB thread takes at a time, and fine enough to skip by subject
TEMPORARY = ".writing"  # suffix of a file that is not finished


@dataclass(frozen=True)
class FileReceipt:
    """What was written: the only thing that a worker tells the driver about a file.

    Attributes:
        path: Path relative to the snapshot, with `/`.
        rows: Rows of a table; 0 for a file that is none.
        bytes: Size on disk.
        sha256: Digest of the bytes on disk, lower-case hex.

    >>> FileReceipt("data/0000.parquet", 3, 900, "00").rows
    3
    """

    path: str
    rows: int
    bytes: int
    sha256: str


def write_table(table: pa.Table, path: Path, *, schema_name: str, root: Path | None = None) -> FileReceipt:
    """Write one table as zstd Parquet, durably and all at once.

    The field documentation of the schema travels in the Parquet metadata; MEDS tools ignore it.

    Args:
        table: Columns with the names and types of the schema, in its order.
        path: Where to; an existing file is replaced. Missing folders are made.
        schema_name: Name of the schema in `schemas/tables`.
        root: Folder that the receipt's path is relative to. Default: the parent of the file's folder, which
            is the snapshot for `data/0000.parquet`.

    Raises:
        MayoDataError: The table does not fit the schema, or has a null where none may be.
    """
    fitted = fit(table, schema_name)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + TEMPORARY)
    pq.write_table(fitted, temporary, compression="zstd", row_group_size=ROW_GROUP)
    _finish(temporary, path)
    return receipt(path, root or path.parent.parent, rows=fitted.num_rows)


def fit(table: pa.Table, schema_name: str) -> pa.Table:
    """Return the table under the very schema of its name, or say which column does not fit.

    Raises:
        MayoDataError: A column is missing, extra, out of order, of another type, or null where none may be.
    """
    wanted = schema.table(schema_name)
    if table.column_names != wanted.names:
        odd = sorted(set(table.column_names) ^ set(wanted.names)) or ["the order of columns"]
        raise MayoDataError(f"table {schema_name} does not fit its schema: {', '.join(odd)}")
    for field in wanted:
        column = table.column(field.name)
        if column.type != field.type:
            raise MayoDataError(f"table {schema_name}: {field.name} is {column.type}, not {field.type}")
        if not field.nullable and column.null_count:
            raise MayoDataError(f"table {schema_name}: {field.name} has {column.null_count} nulls and may have none")
    return pa.Table.from_arrays(table.columns, schema=wanted)


def link(old: Path, new: Path) -> None:
    """Let a finished file of one snapshot be a file of another too; where the disk knows no links, copy it.

    Args:
        old: The file; nobody ever writes to it again.
        new: Where it shall be as well; an existing file is replaced. Missing folders are made.
    """
    new.parent.mkdir(parents=True, exist_ok=True)
    temporary = new.with_name(new.name + TEMPORARY)
    temporary.unlink(missing_ok=True)
    try:
        os.link(old, temporary)
    except OSError:
        shutil.copyfile(old, temporary)
        flush(temporary)
    temporary.replace(new)
    # Renaming one name of a file to another of its names does nothing, and leaves both.
    temporary.unlink(missing_ok=True)


def write_bytes(content: bytes, path: Path) -> None:
    """Write a small file durably and all at once; an existing file is replaced.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_bytes(b"{}", Path(folder) / "a.json")
    ...     (Path(folder) / "a.json").read_bytes()
    b'{}'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + TEMPORARY)
    temporary.write_bytes(content)
    _finish(temporary, path)


def receipt(path: Path, root: Path, *, rows: int = 0) -> FileReceipt:
    """Return the receipt of a file that exists.

    Args:
        path: The file.
        root: Folder that the receipt's path is relative to.
        rows: Rows it holds, where it is a table.
    """
    return FileReceipt(path.relative_to(root).as_posix(), rows, path.stat().st_size, sha256(path))


def sha256(path: Path) -> str:
    """Return the digest of a file's bytes, lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(path: Path) -> None:
    """Force a file's bytes, or a folder's entries, onto the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _finish(temporary: Path, path: Path) -> None:
    flush(temporary)
    temporary.replace(path)
    flush(path.parent)
