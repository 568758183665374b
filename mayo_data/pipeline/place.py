"""The two zones of a run: the store, and the PHI zone with quarantine, vault and work in progress."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mayo_data.errors import ConfigError, StoreError
from mayo_data.sources.location import is_url
from mayo_data.store import write


@dataclass(frozen=True)
class Place:
    """Where a run works: the store, and the PHI zone with quarantine, vault and work in progress."""

    store: Path
    phi_zone: Path

    @classmethod
    def of(cls, store: Path, phi_zone: Path | None) -> Place:
        """Return the places of a store; the PHI zone lies beside it unless it is given."""
        zone = phi_zone or store.with_name(store.name + ".phi")
        if zone.resolve().is_relative_to(store.resolve()):
            raise ConfigError("the PHI zone must not lie inside the store", hint="choose another --phi-zone")
        return cls(store, zone)

    def apart_from(self, source: Path | str) -> None:
        """Refuse a store or a PHI zone inside the input: the next run would read what this one wrote.

        Args:
            source: The input; an object store is apart from everything here.

        Raises:
            ConfigError: One lies inside the other.
        """
        if is_url(source):
            return
        given = Path(source).resolve()
        store, zone = self.store.resolve(), self.phi_zone.resolve()
        if store.is_relative_to(given) or zone.is_relative_to(given):
            what = "store" if store.is_relative_to(given) else "PHI zone"
            raise ConfigError(f"the {what} must not lie inside the input", hint="choose another --store or --phi-zone")
        if given.is_relative_to(store):
            raise ConfigError("the input must not lie inside the store", hint="only de-identified data belongs there")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only run that works in this PHI zone. The system drops the lock of a run that died.

        Raises:
            StoreError: Another run works here.
        """
        self._close_off()
        handle = os.open(self.phi_zone / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StoreError(
                    "another run works in this PHI zone", hint="wait until it is done, or give each store its own"
                ) from error
            yield
        finally:
            os.close(handle)

    def _close_off(self) -> None:
        """Let only the owner enter the PHI zone, also where it was made by hand."""
        for folder in (self.phi_zone, self.phi_zone / "work", self.phi_zone / "quarantine"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with suppress(PermissionError):  # somebody else's folder, which we may only use
                folder.chmod(0o700)

    def clear(self, run_id: str) -> None:
        """Remove what killed runs of other inputs or parameters left behind; call it under both locks."""
        for folder in (self.phi_zone / "work", self.store / "staging"):
            for left in folder.iterdir() if folder.exists() else ():
                if left.name != run_id:
                    shutil.rmtree(left, ignore_errors=True)
        self.sweep()

    def sweep(self) -> None:
        """Remove the halves of files that processes left which were killed."""
        for folder in (self.phi_zone / "quarantine", self.memory):
            for half in folder.rglob("*" + write.TEMPORARY):
                half.unlink(missing_ok=True)

    @property
    def vault(self) -> Path:
        """The vault's file."""
        return self.phi_zone / "vault.sqlite"

    @property
    def crashed(self) -> Path:
        """At which places of which files a process ended."""
        return self.phi_zone / "crashed.json"

    @property
    def memory(self) -> Path:
        """What snapshots left for the next delta."""
        return self.phi_zone / "memory"

    def work(self, run_id: str) -> Path:
        """Work in progress of a run."""
        return self.phi_zone / "work" / run_id

    def quarantine(self, run_id: str) -> Path:
        """Rows that a run could not use."""
        return self.phi_zone / "quarantine" / run_id


@contextmanager
def private(path: Path) -> Iterator[BinaryIO]:
    """Write a file of the PHI zone: nobody else may read it, and it is there only once it is whole.

    Two attempts at one task, as a cluster may make them, do not touch each other's file.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = write.draft_of(path)
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            yield out
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
