"""Where the subjects of a snapshot lie, and how one or all of them are read without the rest.

Files hold subjects in ascending order, a subject in one file. So the statistics of the row groups say where a subject
can be, and a block of rows is the smallest thing that must be read to have some subjects whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from mayo_data.errors import StoreError

Ints = npt.NDArray[np.int64]


class Block(NamedTuple):
    """A row group, with what is needed beside it to have the subjects who begin in it whole.

    Attributes:
        file: Name of the file, in the order of the snapshot.
        groups: Its row groups, from and to (exclusive).
        low: The first subject that begins here can have no smaller id.
        high: The last has this id.
    """

    file: str
    groups: tuple[int, int]
    low: int
    high: int


class Shelf(NamedTuple):
    """The files of a snapshot's events.

    Attributes:
        path: Folder of the snapshot.
        blocks: All blocks, file by file.
        schema: Arrow schema of the events.
    """

    path: Path
    blocks: tuple[Block, ...]
    schema: pa.Schema

    def file_of(self, subject_id: int) -> Iterator[str]:
        """Yield the files that can hold a subject, the likeliest first."""
        files = sorted({block.file for block in self.blocks})
        guess = files[subject_id % len(files)] if files else ""  # how a run deals subjects to its shards
        able = {block.file for block in self.blocks if block.low <= subject_id <= block.high}
        yield from sorted(able, key=lambda file: (file != guess, file))

    def one(self, subject_id: int, file: str) -> pa.Table:
        """Return all columns of the events of a subject, as a file holds them; none where it holds no such subject.

        Raises:
            StoreError: The file cannot be read.
        """
        from mayo_data.store import single

        return single.events(self.path / "data" / file, subject_id, self.schema)

    def subjects(self, block: Block) -> Ints:
        """Return the subjects who begin in a block, ascending.

        Raises:
            StoreError: A file cannot be read.
        """
        found: Ints = np.unique(self._rows(block, ["subject_id"]).column("subject_id").to_numpy())
        return found[(found >= block.low) & (found <= block.high)]

    def read(
        self, block: Block, subjects: Ints, columns: Sequence[str] | None = None
    ) -> Iterator[tuple[int, pa.Table]]:
        """Yield subjects of a block with their events, in the order in which they are asked for.

        Args:
            block: The block.
            subjects: Who; all of them begin in the block.
            columns: Which columns; all by default. `subject_id` is read in any case.

        Raises:
            StoreError: A file cannot be read.
        """
        wanted = None if columns is None else list(dict.fromkeys(["subject_id", *columns]))
        rows = self._rows(block, wanted)
        ids = rows.column("subject_id").to_numpy()
        starts, stops = np.searchsorted(ids, subjects), np.searchsorted(ids, subjects, side="right")
        for subject, start, stop in zip(subjects.tolist(), starts.tolist(), stops.tolist(), strict=True):
            yield subject, rows.slice(start, stop - start)

    def _rows(self, block: Block, columns: Sequence[str] | None) -> pa.Table:
        try:
            with pq.ParquetFile(self.path / "data" / block.file) as file:
                return file.read_row_groups(
                    list(range(*block.groups)), columns=None if columns is None else list(columns), use_threads=False
                )
        except (OSError, ValueError) as error:
            raise StoreError("a file of the snapshot cannot be read", hint="run mayo-data validate") from error


def shelf(path: Path, manifest_sha256: str) -> Shelf:
    """Return where the subjects of a snapshot lie; read once a process.

    Args:
        path: Folder of the snapshot.
        manifest_sha256: Digest of its manifest, by which it is kept.

    Raises:
        StoreError: A file cannot be read, or its subjects do not ascend.
    """
    try:
        return _shelf(path.absolute(), manifest_sha256)
    except (OSError, ValueError) as error:
        raise StoreError("a file of the snapshot cannot be read", hint="run mayo-data validate") from error


@lru_cache(maxsize=8)
def _shelf(path: Path, _digest: str) -> Shelf:
    blocks: list[Block] = []
    schema = pa.schema([])
    for place in sorted((path / "data").glob("*.parquet")):
        with pq.ParquetFile(place) as file:
            schema = schema if len(schema) else file.schema_arrow
            blocks += _blocks(place.name, _ranges(file))
    return Shelf(path, tuple(blocks), schema)


def _ranges(file: pq.ParquetFile) -> list[tuple[int, int]]:
    """The smallest and the largest subject of each row group."""
    found = []
    column = file.schema_arrow.get_field_index("subject_id")
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        about = group.column(column).statistics
        if about is not None and about.has_min_max:
            found.append((int(about.min), int(about.max)))
        elif group.num_rows:
            ids = file.read_row_group(number, columns=["subject_id"]).column(0).to_numpy()
            found.append((int(ids.min()), int(ids.max())))
    return found


def _blocks(file: str, ranges: list[tuple[int, int]]) -> list[Block]:
    if any(after[0] < before[1] for before, after in pairwise(ranges)):
        raise StoreError("the subjects of a file do not ascend", hint="run again; mayo_data writes them in order")
    blocks: list[Block] = []
    last: int | None = None
    for number, (low, high) in enumerate(ranges):
        begins = low if last is None or low > last else low + 1  # who began in the group before is whole there
        if begins <= high:
            stop = number + 1
            while stop < len(ranges) and ranges[stop][0] == high:
                stop += 1
            blocks.append(Block(file, (number, stop), begins, high))
        last = high
    return blocks
