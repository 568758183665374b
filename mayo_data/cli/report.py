"""The commands for whoever has to answer for a store: report, coverage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

import mayo_data as md
from mayo_data.cli import show
from mayo_data.cli.audit import printable
from mayo_data.errors import ConfigError

# What may be missing, as the columns are headed.
_MISSING = {
    "visit": "encounter", "vital": "vital", "lab": "lab", "drug": "medication", "problem": "condition", "text": "note",
    "race": "race",
}  # fmt: skip


def report(
    store: Annotated[Path, typer.Argument(help="Folder of the store.", show_default=False)],
    html: Annotated[Path | None, typer.Option("--html", help="One page that stands for itself.")] = None,
    json: Annotated[Path | None, typer.Option("--json", help="The same as JSON.")] = None,
    markdown: Annotated[Path | None, typer.Option("--md", help="The same as Markdown.")] = None,
    evidence: Annotated[
        Path | None, typer.Option("--evidence", help="Zip for an expert determination, 45 CFR 164.514(b)(1).")
    ] = None,
    snapshot: Annotated[str | None, typer.Option("--snapshot", help="Default: the newest.")] = None,
    population: Annotated[
        int | None, typer.Option("--population", min=1, help="People that the store is a sample of.")
    ] = None,
    policy: Annotated[str | None, typer.Option("--policy", help="The site's policy file, for its text.")] = None,
) -> None:
    """Write the report that a privacy officer signs: what came in, what was done, what risk remains."""
    if not any((html, json, markdown, evidence)):
        raise ConfigError("nowhere to write to", hint="give --html, --json, --md or --evidence, each with a path")
    facts = md.write_report(
        store, html=html, json=json, markdown=markdown, evidence=evidence, snapshot=snapshot, population=population,
        policy=policy,
    )  # fmt: skip
    passed = sum(bool(one["passed"]) for one in facts["gates"])
    show.console.print(
        f"Snapshot {facts['snapshot']['name']}: {passed} of {len(facts['gates'])} gates passed, "
        f"ledger {'intact' if not facts['ledger']['problems'] else 'DAMAGED'}"
    )
    for path in (html, json, markdown, evidence):
        if path:
            show.console.print(f"  {path}", soft_wrap=True)


def coverage(
    store: Annotated[Path, typer.Argument(help="Folder of the store.", show_default=False)],
    snapshot: Annotated[str | None, typer.Option("--snapshot", help="Default: the newest.")] = None,
    smallest: Annotated[int, typer.Option("--smallest", min=2, help="Subjects in the smallest cell shown.")] = 11,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show who is in a store, by group, and who has less in it: events, notes, what is missing, how many years."""
    found = md.coverage(store, snapshot=snapshot, smallest=smallest)
    if as_json:
        show.raw_json(found)
        return
    columns = ("group", "subjects", "events", "notes", "years", *_MISSING)
    shown = show.table("Who is covered; from the sixth column on: subjects without any", columns, right=columns[1:])
    show.narrow(shown, folds=0)
    shown.add_row(*_row(found["whole"]))
    for dimension, groups in found["dimensions"].items():
        shown.add_section()
        shown.add_row(dimension.replace("_", " "), style="bold")
        for group in groups:
            shown.add_row(*_row(group))
    show.console.print(shown)
    show.console.print(
        f"–: fewer than {found['smallest']} subjects, or withheld because it would give such a cell away"
    )


def _row(group: dict[str, Any]) -> list[Text | str]:
    years = group["years"][1] if group["years"] else None
    cells = [group["subjects"], group["events"], group["notes"]]
    missing = [group["missing"][one] for one in _MISSING.values()]
    return [
        Text(printable(group["name"])), *map(_cell, cells), "–" if years is None else f"{years:.1f}",
        *map(_cell, missing),
    ]  # fmt: skip


def _cell(count: int | None) -> str:
    return "–" if count is None else f"{count:,}"
