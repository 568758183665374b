"""The doors of the pipeline: run a pipeline file, or a configuration, over an export."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from mayo_data import config as configs
from mayo_data import keys
from mayo_data.config import PipelineConfig, ValidateShare
from mayo_data.engine import Engine
from mayo_data.keys import Secret
from mayo_data.pipeline.driver import Run
from mayo_data.pipeline.outside import told
from mayo_data.pipeline.place import Place
from mayo_data.pipeline.report import RunReport, Watcher, silent
from mayo_data.sources import omop as omop_sources

Inputs = Path | str | Sequence[Path | str]


def run_file(
    pipeline: Path | str,
    source: Inputs,
    store: Path | str,
    *,
    key_file: Path | str | None = None,
    phi_zone: Path | str | None = None,
    workers: int = 0,
    strict: bool = False,
    delta: bool = False,
    validate: ValidateShare | None = None,
    engine: Engine | None = None,
    watcher: Watcher | None = None,
) -> RunReport:
    """Run a pipeline file over an export: `md.run`, and what `mayo-data run` calls.

    Args:
        pipeline: Path of a pipeline file, or the name of a shipped one.
        source: Folder, file or URL of the export (PHI zone); or one of FHIR and one of OMOP.
        store: Folder of the store (de-identified zone).
        key_file: File of the site's key; otherwise the environment variable `MAYO_DATA_KEY`.
        phi_zone: Folder for quarantine, vault and work in progress.
        workers: Number of processes; 0 for one a core.
        strict: Stop at the first bad row instead of setting it aside.
        delta: Merge the input into the newest snapshot; without, do what the pipeline file says.
        validate: Which rows are validated, in place of what the pipeline file says: `all`, `sample`, `off`.
        engine: Where it runs, for example `md.SparkEngine(spark)`; by default in `workers` processes of this machine.
        watcher: Who is told how far it is.

    Raises:
        MayoDataError: See `run` and `mayo_data.errors`.
    """
    config = configs.load(Path(pipeline))
    return run(
        config if validate is None else msgspec.structs.replace(config, validate=validate),
        source,
        Path(store),
        keys.load(Path(key_file) if key_file else None),
        phi_zone=Path(phi_zone) if phi_zone else None,
        workers=workers,
        strict=strict,
        delta=delta,
        engine=engine,
        watcher=watcher,
    )


def run(
    config: PipelineConfig,
    source: Inputs,
    store: Path,
    secret: Secret,
    *,
    phi_zone: Path | None = None,
    workers: int = 0,
    strict: bool = False,
    delta: bool = False,
    engine: Engine | None = None,
    watcher: Watcher | None = None,
) -> RunReport:
    """Turn an export into a new snapshot of a store: all of it, or nothing.

    Running again is safe: a killed run resumes from its finished parts, and a run over the same input, parameters
    and key that is in the store already does nothing.

    A delta is what changed since the last run: the newest version of a resource wins, deletions delete, and all that
    the delta does not speak of stays as it lies. The result is that of a run over everything that was ever read.

    Args:
        config: The pipeline file.
        source: Folder, file or URL (`s3://`, `gs://`, `abfss://`, `postgresql://`) of the export (PHI zone); or two:
            a FHIR export and an OMOP export, whose people become one timeline each.
        store: Folder of the store (de-identified zone); made where it does not exist.
        secret: The site's key.
        phi_zone: Folder for quarantine, vault and work in progress; by default `STORE.phi` beside the store.
        workers: Number of processes; 0 for one a core.
        strict: Stop at the first damaged file or quarantined row instead of setting it aside.
        delta: Merge the input into the newest snapshot, as `source.mode = "delta"` does. Into an empty store, it is
            a run like any other.
        engine: Where it runs, for example `md.SparkEngine(spark)`; by default in `workers` processes of this machine.
        watcher: Who is told how far it is.

    Raises:
        ConfigError: A delta does not fit the snapshot: it was made under other rules.
        SourceError: Nothing to read, or `strict` met a bad row.
        GateError: A gate stopped the run.
        LeakError: The leak audit found an identifier.
        StoreError: The store belongs to another key, another run is writing, or a disk is full or read-only.
    """
    place = Place.of(store, phi_zone)
    inputs = (source,) if isinstance(source, str | Path) else tuple(source)
    for one in inputs:
        if not omop_sources.is_server(one):
            place.apart_from(one)
    if delta:
        config = msgspec.structs.replace(config, source=msgspec.structs.replace(config.source, mode="delta"))
    with told():
        return Run(config, inputs, place, secret, workers, strict, watcher or silent, engine).go()
