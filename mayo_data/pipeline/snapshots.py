"""What changes the list of snapshots without a run: rollback and prune, under the lock and in the ledger."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mayo_data.errors import ConfigError, StoreError
from mayo_data.lineage import withdrawals
from mayo_data.lineage.ledger import Ledger
from mayo_data.lineage.standing import standing
from mayo_data.pipeline.place import Place
from mayo_data.store import history, without
from mayo_data.store.layout import Store
from mayo_data.store.snapshot import Manifest


@dataclass(frozen=True)
class Pruned:
    """What `prune` removed, or would.

    Attributes:
        removed: Names of the snapshots.
        bytes: Size of what nobody shares with them.
        kept: Names of those that stay.
        dry_run: Whether nothing was done.
    """

    removed: tuple[str, ...]
    bytes: int
    kept: tuple[str, ...]
    dry_run: bool


def recorded(ledger: Ledger, name: str, manifest: Manifest) -> None:
    """Put a new snapshot into the ledger."""
    ledger.append(
        "snapshot",
        {
            "run_id": manifest.run_id, "snapshot": name, "manifest_sha256": manifest.sha256,
            "logical_digest": manifest.logical_digest, "events": manifest.tables["events"].rows,
            "subjects": manifest.counts["subjects"], "mode": manifest.mode, "restores": manifest.restores,
        },
    )  # fmt: skip


def settle(store: Store, ledger: Ledger) -> Manifest | None:
    """Finish what a kill left half done, in the ledger and in an erasure; return the manifest of the current snapshot.

    A snapshot that was committed and not recorded is recorded. One that is recorded with another manifest is not: that
    would make a change of it good.

    Args:
        store: The store, locked.
        ledger: Its ledger.
    """
    ledger.settle()
    without.settle(store)
    if not store.snapshots():
        return None
    current = store.current()
    manifest = Manifest.read(current)
    if current.name not in standing(store.ledger).manifests:
        recorded(ledger, current.name, manifest)
    return manifest


def rollback(store: Path | str, name: str) -> str:
    """Make an old snapshot current again, as a new one that shares its files. Nothing is removed.

    Args:
        store: Folder of the store.
        name: The old snapshot, for example `000001` or `1`.

    Returns:
        Name of the new snapshot.

    Raises:
        StoreError: There is no such store or snapshot, a run is writing, or a subject of the snapshot has withdrawn.
        ConfigError: It is the current one.
    """
    opened = Store.open(Path(store))
    ledger = Ledger(opened.ledger)
    with opened.lock():
        settle(opened, ledger)
        withdrawn = withdrawals.within(opened.snapshot(history.number(name)), opened.ledger)
        if withdrawn:
            raise StoreError(
                f"snapshot {history.number(name)} holds {withdrawn} subjects who have withdrawn",
                hint="choose a newer one: mayo-data snapshots list",
            )
        draft, manifest = history.restored(opened, history.number(name), _now().isoformat(timespec="seconds"))
        target = opened.commit(draft)
        recorded(ledger, target.name, manifest)
    return target.name


def prune(
    store: Path | str,
    keep: int,
    *,
    older_than: int | None = None,
    phi_zone: Path | str | None = None,
    dry_run: bool = False,
) -> Pruned:
    """Remove old snapshots, never the current one; the ledger says which.

    A reader of a snapshot that is removed loses it.

    Args:
        store: Folder of the store.
        keep: How many of the newest stay, whatever their age.
        older_than: Only snapshots that are older, in days.
        phi_zone: Where what they left for a delta lies; by default `STORE.phi`.
        dry_run: Only say what would go.

    Raises:
        StoreError: There is no such store, or a run is writing.
        ConfigError: `keep` is below 1, or `older_than` below 0.
    """
    if older_than is not None and older_than < 0:
        raise ConfigError("--older-than takes a number of days")
    opened = Store.open(Path(store))
    before = _now() - timedelta(days=older_than) if older_than is not None else None
    with opened.lock():
        found = history.snapshots(opened.root)
        gone = history.to_prune(found, keep, before)
        names = tuple(one.name for one in gone)
        kept = tuple(one.name for one in found if one.name not in names)
        pruned = Pruned(names, _freed(opened, names), kept, dry_run)
        if names and not dry_run:
            ledger = Ledger(opened.ledger)
            ledger.settle()
            body = asdict(pruned)
            body.pop("dry_run")
            ledger.append("prune", body)  # before anything goes: a kill leaves too much, never an unexplained gap
            memory = {sha256: sha256 for name in names for sha256 in _memory(opened, name)}
            history.remove(opened, names)
            place = Place.of(opened.root, Path(phi_zone) if phi_zone else None)
            history.forget(place.memory, memory, [Manifest.read(opened.snapshot(name)) for name in kept])
    return pruned


def _memory(store: Store, name: str) -> list[str]:
    return list(Manifest.read(store.snapshot(name)).memory.values())


def _freed(store: Store, names: tuple[str, ...]) -> int:
    """Bytes of the files to which only these snapshots lead."""
    links: dict[int, list[int]] = {}
    for name in names:
        for file in store.snapshot(name).rglob("*"):
            if file.is_file():
                stat = file.stat()
                links.setdefault(stat.st_ino, [stat.st_size, stat.st_nlink, 0])[2] += 1
    return sum(size for size, there, here in links.values() if here >= there)


def _now() -> datetime:
    return datetime.now(UTC)
