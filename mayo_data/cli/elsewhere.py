"""The commands that bring a store to an object store, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import mayo_data as md
from mayo_data.cli import show

Url = Annotated[str, typer.Argument(help="s3://BUCKET/PREFIX or abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PREFIX")]


def publish(store: Annotated[Path, typer.Argument(help="Folder of the store.", show_default=False)], url: Url) -> None:
    """Bring an object store up to a store on this disk: what is new goes there, what was pruned or erased goes."""
    new = md.publish(store, url)
    show.line("published " + ", ".join(new) if new else "nothing new: the object store is up to date")


def fetch(
    url: Url,
    folder: Annotated[Path, typer.Argument(help="Where to: a new folder, or one that was fetched before.")],
    snapshot: Annotated[str | None, typer.Option("--snapshot", help="Its name; default: the newest.")] = None,
) -> None:
    """Bring a store from an object store into a folder; only what is missing is downloaded."""
    show.line(f"fetched into {md.fetch(url, folder, snapshot)}")
