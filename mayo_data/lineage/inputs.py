"""Which events a model saw: lists of event ids, each in a file that is called by its own digest.

The same events give the same file, so a thousand predictions on one history keep one list. The ledger holds the
digest, and a list that was changed no longer fits its name.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import secrets
from pathlib import Path

import pyarrow as pa

from mayo_data.errors import StoreError

FOLDER = "inputs"  # beside the ledger
SCHEMA = pa.schema([("source_table", pa.int32()), ("source_row", pa.int64()), ("source_item", pa.int32())])
_NAME = re.compile(r"[0-9a-f]{64}")


def write(folder: Path, ids: pa.Table) -> str:
    """Keep a list of event ids, unless it is there already, and return its digest.

    Args:
        folder: Folder of the ledger; the file is `inputs/<aa>/<sha256>.arrow` below it.
        ids: Columns `source_table`, `source_row`, `source_item`, in the order in which the model saw them.

    Raises:
        StoreError: The file cannot be written.

    >>> import tempfile
    >>> ids = pa.table({"source_table": [0], "source_row": [7], "source_item": [0]}, schema=SCHEMA)
    >>> with tempfile.TemporaryDirectory() as place:
    ...     name = write(Path(place), ids)
    ...     read(Path(place), name) == ids
    True
    """
    content = encode(ids)
    name = hashlib.sha256(content).hexdigest()
    path = _path(folder, name)
    try:
        if path.exists():
            return name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.writing")
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StoreError(
            f"the ledger cannot be written: {error.strerror}", hint="check its rights and space"
        ) from error
    return name


def encode(ids: pa.Table) -> bytes:
    """Return a list of event ids as the bytes of its file; equal lists give equal bytes, however they are chunked.

    >>> encode(SCHEMA.empty_table()) == encode(SCHEMA.empty_table())
    True
    """
    plain = ids.select(SCHEMA.names).cast(SCHEMA).replace_schema_metadata(None).combine_chunks()
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, SCHEMA, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(plain)
    return sink.getvalue()


def read(folder: Path, sha256: str) -> pa.Table:
    """Return a list of event ids.

    Args:
        folder: Folder of the ledger.
        sha256: What `write` returned.

    Raises:
        StoreError: There is no such list, or it is not the one that was written.

    >>> read(Path("nowhere"), "0" * 64)
    Traceback (most recent call last):
    mayo_data.errors.StoreError: there is no such list of inputs
    """
    if not _NAME.fullmatch(sha256):
        raise StoreError("this names no list of inputs", hint="it is the field `inputs` of a record, 64 hex digits")
    try:
        content = _path(folder, sha256).read_bytes()
    except FileNotFoundError as error:
        raise StoreError("there is no such list of inputs", hint="the folder inputs lies beside the ledger") from error
    except OSError as error:
        raise StoreError(f"a list of inputs cannot be read: {error.strerror}", hint="check its rights") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise StoreError("a list of inputs was changed", hint="restore the folder inputs from a backup")
    return pa.ipc.open_file(pa.BufferReader(content)).read_all()


def _path(folder: Path, name: str) -> Path:
    return folder / FOLDER / name[:2] / f"{name}.arrow"
