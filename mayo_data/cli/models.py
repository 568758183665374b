"""The commands of the reference model: train, serve, drift."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from mayo_data.cli import show
from mayo_data.errors import ConfigError

StoreOption = Annotated[Path, typer.Option("--store", help="Folder of the store.", show_default=False)]
ModelArgument = Annotated[Path, typer.Argument(help="Folder of the model.", show_default=False)]


class Against(StrEnum):
    """What the training data are compared with."""

    snapshot = "snapshot"
    inferences = "inferences"


def train(
    plan: Annotated[Path, typer.Argument(help="Training file, for example pipelines/train.toml.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Folder of the model; new or empty.", show_default=False)],
    store: Annotated[Path | None, typer.Option("--store", help="Folder of the store; else the file's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train, measure and seal a reference model, traceable to the source lines that it learned from."""
    from mayo_data.model import training

    made = training.train(plan, store, out)
    if as_json:
        seal = {"training_id": made.training_id, "model_digest": made.model_digest}
        show.raw_json({**seal, "report": made.report})
        return
    _measures(made.report)
    show.console.print(f"[bold]Sealed as {made.training_id}[/]: report.html lies in {made.folder}", soft_wrap=True)
    show.console.print("On invented patients these figures measure the plumbing, not medicine.")


def serve(
    model: ModelArgument,
    store: StoreOption,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 for any.")] = 8000,
    api_key_file: Annotated[
        Path | None, typer.Option("--api-key-file", help="Key that clients must show; else $MAYO_DATA_API_KEY.")
    ] = None,
    override: Annotated[
        str | None, typer.Option("--override", help="Why a model that was trained on withdrawn data is served.")
    ] = None,
    no_output: Annotated[
        bool, typer.Option("--no-output", help="Keep digests of the probabilities alone in the ledger.")
    ] = False,
) -> None:
    """Serve a model over HTTP: /predict, /feedback, and the chat completions of OpenAI and Azure AI Foundry."""
    from mayo_data.model import serving

    def told(address: str) -> None:
        show.line(f"serving on {address} (plain HTTP; stop with Ctrl-C)")
        sys.stdout.flush()  # whoever started it reads the address from a pipe

    serving.serve(
        model, store, host=host, port=port, api_key_file=api_key_file, override=override, keep_output=not no_output,
        ready=told,
    )  # fmt: skip


def drift(
    model: ModelArgument,
    store: StoreOption,
    since: Annotated[str | None, typer.Option("--since", help="Only what happened from then on, ISO 8601.")] = None,
    against: Annotated[Against, typer.Option("--against", help="The newest snapshot, or what the model was asked.")] = (
        Against.snapshot
    ),
    html: Annotated[Path | None, typer.Option("--html", help="Write a page to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare the data that a model was trained on with those of today."""
    from mayo_data.model import drift as drifting

    found = drifting.drift(model, store, since=since, against=against.value)
    if html is not None:
        try:
            html.write_text(drifting.page(found), encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"the page cannot be written: {error.strerror}", hint="choose another --html") from error
    if as_json:
        show.raw_json(found)
        return
    codes = found["codes"]
    listed = show.table(f"Drift of {found['model']}", ("what", "PSI", "verdict"), right=("PSI",))
    rows = [("mix of codes", codes), *((f"by {name}", one) for name, one in found["groups"].items())]
    rows += [(f"{one['code']} {one['unit']}".strip(), one) for one in found["values"][:8]]
    for name, one in rows:
        listed.add_row(name, "withheld" if one["psi"] is None else f"{one['psi']:.3f}", one["verdict"] or "")
    show.console.print(listed)
    show.console.print(f"{len(codes['new'])} new codes, {len(codes['lost'])} lost, of enough people to be named")


def _measures(report: dict[str, Any]) -> None:
    from mayo_data.model import paper

    test, control, said = report["test"], report["control"], report["calibration"]
    listed = show.table(f"Model {report['name']}, {report['measured_on']}", ("measure", "value"), right=("value",))
    listed.add_row("subjects, samples", f"{paper.cell(test['subjects'])}, {paper.cell(test['samples'])}")
    listed.add_row("AUROC", paper.cell(paper.interval(test["auroc"])))
    listed.add_row("average precision", paper.cell(paper.interval(test["average_precision"])))
    blind = paper.interval({"value": control["auroc"], "low": control["low"], "high": control["high"]})
    listed.add_row("AUROC on shuffled labels", paper.cell(blind))
    listed.add_row("calibration slope, intercept", f"{paper.cell(said['slope'])}, {paper.cell(said['intercept'])}")
    listed.add_row("expected calibration error", paper.cell(said["ece"]))
    show.console.print(listed)
