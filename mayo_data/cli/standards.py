"""The commands that tell others what a store says of itself: export openlineage, prov, croissant, fhir, cards."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from mayo_data.cli import show
from mayo_data.errors import ConfigError

app = typer.Typer(
    help="What a store says of itself, in the standards of others. Nothing is sent anywhere unless --url is given.",
    no_args_is_help=True,
)

Store = Annotated[Path, typer.Argument(help="Folder of the store.", show_default=False)]
Out = Annotated[Path | None, typer.Option("--out", help="File to write; by default the standard output.")]
Snapshot = Annotated[str | None, typer.Option("--snapshot", help="Name of a snapshot; by default the newest.")]
Training = Annotated[str | None, typer.Option("--training", help="Id of a training; by default the newest.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
NoInferences = Annotated[bool, typer.Option("--no-inferences", help="Leave out single contexts and inferences.")]


@app.command()
def openlineage(
    store: Store,
    out: Out = None,
    url: Annotated[
        str | None, typer.Option("--url", help="Send the events there, as http://localhost:5000/api/v1/lineage.")
    ] = None,
    namespace: Annotated[str | None, typer.Option("--namespace", help="Namespace of jobs and datasets.")] = None,
    run_id: Annotated[str | None, typer.Option("--run", help="Only the run of this id.")] = None,
) -> None:
    """Write the runs, arrows, gates and trainings of a store as OpenLineage events, one JSON line an event."""
    from mayo_data.dataset import standards

    if url is None:
        _write(standards.export(store, "openlineage", namespace=namespace, run_id=run_id), out)
        return
    if out is not None:
        raise ConfigError("--out and --url exclude each other")
    from mayo_data.lineage.standards import transport

    sent = transport.send(standards.lineage_events(store, namespace, run_id), url)
    show.line(f"{sent} events sent")


@app.command()
def prov(store: Store, out: Out = None, no_inferences: NoInferences = False) -> None:
    """Write runs, snapshots, reads, trainings and inferences as W3C PROV-JSON."""
    from mayo_data.dataset import standards

    _write(standards.export(store, "prov", inferences=not no_inferences), out)


@app.command()
def croissant(
    store: Store,
    out: Out = None,
    snapshot: Snapshot = None,
    prefix: Annotated[
        str | None, typer.Option("--prefix", help="Where the snapshot lies: a path or URL before its files.")
    ] = None,
) -> None:
    """Describe a snapshot as Croissant 1.1 with Responsible AI properties, for ML tools."""
    from mayo_data.dataset import opening, standards

    if prefix is None:
        folder = opening.Dataset(store, snapshot).path
        prefix = Path(os.path.relpath(folder, out.parent if out else Path.cwd())).as_posix()
    _write(standards.export(store, "croissant", snapshot=snapshot, prefix=prefix.rstrip("/") + "/"), out)


@app.command()
def fhir(
    store: Store,
    out: Out = None,
    event_id: Annotated[
        str | None, typer.Option("--event", help="Only the Provenance of the resource of this event.")
    ] = None,
    no_inferences: NoInferences = False,
) -> None:
    """Write Provenance, AuditEvent and the models' Devices as a FHIR R4 Bundle."""
    from mayo_data.dataset import standards

    _write(standards.export(store, "fhir", event_id=event_id, inferences=not no_inferences), out)


@app.command("model-card")
def model_card(store: Store, out: Out = None, training: Training = None, as_json: AsJson = False) -> None:
    """Write the card of a model, pre-filled: CHAI applied model card, and the HTI-1 source attributes."""
    from mayo_data.dataset import standards

    _write(standards.export(store, "model-card", training=training, as_json=as_json), out)


@app.command()
def datasheet(
    store: Store, out: Out = None, snapshot: Snapshot = None, training: Training = None, as_json: AsJson = False
) -> None:
    """Write the datasheet of a snapshot, pre-filled."""
    from mayo_data.dataset import standards

    made = standards.export(store, "datasheet", snapshot=snapshot, training=training, as_json=as_json)
    _write(made, out)


@app.command("ai-act")
def ai_act(
    store: Store, out: Out = None, snapshot: Snapshot = None, training: Training = None, as_json: AsJson = False
) -> None:
    """Write the annex on data governance (EU AI Act, Article 10) of a snapshot, pre-filled."""
    from mayo_data.dataset import standards

    _write(standards.export(store, "ai-act", snapshot=snapshot, training=training, as_json=as_json), out)


def _write(text: str, out: Path | None) -> None:
    if out is None:
        sys.stdout.write(text)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"the file cannot be written: {error.strerror}", hint="check the path of --out") from error
