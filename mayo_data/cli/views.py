"""The command over de-identified FHIR: view."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

import mayo_data as md
from mayo_data.cli import show

_SHOWN = 20


def view(
    definition: Annotated[Path, typer.Argument(metavar="VIEW.json", help="A ViewDefinition of SQL on FHIR v2.")],
    fhir: Annotated[Path, typer.Option("--fhir", help="Folder of de-identified FHIR: ndjson, plain, .gz or .zst.")],
    out: Annotated[Path | None, typer.Option("--out", help="Write all rows to a .csv, .parquet or .ndjson.")] = None,
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL for DuckDB; run nothing.")] = False,
) -> None:
    """Turn FHIR resources into a table, as a ViewDefinition of SQL on FHIR says."""
    table = md.view(definition, fhir)
    for note in table.notes:
        typer.echo(f"note: {note}", err=True)
    if sql:
        show.line(table.sql)
    elif out is not None:
        show.line(f"{table.write(out):,} rows written to {out}")
    else:
        shown = show.table(table.name or "view", table.columns)
        for row in table.preview(_SHOWN):
            shown.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
        show.console.print(shown)
