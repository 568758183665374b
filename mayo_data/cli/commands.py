"""The commands, thin: each one calls what a library user would call, and prints what a person wants to see."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import orjson
import typer

import mayo_data as md
from mayo_data import keys
from mayo_data.cli import exports, omop, policy, risk, show, snapshots, text, views
from mayo_data.errors import GateError
from mayo_data.store.layout import Store

app = typer.Typer(
    name="mayo-data",
    help="FHIR and OMOP exports in, de-identified patient timelines with lineage out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # rich tracebacks print local variables, and those can hold PHI
    rich_markup_mode=None,
)
ledger_app = typer.Typer(help="The append-only record of everything that was done.", no_args_is_help=True)
app.add_typer(ledger_app, name="ledger")
app.add_typer(policy.app, name="policy")
app.add_typer(snapshots.app, name="snapshots")
app.command()(exports.scrub)
app.command()(exports.completeness)
app.command()(text.detect)
app.command()(text.evaluate)
app.command()(omop.to_omop)
app.command()(omop.dqd)
app.command()(views.view)
app.command()(risk.risk)


class Log(StrEnum):
    """How progress is told."""

    auto = "auto"
    json = "json"
    quiet = "quiet"


StoreArgument = Annotated[Path, typer.Argument(help="Folder of the store.", show_default=False)]


@app.command()
def run(
    pipeline: Annotated[Path, typer.Argument(help="Pipeline file, for example pipelines/fhir.toml.")],
    source: Annotated[
        list[str],
        typer.Option("--input", help="Folder, file or URL of the export (PHI zone); once for FHIR, once for OMOP."),
    ],
    store: Annotated[Path, typer.Option("--store", help="Folder of the store (de-identified zone).")],
    key_file: Annotated[Path | None, typer.Option("--key-file", help="The site's key; else $MAYO_DATA_KEY.")] = None,
    phi_zone: Annotated[
        Path | None, typer.Option("--phi-zone", help="Quarantine, vault, work in progress; default STORE.phi.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes; 0 for one a core.")] = 0,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad row.")] = False,
    delta: Annotated[
        bool, typer.Option("--delta", help="The input is what changed: merge it into the newest snapshot.")
    ] = False,
    validate: Annotated[
        exports.Share | None,
        typer.Option("--validate", help="Which rows must be valid FHIR; default: the pipeline file's."),
    ] = None,
    log: Annotated[Log, typer.Option("--log", help="json: one line an event on stdout.")] = Log.auto,
) -> None:
    """Turn an export into a new snapshot of a store: all of it, or nothing."""
    with show.watcher(log.value) as watch:
        report = md.run(
            pipeline, source, store, key_file=key_file, phi_zone=phi_zone, workers=workers, strict=strict,
            delta=delta, validate=validate.value if validate else None, watcher=watch,
        )  # fmt: skip
    show.report(report, log.value)


@app.command()
def synth(
    out: Annotated[Path, typer.Argument(help="Folder to write to.")],
    patients: Annotated[int, typer.Option("--patients", min=1, help="Number of patients.")] = 100,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same bytes.")] = 7,
    compress: Annotated[bool, typer.Option("--gzip", help="Write .ndjson.gz.")] = False,
) -> None:
    """Make a synthetic export with gold PHI spans: FHIR R4 ndjson and the same patients as OMOP CDM 5.4."""
    from mayo_data.synth import generate

    made = generate(out, patients=patients, seed=seed, compress=compress)
    show.synthetic(made, out)


@app.command()
def keygen(
    out: Annotated[Path, typer.Option("--out", help="The key file, made with mode 0600.")] = Path("site.key"),
) -> None:
    """Make a new random key. Keep it: whoever has it can link pseudonyms, and without it no delta fits the store."""
    made = keys.generate(out)
    show.line(f"key {made.key_id} written to {out} (mode 0600)")


@app.command()
def trace(
    event_id: Annotated[str, typer.Argument(help="EVENT_ID: column event_id of view event, as 3.1042.0.")],
    store: Annotated[Path, typer.Option("--store", help="Folder of the store.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Walk from an event back to the line it came from, with every PHI decision on the way."""
    found = md.trace(store, event_id)
    if as_json:
        show.raw_json(found)
    else:
        show.lineage(found)


@app.command()
def validate(
    store: Annotated[Path, typer.Argument(help="Folder of a store, or of any MEDS dataset.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check a store, or anybody's MEDS dataset, against all rules of MEDS 0.4. Exit 4 where it breaks one."""
    findings = md.validate(store)
    if as_json:
        show.raw_json([{name: getattr(one, name) for name in one.__dataclass_fields__} for one in findings])
    else:
        show.findings(findings)
    errors = sum(one.severity == "error" for one in findings)
    if errors:
        raise GateError(f"{errors} rules are broken", hint="see the table above")


@app.command()
def info(store: StoreArgument) -> None:
    """Show what a store holds: snapshots, counts, policy, key id."""
    from mayo_data.dataset import manifest

    show.manifest(md.open(store), manifest(store))


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Folder to work in; must not exist, or be an earlier demo.")] = Path(
        "demo"
    ),
    patients: Annotated[int, typer.Option("--patients", min=1)] = 40,
    seed: Annotated[int, typer.Option("--seed")] = 7,
    workers: Annotated[int, typer.Option("--workers", min=0)] = 0,
) -> None:
    """Make a synthetic export, run the pipeline on it, and show what came out."""
    from mayo_data.cli.demo import play

    play(folder, patients=patients, seed=seed, workers=workers)


@ledger_app.command("verify")
def ledger_verify(store: StoreArgument) -> None:
    """Find any record of the ledger that was changed, removed, reordered or inserted. Exit 4 where there is one."""
    from mayo_data.lineage.ledger import verify

    path = Store.open(store).ledger
    problems = verify(path)
    show.problems(problems)
    if problems:
        raise GateError(f"the ledger was tampered with, or is damaged: {len(problems)} problems", hint="see above")


@ledger_app.command("show")
def ledger_show(
    store: StoreArgument,
    kind: Annotated[str | None, typer.Option("--kind", help="run, step, gate, snapshot, ...")] = None,
) -> None:
    """Print the records as JSON lines."""
    from mayo_data.lineage.ledger import Ledger

    for record in Ledger(Store.open(store).ledger).records(kind):
        show.line(orjson.dumps(record).decode())


@app.command()
def version() -> None:
    """Print the version."""
    show.line(md.__version__)
