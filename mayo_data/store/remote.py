"""A store in an object store: what is committed on a disk is published there, and fetched from there to be opened.

    store.json                format and key id, made once
    objects/ab/<sha256>       every file of every snapshot, called by its digest: never changed, shared by snapshots
    ledger/000000.jsonl ...   the ledger in pieces, each made once
    snapshots/000001.json     the manifest of a snapshot

The manifest goes up last, by a put that fails where there is one: that put is the commit. Whoever looks sees the
snapshot before or the whole new one, and of two writers one is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson

from mayo_data.errors import StoreError
from mayo_data.store import write
from mayo_data.store.buckets import Bucket, bucket
from mayo_data.store.layout import MANIFEST, Store
from mayo_data.store.snapshot import Manifest
from mayo_data.types import Json

_SNAPSHOT = re.compile(r"snapshots/([0-9]{6,12})\.json")  # what else lies there is no snapshot
_KEY_ID = re.compile(r"[0-9a-f]{1,64}")


def publish(store: Path | str, url: str) -> list[str]:
    """Bring an object store up to a store on a disk; what was published before is not sent again.

    What was pruned or erased here since goes there too. Killed at any moment, it leaves the snapshots that were there;
    publish again to go on.

    Args:
        store: Folder of the store.
        url: `s3://BUCKET/PREFIX` or `abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PREFIX`.

    Returns:
        Names of the snapshots that are new there.

    Raises:
        StoreError: The object store holds the store of another key, or another writer was there meanwhile.
        ConfigError: The URL is of no known kind, or its client is not installed.
    """
    here, there = Store.open(Path(store)), bucket(url)
    with here.lock():
        _found(here, there)
        _tell(here, there)
        sent = {name.rpartition("/")[2] for name in there.names("objects/")}
        new, gone = [], _pruned(here, there)
        for name in here.snapshots():
            manifest = Manifest.read(here.snapshot(name))
            for file in manifest.files:
                if file.sha256 not in sent:
                    there.put(_object(file.sha256), here.snapshot(name) / file.path)
                    sent.add(file.sha256)
            before = _committed(here, there, name)
            if before is None:
                new.append(name)
            elif before:
                gone |= _files(before)
        if gone:  # only what these held, and nobody else: another writer's files may be on their way
            held = set().union(*(_files(there.read(name) or b"") for name in there.names("snapshots/")))
            for sha256 in sorted(gone - held):
                there.delete(_object(sha256))
    return new


def fetch(url: str, folder: Path | str, adopt: Callable[[Path, bytes], object], snapshot: str | None = None) -> Path:
    """Make a folder the store that an object store holds: its ledger, and one snapshot, or what is missing of it.

    Every file is compared with its digest. The folder can be opened with `md.open` and `md.connect`.

    Args:
        url: As for `publish`.
        folder: An empty folder, or one that was fetched before.
        adopt: Takes the path of the ledger here, and the content of the one there.
        snapshot: Name of a snapshot; the newest by default.

    Returns:
        The folder of the snapshot.

    Raises:
        StoreError: There is no such store or snapshot, or a file is not the one that the manifest lists.
        ConfigError: The URL is of no known kind, or its client is not installed.
    """
    there, root = bucket(url), Path(folder)
    about = there.read("store.json")
    if about is None:
        raise StoreError("there is no store at this URL", hint="publish one with: mayo-data publish STORE URL")
    store = Store.create(root, _key_id(about))
    with store.lock():
        adopt(store.ledger, _told(there))
        names = [found[1] for name in there.names("snapshots/") if (found := _SNAPSHOT.fullmatch(name))]
        if not names or (snapshot is not None and snapshot not in names):
            raise StoreError("there is no such snapshot", hint="the snapshots are: " + ", ".join(names[-5:]))
        name = snapshot or names[-1]
        sealed = there.read(f"snapshots/{name}.json") or b""
        target = root / "snapshots" / name
        if target.exists() and (target / MANIFEST).read_bytes() == sealed:
            return target
        return _brought(there, store, name, sealed)


def _key_id(about: bytes) -> str:
    try:
        found = json.loads(about)["key_id"]
    except (ValueError, KeyError, TypeError, RecursionError):
        found = None
    if not isinstance(found, str) or not _KEY_ID.fullmatch(found):
        raise StoreError("store.json at this URL is damaged", hint="publish the store again")
    return found


def cached(url: str) -> Path:
    """Return the folder of this machine in which the store of a URL is kept: `$MAYO_DATA_CACHE`, or `~/.cache`."""
    root = Path(os.environ.get("MAYO_DATA_CACHE") or Path.home() / ".cache" / "mayo-data")
    return root / hashlib.sha256(url.encode()).hexdigest()[:16]


def _object(sha256: str) -> str:
    return f"objects/{sha256[:2]}/{sha256}"


def _found(here: Store, there: Bucket) -> None:
    """Make the store there, or find that it is of the same key."""
    about = (here.root / "store.json").read_bytes()
    if there.create("store.json", about):
        return
    if json.loads(there.read("store.json") or b"{}").get("key_id") != here.key_id:
        raise StoreError("the object store holds the store of another key", hint="choose another URL")


def _tell(here: Store, there: Bucket) -> None:
    """Send the part of the ledger that is new; it speaks of a snapshot before the snapshot can be seen."""
    told = _told(there)
    ledger = here.ledger.read_bytes() if here.ledger.exists() else b""
    ledger = ledger[: ledger.rfind(b"\n") + 1]
    if not ledger.startswith(told):
        raise StoreError(
            "the ledger there is not the beginning of the ledger here: another writer was there",
            hint="fetch first: mayo-data fetch URL STORE",
        )
    more = ledger[len(told) :]
    if more and not there.create(f"ledger/{len(there.names('ledger/')):06d}.jsonl", more):
        raise StoreError("another writer published meanwhile", hint="publish again")


def _told(there: Bucket) -> bytes:
    """The ledger there, all pieces of it."""
    return b"".join(there.read(name) or b"" for name in there.names("ledger/"))


def _committed(here: Store, there: Bucket, name: str) -> bytes | None:
    """Commit a snapshot whose files are there.

    Returns:
        None where it is new; else the manifest that was replaced, because somebody was erased, or nothing.
    """
    sealed = (here.snapshot(name) / MANIFEST).read_bytes()
    if there.create(f"snapshots/{name}.json", sealed):
        return None
    before = there.read(f"snapshots/{name}.json") or b""
    if before == sealed:
        return b""
    if hashlib.sha256(before).hexdigest() not in _erased(here):
        raise StoreError(
            "another run has committed a snapshot of this name", hint="fetch the store into a new folder and run there"
        )
    there.replace(f"snapshots/{name}.json", sealed)
    return before


def _records(here: Store, kind: str) -> Iterator[Json]:
    """What the ledger says of one kind. The room of the ledger is on this floor: only its lines are read."""
    needle = orjson.dumps(kind)
    for line in here.ledger.read_bytes().splitlines():
        if needle in line and (record := orjson.loads(line))["kind"] == kind:
            yield record["body"]


def _erased(here: Store) -> set[str]:
    """Digests of the manifests that an erasure has replaced."""
    return {str(one["before"]) for body in _records(here, "erasure") for one in body["snapshots"].values()}


def _pruned(here: Store, there: Bucket) -> set[str]:
    """Let snapshots that were pruned here go there too; return the files that they had."""
    gone: set[str] = set()
    kept = set(here.snapshots())
    removed = {name for body in _records(here, "prune") for name in body["removed"]} - kept
    for name in sorted(removed):
        if sealed := there.read(f"snapshots/{name}.json"):
            gone |= _files(sealed)
            there.delete(f"snapshots/{name}.json")
    return gone


def _files(sealed: bytes) -> set[str]:
    """Digests of the files that a manifest lists."""
    return {str(file["sha256"]) for file in orjson.loads(sealed)["files"]} if sealed else set()


def _brought(there: Bucket, store: Store, name: str, sealed: bytes) -> Path:
    """Download a snapshot, and let it appear all at once."""
    draft = store.staging(f"fetch-{name}")
    write.write_bytes(sealed, draft / MANIFEST)
    manifest = Manifest.read(draft)
    held = _held(store)
    for file in manifest.files:
        path = draft / file.path
        if path.exists() and write.sha256(path) == file.sha256:
            continue  # from a fetch that was killed
        path.parent.mkdir(parents=True, exist_ok=True)
        if file.sha256 in held:
            write.link(held[file.sha256], path)
            continue
        there.get(_object(file.sha256), path)
        if write.sha256(path) != file.sha256:
            path.unlink()
            raise StoreError("a file of the object store is not the one that was published", hint="publish it again")
    target = store.root / "snapshots" / name
    target.parent.mkdir(exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)  # an erasure has replaced it
    draft.rename(target)
    write.flush(target.parent)
    return target


def _held(store: Store) -> dict[str, Path]:
    """Files that other snapshots of the folder have, by digest."""
    return {
        file.sha256: store.snapshot(name) / file.path
        for name in store.snapshots()
        for file in Manifest.read(store.snapshot(name)).files
    }
