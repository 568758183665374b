"""The command over the risk that remains: risk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import mayo_data as md
from mayo_data.cli import show


def risk(
    store: Annotated[Path, typer.Argument(help="Folder of the store.", show_default=False)],
    quasi: Annotated[
        str | None, typer.Option("--quasi", help="What others may know, with commas; also: rarest_code, sequence.")
    ] = None,
    sensitive: Annotated[str | None, typer.Option("--sensitive", help="What they want to know.")] = None,
    k: Annotated[int, typer.Option("--k", min=2, help="Class size below which a subject is at risk.")] = 11,
    population: Annotated[
        int | None, typer.Option("--population", min=1, help="People that the store is a sample of.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure how easily a subject could be singled out, and what it would cost to make it harder."""
    found = md.risk(
        store,
        quasi=tuple(quasi.split(",")) if quasi else None,
        sensitive=tuple(sensitive.split(",")) if sensitive else None,
        threshold=k,
        population=population,
    )
    if as_json:
        show.raw_json(found)
        return
    _measures(found)
    _options(found["options"])


def _measures(found: dict[str, Any]) -> None:
    risk = found["risk"]
    rows = risk["rows"]
    listed = show.table(f"Risk of {', '.join(found['quasi'])}", ("measure", "value"), right=("value",))
    listed.add_row("subjects", f"{rows:,}")
    listed.add_row("classes", f"{risk['classes']:,}")
    listed.add_row("smallest class (k)", f"{risk['k']:,}")
    listed.add_row("subjects alone in their class", f"{risk['unique']:,} ({risk['unique'] / rows:.1%})")
    listed.add_row(
        f"subjects in classes below {risk['threshold']}", f"{risk['at_risk']:,} ({risk['at_risk'] / rows:.1%})"
    )
    listed.add_section()
    listed.add_row("prosecutor: highest, mean", f"{risk['prosecutor_highest']:.3f}, {risk['prosecutor_average']:.3f}")
    if risk["population"]:
        both = f"{risk['journalist_highest']:.3f}, {risk['journalist_average']:.3f}"
        listed.add_row(f"journalist, population {risk['population']:,}: highest, mean", both)
        listed.add_row("marketer", f"{risk['marketer']:.3f}")
        listed.add_row("expected to be alone in the population", f"{risk['population_unique']:,.1f}")
    for one in risk["diversity"]:
        listed.add_section()
        listed.add_row(f"{one['attribute']}: l, by entropy", f"{one['distinct']:,}, {one['entropy']:.2f}")
        listed.add_row(f"{one['attribute']}: t", f"{one['t']:.3f}")
        listed.add_row(f"{one['attribute']}: largest share of one value in a class", f"{one['largest_share']:.2f}")
    show.console.print(listed)


def _options(options: list[dict[str, Any]]) -> None:
    columns = ("given less exactly", "k", "subjects to leave out", "their events", "of all events")
    listed = show.table("Ways to lower it", columns, right=columns[1:])
    for one in options:
        changes = ", ".join(f"{column}: {how}" for column, how in one["changes"].items()) or "nothing"
        listed.add_row(changes, f"{one['k']:,}", f"{one['at_risk']:,}", f"{one['events']:,}", f"{one['share']:.1%}")
    show.console.print(listed)
