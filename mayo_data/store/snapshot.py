"""Seals a draft: describes it as a MEDS dataset, builds its catalog, and lists every file in a manifest.

The manifest is written last. A folder without one is a draft and nothing else.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import orjson
import pyarrow.parquet as pq

from mayo_data import schema
from mayo_data.errors import StoreError
from mayo_data.store import catalog, digest, scratch, write
from mayo_data.store.layout import MANIFEST
from mayo_data.store.scratch import SPILL
from mayo_data.store.write import FileReceipt

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

FORMAT = 1
MEDS_VERSION = "0.4.1"
DATASET = "metadata/dataset.json"

# Tables whose rows say what the snapshot means. The others name the run, which differs every night.
LOGICAL = ("events", "codes", "subject_splits", "resources", "decisions")
_LATER: Mapping[str, object] = {"mode": "full", "restores": None, "memory": {}}


@dataclass(frozen=True)
class TableSummary:
    """One table of a snapshot: how many files and rows, and the logical digest of its rows.

    Attributes:
        files: Number of files.
        rows: Number of rows.
        digest: Logical digest, hex.
        sum: Sum of the digests of its rows, hex: what a delta adds to.

    >>> TableSummary(2, 100, "ab").rows
    100
    """

    files: int
    rows: int
    digest: str
    sum: str = ""


class Change(NamedTuple):
    """What a delta does to a table: rows added less rows taken away, and the same of the sum of their digests."""

    rows: int
    sum: int


@dataclass(frozen=True)
class Manifest:
    """What a snapshot holds and under which rules it was made.

    Attributes:
        run_id: The run that made it.
        code_version: Version of mayo_data.
        policy: Name of the PHI policy.
        policy_fingerprint: Digest of the policy, site overrides included.
        key_id: Public id of the key.
        created_at: ISO 8601 time in UTC.
        previous: Snapshot it was made on top of, or None.
        logical_digest: Order-free digest of events, codes, splits, resources and decisions.
        tables: Table to its summary.
        counts: Further counts by name: `subjects`, and what the caller gave.
        fingerprints: Stage to its fingerprint.
        files: Every file of the snapshot but the manifest.
        format: Version of the manifest's own form.
        mode: `full` (all of it was read by one run), `delta` (merged into the snapshot before), `rollback` or
            `withdrawal` (the snapshot before, without a subject).
        restores: For a rollback, the snapshot that it makes current again.
        memory: What a delta needs beside the snapshot, in the PHI zone: name to sha256. Empty where no delta fits.
    """

    run_id: str
    code_version: str
    policy: str
    policy_fingerprint: str
    key_id: str
    created_at: str
    previous: str | None
    logical_digest: str
    tables: Mapping[str, TableSummary]
    counts: Mapping[str, int]
    fingerprints: Mapping[str, str]
    files: tuple[FileReceipt, ...] = field(repr=False)
    format: int = FORMAT
    mode: str = "full"
    restores: str | None = None
    memory: Mapping[str, str] = field(default_factory=dict, repr=False)

    def encode(self) -> bytes:
        """Return the bytes of `manifest.json`."""
        body = asdict(self)
        for later, nothing in _LATER.items():  # a manifest from before these fields keeps its digest
            if body[later] == nothing:
                del body[later]
        for summary in body["tables"].values():
            if not summary["sum"]:
                del summary["sum"]
        return orjson.dumps(body, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2) + b"\n"

    @property
    def sha256(self) -> str:
        """Digest of `manifest.json`, which seals all other files: put it into the ledger."""
        return hashlib.sha256(self.encode()).hexdigest()

    @classmethod
    def read(cls, snapshot: Path) -> Manifest:
        """Read the manifest of a snapshot.

        Raises:
            StoreError: There is none, it is damaged or of a newer form, or it names a file outside of its snapshot.
        """
        try:
            found = msgspec.json.decode((snapshot / MANIFEST).read_bytes(), type=cls)
        except FileNotFoundError as error:
            raise StoreError("there is no manifest: this is no snapshot", hint="give the folder of a store") from error
        except (OSError, ValueError) as error:
            raise StoreError("the manifest is damaged", hint="use another snapshot, or run again") from error
        if found.format != FORMAT:
            raise StoreError(
                "the manifest is of another version", hint="use the mayo_data that made it, or a newer one"
            )
        if not all(_inside(file.path) for file in found.files):
            raise StoreError("the manifest names a file outside of its snapshot", hint="ask who made this store")
        return found


def seal(
    draft: Path,
    *,
    run_id: str,
    code_version: str,
    policy: str,
    policy_fingerprint: str,
    key_id: str,
    created_at: str,
    previous: str | None,
    fingerprints: Mapping[str, str] | None = None,
    counts: Mapping[str, int] | None = None,
    receipts: Sequence[FileReceipt] = (),
    mode: str = "full",
    memory: Mapping[str, str] | None = None,
    changes: Mapping[str, Change] | None = None,
    before: Manifest | None = None,
    base: Path | None = None,
    changed: pa.Table | None = None,
    dataset_name: str = "mayo_data",
    license_name: str | None = None,
) -> Manifest:
    """Finish a draft: `metadata/dataset.json`, `catalog.duckdb`, then `manifest.json`.

    The draft holds `data/*.parquet`, `metadata/{codes,subject_splits}.parquet`,
    `lineage/{sources,scrubs}.parquet` and `lineage/{resources,decisions}/*.parquet`. A table that has no file
    gets an empty one, except for events.

    Args:
        draft: Folder from `Store.staging`.
        run_id: The run.
        code_version: Version of mayo_data.
        policy: Name of the PHI policy.
        policy_fingerprint: Digest of the policy.
        key_id: Public id of the key.
        created_at: ISO 8601 time with zone; an argument, so that a test can repeat it.
        previous: Name of the snapshot that is current now, or None.
        fingerprints: Stage to fingerprint.
        counts: Further counts by name.
        receipts: Receipts of `write_table`; their files are not read again to be digested.
        mode: `full` or `delta`.
        memory: What lies in the PHI zone for the next delta: name to sha256.
        changes: Of a delta, what it adds to tables and takes away: the others are digested whole.
        before: Of a delta, the manifest of the snapshot that it was merged into.
        base: Of a delta, the folder of that snapshot: what the delta leaves alone is taken over from its catalog.
        changed: Of a delta, what `sums.before_and_after` returned of its events.
        dataset_name: Name for MEDS tools.
        license_name: Licence for MEDS tools.

    Raises:
        StoreError: There are no events files, or one cannot be read, or `created_at` is no time.
    """
    _clean(draft)
    _dataset(draft, dataset_name, license_name, previous, code_version, created_at)
    tables = {name: _files(draft, name) for name in catalog.FILES}
    subjects = catalog.build_catalog(draft, base, changed)
    with scratch.connection(draft / SPILL) as db:
        summaries = {
            name: _summary(db, files, before.tables.get(name) if before else None, (changes or {}).get(name))
            for name, files in tables.items()
        }
    logical = "\n".join(f"{name}={summaries[name].digest}" for name in LOGICAL)
    known = {entry.path: entry for entry in receipts}
    rows = {path: pq.read_metadata(path).num_rows for files in tables.values() for path in files}
    manifest = Manifest(
        run_id=run_id,
        code_version=code_version,
        policy=policy,
        policy_fingerprint=policy_fingerprint,
        key_id=key_id,
        created_at=created_at,
        previous=previous,
        logical_digest=hashlib.sha256(logical.encode()).hexdigest(),
        tables=summaries,
        counts={**(counts or {}), "subjects": subjects},
        fingerprints=dict(fingerprints or {}),
        files=tuple(
            _receipt(path, draft, known, rows.get(path, 0)) for path in sorted(draft.rglob("*")) if path.is_file()
        ),
        mode=mode,
        memory=dict(memory or {}),
    )
    write.write_bytes(manifest.encode(), draft / MANIFEST)
    return manifest


def _inside(path: str) -> bool:
    """Whether a path of a manifest is that of a file below its snapshot: files are made there."""
    plain = path not in ("", MANIFEST) and not any(mark in path for mark in "\\\0\n")
    return plain and not {"", ".", ".."} & set(path.split("/"))


def _summary(
    db: duckdb.DuckDBPyConnection, files: list[Path], before: TableSummary | None, change: Change | None
) -> TableSummary:
    rows = sum(pq.read_metadata(path).num_rows for path in files)
    if before is None or change is None or not before.sum:
        total = digest.totalled(db, files)
    else:
        total = digest.Total(digest.layout(db, files[0]), before.rows, int(before.sum, 16)).plus(
            change.rows, change.sum
        )
    if total.rows != rows:
        raise StoreError("the rows of a table do not add up", hint="run without --delta")
    return TableSummary(len(files), rows, total.digest, f"{total.sum:032x}")


def _clean(draft: Path) -> None:
    """Take away what an earlier, killed attempt to seal may have left."""
    (draft / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(draft / SPILL, ignore_errors=True)
    for left in (*draft.rglob("*" + write.TEMPORARY), *draft.glob(catalog.NAME + "*")):
        left.unlink()


def _files(draft: Path, name: str) -> list[Path]:
    files = sorted(draft.glob(catalog.FILES[name]))
    if files:
        return files
    if name == "events":
        raise StoreError("the draft has no events files", hint="write data/0000.parquet first")
    path = draft / catalog.FILES[name].replace("/*", "/0000").replace("*", "")
    write.write_table(schema.table(name).empty_table(), path, schema_name=name)
    return [path]


def _receipt(path: Path, draft: Path, known: Mapping[str, FileReceipt], rows: int) -> FileReceipt:
    given = known.get(path.relative_to(draft).as_posix())
    if given is None:
        return write.receipt(path, draft, rows=rows)
    if (given.bytes, given.rows) != (path.stat().st_size, rows):
        raise StoreError("a file is not the one that its receipt tells of", hint="run again; the draft is made anew")
    return given


def _dataset(
    draft: Path, name: str, license_name: str | None, previous: str | None, code_version: str, created_at: str
) -> None:
    try:
        zoned = datetime.fromisoformat(created_at).tzinfo is not None
    except ValueError:
        zoned = False
    if not zoned:
        raise StoreError("created_at must be an ISO 8601 time with a zone")
    core = ("subject_id", "time", "code", "numeric_value", "text_value")
    source = ("source_table", "source_row", "source_item", "scrub_ref")
    about: dict[str, object] = {
        "dataset_name": name,
        "dataset_version": f"{int(previous or 0) + 1:06d}",
        "etl_name": "mayo_data",
        "etl_version": code_version,
        "meds_version": MEDS_VERSION,
        "created_at": created_at,
        "raw_source_id_columns": list(source),
        "code_modifier_columns": ["unit"],
        "other_extension_columns": [
            column for column in schema.table("events").names if column not in {*core, *source, "unit"}
        ],
    }
    if license_name:
        about["license"] = license_name
    write.write_bytes(orjson.dumps(about, option=orjson.OPT_INDENT_2) + b"\n", draft / DATASET)
