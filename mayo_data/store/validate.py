"""Checks a whole MEDS dataset, anybody's: what no check of a single file can see.

MEDS 0.4 (https://github.com/Medical-Event-Data-Standard/meds): one subject in exactly one file, contiguous,
sorted by time; every code described once; splits that name the subjects there are. A snapshot of ours is
held to its manifest besides. Findings carry rules, files and counts, never a value.

A file is streamed once for its order; subjects and codes are then compared as sets in DuckDB, which spills to
the disk, so memory does not grow with the dataset.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from mayo_data import sql
from mayo_data.errors import StoreError
from mayo_data.store import scratch, write
from mayo_data.store.finding import Finding, columns, is_text
from mayo_data.store.layout import MANIFEST, Store
from mayo_data.store.snapshot import Manifest

if TYPE_CHECKING:
    import duckdb

_DATA = {"subject_id": pa.int64(), "time": pa.timestamp("us"), "code": pa.string()}
_VALUES = {"numeric_value": pa.float32(), "text_value": pa.large_string()}
_CODES = {"code": pa.string()}
_CODES_MORE = {"description": pa.string(), "parent_codes": pa.list_(pa.string())}
_SPLITS = {"subject_id": pa.int64(), "split": pa.string()}
_DATASET_LISTS = (
    "raw_source_id_columns",
    "code_modifier_columns",
    "additional_value_modality_columns",
    "site_id_columns",
    "other_extension_columns",
)
_DATASET_TEXTS = (
    "dataset_name",
    "dataset_version",
    "etl_name",
    "etl_version",
    "meds_version",
    "created_at",
    "license",
    "location_uri",
    "description_uri",
)
_NULL_TIME = np.iinfo(np.int64).min  # static facts sort first


def validate(root: Path) -> list[Finding]:
    """Return every rule of MEDS 0.4 that a dataset breaks, errors first; empty for a sound one.

    Args:
        root: A MEDS dataset (`data/`, `metadata/`), a snapshot, or a store, of which the current snapshot is
            checked.

    Raises:
        StoreError: There is nothing to check.
    """
    if (root / "store.json").exists():
        root = Store.open(root).current()
    if not root.is_dir():
        raise StoreError("there is no such folder", hint="give a store or the root of a MEDS dataset")
    files = sorted((root / "data").rglob("*.parquet"))
    findings = list(_manifest(root)) + list(_dataset(root))
    if not files:
        return [*findings, Finding("no_data", "error", "data", 0, "there are no Parquet files under data/")]
    with (
        tempfile.TemporaryDirectory(prefix="mayo-data-") as folder,
        scratch.connection(Path(folder) / "spill") as db,
    ):
        db.execute("CREATE TABLE runs (file INTEGER, subject_id BIGINT)")
        db.execute("CREATE TABLE seen (file INTEGER, code VARCHAR, n BIGINT, odd BIGINT)")
        for number, path in enumerate(files):
            findings += _data(db, number, path, path.relative_to(root).as_posix())
        findings += _values(db, [path.relative_to(root).as_posix() for path in files])
        findings += _across(db, [path.relative_to(root).as_posix() for path in files])
        findings += _codes(db, root)
        findings += _splits(db, root)
    return sorted(findings, key=lambda finding: (finding.severity, finding.file, finding.rule))


def _data(db: duckdb.DuckDBPyConnection, number: int, path: Path, file: str) -> Iterator[Finding]:
    try:
        parquet = pq.ParquetFile(path)
        found = parquet.schema_arrow
        yield from columns(found, _DATA, _VALUES, file)
        usable = [name for name in ("subject_id", "time", "code") if name in found.names]
        if found.field("subject_id").type != pa.int64() or "code" not in usable or "time" not in usable:
            return
        if not pa.types.is_timestamp(found.field("time").type) or not is_text(found.field("code").type):
            return
        yield from _order(db, number, parquet, file)
        _see(db, number, path, "numeric_value" in found.names)
    except KeyError:
        return  # there is no subject_id: said already
    except (OSError, pa.ArrowException) as error:
        yield Finding("unreadable", "error", file, 1, f"not a sound Parquet file ({type(error).__name__})")


def _order(db: duckdb.DuckDBPyConnection, number: int, parquet: pq.ParquetFile, file: str) -> Iterator[Finding]:
    """Stream subjects and times; keep only where a run of one subject begins."""
    backwards = descending = nulls = 0
    last_subject: int | None = None
    last_time = _NULL_TIME
    starts = []
    for batch in parquet.iter_batches(batch_size=1 << 17, columns=["subject_id", "time"]):
        nulls += batch.column("subject_id").null_count
        batch = batch.filter(batch.column("subject_id").is_valid())
        if not batch.num_rows:
            continue
        subjects = batch.column("subject_id").to_numpy()
        times = batch.column("time").cast(pa.int64()).fill_null(_NULL_TIME).to_numpy()
        begins = np.empty(len(subjects), dtype=bool)
        begins[0] = subjects[0] != last_subject
        np.not_equal(subjects[1:], subjects[:-1], out=begins[1:])
        backwards += int(np.count_nonzero((times[1:] < times[:-1]) & ~begins[1:]))
        backwards += int(not begins[0] and times[0] < last_time)
        descending += int(np.count_nonzero(subjects[1:] < subjects[:-1]))
        descending += int(last_subject is not None and subjects[0] < last_subject)
        last_subject, last_time = int(subjects[-1]), int(times[-1])
        starts.append(subjects[begins])
    if starts:
        db.register("starts", pa.table({"subject_id": np.concatenate(starts)}))
        db.execute("INSERT INTO runs SELECT ?, subject_id FROM starts", [number])
        db.unregister("starts")
    if nulls:
        yield Finding("subject_null", "error", file, nulls, "every event needs a subject_id")
    if backwards:
        hint = "a subject's events are not sorted by time, static facts (no time) first"
        yield Finding("time_order", "error", file, backwards, hint)
    if descending:
        hint = "subjects are not in ascending order: valid, but readers can skip less"
        yield Finding("subject_order", "warning", file, descending, hint)


def _see(db: duckdb.DuckDBPyConnection, number: int, path: Path, numeric: bool) -> None:
    """Remember the codes of a file, how often each occurs, and with how many values that are no finite number."""
    odd = "count(*) FILTER (NOT isfinite(numeric_value))" if numeric else "0"
    counts = f"SELECT ?, code, count(*), {odd} FROM read_parquet(?, hive_partitioning = false) GROUP BY code"
    db.execute(f"INSERT INTO seen {counts}", [number, sql.literal(path)])


def _values(db: duckdb.DuckDBPyConnection, files: list[str]) -> Iterator[Finding]:
    counts = "sum(n) FILTER (code IS NULL), sum(n) FILTER (code = ''), sum(odd)"
    for number, *found in db.execute(f"SELECT file, {counts} FROM seen GROUP BY file ORDER BY file").fetchall():
        nulls, empty, infinite = (int(count or 0) for count in found)
        file = files[number]
        if nulls:
            yield Finding("code_null", "error", file, nulls, "every event needs a code")
        if empty:
            yield Finding("code_empty", "warning", file, empty, "an empty code says nothing")
        if infinite:
            yield Finding("number_not_finite", "warning", file, infinite, "numeric_value is NaN or infinite; use null")


def _across(db: duckdb.DuckDBPyConnection, files: list[str]) -> Iterator[Finding]:
    split = db.execute(
        "SELECT file, count(*) FROM "
        "(SELECT file, subject_id FROM runs GROUP BY ALL HAVING count(*) > 1) GROUP BY file ORDER BY file"
    ).fetchall()
    for number, count in split:
        yield Finding("not_contiguous", "error", files[number], count, "a subject's events are not in one piece")
    shared = _count(db, "SELECT subject_id FROM runs GROUP BY subject_id HAVING count(DISTINCT file) > 1")
    if shared:
        yield Finding("subject_in_two_files", "error", "data", shared, "all events of a subject belong in one file")


def _codes(db: duckdb.DuckDBPyConnection, root: Path) -> Iterator[Finding]:
    file = "metadata/codes.parquet"
    path = root / file
    if not path.exists():
        yield Finding("codes_missing", "error", file, 1, "MEDS wants a table of all codes")
        return
    try:
        found = pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        yield Finding("unreadable", "error", file, 1, f"not a sound Parquet file ({type(error).__name__})")
        return
    yield from columns(found, _CODES, _CODES_MORE, file)
    if "code" not in found.names or not is_text(found.field("code").type):
        return
    db.execute("CREATE TABLE codes AS SELECT code FROM read_parquet(?)", [sql.literal(path)])
    checks = (
        ("code_null", "SELECT 1 FROM codes WHERE code IS NULL", "a row of the table of codes has none"),
        (
            "code_twice",
            "SELECT code FROM codes GROUP BY code HAVING count(*) > 1",
            "a code is described twice",
        ),
        (
            "code_not_listed",
            "SELECT DISTINCT code FROM seen ANTI JOIN codes USING (code) WHERE code IS NOT NULL",
            "events have more codes",
        ),
    )
    yield from _checks(db, checks, file)


def _splits(db: duckdb.DuckDBPyConnection, root: Path) -> Iterator[Finding]:
    file = "metadata/subject_splits.parquet"
    path = root / file
    if not path.exists():
        yield Finding("splits_missing", "warning", file, 1, "without splits every model makes its own")
        return
    try:
        found = pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        yield Finding("unreadable", "error", file, 1, f"not a sound Parquet file ({type(error).__name__})")
        return
    yield from columns(found, _SPLITS, {}, file)
    more = [name for name in found.names if name not in _SPLITS]
    if more:
        yield Finding("column_extra", "error", file, len(more), "MEDS allows subject_id and split only")
    if not {"subject_id", "split"} <= set(found.names) or found.field("subject_id").type != pa.int64():
        return
    db.execute("CREATE TABLE splits AS SELECT subject_id, split FROM read_parquet(?)", [sql.literal(path)])
    subjects = "SELECT DISTINCT subject_id FROM runs"
    checks = (
        (
            "split_null",
            "SELECT 1 FROM splits WHERE subject_id IS NULL OR split IS NULL",
            "a row is incomplete",
        ),
        (
            "subject_twice",
            "SELECT 1 FROM splits WHERE subject_id IS NOT NULL GROUP BY subject_id HAVING count(*) > 1",
            "a subject is in two rows",
        ),
        (
            "split_unknown_subject",
            f"SELECT DISTINCT subject_id FROM splits ANTI JOIN ({subjects}) USING (subject_id)",
            "a split names a subject without events",
        ),
        (
            "subject_without_split",
            f"FROM ({subjects}) ANTI JOIN splits USING (subject_id)",
            "a subject has events and no split",
        ),
    )
    yield from _checks(db, checks, file)
    other = _count(db, "SELECT DISTINCT split FROM splits WHERE split NOT IN ('train', 'tuning', 'held_out')")
    if other:
        hint = "splits other than train, tuning and held_out: allowed, but tools look for those"
        yield Finding("split_name", "warning", file, other, hint)


def _checks(db: duckdb.DuckDBPyConnection, checks: tuple[tuple[str, str, str], ...], file: str) -> Iterator[Finding]:
    for rule, query, hint in checks:
        count = _count(db, query)
        if count:
            yield Finding(rule, "error", file, count, hint)


def _count(db: duckdb.DuckDBPyConnection, query: str) -> int:
    return int(db.execute(f"SELECT count(*) FROM ({query})").fetchall()[0][0])


def _dataset(root: Path) -> Iterator[Finding]:
    file = "metadata/dataset.json"
    try:
        about = orjson.loads((root / file).read_bytes())
    except FileNotFoundError:
        yield Finding("dataset_missing", "error", file, 1, "MEDS wants a description of the dataset")
        return
    except (OSError, orjson.JSONDecodeError):
        about = None
    if not isinstance(about, dict):
        yield Finding("dataset_unreadable", "error", file, 1, "it must be one JSON object")
        return
    wrong = [name for name in _DATASET_TEXTS if not isinstance(about.get(name, ""), str)]
    for name in _DATASET_LISTS:
        entries = about.get(name, [])
        if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            wrong.append(name)
    stamp = about.get("created_at")
    if isinstance(stamp, str) and not _is_time(stamp):
        wrong.append("created_at")
    if wrong:
        yield Finding("dataset_field", "error", file, len(wrong), "not as MEDS defines it: " + ", ".join(wrong))


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _manifest(root: Path) -> Iterator[Finding]:
    """Hold a snapshot to its manifest, byte for byte; other datasets have none."""
    if not (root / MANIFEST).exists():
        return
    try:
        manifest = Manifest.read(root)
    except StoreError as error:
        yield Finding("manifest_unreadable", "error", MANIFEST, 1, str(error))
        return
    if manifest.encode() != (root / MANIFEST).read_bytes():
        yield Finding("manifest_changed", "error", MANIFEST, 1, "the manifest is not the one that was written")
    listed = {entry.path: entry for entry in manifest.files}
    found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()} - {MANIFEST}
    for name in sorted(found - set(listed)):
        yield Finding("file_not_listed", "error", name, 1, "the manifest does not know this file")
    for name, entry in listed.items():
        if name not in found:
            yield Finding("file_missing", "error", name, 1, "the manifest lists it")
        elif write.sha256(root / name) != entry.sha256:
            yield Finding("file_changed", "error", name, 1, "it is not the file that was written")
