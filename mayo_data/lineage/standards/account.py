"""The account of a store that all standards are rendered from: ledger records, a manifest, a few counts."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from mayo_data.types import Json

PROJECT = "https://github.com/mayo-data/mayo-data"
_IDS = uuid.uuid5(uuid.NAMESPACE_URL, PROJECT)
_PARTS = ("step", "table", "gate")
_ENDS = {"snapshot": "COMPLETE", "unchanged": "COMPLETE", "failure": "FAIL"}
State = Literal["COMPLETE", "FAIL", "ABORT", "RUNNING"]


@dataclass(frozen=True)
class Attempt:
    """One attempt at a run. A run that was killed and resumed has several, all under one `run_id`.

    Attributes:
        record: The ledger record that opened it.
        steps: Records of its arrows.
        tables: Records of OMOP tables.
        gates: Records of its checks.
        end: Record that closed it: `snapshot`, `unchanged` or `failure`; None while it runs, or where it was killed.
        gone: Time at which another attempt took its place, or None.

    >>> Attempt({"at": "2026-01-01T00:00:00+00:00", "body": {}}).state
    'RUNNING'
    """

    record: Json
    steps: tuple[Json, ...] = ()
    tables: tuple[Json, ...] = ()
    gates: tuple[Json, ...] = ()
    end: Json | None = None
    gone: str | None = None

    @property
    def body(self) -> Json:
        """What the opening record says."""
        body: Json = self.record["body"]
        return body

    @property
    def state(self) -> State:
        """How it ended."""
        if self.end is not None:
            return _ENDS[self.end["kind"]]  # type: ignore[return-value]
        return "ABORT" if self.gone else "RUNNING"

    @property
    def ended(self) -> str | None:
        """When it ended."""
        return self.end["at"] if self.end else self.gone


@dataclass(frozen=True)
class Covered:
    """Who is in a snapshot, and what is missing of them. None stands for a number that is withheld.

    Attributes:
        groups: Such as `sex` to {`female`: subjects}.
        missing: Such as `note` to how many subjects have none.
        years: Quartiles of the time from a subject's first event to its last.
        smallest: Subjects in the smallest cell that is shown.

    >>> Covered().groups
    {}
    """

    groups: Mapping[str, Mapping[str, int | None]] = field(default_factory=dict)
    missing: Mapping[str, int | None] = field(default_factory=dict)
    years: Sequence[float] | None = None
    smallest: int = 11


@dataclass(frozen=True)
class Account:
    """What a store can say of itself. JSON-able parts only, no value of the PHI zone.

    Attributes:
        records: All records of the ledger, oldest first.
        snapshot: Name of the snapshot that is spoken of.
        manifest: Its manifest, parsed.
        manifest_sha256: Digest of the manifest.
        types: Resource type or OMOP table to the number of resources in the snapshot; empty where not counted.
        covered: Who is in the snapshot, by group.

    >>> Account((), "000001", {"run_id": "r", "logical_digest": "d"}, "ab").store
    'r'
    """

    records: tuple[Json, ...]
    snapshot: str
    manifest: Json
    manifest_sha256: str
    types: Mapping[str, int] = field(default_factory=dict)
    covered: Covered = field(default_factory=Covered)

    @property
    def store(self) -> str:
        """A name for the store that no other has, and that stays: the start of its ledger's first digest."""
        return str(self.records[0]["digest"][:16]) if self.records else str(self.manifest["run_id"])

    def of(self, kind: str) -> list[Json]:
        """Return the records of a kind, oldest first."""
        return self._kinds.get(kind, [])

    def attempts(self) -> list[Attempt]:
        """Return all attempts at runs, oldest first."""
        return list(self._attempts)

    def attempt(self) -> Attempt | None:
        """Return the attempt that made the snapshot, or None where no run did (a rollback, a withdrawal)."""
        for one in reversed(self._attempts):
            if one.end and one.end["kind"] == "snapshot" and one.end["body"]["snapshot"] == self.snapshot:
                return one
        return None

    def origin(self) -> Attempt | None:
        """Return the attempt under whose rules the snapshot was made, also where it was taken over since."""
        made = [one for one in self._attempts if one.body.get("run_id") == self.manifest["run_id"]]
        return self.attempt() or (made[-1] if made else None)

    def without_run(self) -> list[Json]:
        """Return the records of snapshots that no run made: rollbacks, withdrawals."""
        by_run = {id(one.end) for one in self._attempts}
        return [record for record in self.of("snapshot") if id(record) not in by_run]

    def trainings(self) -> list[Json]:
        """Return the records of trainings that read this snapshot, oldest first."""
        return [record for record in self.of("training") if record["body"].get("snapshot") == self.snapshot]

    def model(self, training_id: str) -> Json | None:
        """Return the record of a training, or None where there is none."""
        return next((one for one in self.of("training") if one["body"]["training_id"] == training_id), None)

    @cached_property
    def _kinds(self) -> dict[str, list[Json]]:
        kinds: dict[str, list[Json]] = {}
        for record in self.records:
            kinds.setdefault(record["kind"], []).append(record)
        return kinds

    @cached_property
    def _attempts(self) -> tuple[Attempt, ...]:
        return tuple(_attempts(self.records))


def identity(*parts: str) -> str:
    """Return a UUID for what the parts name: the same parts, the same UUID.

    >>> identity("run", "ab") == identity("run", "ab") != identity("run", "cd")
    True
    """
    return str(uuid.uuid5(_IDS, "\x1f".join(parts)))


def outcome(verdict: Json) -> str:
    """Return what a gate's check came to: `pass`, or the action it called for.

    >>> outcome({"passed": False, "action": "warn"})
    'warn'
    """
    return "pass" if verdict["passed"] else str(verdict["action"])


def lost(steps: Sequence[Json]) -> dict[str, int]:
    """Return the rows that ended on the way, by arrow and reason.

    >>> lost([{"body": {"name": "scrub", "dropped": {"not_about_a_patient": 2}}}])
    {'scrub/not_about_a_patient': 2}
    """
    return {
        f"{step['body']['name']}/{reason}": count
        for step in steps
        for reason, count in sorted(step["body"].get("dropped", {}).items())
    }


def _attempts(records: Iterable[Json]) -> list[Attempt]:
    opened: list[dict[str, object]] = []
    parts: list[dict[str, list[Json]]] = []
    live: dict[str, int] = {}  # run_id to the place of the attempt that is open
    for record in records:
        kind, run_id = record["kind"], record["body"].get("run_id")
        if kind == "run":
            if run_id in live:
                opened[live[run_id]]["gone"] = record["at"]
            live[run_id] = len(opened)
            opened.append({"record": record})
            parts.append({part: [] for part in _PARTS})
        elif run_id in live and kind in _PARTS:
            parts[live[run_id]][kind].append(record)
        elif run_id in live and kind in _ENDS and not record["body"].get("restores"):
            opened[live.pop(run_id)]["end"] = record
    return [
        Attempt(
            **one,  # type: ignore[arg-type]
            steps=tuple(made["step"]),
            tables=tuple(made["table"]),
            gates=tuple(made["gate"]),
        )
        for one, made in zip(opened, parts, strict=True)
    ]
