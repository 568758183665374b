"""The commands over whole exports: scrub, completeness."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import mayo_data as md
from mayo_data.cli import show


class Share(StrEnum):
    """Which rows of the input are validated."""

    all = "all"
    sample = "sample"
    off = "off"


def scrub(
    source: Annotated[str, typer.Option("--input", help="Folder, file or URL of the FHIR export (PHI zone).")],
    output: Annotated[Path, typer.Option("--output", help="Folder for the de-identified export; must not exist.")],
    key_file: Annotated[Path | None, typer.Option("--key-file", help="The site's key; else $MAYO_DATA_KEY.")] = None,
    policy: Annotated[str, typer.Option("--policy", help="A preset, or the path of a policy file.")] = "",
    pipeline: Annotated[Path, typer.Option("--pipeline", help="Pipeline file, for all else.")] = Path("fhir.toml"),
    phi_zone: Annotated[
        Path | None, typer.Option("--phi-zone", help="Quarantine and vault; default OUTPUT.phi.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes; 0 for one a core.")] = 0,
    validate: Annotated[
        Share | None,
        typer.Option(
            "--validate", help="Which resources must be valid FHIR, in and out; default: the pipeline file's."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Write a de-identified copy of a FHIR export: valid, the same files, references intact."""
    with show.watcher("quiet" if as_json else "auto") as watch:
        report = md.scrub(
            source, output, key_file=key_file, policy=policy, pipeline=pipeline, phi_zone=phi_zone, workers=workers,
            validate=validate.value if validate else None, watcher=watch,
        )  # fmt: skip
    if as_json:
        show.raw_json({name: getattr(report, name) for name in report.__dataclass_fields__})
        return
    show.steps(report.steps)
    show.decisions(report.phi, report.notes)
    shown = show.table("Resources written", ("type", "resources"), right=("resources",))
    for name, count in report.resources.items():
        shown.add_row(name, f"{count:,}")
    show.console.print(shown)
    total = sum(report.resources.values())
    show.console.print(f"[bold]{total:,} resources[/] in {report.output}, {report.seconds:.1f} s", soft_wrap=True)
    show.console.print(f"  PHI zone {report.phi_zone}  (quarantine, vault: keep it where the input is)", soft_wrap=True)


def completeness(
    store: Annotated[Path, typer.Argument(help="Folder of the store.", show_default=False)],
    subject: Annotated[int | None, typer.Option("--subject", help="One subject alone: its subject_id.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what arrived when, from which file, and what is missing against the manifest of the export."""
    found = md.completeness(store, subject)
    if as_json:
        show.raw_json(found)
        return
    if subject is None:
        counted = ("resources", "with events", "subjects", "subjects without", "events")
        names: tuple[str, ...] = ("resource type", *counted, "first arrived", "last arrived")
        shown = show.table("By resource type", names, right=counted)
        for row in found["types"]:
            numbers = [row[name.replace(" ", "_")] for name in counted]
            days = (row["first_arrived"] or "?", row["last_arrived"] or "?")
            shown.add_row(row["resource_type"], *(f"{number:,}" for number in numbers), *days)
        show.console.print(shown)
    else:
        names = ("resource type", "file", "resources", "with events", "events", "arrived")
        shown = show.table(f"Subject {subject}", names, right=names[1:5])
        for row in found["subject"]:
            numbers = [row["source_table"], row["resources"], row["with_events"], row["events"]]
            shown.add_row(row["resource_type"], *(f"{number:,}" for number in numbers), row["arrived"] or "?")
        show.console.print(shown)
    names = ("file", "format", "arrived", "rows", "of subjects", "with events", "listed in the manifest", "missing")
    shown = show.table("By file", names, right=("file", *names[3:]))
    for row in found["sources"]:
        listed, missing = (f"{row[name]:,}" if row[name] is not None else "·" for name in ("listed", "missing"))
        shown.add_row(
            str(row["source_table"]), row["format"], row["arrived"] or "?", f"{row['rows']:,}", f"{row['resources']:,}",
            f"{row['with_events']:,}", listed, missing,
        )  # fmt: skip
    show.console.print(shown)
