"""The read side: what analysts and models open.

`connect` gives one DuckDB connection with documented views; `open_store` gives a `Dataset` that hands out Arrow and
pandas. Both see one immutable snapshot, the newest unless another is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from mayo_data.errors import StoreError
from mayo_data.lineage import trace as tracing
from mayo_data.store.layout import Store
from mayo_data.types import Json

if TYPE_CHECKING:
    import duckdb  # noqa: TID251 - for the type of what connect returns
    import pandas as pd

    from mayo_data.store.finding import Finding


class Dataset:
    """One snapshot of a store, as Arrow and pandas.

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
        """Return every code of the snapshot: columns `code`, `description`, `parent_codes`."""
        frame: pd.DataFrame = pq.read_table(self.path / "metadata" / "codes.parquet").to_pandas()
        return frame

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
        """
        where = None
        if split is not None:
            where = pc.field("subject_id").isin(pa.array(self.subjects(split), pa.int64()))
        yield from ds.dataset(self.path / "data", format="parquet").to_batches(
            columns=list(columns) if columns else None, filter=where
        )

    def timeline(self, subject_id: int) -> pd.DataFrame:
        """Return the events of one subject in order, with `event_id` and the description of each code.

        Raises:
            StoreError: There is no such subject.
        """
        events = ds.dataset(self.path / "data", format="parquet").to_table(filter=pc.field("subject_id") == subject_id)
        if events.num_rows == 0:
            raise StoreError("no such subject in this snapshot", hint="subjects() lists them")
        frame: pd.DataFrame = events.to_pandas()
        place = frame[["source_table", "source_row", "source_item"]].astype(str)
        frame.insert(0, "event_id", place.agg(".".join, axis=1))
        return frame.merge(self.codes()[["code", "description"]], on="code", how="left")

    def trace(self, event_id: str) -> Json:
        """Return where an event comes from: see `trace`."""
        return tracing.trace(self.path, self.store.ledger, event_id)


def open_store(store: Path | str, snapshot: str | None = None) -> Dataset:
    """Open a snapshot of a store: `md.open`.

    Raises:
        StoreError: There is no such store or snapshot.
    """
    return Dataset(store, snapshot)


def connect(store: Path | str, snapshot: str | None = None) -> duckdb.DuckDBPyConnection:
    """Return a read-only DuckDB connection with documented views: `events`, `subjects`, `codes`, ...

    Raises:
        StoreError: There is no such store or snapshot.
    """
    from mayo_data.store import catalog

    return catalog.connect(Path(store), snapshot)


def trace(store: Path | str, event_id: str) -> Json:
    """Return where an event of the newest snapshot comes from, back to file digest and line.

    Args:
        store: Folder of the store.
        event_id: `source_table.source_row.source_item`.

    Raises:
        StoreError: There is no such store or event.
    """
    return Dataset(store).trace(event_id)


def validate(path: Path | str) -> list[Finding]:
    """Check any MEDS dataset, or the newest snapshot of a store, against the rules of MEDS 0.4.

    Returns:
        What is wrong; empty for a valid dataset.
    """
    from mayo_data.store import validate as rules

    return rules.validate(Path(path))


def manifest(store: Path | str) -> Any:
    """Return the manifest of the newest snapshot."""
    from mayo_data.store import snapshot

    return snapshot.Manifest.read(Dataset(store).path)
