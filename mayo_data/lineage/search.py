"""Finding rows and records without reading everything: in the Parquet files of a snapshot, and in the ledger."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from mayo_data.errors import StoreError
from mayo_data.types import Json

Places = npt.NDArray[Any]


def found(path: Path, where: Mapping[str, int], columns: Sequence[str] | None = None) -> pa.Table:
    """Return the rows of a Parquet file in which some integer columns have some values.

    Row groups whose statistics rule the values out are not read, and of the others first the columns that are asked
    about: a trace takes milliseconds.

    Args:
        path: The file.
        where: Column to value; all rows where it is empty.
        columns: Which columns to return; all by default.

    Raises:
        StoreError: The file cannot be read.
    """
    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            wanted = list(columns) if columns is not None else file.schema_arrow.names
            tables = []
            for group in _possible(file, where):
                if not where:
                    tables.append(file.read_row_group(group, columns=wanted).select(wanted))
                    continue
                asked = file.read_row_group(group, columns=list(where), use_threads=False)
                mask = np.ones(asked.num_rows, dtype=bool)
                for name, value in where.items():
                    mask &= np.asarray(asked.column(name)) == value
                if mask.any():
                    rows = file.read_row_group(group, columns=wanted)
                    tables.append(rows.select(wanted).take(pa.array(np.flatnonzero(mask))))
            if not tables:
                return pa.schema([file.schema_arrow.field(name) for name in wanted]).empty_table()
            return pa.concat_tables(tables)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(
            "a file of the snapshot is missing or unreadable", hint="run: mayo-data verify STORE"
        ) from error


def _possible(file: pq.ParquetFile, where: Mapping[str, int]) -> Iterator[int]:
    places = {name: file.schema_arrow.get_field_index(name) for name in where}
    for group in range(file.metadata.num_row_groups):
        about = file.metadata.row_group(group)
        for name, value in where.items():
            known = about.column(places[name]).statistics
            if known is not None and known.has_min_max and not known.min <= value <= known.max:
                break
        else:
            yield group


def plain(table: pa.Table) -> list[Json]:
    """Return the rows of a table as JSON-able mappings.

    >>> plain(pa.table({"a": [1]}))
    [{'a': 1}]
    """
    return [{name: _plain(value) for name, value in row.items()} for row in table.to_pylist()]


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def places(table: pa.Table, columns: Sequence[str]) -> Places:
    """Return the places that rows name, as one array that can be sought in another.

    Two columns of a file and its row become one number; three become records.

    Args:
        table: The rows.
        columns: Such as `source_table`, `source_row`.

    >>> int(np.isin(places(pa.table({"a": [1, 2]}), ["a"]), places(pa.table({"a": [2]}), ["a"])).sum())
    1
    """
    ints = [np.asarray(table.column(name)).astype(np.int64, copy=False) for name in columns]
    if len(ints) == 2 and columns[0] == "source_table":
        return (ints[0] << 40) | ints[1]
    out = np.empty(table.num_rows, dtype=[(name, np.int64) for name in columns])
    for name, column in zip(columns, ints, strict=True):
        out[name] = column
    return out


def files(snapshot: Path, part: str) -> list[Path]:
    """Return the files of one table of a snapshot, in order; none where there is no such table."""
    return sorted((snapshot / part).glob("*.parquet"))


def shards(snapshot: Path, part: str, subject_id: int) -> list[Path]:
    """Return the files of a table that can hold a subject, the likeliest first.

    A run puts a subject into the file of its number modulo that of the files; what others wrote need not.

    Args:
        snapshot: Folder of a snapshot.
        part: `data`, `lineage/resources`, `lineage/decisions`.
        subject_id: The subject.
    """
    every = files(snapshot, part)
    name = f"{subject_id % len(every):04d}.parquet" if every else ""
    return sorted(every, key=lambda path: path.name != name)


def of_subject(snapshot: Path, part: str, subject_id: int, columns: Sequence[str] | None = None) -> pa.Table:
    """Return all rows of a subject in one table of a snapshot: they are in one file."""
    table = pa.table({})
    for path in shards(snapshot, part, subject_id):
        table = found(path, {"subject_id": subject_id}, columns)
        if table.num_rows:
            break
    return table


def records(ledger: Path, *needles: str, kinds: Iterable[str] = ()) -> Iterator[Json]:
    """Yield the records of a ledger, oldest first, whose line holds one of some texts.

    Only these lines are parsed: a ledger grows for years.

    Args:
        ledger: Path of the ledger; a missing one holds nothing.
        needles: Texts as they stand in the line, such as `"run_id":"7e74"`.
        kinds: Further texts: the records of these kinds.

    Raises:
        StoreError: A line is no record.
    """
    wanted = [needle.encode() for needle in (*needles, *(f'"kind":"{kind}"' for kind in kinds))]
    try:
        with ledger.open("rb") as file:
            if not file.seek(0, 2):
                return
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
                for begin, end in sorted(set(_lines(text, wanted))):
                    record: Json = orjson.loads(text[begin:end])
                    yield record
    except FileNotFoundError:
        return
    except orjson.JSONDecodeError as error:
        raise StoreError("the ledger is damaged", hint="run: mayo-data ledger verify") from error
    except OSError as error:
        raise StoreError(f"the ledger cannot be read: {error.strerror}", hint="check its rights") from error


def _lines(text: mmap.mmap, needles: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    for needle in needles:
        at = text.find(needle)
        while at >= 0:
            end = text.find(b"\n", at)
            if end < 0:
                break
            yield text.rfind(b"\n", 0, at) + 1, end
            at = text.find(needle, end)


def of_kind(ledger: Path, *kinds: str) -> list[Json]:
    """Return the records of some kinds, oldest first.

    >>> of_kind(Path("no/ledger.jsonl"), "run")
    []
    """
    return [record for record in records(ledger, kinds=kinds) if record["kind"] in kinds]


def snapshots(folder: Path) -> list[Path]:
    """Return the folders of the committed snapshots, oldest first.

    Args:
        folder: `STORE/snapshots`.
    """
    return sorted(path.parent for path in folder.glob("[0-9]*/manifest.json"))
