"""The commands, thin: each one calls what a library user would call, and prints what a person wants to see."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import mayo_data as md
from mayo_data import keys
from mayo_data.cli import (
    audit,
    elsewhere,
    exports,
    learning,
    lineage,
    models,
    omop,
    policy,
    quality,
    report,
    risk,
    show,
    snapshots,
    standards,
    text,
    views,
)
from mayo_data.errors import GateError
from mayo_data.pipeline import alerts

app = typer.Typer(
    name="mayo-data",
    help="FHIR and OMOP exports in, de-identified patient timelines with lineage out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # rich tracebacks print local variables, and those can hold PHI
    rich_markup_mode=None,
)
app.add_typer(lineage.app, name="ledger")
app.add_typer(policy.app, name="policy")
app.add_typer(snapshots.app, name="snapshots")
app.add_typer(standards.app, name="export")
app.command()(exports.scrub)
app.command()(exports.completeness)
app.command()(text.detect)
app.command()(text.evaluate)
app.command()(omop.to_omop)
app.command()(omop.dqd)
app.command()(views.view)
app.command()(elsewhere.publish)
app.command()(elsewhere.fetch)
app.command()(risk.risk)
app.command()(lineage.trace)
app.command()(lineage.impact)
app.command()(lineage.verify)
app.command()(lineage.withdraw)
app.command()(lineage.erase)
app.command()(lineage.reidentify)
app.command()(quality.quality)
app.command()(report.coverage)
app.command()(report.report)
app.command()(audit.audit)
app.command()(learning.label)
app.command()(learning.context)
app.command()(models.train)
app.command()(models.serve)
app.command()(models.drift)


class Engines(StrEnum):
    """Where a run runs."""

    local = "local"
    spark = "spark"


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
    engine: Annotated[
        Engines, typer.Option("--engine", help="local: processes of this machine; spark: a cluster.")
    ] = Engines.local,
    master: Annotated[str, typer.Option("--master", help="Of Spark, for example yarn; default: spark-submit's.")] = "",
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad row.")] = False,
    delta: Annotated[
        bool, typer.Option("--delta", help="The input is what changed: merge it into the newest snapshot.")
    ] = False,
    validate: Annotated[
        exports.Share | None,
        typer.Option("--validate", help="Which rows must be valid FHIR; default: the pipeline file's."),
    ] = None,
    log: Annotated[Log, typer.Option("--log", help="json: one line an event on stdout.")] = Log.auto,
    notify: Annotated[
        str | None,
        typer.Option("--notify", envvar="MAYO_DATA_NOTIFY", help="URL of a webhook that is told how the run ended."),
    ] = None,
    metrics: Annotated[
        Path | None, typer.Option("--metrics", help="File for Prometheus' node_exporter; its name ends with .prom.")
    ] = None,
    publish: Annotated[str, typer.Option("--publish", help="s3:// or abfss:// URL that the store goes to then.")] = "",
) -> None:
    """Turn an export into a new snapshot of a store: all of it, or nothing."""
    told = alerts.telling(pipeline.stem, notify=notify, metrics=metrics, say=show.aside)
    with told as outcome, show.watcher(log.value) as watch:
        outcome.report = done = md.run(
            pipeline, source, store, key_file=key_file, phi_zone=phi_zone, workers=workers, strict=strict,
            delta=delta, validate=validate.value if validate else None, watcher=watch,
            engine=md.SparkEngine.start(master, workers) if engine is Engines.spark else None,
        )  # fmt: skip
        if publish:
            md.publish(store, publish)
    show.report(done, log.value)


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


@app.command()
def version() -> None:
    """Print the version."""
    show.line(md.__version__)
