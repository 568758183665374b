"""What a training reads: the subjects of a split in an order of a seed, a rank's share of them, from where it stopped.

Without labels a subject comes with all its events; with labels, once a prediction, with what was knowable then.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mayo_data.dataset import cutting
from mayo_data.dataset.label_tables import Labels, of_subjects
from mayo_data.dataset.shelf import Block, Shelf, shelf
from mayo_data.dataset.splitting import by_hash, by_time, shuffled
from mayo_data.dataset.trust import Trusted
from mayo_data.errors import ConfigError, StoreError
from mayo_data.lineage import consumption
from mayo_data.lineage.ledger import Ledger
from mayo_data.lineage.standing import standing
from mayo_data.types import Json

if TYPE_CHECKING:
    import pandas as pd

Ints = npt.NDArray[np.int64]
_ROWS = 65_536  # rows of a batch, about
_PURPOSE = re.compile(r"[\w .,:;@/+()'-]{0,200}")


class Sample(NamedTuple):
    """One thing to learn from.

    Attributes:
        subject_id: Of whom.
        prediction_time: When it is predicted, UTC; None where the reader has no labels.
        value: What is to be predicted; None without labels.
        events: What was knowable then (`cut`); without labels, all events.

    >>> Sample(7, None, None, pa.table({})).subject_id
    7
    """

    subject_id: int
    prediction_time: datetime | None
    value: bool | int | float | str | None
    events: pa.Table


class Selection(NamedTuple):
    """What a reader is asked for; see `Dataset.reader`."""

    split: str | None = None
    labels: Labels | None = None
    by_time: datetime | str | None = None
    columns: tuple[str, ...] | None = None
    seed: int | None = 0
    rank: int = 0
    world: int = 1


class Reader:
    """A read of one snapshot, made by `Dataset.reader`. It is in the ledger from the moment it is made.

    Every iteration starts at the first subject, or where `resume` says, and moves the state on. An iteration that has
    been resumed gives exactly what the first would still have given. Where one of its subjects withdraws, or the
    snapshot changes by an erasure, a reader gives no further row.

    Attributes:
        lineage_id: Id of the record `read`: a checkpoint keeps it, `training_run` wants it.
        subjects: Subjects of this rank, in the order of the reader.
    """

    def __init__(self, trusted: Trusted, wanted: Selection, *, consumer: str, purpose: str = "") -> None:
        _check(wanted, purpose)
        self.snapshot = trusted.path.name
        self.consumer = consumption.named("consumer", consumer)
        self._wanted = wanted
        self._shelf = shelf(trusted.path, trusted.manifest_sha256)
        self._ledger = trusted.store.ledger
        self._sealed = standing(self._ledger).manifests.get(self.snapshot)
        self._looks = (-1, -1)  # of the ledger, when it was last asked
        self._columns = _columns(self._shelf, wanted.columns)
        whom, labels = _whom(trusted, wanted)
        self._value = wanted.labels.value if wanted.labels else ""
        self._plan = _plan(self._shelf, whom, wanted)
        self._ends = list(accumulate((len(ids) for _, ids in self._plan), initial=0))
        parts = [ids for _, ids in self._plan]
        self.subjects: Ints = np.concatenate(parts) if parts else np.empty(0, np.int64)
        self._labels: pa.Table | None = None if labels is None else of_subjects(labels, pa.array(self.subjects))
        self._label_ids: Ints = whom if self._labels is None else self._labels.column("subject_id").to_numpy()
        self._start = self._position = (0, 0)
        self.lineage_id = consumption.lineage_id()
        about = wanted.labels.about() if wanted.labels else None
        body: Json = {
            "lineage_id": self.lineage_id,
            "snapshot": self.snapshot,
            "manifest_sha256": trusted.manifest_sha256,
            "logical_digest": trusted.manifest.logical_digest,
            "split": wanted.split,
            "by_time": cutting.moment(wanted.by_time).isoformat() if wanted.by_time is not None else None,
            "labels": about,
            "consumer": consumer,
            "purpose": purpose,
            "columns": list(wanted.columns) if wanted.columns is not None else None,
            "seed": wanted.seed,
            "rank": wanted.rank,
            "world": wanted.world,
            "subjects": len(self.subjects),
            "subjects_sha256": consumption.subjects_digest(self.subjects),
            "override": trusted.override,
        }
        names = (
            "snapshot",
            "manifest_sha256",
            "split",
            "by_time",
            "labels",
            "seed",
            "rank",
            "world",
            "subjects_sha256",
        )
        self._of = consumption.sha256({name: body[name] for name in names})
        Ledger(trusted.store.ledger).append("read", body)

    def __repr__(self) -> str:
        return f"Reader(snapshot={self.snapshot!r}, split={self._wanted.split!r}, subjects={len(self.subjects)})"

    def __len__(self) -> int:
        """Return how many samples there are."""
        return len(self.subjects) if self._labels is None else int(self._labels.num_rows)

    def samples(self) -> Iterator[Sample]:
        """Yield one sample a prediction; without labels, one a subject.

        Raises:
            StoreError: A file cannot be read, or one of the subjects has withdrawn since.
        """
        return self._walk(self._begin(), 0, len(self.subjects))

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield events as Arrow batches of some 65,536 rows. Subjects, and with labels samples, are whole in a batch.

        With labels the columns `prediction_time` and `label` stand in front: a subject with two predictions comes
        twice, each time as it was knowable.

        Raises:
            StoreError: A file cannot be read, or one of the subjects has withdrawn since.
        """
        return self._batches(self._begin())

    def pandas(self) -> pd.DataFrame:
        """Return everything as one pandas data frame: the columns of `batches`."""
        found = list(self.batches())
        table = pa.Table.from_batches(found) if found else self._nothing()
        frame: pd.DataFrame = table.to_pandas()
        return frame

    def torch(self) -> Any:
        """Return a PyTorch `IterableDataset` of samples, which shares the subjects among the workers of a DataLoader.

        It has `state_dict` and `load_state_dict`, which torchdata's StatefulDataLoader calls.

        Raises:
            ConfigError: PyTorch is not installed.
        """
        from mayo_data.dataset import frameworks

        return frameworks.torch_stream(self)

    def huggingface(self) -> Any:
        """Return a Hugging Face `IterableDataset`: one row a sample, every column of its events as a list.

        Raises:
            ConfigError: `datasets` is not installed.
        """
        from mayo_data.dataset import frameworks

        return frameworks.huggingface_stream(self)

    def state(self) -> Json:
        """Return where the reader stands: JSON-able, for a checkpoint."""
        return {"of": self._of, "lineage_id": self.lineage_id, "position": list(self._position)}

    def resume(self, state: Json) -> Reader:
        """Go on from a state: the next iteration gives exactly what the read of this state has not given yet.

        Args:
            state: What `state` returned, of this reader or one made in the same way in another process.

        Raises:
            ConfigError: It is the state of another read: other subjects, labels, order or rank.
        """
        try:
            same, (subject, sample) = state["of"] == self._of, (int(one) for one in state["position"])
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError("this is no state of a reader", hint="give what Reader.state returned") from error
        if not same:
            raise ConfigError(
                "this is the state of another read",
                hint="snapshot, split, labels, seed, rank and world must be the same, and nobody withdrawn since",
            )
        if not (0 <= subject <= len(self.subjects) and sample >= 0):
            raise ConfigError("this is no state of a reader", hint="give what Reader.state returned")
        self._start = self._position = (subject, sample)
        return self

    def part(self, number: int, parts: int) -> Iterator[Sample]:
        """Yield the samples of one of several equal parts: what a worker of a DataLoader takes of the rank's subjects.

        Args:
            number: Which part, from 0.
            parts: How many.
        """
        total = len(self.subjects)
        return self._walk(self._begin(), total * number // parts, total * (number + 1) // parts)

    def _begin(self) -> tuple[int, int]:
        """Where the next iteration starts; the one after it starts at the top."""
        self._position, self._start = self._start, (0, 0)
        return self._position

    def _batches(self, begin: tuple[int, int]) -> Iterator[pa.RecordBatch]:
        handed_out = begin
        waiting: list[pa.Table] = []
        rows = 0
        for sample in self._walk(begin, 0, len(self.subjects)):
            waiting.append(sample.events if self._labels is None else self._labelled(sample))
            rows += sample.events.num_rows
            if rows < _ROWS:
                self._position = handed_out  # what waits here was not handed out
                continue
            handed_out = self._position
            yield _one_batch(waiting)
            waiting, rows = [], 0
        if waiting:
            yield _one_batch(waiting)

    def _walk(self, begin: tuple[int, int], low: int, high: int) -> Iterator[Sample]:
        first, skip = max(begin, (low, 0))
        self._position = (first, skip)
        for number, (block, ids) in enumerate(self._plan):
            offset = self._ends[number]
            start, stop = max(first - offset, 0), min(len(ids), high - offset)
            if start >= stop:
                continue
            self._still()
            for index, (subject, events) in enumerate(
                self._shelf.read(block, ids[start:stop], self._columns), offset + start
            ):
                self._still()
                yield from self._of_subject(index, subject, events, skip if index == first else 0)
        self._position = (max(first, high), 0)

    def _still(self) -> None:
        """Ask again, where the ledger grew, whether this may be read: a training goes on for days."""
        try:
            about = os.stat(self._ledger)
        except OSError as error:
            raise StoreError(f"the ledger cannot be read: {error.strerror}", hint="check its rights") from error
        looks = (about.st_ino, about.st_size)
        if looks == self._looks:
            return
        known = standing(self._ledger)
        gone = np.fromiter(known.withdrawn, np.int64, len(known.withdrawn))
        if known.manifests.get(self.snapshot) != self._sealed or np.isin(gone, self.subjects).any():
            raise StoreError("somebody has withdrawn since this reader was made", hint="read the newest snapshot")
        self._looks = looks

    def _of_subject(self, index: int, subject: int, events: pa.Table, skip: int) -> Iterator[Sample]:
        if self._labels is None:
            self._position = (index + 1, 0)
            yield Sample(subject, None, None, self._shown(events))
            return
        low, high = np.searchsorted(self._label_ids, [subject, subject + 1])
        rows = self._labels.slice(int(low), int(high - low))
        times, values = rows.column("prediction_time").to_pylist(), rows.column(self._value).to_pylist()
        for number in range(skip, len(times)):
            self._position = (index, number + 1) if number + 1 < len(times) else (index + 1, 0)
            yield Sample(subject, times[number], values[number], self._shown(cutting.cut(events, times[number])))

    def _shown(self, events: pa.Table) -> pa.Table:
        columns = self._wanted.columns
        return events if columns is None else events.select(list(columns))

    def _labelled(self, sample: Sample) -> pa.Table:
        rows = sample.events.num_rows
        time = pa.array([sample.prediction_time], pa.timestamp("us")).take(pa.array(np.zeros(rows, np.int64)))
        kind = self._wanted.labels.table.schema.field(self._value).type if self._wanted.labels else pa.null()
        label = pa.array([sample.value], kind).take(pa.array(np.zeros(rows, np.int64)))
        names = ["prediction_time", "label", *sample.events.column_names]
        return pa.table([time, label, *sample.events.columns], names=names)

    def _nothing(self) -> pa.Table:
        empty = self._shown(self._shelf.schema.empty_table())
        return empty if self._labels is None else self._labelled(Sample(0, None, None, empty))


def _whom(trusted: Trusted, wanted: Selection) -> tuple[Ints, pa.Table | None]:
    """Which subjects are read, and which labels there are of them."""
    if wanted.labels is None:
        return by_hash(trusted, wanted.split), None
    table, split = wanted.labels.table, wanted.split
    if wanted.by_time is not None and split is not None:
        table, split = by_time(table, split, wanted.by_time), None
    return np.intersect1d(by_hash(trusted, split), table.column("subject_id").to_numpy()), table


def _check(wanted: Selection, purpose: str) -> None:
    numbers = (wanted.rank, wanted.world, wanted.seed or 0)
    if any(type(one) is not int for one in numbers) or not -(2**63) <= numbers[2] < 2**63:
        raise ConfigError("rank, world and seed are whole numbers", hint="of 64 bits, signed")
    if not 0 <= wanted.rank < wanted.world:
        raise ConfigError("rank must be one of 0 to world - 1", hint="give rank and world of the process group")
    if wanted.by_time is not None and (wanted.labels is None or wanted.split is None):
        raise ConfigError("a split by time needs labels and a split", hint="their prediction times say who is in it")
    if not isinstance(purpose, str) or not _PURPOSE.fullmatch(purpose):
        raise ConfigError("the purpose is a short sentence", hint="at most 200 characters; never name a person in it")


def _columns(found: Shelf, columns: Sequence[str] | None) -> list[str] | None:
    """What must be read for these columns: what the cut looks at comes along."""
    if columns is None:
        return None
    unknown = [name for name in columns if name not in found.schema.names]
    if unknown or not columns:
        raise ConfigError("there is no such column", hint=f"use some of {', '.join(found.schema.names)}")
    return [name for name in found.schema.names if name in columns or name in cutting.NEEDED]


def _plan(found: Shelf, whom: Ints, wanted: Selection) -> list[tuple[Block, Ints]]:
    """The rank's blocks with its subjects in each, in order.

    Blocks are shuffled, and subjects within a block: so a block is read once and memory stays that of one block.
    """
    plan = [(block, np.intersect1d(found.subjects(block), whom)) for block in found.blocks]
    plan = [(block, ids) for block, ids in plan if len(ids)]
    if wanted.seed is not None:
        seed = int(wanted.seed)
        order = shuffled(np.array([ids[0] for _, ids in plan], dtype=np.int64), seed)
        plan = [(plan[place][0], plan[place][1][shuffled(plan[place][1], seed)]) for place in order]
    total = sum(len(ids) for _, ids in plan)
    low, high = total * wanted.rank // wanted.world, total * (wanted.rank + 1) // wanted.world
    mine: list[tuple[Block, Ints]] = []
    before = 0
    for block, ids in plan:
        part = ids[max(low - before, 0) : max(high - before, 0)]
        before += len(ids)
        if len(part):
            mine.append((block, part))
    return mine


def _one_batch(tables: list[pa.Table]) -> pa.RecordBatch:
    whole = pa.concat_tables(tables).combine_chunks().to_batches()
    if len(whole) > 1:
        raise StoreError("a batch is larger than Arrow can hold", hint="read fewer columns")
    return whole[0] if whole else pa.RecordBatch.from_pylist([], schema=tables[0].schema)
