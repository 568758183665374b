"""What a run and a scrub tell: while they go on, to a watcher; at the end, as a report."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mayo_data.types import Step, Verdict


class Watcher(Protocol):
    """Who watches a run: a progress bar, a log, a test. Fields are counts and names, never values."""

    def __call__(self, event: str, **fields: Any) -> None:
        """Take note of an event."""
        ...


def silent(event: str, **fields: Any) -> None:
    """Watch nothing."""


@dataclass(frozen=True)
class RunReport:
    """What a run did, ready to be printed: counts, names and verdicts, no value of the PHI zone.

    Attributes:
        run_id: Name of the run: a digest of its inputs and parameters.
        snapshot: Folder of the snapshot, or None where nothing was committed.
        repeated: True where the store held the result of this very run already.
        steps: What became of the rows at every arrow.
        phi: PHI decisions: `CATEGORY/action` to count.
        notes: Other counts: elements, masked codes, attachments.
        verdicts: What the gates said.
        subjects: Number of subjects.
        events: Number of events.
        input_bytes: Size of the input on disk.
        seconds: How long it took.
        logical_digest: Digest of the snapshot's content.
        phi_zone: Where quarantine and vault lie.
        unread: Files of the input that were not read: ending to count.
        mode: `full`, or `delta` where the input was merged into the snapshot before.
        rewritten: Shards that were written; the others are those of the snapshot before.
    """

    run_id: str
    snapshot: Path | None
    repeated: bool
    steps: tuple[Step, ...]
    phi: dict[str, int]
    notes: dict[str, int]
    verdicts: tuple[Verdict, ...]
    subjects: int
    events: int
    input_bytes: int
    seconds: float
    logical_digest: str
    phi_zone: Path
    unread: dict[str, int] = field(default_factory=dict)
    mode: str = "full"
    rewritten: int = 0


@dataclass(frozen=True)
class ScrubReport:
    """What `scrub` did: counts, names and verdicts, no value of the PHI zone.

    Attributes:
        output: Folder of the de-identified export.
        run_id: Name of the run: a digest of its inputs and parameters.
        steps: What became of the rows at every arrow; of an OMOP CDM, of each table.
        phi: PHI decisions: `CATEGORY/action` to count.
        notes: Other counts: elements, masked codes, attachments.
        verdicts: What the gates said.
        resources: Resources written, by type; of an OMOP CDM, rows by table.
        input_bytes: Size of the input on disk.
        seconds: How long it took.
        phi_zone: Where quarantine and vault lie.
    """

    output: Path
    run_id: str
    steps: tuple[Step, ...]
    phi: dict[str, int]
    notes: dict[str, int]
    verdicts: tuple[Verdict, ...]
    resources: dict[str, int]
    input_bytes: int
    seconds: float
    phi_zone: Path
