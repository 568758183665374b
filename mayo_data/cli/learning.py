"""The commands of training and prediction: label, context."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

import mayo_data as md
from mayo_data.cli import show
from mayo_data.errors import ConfigError

StoreArgument = Annotated[Path, typer.Argument(help="Folder of the store.", show_default=False)]
_SHOWN = ("time", "code", "numeric_value", "unit", "text_value", "end_time")
_WIDEST = 60


def label(
    store: StoreArgument,
    task: Annotated[str, typer.Argument(metavar="TASK", help="A TOML file, or a shipped task: readmission_30d.")],
    out: Annotated[Path, typer.Option("--out", help="Write the MEDS label table to this .parquet.")],
    snapshot: Annotated[str | None, typer.Option("--snapshot", help="Name of a snapshot; else the newest.")] = None,
) -> None:
    """Make the labels of a task as a MEDS label table; a task that would leak its outcome is refused."""
    if out.suffix != ".parquet":
        raise ConfigError("labels are written as .parquet", hint="for example --out labels.parquet")
    found = md.label(store, task, snapshot=snapshot)
    found.write(out)
    table = show.table(f"Labels of {found.name}", ("what", "rows"), right=("rows",))
    table.add_row("labels", f"{found.table.num_rows:,}")
    if found.value == "boolean_value":
        table.add_row("of them true", f"{sum(found.table.column('boolean_value').to_pylist()):,}")
    table.add_row("subjects", f"{len(found.table.column('subject_id').unique()):,}")
    for why, count in found.left_out.items():
        table.add_row(f"left out: {why}", f"{count:,}")
    show.console.print(table)
    show.console.print(f"Written to {out} (digest {found.digest[:16]})", soft_wrap=True)


def context(
    store: StoreArgument,
    subject: Annotated[int, typer.Argument(metavar="SUBJECT", help="subject_id.")],
    at: Annotated[str, typer.Option("--at", help="The time, UTC: 2020-03-01T12:00:00.")],
    consumer: Annotated[str, typer.Option("--consumer", help="Who asks, by a plain name; recorded.")],
    out: Annotated[Path | None, typer.Option("--out", help="Write all columns to this .parquet.")] = None,
    last: Annotated[int, typer.Option("--last", min=1, help="How many of the latest events to show.")] = 20,
) -> None:
    """Show the history of a subject that was knowable at a time, as a model would be given it."""
    found = md.open(store).context(subject, at, consumer=consumer)
    if out is not None:
        import pyarrow.parquet as pq

        if out.suffix != ".parquet":
            raise ConfigError("a context is written as .parquet", hint="for example --out context.parquet")
        pq.write_table(found.events, out)
    table = show.table(f"Known of {found.subject_id} at {found.at.isoformat()}", _SHOWN, right=("numeric_value",))
    rows = found.events.num_rows
    for row in found.events.slice(max(rows - last, 0)).select(list(_SHOWN)).to_pylist():
        table.add_row(*(Text("" if cell is None else " ".join(str(cell).split())[:_WIDEST]) for cell in row.values()))
    show.console.print(table)
    show.console.print(f"{rows:,} events from snapshot {found.snapshot}; recorded as {found.lineage_id}")
