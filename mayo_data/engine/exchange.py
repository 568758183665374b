"""The shuffle: events leave a map task ordered by shard and are picked up by the task that builds the shard.

One Arrow IPC file a map task, one record batch a shard and flush: the number of files does not grow with the number
of shards, and a reader maps only the batches it needs.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

_ROWS = 1 << 17  # rows held before they are written


class Parcel(NamedTuple):
    """Where the rows of one shard lie in an exchange file."""

    shard: int
    batch: int
    rows: int


class ExchangeWriter:
    """Writes the output of one map task, ordered by shard.

    The file appears under its name only once it is complete and on disk; a killed task leaves nothing.

    Args:
        path: The file.
        schema: Schema of the batches.
        key: Column whose value modulo `shards` names the shard; not null.
        shards: Number of shards.
    """

    def __init__(self, path: Path, schema: pa.Schema, key: str, shards: int) -> None:
        self._path = path
        self._key = key
        self._shards = shards
        self._held: list[pa.RecordBatch] = []
        self._rows = 0
        self._written = 0
        self.parcels: list[Parcel] = []
        self._part = path.with_suffix(f".{secrets.token_hex(4)}.part")  # two attempts at one task do not meet
        self._file = open(self._part, "wb", opener=_private)  # noqa: SIM115 - closed by close or abandon
        self._writer = pa.ipc.new_file(self._file, schema)

    def write(self, batch: pa.RecordBatch) -> None:
        """Take the rows of a batch."""
        self._held.append(batch)
        self._rows += batch.num_rows
        if self._rows >= _ROWS:
            self._flush()

    def close(self) -> list[Parcel]:
        """Finish the file and return what lies where."""
        self._flush()
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._part, self._path)
        return self.parcels

    def abandon(self) -> None:
        """Drop what was written so far."""
        self._writer.close()
        self._file.close()
        self._part.unlink(missing_ok=True)

    def _flush(self) -> None:
        if not self._rows:
            return
        table = pa.Table.from_batches(self._held).combine_chunks()
        self._held, self._rows = [], 0
        shards = np.asarray(table.column(self._key)) % self._shards
        order = np.argsort(shards, kind="stable")
        ordered = table.take(pa.array(order)).combine_chunks()
        edges = np.searchsorted(shards[order], np.arange(self._shards + 1))
        for shard in range(self._shards):
            begin, end = int(edges[shard]), int(edges[shard + 1])
            if begin < end:
                for batch in ordered.slice(begin, end - begin).to_batches():
                    self._writer.write_batch(batch)
                    self.parcels.append(Parcel(shard, self._written, batch.num_rows))
                    self._written += 1


def save(table: pa.Table, path: Path) -> None:
    """Write a table into the work folder, for `load`.

    Args:
        table: The table.
        path: Its file.
    """
    with open(path, "wb", opener=_private) as out, pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table)


def load(path: Path) -> pa.Table:
    """Return a table that `save` wrote; it stays in the file until it is read.

    Args:
        path: Its file.
    """
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def gather(files: Iterable[tuple[Path, Sequence[Parcel]]], shard: int, schema: pa.Schema) -> pa.Table:
    """Return all rows of one shard.

    Args:
        files: Exchange files and what lies where in them.
        shard: Number of the shard.
        schema: Schema of the rows, for a shard without any.
    """
    batches: list[pa.RecordBatch] = []
    for path, parcels in files:
        mine = [parcel.batch for parcel in parcels if parcel.shard == shard]
        if mine:
            with pa.memory_map(str(path)) as source:
                reader = pa.ipc.open_file(source)
                batches += [reader.get_batch(index) for index in mine]
    return pa.Table.from_batches(batches, schema=schema)


def _private(path: str, flags: int) -> int:
    """Open a file that only its owner may read: before the build, rows still wait to be audited."""
    return os.open(path, flags, 0o600)
