"""Opens a snapshot: as a `Dataset` for Arrow, pandas, Polars, trainings and predictions, or as a DuckDB connection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from mayo_data.dataset.context import Context, context
from mayo_data.dataset.label_tables import Labels
from mayo_data.dataset.reader import Reader, Selection
from mayo_data.dataset.trust import Verify, refuse_blocked, trust
from mayo_data.errors import ConfigError, StoreError
from mayo_data.lineage import trace as tracing
from mayo_data.store.layout import Store
from mayo_data.types import Json

if TYPE_CHECKING:
    import duckdb  # noqa: TID251 - for the type of what connect returns
    import pandas as pd

    from mayo_data.store.rows import Rows


class Dataset:
    """One snapshot of a store, as Arrow, pandas and Polars.

    Args:
        store: Folder of the store.
        snapshot: Name of a snapshot, for example `000001`; the newest by default.

    Raises:
        StoreError: There is no such store or snapshot.
    """

    def __init__(self, store: Path | str, snapshot: str | None = None) -> None:
        self.store = Store.open(Path(store))
        self.path = self.store.snapshot(snapshot) if snapshot else self.store.current()

    def __repr__(self) -> str:
        return f"Dataset(snapshot={self.path.name!r})"

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the events."""
        return ds.dataset(self.path / "data", format="parquet").schema

    def splits(self) -> pd.DataFrame:
        """Return which subject belongs to which split: columns `subject_id`, `split`."""
        frame: pd.DataFrame = pq.read_table(self.path / "metadata" / "subject_splits.parquet").to_pandas()
        return frame

    def codes(self) -> pd.DataFrame:
        """Return every code of the snapshot: its parts, what it means, how often it occurs (view `code`)."""
        return self.table("code").df()

    def subjects(self, split: str | None = None) -> list[int]:
        """Return the subjects of a split, or all, in ascending order.

        Raises:
            StoreError: There is no such split.
        """
        table = pq.read_table(self.path / "metadata" / "subject_splits.parquet")
        if split is not None:
            known = pc.unique(table.column("split")).to_pylist()
            if split not in known:
                raise StoreError("no such split", hint=f"use one of {', '.join(sorted(known))}")
            table = table.filter(pc.equal(table.column("split"), split))
        found: list[int] = sorted(table.column("subject_id").to_pylist())
        return found

    def batches(self, split: str | None = None, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the events of a split, or all, in the order of the files: subjects whole, times ascending.

        Args:
            split: `train`, `tuning`, `held_out`, or None for all.
            columns: Which columns; all by default.

        Raises:
            StoreError: There is no such split, or somebody in the snapshot has withdrawn.
        """
        refuse_blocked(self.store, self.path)
        where = None
        if split is not None:
            where = pc.field("subject_id").isin(pa.array(self.subjects(split), pa.int64()))
        yield from ds.dataset(self.path / "data", format="parquet").to_batches(
            columns=list(columns) if columns else None, filter=where
        )

    def reader(
        self,
        split: str | None = None,
        *,
        labels: Labels | pa.Table | pd.DataFrame | Path | str | None = None,
        consumer: str,
        purpose: str = "",
        columns: Sequence[str] | None = None,
        seed: int | None = 0,
        rank: int = 0,
        world: int = 1,
        by_time: datetime | str | None = None,
        snapshot: str | None = None,
        override: str | None = None,
        verify: Verify = "cached",
    ) -> Reader:
        """Return a read for a training, and record it: Arrow, pandas, PyTorch, Hugging Face; sharded and resumable.

        Args:
            split: `train`, `tuning`, `held_out`, or None for all.
            labels: What is to be predicted: of `md.label`, or any MEDS label table (Arrow, pandas, Parquet). With it,
                only subjects who have a label are read, once a prediction, as was knowable then.
            consumer: Who reads, by a plain name: a project, a service.
            purpose: What for, a short sentence for the ledger. Never name a person in it.
            columns: Which columns of the events; all by default.
            seed: Of the order of the subjects. None: as they lie in the files.
            rank: Which of the data-parallel processes this is; each subject is read by exactly one.
            world: How many there are.
            by_time: A cut date: `train` are the subjects whose last prediction is before it, `held_out` the others,
                with their predictions from then on.
            snapshot: Name of a snapshot, where it is another than the one opened.
            override: Why to read although a check fails; recorded. Subjects who withdrew are left out even so.
            verify: `cached`: files this process has digested and that look the same are believed; `full`: all files
                of the snapshot are digested again.

        Raises:
            StoreError: The snapshot is not the one of the ledger, a file was changed, or a subject in it withdrew.
            ConfigError: The labels are no labels, or an argument makes no sense.
        """
        if snapshot is not None and snapshot != self.path.name:
            path = self.store.snapshot(snapshot)
        else:
            path = self.path
        trusted = trust(self.store, path, consumer=consumer, verify=verify, override=override)
        made = None if labels is None else Labels.of(labels)
        chosen = None if columns is None else tuple(columns)
        wanted = Selection(split, made, by_time, chosen, seed, rank, world)
        return Reader(trusted, wanted, consumer=consumer, purpose=purpose)

    def context(
        self,
        subject_id: int,
        at: datetime | str,
        *,
        consumer: str,
        columns: Sequence[str] | None = None,
        override: str | None = None,
        verify: Verify = "cached",
    ) -> Context:
        """Return the history of a subject that was knowable at a time, and record that it was asked for.

        The same function cuts it that cuts the samples of `reader`, so a model sees in use what it saw in training.
        Only the file that holds the subject is read.

        Args:
            subject_id: The subject.
            at: The time; without a zone it is UTC. As the store has times: moved, where the policy moves dates.
            consumer: Who asks, by a plain name.
            columns: Which columns; all by default.
            override: Why to read although a check fails; recorded. It never opens a history that was withdrawn.
            verify: As in `reader`; `cached` digests the one file that is read.

        Raises:
            StoreError: There is no such subject, or she or he has withdrawn, or the snapshot may not be read.
            ConfigError: `at` is no time, or the consumer no name.
        """
        return context(
            self.store, self.path, subject_id, at,
            consumer=consumer, columns=columns, override=override, verify=verify,
        )  # fmt: skip

    def meds(
        self, folder: Path | str, *, consumer: str = "meds", purpose: str = "", override: str | None = None
    ) -> Path:
        """Write the snapshot as a plain MEDS dataset, and record that it was read.

        For tools that want exactly the columns of MEDS or one folder a split, such as ACES, MEDS-Tab and
        MEDS-Transforms.

        Args:
            folder: Where to; it must be empty or not there.
            consumer: Who will use it, by a plain name.
            purpose: What for; see `reader`.
            override: Why to read although a check fails; see `reader`.

        Returns:
            The folder: `data/{train,tuning,held_out}/*.parquet`, `metadata/`, with the lineage id in
            `metadata/lineage.json`.

        Raises:
            ConfigError: The folder is not empty.
            StoreError: The snapshot may not be read, or the folder not be written.
        """
        from mayo_data.dataset import plain_meds

        trusted = trust(self.store, self.path, consumer=consumer, override=override)
        wanted = Selection(columns=plain_meds.COLUMNS, seed=None)
        return plain_meds.export(trusted, Reader(trusted, wanted, consumer=consumer, purpose=purpose), Path(folder))

    def connect(self) -> duckdb.DuckDBPyConnection:
        """Return a read-only DuckDB connection to this snapshot: see `connect`."""
        from mayo_data.store import catalog

        refuse_blocked(self.store, self.path)
        return catalog.connect(self.store.root, self.path.name)

    def table(self, name: str) -> Rows:
        """Return a view of `connect`: `table("condition").df()`, `.arrow()`, `.pl()`, `.relation` for more SQL.

        Args:
            name: `event`, `subject`, `encounter`, `condition`, `medication`, `measurement`, `procedure`, `note`,
                `code`, `fact`, `lineage`, ...

        Raises:
            ConfigError: There is no such view.
            StoreError: The catalog cannot be opened.
        """
        from mayo_data.store import analyst
        from mayo_data.store.rows import Rows

        if name not in analyst.views():
            raise ConfigError(f"no view {name[:40]!r}", hint=f"use one of {', '.join(analyst.views())}")
        return Rows(f"FROM {name}", self._connection)

    def timeline(self, subject_id: int) -> pd.DataFrame:
        """Return the events of one subject in order: what the macro `timeline` of `connect` gives.

        Raises:
            StoreError: There is no such subject.
        """
        from mayo_data.store.rows import Rows

        frame = Rows(f"FROM timeline({int(subject_id)})", self._connection).df()
        if frame.empty:
            raise StoreError("no such subject in this snapshot", hint="subjects() lists them")
        return frame

    @property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        refuse_blocked(self.store, self.path)  # somebody may have withdrawn since it was opened
        return self._opened

    @cached_property
    def _opened(self) -> duckdb.DuckDBPyConnection:
        return self.connect()

    def trace(self, event_id: str) -> Json:
        """Return where an event comes from: see `trace`."""
        return tracing.trace(self.path, self.store.ledger, event_id)


def open_store(store: Path | str, snapshot: str | None = None) -> Dataset:
    """Open a snapshot of a store: `md.open`.

    Raises:
        StoreError: There is no such store or snapshot.
    """
    return Dataset(store, snapshot)


def connect(store: Path | str, snapshot: str | None = None, *, confined: bool = True) -> duckdb.DuckDBPyConnection:
    """Return a read-only DuckDB connection with documented views: `event`, `subject`, `condition`, ...

    `SHOW TABLES` lists the views, `FROM macro` the macros (`timeline(subject)`, `cohort(pattern)`, ...); every column
    has a comment: `SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'condition'`.

    Args:
        store: Folder of the store.
        snapshot: Name of a snapshot; the newest by default.
        confined: The connection reads this snapshot's files and nothing else, and writes no file. False lets SQL
            reach whatever its user may reach: `COPY`, `read_csv`, frames by the name of their variable.

    Raises:
        StoreError: There is no such store or snapshot, or somebody in it has withdrawn.
    """
    from mayo_data.store import catalog

    dataset = Dataset(store, snapshot)
    refuse_blocked(dataset.store, dataset.path)
    return catalog.connect(Path(store), snapshot, confined=confined)
