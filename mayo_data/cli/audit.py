"""The command for whoever reads a sample of scrubbed notes: audit. It shows notes, so it belongs into the PHI zone."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.panel import Panel
from rich.text import Text

import mayo_data as md
from mayo_data.cli import show
from mayo_data.types import Json

if TYPE_CHECKING:
    from mayo_data.report.audit import Audit, Leak, Note

_KEYS = "[c]lean  [l]eak  [u]nsure  [q]uit"
_OFFSETS = re.compile(r"(\d+)-(\d+)")


def audit(
    store: Annotated[Path, typer.Argument(help="Folder of the store.", show_default=False)],
    notes: Annotated[int, typer.Option("--notes", min=1, help="Size of the sample.")] = 100,
    seed: Annotated[int, typer.Option("--seed", help="The same seed draws the same notes.")] = 1,
    snapshot: Annotated[str | None, typer.Option("--snapshot", help="Default: the newest.")] = None,
    phi_zone: Annotated[Path | None, typer.Option("--phi-zone", help="Keeps the verdicts; default STORE.phi.")] = None,
    verdicts: Annotated[
        Path | None, typer.Option("--verdicts", help='JSON lines {"event_id", "verdict", "leaks"}: nothing is asked.')
    ] = None,
    ids: Annotated[bool, typer.Option("--ids", help="List the sample: ids and types, no text.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the estimate as JSON.")] = False,
) -> None:
    """Read a sample of scrubbed notes, say what leaked, and get the leaks in 1,000 notes with an interval."""
    sample = md.audit(store, notes=notes, seed=seed, snapshot=snapshot, phi_zone=phi_zone)
    if ids:
        for note in sample.notes:
            show.line(f"{note.event_id}\t{note.code}")
        return
    if verdicts is not None:
        sample.load(verdicts)
    else:
        _read(sample)
    if not sample.read:
        return
    found = sample.estimate()
    whole = sample.read == len(sample.notes)
    if whole or verdicts is not None:
        sample.commit()
    if as_json:
        show.raw_json(found)
        return
    _estimate(found)
    if whole or verdicts is not None:
        show.console.print("The counts are in the ledger, as a record of kind audit.")
    else:
        left = len(sample.notes) - sample.read
        show.console.print(f"{left:,} notes are left. The same command goes on; the ledger gets the whole sample.")


def _read(sample: Audit) -> None:
    for note in sample.pending():
        while True:
            _show(note, sample)
            try:
                said = show.console.input(f"{_KEYS}: ", markup=False).strip().lower()[:1]
                leaks = _leaks(note) if said == "l" else []
            except EOFError:  # the terminal is gone: what was said is kept
                return
            if said == "q":
                return
            if said in ("c", "u"):
                sample.record(note.event_id, "clean" if said == "c" else "unsure")
                break
            if leaks:
                sample.record(note.event_id, "leak", leaks)
                break


def _show(note: Note, sample: Audit) -> None:
    title = f"note {sample.read + 1:,} of {len(sample.notes):,} · {printable(note.code)}"
    show.console.print(Panel(Text(printable(note.text)), title=Text(title), title_align="left", padding=(1, 2)))


def _leaks(note: Note) -> list[Leak]:
    """Ask for one leak after the other: the words as they stand in the note, or offsets; an empty line ends it."""
    from mayo_data.report.audit import Leak, categories

    found: list[Leak] = []
    known = categories()
    while True:
        words = show.console.input("what leaked (its words, or from-to; empty: no more): ", markup=False)
        if not words.strip():
            return found
        place = locate(note.text, words.strip())
        if place is None:
            show.console.print("These words do not stand in the note just once; copy more of them, or give from-to.")
            continue
        category = show.console.input(f"category ({', '.join(known)}): ", markup=False).strip().upper()
        if category not in known:
            show.console.print("No such category.")
            continue
        found.append(Leak(category, *place))


def locate(text: str, words: str) -> tuple[int, int] | None:
    """Return where words stand in a text, or None where that is not clear; `from-to` is taken as offsets."""
    offsets = _OFFSETS.fullmatch(words)
    if offsets and words not in text:
        start, end = int(offsets[1]), int(offsets[2])
        return (start, end) if start < end <= len(text) else None
    at = text.find(words)
    return None if at < 0 or text.find(words, at + 1) >= 0 else (at, at + len(words))


def printable(text: str) -> str:
    """Return a text without what would steer a terminal: escapes, bells, marks that turn the direction."""
    return "".join(
        char if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf", "Cs") else "\ufffd" for char in text
    )


def _estimate(found: Json) -> None:
    shown = show.table("Leaks in the notes", ("what", "value"), right=("value",))
    low, high = found["leaks_per_1000_notes_interval"]
    first, last = found["leaking_notes_share_interval"]
    shown.add_row("notes read", f"{found['notes']:,} of {found['notes_in_store']:,}")
    shown.add_row("with a leak", f"{found['leaking_notes']:,}")
    shown.add_row("leaks in them", f"{found['leaks']:,}")
    shown.add_row("not sure", f"{found['unsure']:,}")
    shown.add_section()
    shown.add_row("expected leaks in 1,000 notes", f"{found['leaks_per_1000_notes']:.1f} ({low:.1f} to {high:.1f})")
    shown.add_row("share of notes with a leak", f"{found['leaking_notes_share']:.2%} ({first:.2%} to {last:.2%})")
    for category, count in found["categories"].items():
        shown.add_row(f"  {category}", f"{count:,}")
    show.console.print(shown)
    show.console.print(found["method"], style="dim")
