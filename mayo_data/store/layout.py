"""Where things lie in a store, and the one way a snapshot comes into being.

store/
  store.json              format, key id, version that made it
  ledger/ledger.jsonl     what was done (see mayo_data.lineage.ledger)
  snapshots/000001/ ...   immutable, each a valid MEDS dataset; the highest number is the current one
  staging/NAME/           drafts; nobody but a run reads them
  lock                    held by the one run that writes
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from mayo_data.errors import StoreError
from mayo_data.store import write
from mayo_data.types import Json

FORMAT = 1
MANIFEST = "manifest.json"
_NAME = re.compile(r"[0-9]{6,}")
_DRAFT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class Store:
    """A store on a local disk. `root` is its folder, `key_id` the public id of the key it was made with."""

    def __init__(self, root: Path, key_id: str) -> None:
        self.root = root
        self.key_id = key_id

    def __repr__(self) -> str:
        return f"Store(key_id={self.key_id!r}, snapshots={len(self.snapshots())})"

    @classmethod
    def create(cls, root: Path, key_id: str) -> Store:
        """Make a new store, or open the one that is there, if it was made with the same key.

        With another key every pseudonym and date would differ, so the two must never share a store.

        Args:
            root: Folder of the store; it must be empty or a store.
            key_id: Public id of the key (`keys.Secret.key_id`).

        Raises:
            StoreError: The folder is something else, or a store of another key.
        """
        if "," in str(root.absolute()):
            raise StoreError(
                "a store cannot lie under a path with a comma",
                hint="DuckDB splits its search path there; choose another",
            )
        try:
            root.mkdir(parents=True, exist_ok=True)
            if not (root / "store.json").exists():
                cls._found(root, key_id)
        except OSError as error:
            raise StoreError(f"the store cannot be made: {error.strerror}", hint="choose another --store") from error
        store = cls.open(root)
        if store.key_id != key_id:
            raise StoreError(
                f"the store was made with key {store.key_id}, this is key {key_id}: another generation",
                hint="use the first key, or another --store",
            )
        return store

    @staticmethod
    def _found(root: Path, key_id: str) -> None:
        if any(not entry.name.startswith(".store.json") for entry in root.iterdir()):
            raise StoreError("the folder is not empty and not a store", hint="choose another --store")
        about = {"created_by": metadata.version("mayo-data"), "format": FORMAT, "key_id": key_id}
        draft = root / f".store.json.{os.getpid()}"
        write.write_bytes(json.dumps(about, indent=2, sort_keys=True).encode() + b"\n", draft)
        try:
            os.link(draft, root / "store.json")  # fails where another run was first, so nobody is overwritten
        except FileExistsError:
            pass
        finally:
            draft.unlink(missing_ok=True)
        write.flush(root)

    @classmethod
    def open(cls, root: Path) -> Store:
        """Open a store for reading or writing.

        Raises:
            StoreError: There is no store, or one that this version cannot read.
        """
        try:
            about = json.loads((root / "store.json").read_bytes())
            found, key_id = about["format"], about["key_id"]
        except FileNotFoundError as error:
            raise StoreError("there is no store here", hint="make one with: mayo-data run ... --store DIR") from error
        except OSError as error:
            raise StoreError(
                f"the store cannot be read: {error.strerror}", hint="check the path and its rights"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError("store.json is damaged", hint="restore it from a backup") from error
        if found != FORMAT or not isinstance(key_id, str):
            raise StoreError(
                f"this version reads store format {FORMAT} only",
                hint="use the mayo_data that made it, or a newer one",
            )
        return cls(root, key_id)

    @property
    def ledger(self) -> Path:
        """Path of the ledger; the file comes into being with the first record."""
        return self.root / "ledger" / "ledger.jsonl"

    def snapshots(self) -> list[str]:
        """Return the names of all committed snapshots, oldest first."""
        return [f"{number:06d}" for number in self._numbers() if (self._path(number) / MANIFEST).exists()]

    def snapshot(self, name: str) -> Path:
        """Return the folder of a committed snapshot.

        Raises:
            StoreError: There is none of that name.
        """
        if name not in self.snapshots():
            raise StoreError("there is no such snapshot", hint="the snapshots are: " + ", ".join(self.snapshots()[-5:]))
        return self.root / "snapshots" / name

    def current(self) -> Path:
        """Return the folder of the newest snapshot.

        Raises:
            StoreError: Nothing was committed yet.
        """
        names = self.snapshots()
        if not names:
            raise StoreError("the store holds no snapshot yet", hint="mayo-data run ... commits one")
        return self.root / "snapshots" / names[-1]

    def next_snapshot(self) -> str:
        """Return the name that the next commit will use."""
        numbers = self._numbers()
        return f"{(numbers[-1] if numbers else 0) + 1:06d}"

    def staging(self, name: str) -> Path:
        """Return a folder for a draft; what an earlier run left there stays, so that it can be resumed.

        Raises:
            StoreError: The name is no plain file name, or the folder cannot be made.
        """
        if not _DRAFT.fullmatch(name):
            raise StoreError("the name of a draft has letters, digits, dot, dash and underscore only")
        draft = self.root / "staging" / name
        try:
            draft.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"the store cannot be written: {error.strerror}", hint="check its rights and space"
            ) from error
        return draft

    def commit(self, draft: Path) -> Path:
        """Make a sealed draft the current snapshot: flush all of it, then one rename. Hold `lock` meanwhile.

        Args:
            draft: A folder in `staging` that `snapshot.seal` has finished.

        Returns:
            The folder of the snapshot. Its files are read-only.

        Raises:
            StoreError: The draft is not finished, or was sealed on top of an older snapshot than the current.
        """
        about = _manifest(draft)
        names = self.snapshots()
        if about["previous"] != (names[-1] if names else None):
            raise StoreError("another run has committed meanwhile", hint="run again: it starts from the new snapshot")
        target = self.root / "snapshots" / self.next_snapshot()
        try:
            target.parent.mkdir(exist_ok=True)
            _settle(draft, {entry["path"]: entry["bytes"] for entry in about["files"]})
            draft.rename(target)
            write.flush(target.parent)
            write.flush(draft.parent)
        except OSError as error:
            hint = "keep staging and snapshots on one disk" if error.errno == errno.EXDEV else "check rights and space"
            raise StoreError(f"the snapshot cannot be committed: {error.strerror}", hint=hint) from error
        return target

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only writer. A lock left by a run that died is free: the system drops it with the process.

        Raises:
            StoreError: Another run is writing.
        """
        try:
            handle = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreError(
                f"the store cannot be written: {error.strerror}", hint="check its rights and space"
            ) from error
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = os.pread(handle, 20, 0).decode("ascii", "replace").strip()
                who = f"process {holder}" if holder.isdigit() else "another process"
                raise StoreError(f"{who} is writing to this store", hint="wait until it is done") from error
            os.truncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
            self._tidy()
            yield
        finally:
            os.close(handle)

    def _tidy(self) -> None:
        """Remove what runs have left that died while they founded the store."""
        for draft in self.root.glob(".store.json.*"):
            founder = draft.name.split(".")[3]
            if founder.isdigit() and not _lives(int(founder)):
                draft.unlink(missing_ok=True)

    def _numbers(self) -> list[int]:
        try:
            entries = list((self.root / "snapshots").iterdir())
        except FileNotFoundError:
            return []
        return sorted(int(entry.name) for entry in entries if _NAME.fullmatch(entry.name))

    def _path(self, number: int) -> Path:
        return self.root / "snapshots" / f"{number:06d}"


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is somebody else's
        return True
    return True


def _manifest(draft: Path) -> Json:
    try:
        about: Json = json.loads((draft / MANIFEST).read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError("the draft has no manifest: it is not finished", hint="seal it first") from error
    return about


def _settle(draft: Path, sizes: dict[object, object]) -> None:
    """Check that a draft holds what its manifest lists and nothing else; make it durable and read-only."""
    found = {path.relative_to(draft).as_posix(): path for path in draft.rglob("*") if not path.is_dir()}
    del found[MANIFEST]
    if {name: path.stat().st_size for name, path in found.items()} != sizes:
        raise StoreError("the draft and its manifest differ", hint="run again; the draft is made anew")
    for path in [*found.values(), draft / MANIFEST]:
        path.chmod(0o444)
        write.flush(path)
    for folder in [*(path for path in draft.rglob("*") if path.is_dir()), draft]:
        write.flush(folder)
