"""The command over the suites of expectations: quality."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

import mayo_data as md
from mayo_data.cli import show
from mayo_data.cli.audit import printable
from mayo_data.errors import GateError


class Engine(StrEnum):
    """Who evaluates the expectations."""

    sql = "sql"
    gx = "gx"


def quality(
    store: Annotated[Path, typer.Argument(help="Folder of the store.", show_default=False)],
    snapshot: Annotated[str | None, typer.Option("--snapshot", help="Its name; default: the current one.")] = None,
    suite: Annotated[list[Path] | None, typer.Option("--suite", help="A suite of your own, JSON; repeatable.")] = None,
    skip: Annotated[list[str] | None, typer.Option("--skip", help="A check to leave out; repeatable.")] = None,
    key_file: Annotated[
        Path | None, typer.Option("--key-file", help="The site's key: with it, missing days and months are seen.")
    ] = None,
    engine: Annotated[Engine, typer.Option("--engine", help="sql, or gx: Great Expectations itself.")] = Engine.sql,
    data_docs: Annotated[
        Path | None, typer.Option("--data-docs", help="Folder for Data Docs; implies --engine gx.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run the suites of expectations on a snapshot; exit code 4 where one says stop. Counts only, never a value."""
    found = md.inspect(
        store, snapshot=snapshot, engine=engine.value, more=suite or (), skip=skip or (), key_file=key_file,
        data_docs=data_docs,
    )  # fmt: skip
    if as_json:
        show.raw_json(asdict(found))
    else:
        columns = ("gate", "check", "category", "verdict", "unexpected", "rows", "mostly in")
        listed = show.table(f"Quality of snapshot {found.snapshot}", columns, right=("unexpected", "rows"))
        show.narrow(listed, folds=len(columns) - 1)
        for one in found.checks:
            colour = "green" if one.passed else "red" if one.action == "stop" else "yellow"
            verdict = Text("pass" if one.passed else one.action, colour)
            counts = (
                "" if one.unexpected is None else f"{one.unexpected:,}",
                "" if one.rows is None else f"{one.rows:,}",
            )
            listed.add_row(one.gate, one.check, one.category.lower(), verdict, *counts, ", ".join(one.by))
        show.console.print(listed)
        for one in found.checks:
            if not one.passed:
                said = printable(f"{one.gate} {one.check}: {one.says}" if one.says else f"{one.gate} {one.check}")
                show.console.print(said, markup=False)  # a site wrote it
        if found.data_docs:
            show.console.print(f"Data Docs: {found.data_docs}", soft_wrap=True)
    if found.stopped:
        raise GateError(
            "the snapshot does not hold what must hold: " + ", ".join(one.check for one in found.stopped),
            hint="an earlier snapshot can be made the current one: mayo-data snapshots rollback",
        )
