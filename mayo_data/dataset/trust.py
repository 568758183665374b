"""Whether a snapshot may be read: it is the one that the ledger knows, its files are whole, nobody in it withdrew.

Digests of files are computed once a process; a file whose size, time of change or place on the disk differs from then
is digested anew. `verify="full"` digests all files of the snapshot again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from mayo_data.errors import ConfigError, StoreError
from mayo_data.lineage import standing as ledgers
from mayo_data.lineage.ledger import Ledger
from mayo_data.store import write
from mayo_data.store.layout import MANIFEST, Store

if TYPE_CHECKING:
    from mayo_data.store.snapshot import Manifest

Verify = Literal["cached", "full"]
SPLITS = "metadata/subject_splits.parquet"
_HINT = "restore the snapshot from a backup, or run again; an override needs a reason and is recorded"
_WITHDRAWN_HINT = "read the newest snapshot; an override needs a reason, and still leaves these subjects out"
_SOUND: dict[Path, tuple[tuple[int, int, int, int], str]] = {}  # file: its looks, its sha256


@dataclass(frozen=True)
class Trusted:
    """A snapshot that was checked.

    Attributes:
        store: The store.
        path: Folder of the snapshot.
        manifest: Its manifest.
        manifest_sha256: Digest of the manifest's bytes.
        withdrawn: Subjects of whom no row may be handed out.
        override: Why a check that failed was passed over, or None where nothing failed.
    """

    store: Store
    path: Path
    manifest: Manifest
    manifest_sha256: str
    withdrawn: frozenset[int]
    override: str | None = None


def trust(
    store: Store,
    path: Path,
    *,
    consumer: str = "analyst",
    verify: Verify = "cached",
    override: str | None = None,
    files: list[str] | None = None,
) -> Trusted:
    """Check a snapshot before it is read.

    Args:
        store: The store.
        path: Folder of the snapshot.
        consumer: Who reads, for the record of an override.
        verify: `cached`: files that this process has digested and that look the same are believed. `full`: every file
            of the snapshot is digested.
        override: Why to read on where a check fails; goes into the ledger as a record `override`. No reason is none.
        files: Paths of the files that will be read, as in the manifest; all of `data/` and the splits by default.

    Raises:
        StoreError: The manifest is not the one of the ledger, a file is not the one of the manifest, or the snapshot
            is blocked by a withdrawal, and there is no override.
        ConfigError: The override has no reason, or `verify` is neither.
    """
    if verify not in ("cached", "full"):
        raise ConfigError("verify is cached or full")
    if override is not None and not 3 <= len(override.strip()) <= 200:
        raise ConfigError("an override needs a reason", hint="say in some words why; never name a person in it")
    known = ledgers.standing(store.ledger)
    content = _read(path)
    digest = hashlib.sha256(content).hexdigest()
    wrong: tuple[str, str] | None = None
    if known.manifests.get(path.name) != digest:
        wrong = ("the manifest of the snapshot is not the one in the ledger", _HINT)
    manifest = _manifest(content)
    listed = {entry.path: entry.sha256 for entry in manifest.files}
    if verify == "full":
        wanted = list(listed)
    elif files is None:
        wanted = [name for name in listed if name.startswith("data/") or name == SPLITS]
    else:
        wanted = files
    if wrong is None and not all(_sound(path / name, listed.get(name), verify) for name in wanted):
        wrong = ("a file of the snapshot is not the one of its manifest", _HINT)
    if wrong is None and files is None and _unlisted(path, listed):
        wrong = ("the snapshot holds a file of events that its manifest does not list", _HINT)
    if wrong is None and (path.name in known.blocked or _holds(path, digest, known.withdrawn)):
        wrong = ("the snapshot holds a subject who has withdrawn", _WITHDRAWN_HINT)
    used = None
    if wrong is not None:
        if override is None:
            raise StoreError(wrong[0], hint=wrong[1])
        used = override.strip()
        Ledger(store.ledger).append("override", {"reason": used, "snapshot": path.name, "consumer": consumer})
    return Trusted(store, path, manifest, digest, known.withdrawn, used)


def refuse_blocked(store: Store, path: Path) -> None:
    """Refuse a snapshot that a withdrawal has blocked: for doors that hand out rows without a record.

    Raises:
        StoreError: Somebody in the snapshot has withdrawn.
    """
    known = ledgers.standing(store.ledger)
    if not known.withdrawn and not known.blocked:
        return
    if path.name in known.blocked or _holds(path, hashlib.sha256(_read(path)).hexdigest(), known.withdrawn):
        raise StoreError("the snapshot holds a subject who has withdrawn", hint="read the newest snapshot")


def splits(path: Path, manifest_sha256: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.object_]]:
    """Return the subjects of a snapshot, ascending, and the split of each.

    Args:
        path: Folder of the snapshot.
        manifest_sha256: Digest of its manifest; what was read is kept as long as it is the same.

    Raises:
        StoreError: The file cannot be read.
    """
    try:
        return _splits(path.absolute(), manifest_sha256)
    except (OSError, ValueError, KeyError) as error:  # Arrow's errors are ValueErrors
        raise StoreError("the splits of the snapshot cannot be read", hint="run mayo-data validate") from error


@lru_cache(maxsize=8)
def _splits(path: Path, _digest: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.object_]]:
    table = pq.read_table(path / SPLITS, columns=["subject_id", "split"])
    subjects = table.column("subject_id").to_numpy()
    order = np.argsort(subjects, kind="stable")
    return subjects[order], table.column("split").to_numpy(zero_copy_only=False)[order]


def _holds(path: Path, digest: str, withdrawn: frozenset[int]) -> bool:
    if not withdrawn:
        return False
    subjects, _ = splits(path, digest)
    return bool(np.isin(np.fromiter(withdrawn, np.int64, len(withdrawn)), subjects).any())


def _read(path: Path) -> bytes:
    try:
        return (path / MANIFEST).read_bytes()
    except OSError as error:
        raise StoreError("there is no manifest: this is no snapshot", hint="give the folder of a store") from error


def _manifest(content: bytes) -> Manifest:
    try:
        return _decoded(content)
    except ValueError as error:
        raise StoreError("the manifest is damaged", hint="use another snapshot, or run again") from error


@lru_cache(maxsize=8)
def _decoded(content: bytes) -> Manifest:
    from mayo_data.store.snapshot import Manifest

    return msgspec.json.decode(content, type=Manifest)


def _sound(path: Path, sha256: str | None, verify: Verify) -> bool:
    """Whether a file has the digest that the manifest gives it."""
    if sha256 is None:
        return False
    try:
        about = path.stat()
        looks = (about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
        place = path.absolute()
        if verify == "cached" and _SOUND.get(place) == (looks, sha256):
            return True
        found = write.sha256(path)
    except OSError as error:
        raise StoreError("a file of the snapshot is missing or unreadable", hint="run mayo-data validate") from error
    if found != sha256:
        _SOUND.pop(place, None)
        return False
    _SOUND[place] = (looks, sha256)
    return True


def _unlisted(path: Path, listed: dict[str, str]) -> bool:
    return any(file.relative_to(path).as_posix() not in listed for file in (path / "data").rglob("*.parquet"))
