"""Writes the files of a snapshot so that a file that can be seen is a file that is whole.

Every file is written under a temporary name, flushed to the disk and then renamed. A process that is killed
leaves at most a temporary name behind, which nobody reads.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mayo_data import schema
from mayo_data.errors import MayoDataError

ROW_GROUP = 65_536  # rows: of a file of 118,000 events, a query of one subject reads half; finer ones slow a full scan
_DIFFERENT = (pa.types.is_int64, pa.types.is_timestamp, pa.types.is_floating, pa.types.is_boolean)
_PLACES = ("source_table", "source_row", "source_item", "scrub_ref")
_HARD = 9  # level of zstd
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
    temporary = draft_of(path)
    repeats = repeating(fitted.schema)
    pq.write_table(
        fitted, temporary, compression="zstd", row_group_size=ROW_GROUP, use_dictionary=repeats,
        **_close(fitted.column_names),
    )  # fmt: skip
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


def repeating(columns: pa.Schema) -> list[str]:
    """Return the columns that are written as a dictionary: not those whose values hardly repeat, keys, times, measures.

    For these a dictionary is time spent on a larger file.

    Args:
        columns: Schema of a table.

    >>> repeating(pa.schema({"time": pa.timestamp("us"), "code": pa.string(), "parents": pa.list_(pa.string())}))
    ['code', 'parents.list.element']
    """
    return [
        f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name
        for field in columns
        if not any(test(field.type) for test in _DIFFERENT)
    ]


def _close(columns: Sequence[str]) -> dict[str, Any]:
    """How the columns that say where a row comes from are written: they are a third of a store, and rows go upward."""
    places = [name for name in _PLACES if name in columns]
    if not places:
        return {}
    coded = {"column_encoding": {"source_row": "DELTA_BINARY_PACKED"}} if "source_row" in places else {}
    return {**coded, "compression_level": dict.fromkeys(places, _HARD)}


def link(old: Path, new: Path) -> None:
    """Let a finished file of one snapshot be a file of another too; where the disk knows no links, copy it.

    Args:
        old: The file; nobody ever writes to it again.
        new: Where it shall be as well; an existing file is replaced. Missing folders are made.
    """
    new.parent.mkdir(parents=True, exist_ok=True)
    temporary = draft_of(new)
    try:
        os.link(old, temporary)
    except OSError:
        shutil.copyfile(old, temporary)
        flush(temporary)
    temporary.replace(new)
    # Renaming one name of a file to another of its names does nothing, and leaves both.
    temporary.unlink(missing_ok=True)


def draft_of(path: Path) -> Path:
    """Return the name of a file while it is written: one of its own for every attempt, beside where it will be."""
    return path.with_name(f"{path.name}.{secrets.token_hex(4)}{TEMPORARY}")


def write_bytes(content: bytes, path: Path) -> None:
    """Write a small file durably and all at once; an existing file is replaced.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_bytes(b"{}", Path(folder) / "a.json")
    ...     (Path(folder) / "a.json").read_bytes()
    b'{}'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = draft_of(path)
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
    if not path.parent.stat().st_mode & 0o077:  # a folder of one's own, as in the PHI zone
        temporary.chmod(0o600)
    flush(temporary)
    temporary.replace(path)
    flush(path.parent)
