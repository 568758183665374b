"""The commands over snapshots: list, diff, rollback, prune."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

import mayo_data as md
from mayo_data.cli import show

app = typer.Typer(help="The snapshots of a store: list, compare, go back, remove old ones.", no_args_is_help=True)

Store = Annotated[Path, typer.Argument(help="Folder of the store.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_UNITS = ("B", "kB", "MB", "GB", "TB")


@app.command("list")
def listing(store: Store, as_json: AsJson = False) -> None:
    """List the snapshots, oldest first; the last one is current."""
    found = md.snapshots(store)
    if as_json:
        show.raw_json([asdict(one) for one in found])
        return
    numbers = ("events", "subjects", "size", "own")
    columns = ("snapshot", "made", "how", "run", *numbers, "digest")
    shown = show.table(f"Snapshots of {store}", columns, right=numbers)
    for one in found:
        how = f"{one.mode} to {one.restores}" if one.restores else one.mode
        shown.add_row(
            one.name + (" *" if one.current else ""), one.created_at[:19].replace("T", " "), how, one.run_id,
            f"{one.events:,}", f"{one.subjects:,}", _size(one.bytes), _size(one.own_bytes), one.logical_digest[:12],
        )  # fmt: skip
    show.console.print(shown)
    show.line("* current; own: what no other snapshot shares")


@app.command()
def diff(
    store: Store,
    older: Annotated[str, typer.Argument(help="Number of a snapshot.")],
    newer: Annotated[str, typer.Argument(help="Number of another.")],
    as_json: AsJson = False,
) -> None:
    """Show what changed between two snapshots: subjects and events, by kind and by resource type."""
    found = md.diff(store, older, newer)
    if as_json:
        show.raw_json(asdict(found))
        return
    changes = ("added", "removed", "changed")
    shown = show.table(f"From snapshot {found.older} to {found.newer}", ("what", "which", *changes), right=changes)
    rows = [("subjects", "all", found.subjects), ("events", "all", found.events)]
    rows += [("events", f"kind {name}", counts) for name, counts in found.kinds.items()]
    rows += [("events", f"of {name}", counts) for name, counts in found.types.items()]
    for what, which, counts in rows:
        shown.add_row(what, which, *(f"{counts[change]:,}" if counts[change] else "·" for change in changes))
    show.console.print(shown)


@app.command()
def rollback(store: Store, snapshot: Annotated[str, typer.Argument(help="Number of the old snapshot.")]) -> None:
    """Make an old snapshot current again, as a new one. Nothing is removed, and the ledger says so."""
    made = md.rollback(store, snapshot)
    show.line(f"snapshot {made} is current: it holds what snapshot {snapshot.zfill(6)} holds")


@app.command()
def prune(
    store: Store,
    keep: Annotated[int, typer.Option("--keep", min=1, help="How many of the newest stay.")],
    older_than: Annotated[
        int | None, typer.Option("--older-than", min=0, help="Remove only what is older: days.")
    ] = None,
    phi_zone: Annotated[
        Path | None, typer.Option("--phi-zone", help="PHI zone of the store; default STORE.phi.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove old snapshots, never the current one. The ledger says which."""
    found = md.prune(store, keep, older_than=older_than, phi_zone=phi_zone, dry_run=dry_run)
    if as_json:
        show.raw_json(asdict(found))
        return
    verb = "would go" if dry_run else "removed"
    names = ", ".join(found.removed) or "none"
    show.line(f"{verb}: {names} ({_size(found.bytes)}); {len(found.kept)} stay")


def _size(count: float) -> str:
    """Bytes as a person reads them.

    >>> _size(1500)
    '1.5 kB'
    """
    unit = 0
    while count >= 1000 and unit < len(_UNITS) - 1:
        count, unit = count / 1000, unit + 1
    return f"{count:.1f} {_UNITS[unit]}" if unit else f"{count:.0f} B"
