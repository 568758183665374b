"""The read side: what analysts and models open.

`connect` gives one DuckDB connection with documented views; `open_store` gives a `Dataset` that hands out Arrow,
pandas and Polars. Both see one immutable snapshot, the newest unless another is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from mayo_data.errors import ConfigError, SourceError, StoreError
from mayo_data.lineage import trace as tracing
from mayo_data.lineage.ledger import Ledger
from mayo_data.store.layout import Store
from mayo_data.types import Json

if TYPE_CHECKING:
    import duckdb  # noqa: TID251 - for the type of what connect returns
    import pandas as pd

    from mayo_data.store.finding import Finding
    from mayo_data.store.rows import Rows
    from mayo_data.store.views import ViewTable

_NDJSON = re.compile(r"\.(?:ndjson|jsonl)(?:\.(?:gz|zst))?$", re.IGNORECASE)
_LARGEST_VIEW = 4 << 20  # bytes of a ViewDefinition


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
        """
        where = None
        if split is not None:
            where = pc.field("subject_id").isin(pa.array(self.subjects(split), pa.int64()))
        yield from ds.dataset(self.path / "data", format="parquet").to_batches(
            columns=list(columns) if columns else None, filter=where
        )

    def connect(self) -> duckdb.DuckDBPyConnection:
        """Return a read-only DuckDB connection to this snapshot: see `connect`."""
        from mayo_data.store import catalog

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

    @cached_property
    def _connection(self) -> duckdb.DuckDBPyConnection:
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


def connect(store: Path | str, snapshot: str | None = None) -> duckdb.DuckDBPyConnection:
    """Return a read-only DuckDB connection with documented views: `event`, `subject`, `condition`, ...

    `SHOW TABLES` lists the views, `FROM macro` the macros (`timeline(subject)`, `cohort(pattern)`, ...); every column
    has a comment: `SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'condition'`.

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


def completeness(store: Path | str, subject_id: int | None = None) -> Json:
    """Return what arrived when, from which export, and what is missing against its manifest.

    Args:
        store: Folder of the store.
        subject_id: One subject alone; otherwise the counts of all.

    Returns:
        `types` (resource type: resources, subjects, subjects without any, events), `sources` (file: when it arrived,
        rows, resources that gave events, how many its manifest lists, how many are missing), or `subject`
        (resource type by file). What a manifest does not say is None.

    Raises:
        StoreError: There is no such store, or no such subject in it.
    """
    from mayo_data.store import completeness as counts

    found: Json = dict(counts.counted(Path(store), subject_id))
    if subject_id is not None and not found["subject"]:
        raise StoreError("no such subject in this snapshot", hint="view subject lists them")
    runs = {record["body"]["run_id"]: record for record in Ledger(Store.open(Path(store)).ledger).records("run")}
    for source in found["sources"]:
        run = runs.get(source["run_id"])
        inputs = run["body"].get("inputs", []) if run else []
        listed = next((one.get("listed") for one in inputs if one["source_table"] == source["source_table"]), None)
        source["arrived"] = run["at"] if run else None
        source["listed"] = listed
        source["missing"] = max(listed - source["rows"], 0) if listed is not None else None
    arrived = {source["source_table"]: source["arrived"] for source in found["sources"]}
    for row in found.get("subject", ()):
        row["arrived"] = arrived.get(row["source_table"])
    for row in found.get("types", ()):
        days = sorted(day for table in row["sources"] if (day := arrived.get(table)))
        row["first_arrived"], row["last_arrived"] = (days[0], days[-1]) if days else (None, None)
    return found


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


def view(
    view: Mapping[str, Any] | Path | str,
    fhir: Path | str,
    *,
    db: duckdb.DuckDBPyConnection | None = None,
) -> ViewTable:
    """Return a view of SQL on FHIR v2 over de-identified FHIR, as a table.

    The view becomes one SQL statement for DuckDB, which reads the files. Nothing is computed before it is asked for:
    `md.view(view, fhir).df()`, `.arrow()`, `.pl()`, `.relation` for more SQL, `.write("out.parquet")`.

    Args:
        view: A ViewDefinition: a mapping, or the path of a JSON file.
        fhir: Folder with `.ndjson` files (also `.jsonl`, `.gz`, `.zst`, at any depth), or one such file.
        db: DuckDB connection to run on, for example of `connect`, so that the result can be joined.

    Raises:
        ConfigError: The view is wrong, with the place in it; or the place of the files is a URL.
        SourceError: There is no such folder, or no ndjson in it.
    """
    from mayo_data.store.views import ViewTable
    from mayo_data.views import compile as views
    from mayo_data.views import source

    body = view if isinstance(view, Mapping) else _view_file(Path(view))
    plain = views.compile_view(body)
    written = views.compile_view(body, written=True)
    select = source.read(_ndjson(fhir), plain.resource)
    columns = [(field.name, field.sql) for field in written.fields]
    return ViewTable(plain.sql(select), written.sql(select), columns, name=plain.name, notes=plain.notes, db=db)


def risk(
    store: Path | str,
    *,
    quasi: Sequence[str] | None = None,
    sensitive: Sequence[str] | None = None,
    threshold: int = 11,
    population: int | None = None,
) -> Json:
    """Measure how easily a subject of a store could be singled out: `md.risk`, and what `mayo-data risk` calls.

    Args:
        store: Folder of the store.
        quasi: What others may know of a subject, of `age_band`, `sex`, `race`, `ethnicity`, `zip3`,
            `admission_year`, `rarest_code` (a code that few have), `sequence` (the first conditions); by default the
            first six.
        sensitive: What they want to know; by default `condition`, the condition that the subject has most entries of.
        threshold: Class size below which a subject is at risk.
        population: People that the store is a sample of.

    Returns:
        `quasi`; `risk`, see `mayo_data.quality.risk.Risk`; `options`, see `mayo_data.quality.profile.Option`.

    Raises:
        StoreError: There is no such store.
        ConfigError: There is no such column, or the store has no subject.
    """
    from dataclasses import asdict

    from mayo_data.quality import profile
    from mayo_data.quality import risk as measures

    columns = tuple(quasi or profile.QUASI)
    with connect(store) as db:
        table = profile.make(db)
        wanted = tuple(profile.SENSITIVE if sensitive is None else sensitive)
        found = measures.assess(db, table, columns, wanted, threshold=threshold, population=population)
        options = profile.options(db, table, columns, threshold)
    return {"quasi": list(columns), "risk": found.dict(), "options": [asdict(option) for option in options]}


def _view_file(path: Path) -> Any:
    import msgspec

    try:
        if path.stat().st_size > _LARGEST_VIEW:
            raise ConfigError("the view is too large", hint="a ViewDefinition has some kilobytes")
        return msgspec.json.Decoder(float_hook=Decimal).decode(path.read_bytes())
    except OSError as error:
        raise ConfigError("the view cannot be read", hint="check its path") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError("the view is no JSON", hint="check it with a JSON editor") from error


def _ndjson(fhir: Path | str) -> list[str]:
    """The files in order of their path; names that begin with a dot are somebody's drafts."""
    from mayo_data.sources import location

    if location.is_url(fhir):
        raise ConfigError("a view reads local files only", hint="copy the folder to this machine")
    files = [
        str(found.path)
        for found in location.listing(fhir)
        if found.regular and _NDJSON.search(found.parts[-1]) and not any(part.startswith(".") for part in found.parts)
    ]
    if not files:
        raise SourceError("there is no FHIR ndjson here", hint="give the folder that mayo-data scrub wrote")
    return files
