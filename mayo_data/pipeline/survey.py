"""The first pass over an export: what every file is, and whom it names."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from mayo_data.config import PipelineConfig
from mayo_data.engine import Engine
from mayo_data.keys import Secret
from mayo_data.phi import identifiers
from mayo_data.phi.vault import Vault
from mayo_data.pipeline import crashes
from mayo_data.pipeline.place import Place
from mayo_data.pipeline.report import Watcher
from mayo_data.pipeline.tasks import SurveyTask, survey_file
from mayo_data.sources import fhir

_MIB = 1 << 20


def survey(
    files: Sequence[fhir.SourceFile],
    engine: Engine,
    config: PipelineConfig,
    place: Place,
    secret: Secret,
    tell: Watcher,
    named: set[str] | None = None,
) -> list[fhir.Survey]:
    """Look at every file once, and put into the vault what they say of people.

    Args:
        files: The files.
        engine: Where it runs.
        config: The pipeline file.
        place: Where the vault lies.
        secret: The site's key.
        tell: Who is told how far it is.
        named: Takes the reference keys of the patients of whom the files say something, where it is asked for.

    Raises:
        SourceError: A file cannot be read.
        StoreError: The vault belongs to another key.
    """
    folder = place.phi_zone / "work" / "survey"
    crashes.emptied(folder)
    files = crashes.recalled(place.crashed, files)
    limit, part = config.source.max_line_mib * _MIB, config.source.split_mib * _MIB
    tasks = [SurveyTask(file, limit, part, folder / f"{file.source_table:06d}") for file in files]
    tasks.sort(key=lambda task: -task.file.size)
    tell("survey", done=0, total=len(tasks))
    surveys = []
    for done, found in enumerate(engine.map(survey_file, tasks), 1):
        surveys.append(found)
        tell("survey", done=done, total=len(tasks))
    crashes.remember(place.crashed, surveys)
    vault = Vault(place.vault, secret)
    try:
        # Patients first: a relative or a device can only be attached to someone who is there.
        for patients in (True, False):
            for file in files:
                path = folder / f"{file.source_table:06d}"
                vault.add(
                    (record for record in _records(path, named) if (record.kind == "patient") == patients),
                    join=config.phi.join,
                )
    finally:
        vault.close()
        shutil.rmtree(folder, ignore_errors=True)
    return sorted(surveys, key=lambda found: found.file.source_table)


def _records(path: Path, named: set[str] | None) -> Iterator[identifiers.Record]:
    with path.open("rb") as lines:
        for line in lines:
            record = msgspec.json.decode(line, type=identifiers.Record)
            if named is not None and record.kind in ("patient", "attached"):
                named.add(record.ref)
            yield record
