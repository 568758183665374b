"""The shuffle: events leave a map task ordered by shard and are picked up by the task that builds the shard.

One Arrow IPC file a map task, one record batch a lane and flush: the number of files does not grow with the number
of shards, and a reader maps only the batches it needs. A lane is one shard; of a store with more than `LANES` shards it
is several neighbours, so that batches do not become a handful of rows, and `regroup` then takes each lane apart.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

LANES = 256  # into which a map task sorts its rows at most
_ROWS = 1 << 17  # rows held before they are written


class Parcel(NamedTuple):
    """Where the rows of one lane lie in an exchange file."""

    lane: int
    batch: int
    rows: int


def width(shards: int) -> int:
    """Return how many neighbouring shards are one lane.

    >>> width(4), width(256), width(257)
    (1, 1, 2)
    """
    return -(-shards // LANES)


def by_lane(files: Iterable[tuple[Path, Sequence[Parcel]]]) -> dict[int, list[tuple[Path, list[int]]]]:
    """Return which batches of which files hold the rows of each lane.

    Args:
        files: Exchange files and what lies where in them.
    """
    found: dict[int, list[tuple[Path, list[int]]]] = {}
    for path, parcels in files:
        for parcel in parcels:
            of = found.setdefault(parcel.lane, [])
            if not of or of[-1][0] is not path:
                of.append((path, []))
            of[-1][1].append(parcel.batch)
    return found


class ExchangeWriter:
    """Writes the output of one map task, ordered by shard.

    The file appears under its name only once it is complete and on disk; a killed task leaves nothing.

    Args:
        path: The file.
        schema: Schema of the batches.
        key: Column whose value modulo `shards` names the shard; not null.
        shards: Number of shards.
        lane: Number of shards that are one lane; 0 for `width(shards)`.
    """

    def __init__(self, path: Path, schema: pa.Schema, key: str, shards: int, lane: int = 0) -> None:
        self._path = path
        self._key = key
        self._shards = shards
        self._lane = lane or width(shards)
        self._held: list[pa.RecordBatch] = []
        self._rows = 0
        self._written = 0
        self.parcels: list[Parcel] = []
        self._part = path.with_suffix(f".{secrets.token_hex(4)}.part")  # two attempts at one task do not meet
        self._file = open(self._part, "wb", opener=_private)  # noqa: SIM115 - closed by close or abandon
        self._writer = pa.ipc.new_file(self._file, schema)

    def write(self, batch: pa.RecordBatch) -> None:
        """Take the rows of a batch; how rows come in batches does not change the file."""
        while batch.num_rows:
            taken = batch.slice(0, _ROWS - self._rows)
            self._held.append(taken)
            self._rows += taken.num_rows
            batch = batch.slice(taken.num_rows)
            if self._rows == _ROWS:
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
        lanes = np.asarray(table.column(self._key)) % self._shards // self._lane
        order = np.argsort(lanes, kind="stable")
        ordered = table.take(pa.array(order)).combine_chunks()
        found, edges = np.unique(lanes[order], return_index=True)
        for lane, begin, end in zip(found.tolist(), edges, [*edges[1:], len(order)], strict=True):
            for batch in ordered.slice(begin, end - begin).to_batches():
                self._writer.write_batch(batch)
                self.parcels.append(Parcel(lane, self._written, batch.num_rows))
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


def batches(files: Iterable[tuple[Path, Sequence[int]]]) -> Iterator[pa.RecordBatch]:
    """Yield batches of exchange files, one by one; they stay in their files until they are read.

    Args:
        files: Files and the numbers of their batches, as `by_lane` has them.
    """
    for path, numbers in files:
        with pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_file(source)
            for number in numbers:
                yield reader.get_batch(number)


def gather(files: Iterable[tuple[Path, Sequence[int]]], schema: pa.Schema) -> pa.Table:
    """Return all rows of one lane.

    Args:
        files: Files and the numbers of their batches, as `by_lane` has them.
        schema: Schema of the rows, for a lane without any.
    """
    return pa.Table.from_batches(batches(files), schema=schema)


def regroup(
    files: Iterable[tuple[Path, Sequence[int]]], path: Path, schema: pa.Schema, key: str, shards: int
) -> list[Parcel]:
    """Write the rows of one lane to a file of their own, where each shard is a lane; return what lies where in it.

    Args:
        files: Files and the numbers of their batches, as `by_lane` has them.
        path: The new file.
        schema: Schema of the rows.
        key: Column whose value modulo `shards` names the shard.
        shards: Number of shards.
    """
    writer = ExchangeWriter(path, schema, key, shards, 1)
    try:
        for batch in batches(files):
            writer.write(batch)
        return writer.close()
    except BaseException:
        writer.abandon()
        raise


def _private(path: str, flags: int) -> int:
    """Open a file that only its owner may read: before the build, rows still wait to be audited."""
    return os.open(path, flags, 0o600)
