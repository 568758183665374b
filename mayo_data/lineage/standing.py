"""What a reader must know of the ledger before it hands out a row: digests of snapshots, and who has withdrawn.

A ledger grows with every read and every prediction. So a process reads it once, and then only what was added.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from mayo_data.errors import StoreError
from mayo_data.types import Json

_KINDS = {b'"kind":"' + kind + b'"': kind.decode() for kind in (b"snapshot", b"withdrawal", b"erasure")}


@dataclass(frozen=True)
class Standing:
    """What the ledger says of snapshots and subjects.

    Attributes:
        manifests: Snapshot to the sha256 that its manifest must have now; an erasure gives it a new one.
        withdrawn: Subjects who withdrew, or were erased.
        blocked: Snapshots that a withdrawal has blocked.

    >>> Standing({"000001": "ab"}, frozenset({7}), frozenset()).withdrawn
    frozenset({7})
    """

    manifests: Mapping[str, str]
    withdrawn: frozenset[int]
    blocked: frozenset[str]


@dataclass
class _Read:
    """How far a ledger was read, and what was found."""

    inode: int = 0
    offset: int = 0
    manifests: dict[str, str] = field(default_factory=dict)
    withdrawn: set[int] = field(default_factory=set)
    blocked: set[str] = field(default_factory=set)


_LEDGERS: dict[Path, _Read] = {}
_TURN = threading.Lock()


def standing(ledger: Path) -> Standing:
    """Return what the ledger says by now. No ledger says nothing.

    Args:
        ledger: Path of the store's ledger.

    Raises:
        StoreError: The ledger cannot be read, or a line of these kinds is no record.

    >>> standing(Path("nowhere/ledger.jsonl"))
    Standing(manifests={}, withdrawn=frozenset(), blocked=frozenset())
    """
    path = ledger.absolute()
    with _TURN:
        try:
            about = path.stat()
        except FileNotFoundError:
            _LEDGERS.pop(path, None)
            return Standing({}, frozenset(), frozenset())
        except OSError as error:
            raise StoreError(f"the ledger cannot be read: {error.strerror}", hint="check its rights") from error
        seen = _LEDGERS.get(path)
        if seen is None or seen.inode != about.st_ino or about.st_size < seen.offset:  # another file lies there now
            seen = _Read(about.st_ino)
        try:
            for kind, body in _fresh(path, seen):
                _take(kind, body, seen)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StoreError("the ledger is damaged", hint="run: mayo-data ledger verify") from error
        except OSError as error:
            raise StoreError(f"the ledger cannot be read: {error.strerror}", hint="check its rights") from error
        _LEDGERS[path] = seen
        return Standing(dict(seen.manifests), frozenset(seen.withdrawn), frozenset(seen.blocked))


def _fresh(path: Path, seen: _Read) -> Iterator[tuple[str, Json]]:
    """Records that were not read yet. Only lines that can speak of these kinds are parsed."""
    with path.open("rb") as file:
        file.seek(seen.offset)
        for line in file:
            if not line.endswith(b"\n"):  # is being written
                return
            if any(needle in line for needle in _KINDS):
                record = orjson.loads(line)
                if record["kind"] in _KINDS.values():
                    yield record["kind"], record["body"]
            seen.offset += len(line)


def _take(kind: str, body: Json, seen: _Read) -> None:
    if kind == "snapshot":
        seen.manifests[str(body["snapshot"])] = str(body["manifest_sha256"])
        return
    seen.withdrawn.add(int(body["subject_id"]))
    if kind == "withdrawal":
        seen.blocked.update(str(name) for name in body.get("snapshots_blocked", ()))
        return
    for name, change in body.get("snapshots", {}).items():
        seen.manifests[str(name)] = str(change["after"])
        seen.blocked.discard(str(name))  # it no longer holds them; whoever else withdrew is looked for in its files
