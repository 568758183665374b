"""A snapshot without one subject: the files of that subject's shard are written anew, all others are the same files.

What lies in the PHI zone for the next delta is cut in the same way: no later merge can bring the subject back.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mayo_data import schema
from mayo_data.errors import StoreError
from mayo_data.store import digest, snapshot, write
from mayo_data.store.layout import MANIFEST, Store
from mayo_data.store.snapshot import Change, Manifest

Codes = Callable[[list[pa.Table]], pa.Table]  # merges tables with code, description, parent_codes into table codes
_SHARDED = {
    "events": "data", "resources": "lineage/resources", "decisions": "lineage/decisions",
    "same_facts": "lineage/same_facts",
}  # fmt: skip
_SPLITS, _CODES, _ARRIVALS = "metadata/subject_splits.parquet", "metadata/codes.parquet", "lineage/arrivals.parquet"
_KEPT = ".erased"  # what a snapshot is called while another takes its place


@dataclass(frozen=True)
class Memory:
    """What a snapshot left in the PHI zone for the next delta.

    Attributes:
        folder: Where its files lie, called by their digest.
        codes: How codes of several tables become one.
    """

    folder: Path
    codes: Codes


@dataclass(frozen=True)
class Cut:
    """A draft without the subject.

    Attributes:
        draft: Folder in staging, sealed.
        manifest: Its manifest.
        rows: Table to the number of rows that went.
    """

    draft: Path
    manifest: Manifest
    rows: dict[str, int]


def holds(path: Path, subject_id: int) -> bool:
    """Return whether a snapshot holds a subject.

    Args:
        path: Folder of the snapshot.
        subject_id: The subject.

    Raises:
        StoreError: The snapshot cannot be read.
    """
    try:
        found = pq.read_table(path / _SPLITS, columns=["subject_id"], filters=[("subject_id", "==", subject_id)])
    except (OSError, pa.ArrowException) as error:
        raise StoreError(
            "a file of the snapshot is missing or unreadable", hint="run: mayo-data verify STORE"
        ) from error
    return bool(found.num_rows)


def cut(
    store: Store,
    name: str,
    subject_id: int,
    memory: Memory,
    *,
    created_at: str | None = None,
    known: dict[str, Path] | None = None,
) -> Cut:
    """Make a draft of a snapshot without one subject. Hold `Store.lock` meanwhile.

    Args:
        store: The store.
        name: The snapshot; it must hold the subject.
        subject_id: Who goes.
        memory: What it left in the PHI zone; new files are added there.
        created_at: ISO 8601 time of a new snapshot on top of the current one; None for one that takes its place.
        known: sha256 of a file to its new version, so that snapshots that shared a file share it again.

    Raises:
        StoreError: A file is missing, or what was left in the PHI zone is not there.
    """
    path = store.snapshot(name)
    old = Manifest.read(path)
    known = {} if known is None else known
    draft = store.staging(f"without-{name}")
    shutil.rmtree(draft)  # what a killed attempt left
    draft.mkdir()
    events, shard = _shard(path, subject_id)
    kept = np.asarray(events.column("subject_id")) != subject_id
    digests, codes = _memory(old, memory, shard, kept, subject_id, events)
    touched = {f"{folder}/{shard}": table for table, folder in _SHARDED.items()}
    rows: dict[str, int] = {}
    changes: dict[str, Change] = {}
    for file in old.files:
        here, there = path / file.path, draft / file.path
        if file.path in touched:
            _rewrite(here, there, touched[file.path], subject_id, events, rows, changes, known, file.sha256, draft)
        elif file.path == _CODES:
            table = _used(here, path, shard, events, kept) if codes is None else codes
            write.write_table(table, there, schema_name="codes")
        elif file.path in (_SPLITS, _ARRIVALS):
            table = pq.read_table(here)
            whole = table.filter(pc.not_equal(table.column("subject_id"), subject_id))
            rows[file.path.rpartition("/")[2][:-8]] = table.num_rows - whole.num_rows
            _shared(whole, there, file.path.rpartition("/")[2][:-8], known, file.sha256)
        elif file.path.endswith(".parquet"):
            write.link(here, there)
    names = store.snapshots()
    manifest = snapshot.seal(
        draft,
        run_id=old.run_id,
        code_version=old.code_version,
        policy=old.policy,
        policy_fingerprint=old.policy_fingerprint,
        key_id=old.key_id,
        created_at=created_at or old.created_at,
        previous=names[-1] if created_at else old.previous,
        fingerprints=old.fingerprints,
        counts=old.counts,
        receipts=[file for file in old.files if (draft / file.path).exists() and _same(path, draft, file.path)],
        mode="withdrawal" if created_at else old.mode,
        memory=digests,
        changes=changes,
        before=old,
    )
    if not created_at and old.restores:
        manifest = dataclasses.replace(manifest, restores=old.restores)
        write.write_bytes(manifest.encode(), draft / MANIFEST)
    return Cut(draft, manifest, {table: count for table, count in sorted(rows.items()) if count})


def replace(store: Store, name: str, draft: Path) -> None:
    """Put a draft in the place of a snapshot, whose files go. Hold `Store.lock` meanwhile.

    Args:
        store: The store.
        name: The snapshot.
        draft: Its new version, sealed.
    """
    target = store.root / "snapshots" / name
    aside = target.with_name(f".{name}{_KEPT}")
    for path in draft.rglob("*"):
        if path.is_file():
            path.chmod(0o444)
            write.flush(path)
    target.rename(aside)
    draft.rename(target)
    write.flush(target.parent)
    shutil.rmtree(aside)


def settle(store: Store) -> None:
    """Finish a replacement that was killed half-way: the snapshot that was set aside comes back, or goes.

    Args:
        store: The store.
    """
    for aside in (store.root / "snapshots").glob(f".[0-9]*{_KEPT}"):
        target = aside.with_name(aside.name[1 : -len(_KEPT)])
        if target.exists():
            shutil.rmtree(aside)
        else:
            aside.rename(target)


def _shard(path: Path, subject_id: int) -> tuple[pa.Table, str]:
    """The events of the file that holds a subject, and its name."""
    files = sorted((path / "data").glob("*.parquet"))
    first = f"{subject_id % max(len(files), 1):04d}.parquet"
    for file in sorted(files, key=lambda one: one.name != first):
        subjects = pq.read_table(file, columns=["subject_id"])
        if np.isin(subject_id, np.asarray(subjects.column("subject_id"))):
            return pq.read_table(file), file.name
    raise StoreError("no file of the snapshot holds the subject", hint="run: mayo-data validate STORE")


def _rewrite(
    here: Path, there: Path, table: str, subject_id: int, events: pa.Table, rows: dict[str, int],
    changes: dict[str, Change], known: dict[str, Path], sha256: str, draft: Path,
) -> None:  # fmt: skip
    whole = events if table == "events" else pq.read_table(here)
    if table == "same_facts":
        mine = events.filter(pc.equal(events.column("subject_id"), subject_id))
        of = np.isin(_places(whole), _places(mine))
    else:
        of = np.asarray(whole.column("subject_id")) == subject_id
    gone = whole.filter(pa.array(of))
    rows[table] = gone.num_rows
    if table != "same_facts":
        total = digest.total_of(gone.cast(schema.table(table)))
        changes[table] = Change(-total.rows, -total.sum)
    if not gone.num_rows:
        write.link(here, there)
        return
    _shared(whole.filter(pa.array(~of)), there, table, known, sha256)


def _shared(table: pa.Table, there: Path, name: str, known: dict[str, Path], old: str) -> None:
    """Write a table, or link the file that was written for the same old file."""
    if old in known and known[old].exists():
        write.link(known[old], there)
        return
    write.write_table(table.cast(schema.table(name)), there, schema_name=name)
    known[old] = there


def _same(old: Path, new: Path, name: str) -> bool:
    """Whether a file of the draft is that of the snapshot before."""
    return os.path.samefile(old / name, new / name)


def _used(codes: Path, path: Path, shard: str, events: pa.Table, kept: npt.NDArray[np.bool_]) -> pa.Table:
    """Table `codes` where nothing was left in the PHI zone: only the codes that are still in use."""
    tables = [pq.read_table(file, columns=["code"]) for file in (path / "data").glob("*.parquet") if file.name != shard]
    tables.append(events.filter(pa.array(kept)).select(["code"]))
    used = pc.unique(pa.concat_tables(tables).column("code"))
    table = pq.read_table(codes)
    return table.filter(pc.is_in(table.column("code"), used))


def _memory(
    old: Manifest, memory: Memory, shard: str, kept: npt.NDArray[np.bool_], subject_id: int, events: pa.Table
) -> tuple[dict[str, str], pa.Table | None]:
    """Cut what the snapshot left for the next delta; return its digests, and table `codes` of the whole snapshot."""
    names = dict(old.memory)
    if not names:
        return {}, None
    missing = [one for one in names.values() if not (memory.folder / f"{one}.parquet").exists()]
    if missing:
        raise StoreError(
            f"{len(missing)} files of the memory of a snapshot are not in the PHI zone",
            hint="give the --phi-zone of this store",
        )
    number = shard.rpartition(".")[0]
    rows = _left(memory, names[f"memory/{number}"]).filter(pa.array(kept))
    names[f"memory/{number}"] = _keep(memory, rows, "memory")
    described = rows.append_column("code", events.column("code").filter(pa.array(kept)))
    names[f"codes/{number}"] = _keep(memory, memory.codes([described]), "codes")
    waiting = f"waiting/{number}"
    if waiting in names:
        table = _left(memory, names[waiting])
        table = table.filter(pc.not_equal(table.column("subject_id"), subject_id))
        if table.num_rows:
            names[waiting] = _keep(memory, table, "staged")
        else:
            del names[waiting]
    orders = _left(memory, names["deletions"])
    of = pc.fill_null(pc.equal(orders.column("subject_id"), subject_id), False)
    names["deletions"] = _keep(memory, orders.filter(pc.invert(of)), "deletions")
    every = [_left(memory, sha256) for name, sha256 in sorted(names.items()) if name.startswith("codes/")]
    return names, memory.codes(every)


def _left(memory: Memory, sha256: str) -> pa.Table:
    return pq.read_table(memory.folder / f"{sha256}.parquet")


def _keep(memory: Memory, table: pa.Table, name: str) -> str:
    """Write a table into the memory, where a file is called by its digest."""
    draft = memory.folder / f"cut-{os.getpid()}.parquet"
    receipt = write.write_table(table.cast(schema.table(name)), draft, schema_name=name)
    target = memory.folder / f"{receipt.sha256}.parquet"
    if target.exists():
        draft.unlink()
    else:
        draft.chmod(0o400)
        draft.rename(target)
    return receipt.sha256


def _places(table: pa.Table) -> npt.NDArray[np.int64]:
    found: npt.NDArray[np.int64] = (np.asarray(table.column("source_table")).astype(np.int64) << 40) | np.asarray(
        table.column("source_row")
    ).astype(np.int64)
    return found


def forget(memory: Path, kept: Mapping[str, Manifest]) -> int:
    """Remove from the memory what no kept snapshot needs; return how many files went.

    Args:
        memory: Folder in the PHI zone.
        kept: Name of a snapshot to its manifest: all that there are.
    """
    needed = {sha256 for one in kept.values() for sha256 in one.memory.values()}
    gone = [path for path in memory.glob("*.parquet") if path.stem not in needed]
    for path in gone:
        path.unlink()
    return len(gone)
