"""Who is measured against whom in `peers.py`, and how: one function a contest.

A contest is prepared once; then each side is asked in turn for what it took. A peer that is not installed is a side
that says how to install it.
"""

from __future__ import annotations

import gzip
import importlib
import importlib.metadata
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import mayo_data
from mayo_data.synth import generate

SEED = 11
MEDS_ETL = "meds_etl meds_etl_cpp 'meds==0.3.3' 'polars<2'"
PROCESSES = "whole processes, start-up included"
NO_SESSION = 3  # exit code of pathling_view.py
NOTED = 40  # patients whose notes are read: a minute a round would tell no more
VIEW = {
    "resourceType": "ViewDefinition", "name": "observation", "status": "active", "resource": "Observation",
    "select": [
        {"column": [
            {"name": "id", "path": "id"},
            {"name": "subject", "path": "subject.reference"},
            {"name": "encounter", "path": "encounter.reference"},
            {"name": "time", "path": "effective.ofType(dateTime)"},
            {"name": "status", "path": "status"},
            {"name": "value", "path": "value.ofType(Quantity).value"},
            {"name": "unit", "path": "value.ofType(Quantity).unit"},
        ]},
        {"forEach": "code.coding", "column": [{"name": name, "path": name} for name in ("system", "code", "display")]},
    ],
}  # fmt: skip


class Took(NamedTuple):
    """One measurement: seconds of the wall and of processors, and how many rows or events came out."""

    wall: float
    processor: float
    wrote: int = 0


class MissingError(Exception):
    """A peer is not here; the message says how to get it."""


class Side(NamedTuple):
    name: str
    version: str
    measure: Callable[[], Took]


@dataclass(frozen=True)
class Contest:
    """What is done, how much of it, and who does it.

    Attributes:
        amount: How much all sides do, in `unit`.
        counted: What the seconds are of.
    """

    what: str
    unit: str
    amount: float
    counted: str
    ours: Side
    peers: tuple[Side, ...]


@dataclass(frozen=True)
class Asked:
    """What the command was asked for.

    Attributes:
        export: Folder of ndjson, plain or .gz.
        scratch: An empty folder.
        lines: Lines of each file that `fhir.resources` judges; their time counts as if it had judged all.
    """

    export: Path
    scratch: Path
    patients: int
    persons: int
    lines: int
    workers: int
    meds_etl: Path | None
    pathling: Path | None

    @property
    def files(self) -> list[Path]:
        return sorted(path for path in self.export.rglob("*") if path.name.endswith((".ndjson", ".ndjson.gz")))


def script(name: str) -> ModuleType:
    """Import a benchmark of this folder when it is needed, and leave the environment as it was."""
    before = dict(os.environ)
    try:
        return importlib.import_module(name)
    finally:
        os.environ.clear()
        os.environ.update(before)


def inside(call: Callable[[], Any]) -> Took:
    """Measure a call in this process, all of its threads."""
    began, busy = time.perf_counter(), time.process_time()
    wrote = call()
    took = Took(time.perf_counter() - began, time.process_time() - busy)
    return took._replace(wrote=wrote if isinstance(wrote, int) else 0)


def outside(call: Callable[[], Any]) -> Took:
    """Measure the processes that a call starts and waits for."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    wrote = call()
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Took(wall, busy, wrote if isinstance(wrote, int) else 0)


def version(package: str) -> str:
    return importlib.metadata.version(package)


def version_in(venv: Path | None, package: str) -> str:
    """Return the version of a package in another environment; empty if it is not there."""
    if venv is None:
        return ""
    ask = f"from importlib.metadata import version; print(version({package!r}))"
    try:
        done = subprocess.run([venv / "bin" / "python", "-c", ask], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def missing(hint: str) -> Callable[[], Took]:
    """Return a measurement that says that there is nothing to measure."""

    def measure() -> Took:
        raise MissingError(hint)

    return measure


def us(measure: Callable[[], Took]) -> Side:
    return Side("mayo_data", mayo_data.__version__, measure)


# ── the contests ──────────────────────────────────────────────────────────────────────────────────


def phi(asked: Asked) -> Contest:
    """PHI in synthetic notes, the record not in hand, one core; Presidio has our spaCy pipeline as its model."""
    from threadpoolctl import threadpool_limits

    presidio = script("phi_presidio")
    _, documents = presidio.synthetic(min(NOTED, asked.patients), SEED)
    texts = [one.text for one in documents]
    analyzer = presidio.stock()

    def measure(make: Callable[[], Any]) -> Took:
        with threadpool_limits(1):
            finder = make()  # anew each time, so that it remembers no text
            finder.detect([presidio.WARM])
            return inside(lambda: finder.detect(texts))

    stock = Side("Presidio", version("presidio-analyzer"), lambda: measure(lambda: presidio.Presidio(analyzer)))
    ours = us(lambda: measure(lambda: presidio.Detector("default")))
    counted = "one core, in memory, models loaded"
    return Contest("PHI in text", "characters", sum(map(len, texts)), counted, ours, (stock,))


def validation(asked: Asked) -> Contest:
    """Every resource judged as FHIR R4, by us to the end: what our acceptor leaves is judged by the library."""
    library = script("fhir")
    from mayo_data.conformance.validate import fault

    lines = {path: found for path in asked.files if (found := library.lines_of(path))}
    held = [line for of_file in lines.values() for line in of_file]

    def judge_all() -> int:
        for line in held:
            fault(line)
        return len(held)

    def judge_some() -> Took:
        took = library.library(list(lines), asked.lines)
        return Took(took.wall, took.processor, len(held))

    for of_file in lines.values():
        fault(of_file[0])  # builds the structs, as the library's models are built before the clock runs
    peer = Side("fhir.resources", version("fhir.resources"), judge_some)
    counted = f"one core, in memory; the library on the first {asked.lines} lines of each file, as if on all"
    return Contest("FHIR validation", "resources", len(held), counted, us(lambda: inside(judge_all)), (peer,))


def view(asked: Asked) -> Contest:
    """A view of SQL on FHIR from ndjson to Parquet: ten columns, a row for each coding of an Observation."""
    folder, definition = asked.scratch / "view", asked.scratch / "view.json"
    folder.mkdir()
    definition.write_text(json.dumps(VIEW))
    target = folder / "Observation.ndjson"  # unpacked, for Pathling looks for this name
    with target.open("wb") as out:
        for path in asked.files:
            if path.name.startswith("Observation."):
                with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
                    shutil.copyfileobj(file, out)
    with target.open("rb") as file:
        rows = sum(1 for _ in file)

    def measure(*command: str | Path) -> Took:
        import pyarrow.dataset as ds

        with tempfile.TemporaryDirectory(dir=asked.scratch) as place:
            out, codes = Path(place) / "out.parquet", []
            run = partial(subprocess.run, capture_output=True, check=False)
            took = outside(lambda: codes.append(run([*command, out]).returncode))
            if codes == [NO_SESSION]:
                raise MissingError("no session of Spark; it needs Java, and Pathling's jars from a Maven repository")
            if codes != [0]:
                raise RuntimeError("a view ended with an error")
            return took._replace(wrote=int(ds.dataset(out, format="parquet").count_rows()))

    found = version_in(asked.pathling, "pathling")
    peer = missing("python -m venv VENV && VENV/bin/pip install pathling, then --pathling VENV; needs Java 17")
    if found and asked.pathling is not None:
        python, program = asked.pathling / "bin" / "python", Path(__file__).with_name("pathling_view.py")
        peer = partial(measure, python, program, definition, folder, str(asked.workers))
    ours = partial(measure, sys.executable, "-m", "mayo_data", "view", definition, "--fhir", folder, "--out")
    sides = (Side("Pathling", found, peer),)
    return Contest("SQL on FHIR view to Parquet", "resources", rows, PROCESSES, us(ours), sides)


def omop(asked: Asked) -> Contest:
    """A CDM without notes becomes MEDS; meds_etl scrubs nothing and writes no lineage."""
    against = script("omop")
    generate(asked.scratch / "synth", patients=asked.persons, seed=SEED, formats=("omop-csv",))
    cdm = against.without_notes(asked.scratch / "synth" / "omop_csv", asked.scratch / "cdm")
    size = sum(path.stat().st_size for path in cdm.iterdir())

    def measure(call: Callable[[], tuple[tuple[float, float], int]]) -> Took:
        (wall, busy), events = call()
        return Took(wall, busy, events)

    ours = us(lambda: measure(lambda: against.ours(cdm, asked.scratch / "ours", asked.workers)))
    found = version_in(asked.meds_etl, "meds_etl")
    absent = missing(f"python -m venv VENV && VENV/bin/pip install {MEDS_ETL}, then --meds-etl VENV")

    def peer(name: str, backend: str) -> Side:
        if not found or (backend == "cpp" and not version_in(asked.meds_etl, "meds_etl_cpp")):
            return Side(name, "", absent)
        root = asked.scratch / "theirs"
        arguments = (cdm, root, asked.meds_etl, backend, asked.workers)
        return Side(name, found, lambda: measure(lambda: against.theirs(*arguments)))

    sides = (peer("meds_etl C++", "cpp"), peer("meds_etl Polars", "polars"))
    return Contest("OMOP to MEDS", "MB", size / 1e6, PROCESSES, ours, sides)


def limit(asked: Asked) -> Contest:
    """A whole run (read, scrub, normalise, build, commit) beside readers that do nothing else, on the same files."""
    limits, whole = script("limits"), script("whole_run")
    files = asked.files
    size = sum(whole.parse(path, len)[1] for path in files)

    def run() -> Took:
        said: list[dict[str, int]] = []
        took = outside(lambda: said.append(whole.run(asked.export, asked.workers)[2]))
        return took._replace(wrote=said[0]["events"])

    def to_parquet() -> Took:
        with tempfile.TemporaryDirectory(dir=asked.scratch) as out:
            return inside(lambda: limits.with_duckdb(files, Path(out), asked.workers))

    sides = (
        Side("orjson.loads", version("orjson"), lambda: inside(lambda: limits.with_orjson(files))),
        Side("msgspec typed", version("msgspec"), lambda: inside(lambda: limits.with_msgspec(files))),
        Side("pyarrow.json", version("pyarrow"), lambda: inside(lambda: limits.with_pyarrow(files, asked.workers))),
        Side("DuckDB read_json", version("duckdb"), to_parquet),
    )
    counted = "ours as whole processes, every text read for PHI; the readers from packed file to memory, or to Parquet"
    return Contest("whole run, FHIR to store", "MB", size / 1e6, counted, us(run), sides)


# What each is called when it cannot be prepared, because a package is not there.
CONTESTS: dict[str, tuple[Callable[[Asked], Contest], tuple[str, ...]]] = {
    "PHI in text": (phi, ("Presidio",)),
    "FHIR validation": (validation, ("fhir.resources",)),
    "OMOP to MEDS": (omop, ("meds_etl C++", "meds_etl Polars")),
    "SQL on FHIR view to Parquet": (view, ("Pathling",)),
    "whole run, FHIR to store": (
        limit, ("orjson.loads", "msgspec typed", "pyarrow.json", "DuckDB read_json"),
    ),
}  # fmt: skip
