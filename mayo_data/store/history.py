"""The snapshots of a store: which there are, what changed between two, an old one made current, old ones removed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from mayo_data import sql
from mayo_data.errors import ConfigError, StoreError
from mayo_data.store import catalog, digest, scratch, write
from mayo_data.store.layout import MANIFEST, Store
from mayo_data.store.snapshot import DATASET, Manifest

if TYPE_CHECKING:
    import duckdb

_LINEAGE = ("source_table", "source_row", "scrub_ref")  # where a row was read does not make it another row


@dataclass(frozen=True)
class Snapshot:
    """One line of the list of snapshots.

    Attributes:
        name: Its number.
        created_at: ISO 8601 time in UTC.
        run_id: The run that made its content.
        mode: `full`, `delta`, `rollback` or `withdrawal`.
        restores: For a rollback, the snapshot that it made current again.
        previous: The snapshot that was current before, or None.
        events: Number of events.
        subjects: Number of subjects.
        bytes: Size of its files.
        own_bytes: How much of that no other snapshot shares: what removing it alone would free.
        logical_digest: Digest of its content.
        current: Whether it is what readers see.
    """

    name: str
    created_at: str
    run_id: str
    mode: str
    restores: str | None
    previous: str | None
    events: int
    subjects: int
    bytes: int
    own_bytes: int
    logical_digest: str
    current: bool


@dataclass(frozen=True)
class Difference:
    """What changed between two snapshots.

    An event is the same event where its resource and its place in it are the same, whatever file it was read from.

    Attributes:
        older: Name of the one.
        newer: Name of the other.
        subjects: `added`, `removed`, `changed` to number of subjects.
        events: The same of events.
        kinds: Kind of event (first part of the code) to the same numbers.
        types: FHIR resource type or OMOP table to the same numbers.
    """

    older: str
    newer: str
    subjects: dict[str, int]
    events: dict[str, int]
    kinds: dict[str, dict[str, int]]
    types: dict[str, dict[str, int]]


def snapshots(store: Path | str) -> list[Snapshot]:
    """Return the snapshots of a store, oldest first.

    Args:
        store: Folder of the store.

    Raises:
        StoreError: There is no store, or a manifest is damaged.
    """
    opened = Store.open(Path(store))
    names = opened.snapshots()
    found = []
    for name in names:
        path = opened.snapshot(name)
        manifest = Manifest.read(path)
        files = [file.stat() for file in path.rglob("*") if file.is_file()]
        found.append(
            Snapshot(
                name, manifest.created_at, manifest.run_id, manifest.mode, manifest.restores, manifest.previous,
                manifest.tables["events"].rows, manifest.counts["subjects"], sum(one.st_size for one in files),
                sum(one.st_size for one in files if one.st_nlink == 1), manifest.logical_digest, name == names[-1],
            )
        )  # fmt: skip
    return found


def diff(store: Path | str, older: str, newer: str) -> Difference:
    """Return what changed between two snapshots: subjects and events, by kind and by resource type.

    Files that both share are not read.

    Args:
        store: Folder of the store.
        older: Name of the one, for example `000001` or `1`.
        newer: Name of the other.

    Raises:
        StoreError: There is no such store or snapshot, or a file cannot be read.
    """
    import duckdb

    opened = Store.open(Path(store))
    paths = [opened.snapshot(number(name)) for name in (older, newer)]
    manifests = [Manifest.read(path) for path in paths]
    with (
        tempfile.TemporaryDirectory(prefix="mayo-data-") as folder,
        scratch.connection(Path(folder) / "spill") as db,
    ):
        try:
            shared = _shared(*manifests)
            for name, path in zip(("older", "newer"), paths, strict=True):
                _load(db, name, path, shared)
            db.execute(_COMPARED)
            return Difference(
                paths[0].name, paths[1].name, _subjects(db), _counts(db, "'all'").get("all", _none()),
                _counts(db, "kind"), _counts(db, "resource_type"),
            )  # fmt: skip
        except duckdb.Error as error:
            raise StoreError("a table of a snapshot cannot be read", hint="run mayo-data validate") from error


def number(name: str) -> str:
    """Return the name of a snapshot, which may be given without its zeros.

    >>> number("3")
    '000003'
    """
    return name.zfill(6) if name.isdigit() else name


_COMPARED = """
CREATE TABLE compared AS
SELECT coalesce(n.subject_id, o.subject_id) AS subject_id, coalesce(n.kind, o.kind) AS kind,
       coalesce(n.resource_type, o.resource_type) AS resource_type,
       CASE WHEN o.said IS NULL THEN 'added' WHEN n.said IS NULL THEN 'removed' ELSE 'changed' END AS change
FROM older o FULL JOIN newer n USING (subject_id, resource_key, source_item)
WHERE o.said IS DISTINCT FROM n.said
"""


def _shared(older: Manifest, newer: Manifest) -> set[str]:
    """Numbers of the shards whose events and resources both snapshots have in common."""
    known = {file.path: file.sha256 for file in older.files}
    same = {file.path for file in newer.files if known.get(file.path) == file.sha256}
    names = {path.rpartition("/")[2] for path in same if path.startswith("data/")}
    return {name for name in names if f"lineage/resources/{name}" in same}


def _load(db: duckdb.DuckDBPyConnection, name: str, path: Path, shared: set[str]) -> None:
    """Put the events of the shards that are not shared into a table: identity, kind, and a digest of what they say."""
    files = {
        table: [sql.literal(file) for file in sorted(path.glob(catalog.FILES[table])) if file.name not in shared]
        for table in ("events", "resources")
    }
    if not files["events"]:
        db.execute(
            f"CREATE TABLE {name} (subject_id BIGINT, resource_key BIGINT, source_item INTEGER, kind VARCHAR, "
            "resource_type VARCHAR, said UHUGEINT)"
        )
        return
    described = db.execute("SELECT column_name, column_type FROM (DESCRIBE FROM read_parquet(?))", [files["events"][0]])
    columns = [(str(column), str(kind)) for column, kind in described.fetchall() if column not in _LINEAGE]
    db.execute(
        f"CREATE TABLE {name} AS SELECT e.subject_id, r.resource_key, e.source_item, "
        f"split_part(e.code, '//', 1) AS kind, r.resource_type, md5_number({digest.row_text(columns, 'e')}) AS said "
        "FROM read_parquet(?, hive_partitioning = false) AS e "
        "JOIN read_parquet(?, hive_partitioning = false) AS r USING (source_table, source_row, subject_id)",
        [files["events"], files["resources"]],
    )


def _none() -> dict[str, int]:
    return {"added": 0, "removed": 0, "changed": 0}


def _counts(db: duckdb.DuckDBPyConnection, by: str) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    rows = db.execute(f"SELECT {by}, change, count(*) FROM compared GROUP BY ALL ORDER BY ALL").fetchall()
    for name, change, count in rows:
        found.setdefault(str(name), _none())[change] = int(count)
    return found


def _subjects(db: duckdb.DuckDBPyConnection) -> dict[str, int]:
    rows = db.execute(
        """
        WITH o AS (SELECT DISTINCT subject_id FROM older), n AS (SELECT DISTINCT subject_id FROM newer)
        SELECT CASE WHEN o.subject_id IS NULL THEN 'added' WHEN n.subject_id IS NULL THEN 'removed' ELSE 'changed' END,
               count(*)
        FROM o FULL JOIN n USING (subject_id)
        WHERE subject_id IN (SELECT subject_id FROM compared) GROUP BY ALL
        """
    ).fetchall()
    return {**_none(), **{str(change): int(count) for change, count in rows}}


def restored(store: Store, name: str, created_at: str) -> tuple[Path, Manifest]:
    """Make a draft that holds the very files of an old snapshot, ready to be committed. Hold `Store.lock` meanwhile.

    Args:
        store: The store.
        name: The old snapshot.
        created_at: ISO 8601 time with zone.

    Returns:
        The draft, and its manifest.

    Raises:
        StoreError: There is no such snapshot.
        ConfigError: It is the current one.
    """
    path, current = store.snapshot(name), store.current()
    if path == current:
        raise ConfigError(f"snapshot {name} is the current one", hint="mayo-data snapshots list")
    old = Manifest.read(path)
    draft = store.staging(f"rollback-{name}")
    shutil.rmtree(draft)  # what a killed rollback left
    draft.mkdir()
    for file in old.files:
        if file.path != DATASET:
            write.link(path / file.path, draft / file.path)
    about = orjson.loads((path / DATASET).read_bytes())
    about |= {"dataset_version": store.next_snapshot(), "created_at": created_at}
    write.write_bytes(orjson.dumps(about, option=orjson.OPT_INDENT_2) + b"\n", draft / DATASET)
    files = [write.receipt(draft / DATASET, draft) if file.path == DATASET else file for file in old.files]
    manifest = replace(
        old, created_at=created_at, previous=current.name, mode="rollback", restores=name, files=tuple(files)
    )
    write.write_bytes(manifest.encode(), draft / MANIFEST)
    return draft, manifest


def to_prune(found: list[Snapshot], keep: int, before: datetime | None = None) -> list[Snapshot]:
    """Return which snapshots can go: never the newest `keep`, which are at least the current one.

    Args:
        found: The snapshots, oldest first.
        keep: How many of the newest stay.
        before: Only those that are older.

    Raises:
        ConfigError: `keep` is below 1.

    >>> to_prune([], 1)
    []
    """
    if keep < 1:
        raise ConfigError("at least one snapshot stays, the current one", hint="--keep 1 or more")
    old = found[:-keep]
    return [one for one in old if before is None or datetime.fromisoformat(one.created_at) < before]


def remove(store: Store, names: Collection[str]) -> None:
    """Remove snapshots: each vanishes at once, then its files go. Hold `Store.lock` meanwhile.

    Files that other snapshots share stay with them.

    Args:
        store: The store.
        names: Snapshots; not the current one.
    """
    for name in names:
        path = store.snapshot(name)
        if path == store.current():
            raise StoreError("the current snapshot is never removed")
        gone = store.staging(f"pruned-{name}")
        shutil.rmtree(gone)
        path.rename(gone)
        write.flush(path.parent)
        shutil.rmtree(gone)


def forget(memory: Path, gone: Mapping[str, str], kept: Collection[Manifest]) -> int:
    """Remove what pruned snapshots left in the PHI zone and no other needs; return how many files went.

    Args:
        memory: Folder of the memory.
        gone: `Manifest.memory` of what was pruned, put together: any key to sha256.
        kept: Manifests of the snapshots that are left.
    """
    needed = {sha256 for manifest in kept for sha256 in manifest.memory.values()}
    paths = [memory / f"{sha256}.parquet" for sha256 in sorted({*gone.values()} - needed)]
    there = [path for path in paths if path.exists()]
    for path in there:
        path.unlink()
    return len(there)
