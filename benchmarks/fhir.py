"""FHIR in, FHIR out, beside the physical limit: `python benchmarks/fhir.py EXPORT [--runs 3] [--workers 1 2]`.

In one go and in turn: `mayo-data scrub` (survey, read, validate, scrub, validate again, leak audit, write; a process of
its own, start-up included), with every resource validated and with none; bare `orjson.loads` + `orjson.dumps` over the
same lines in memory; and `fhir.resources` alone, on the first lines of each file. Prints medians, what a core does,
ratios, and the peak memory of all processes together; writes JSON where --json says.

Seconds are those of the wall. MB/s a core counts processor time of all processes, so that neighbours matter less.
With --repeat N the export is first made N times as large, the same files with new ids, to see whether memory is flat.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import pkgutil
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import msgspec
import orjson
from isal import igzip
from rich.console import Console
from rich.table import Table
from whole_run import IDS, lines_of, watch

import mayo_data

if __name__ != "__main__":  # a script of this folder that asks for the package `fhir` comes here first
    __path__ = pkgutil.extend_path([], __name__)


class Took(NamedTuple):
    """One measurement: seconds of the wall and of processors, and memory in MiB."""

    wall: float
    processor: float
    peak: float = 0.0


class Typed(msgspec.Struct):
    resourceType: str  # noqa: N815 - the name of the element


def enlarge(files: list[Path], times: int, folder: Path) -> list[Path]:
    """Write every file some times over, each time with ids of its own."""
    made = []
    for path in files:
        target = folder / (path.name.removesuffix(".gz") + ".gz")
        lines = lines_of(path)
        with igzip.open(target, "wb") as out:
            for number in range(times):
                for line in lines:
                    out.write((IDS.sub(rb'\1\2-%d"' % number, line) if number else line) + b"\n")
        made.append(target)
    return made


def scrub(export: Path, workers: int, validate: str) -> Took:
    """A whole `mayo-data scrub` in processes of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "mayo_data", "scrub", "--input", str(export), "--output", f"{folder}/out"]
        command += ["--workers", str(workers), "--validate", validate, "--json"]
        key = base64.b64encode(os.urandom(32)).decode()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "MAYO_DATA_KEY": key}
        )
        peak = [0.0]
        watcher = threading.Thread(target=watch, args=(process, peak))
        watcher.start()
        process.wait()
        wall = time.perf_counter() - began
        watcher.join()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if process.returncode:
            raise SystemExit(f"the scrub failed with exit code {process.returncode}")
        return Took(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, peak[0])


def bare(files: list[Path]) -> Took:
    """orjson there and back, in memory, one process; a file at a time."""
    wall = processor = 0.0
    for path in files:
        lines = lines_of(path)
        began, busy = time.perf_counter(), time.process_time()
        for line in lines:
            orjson.dumps(orjson.loads(line))
        wall, processor = wall + time.perf_counter() - began, processor + time.process_time() - busy
    return Took(wall, processor)


def library(files: list[Path], most: int) -> Took:
    """`fhir.resources` over the first lines of each file, as if over all of them."""
    from fhir.resources.R4B import get_fhir_model_class  # noqa: TID251 - what validation is measured against

    wall = processor = 0.0
    for path in files:
        lines = lines_of(path)
        some = lines[:most]
        kinds = [msgspec.json.decode(line, type=Typed).resourceType for line in some]
        with contextlib.suppress(ValueError):
            get_fhir_model_class(kinds[0]).model_validate_json(some[0])  # builds the model
        share = sum(map(len, lines)) / sum(map(len, some))
        began, busy = time.perf_counter(), time.process_time()
        for line, kind in zip(some, kinds, strict=True):
            try:
                get_fhir_model_class(kind).model_validate_json(line)
            except ValueError:
                continue
        wall += (time.perf_counter() - began) * share
        processor += (time.process_time() - busy) * share
    return Took(wall, processor)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeat", type=int, default=1, help="make the export so many times as large first")
    parser.add_argument("--lines", type=int, default=300, help="lines of each file that fhir.resources judges")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        export = arguments.export
        files = sorted(path for path in export.rglob("*") if ".ndjson" in path.name)
        if arguments.repeat > 1:
            export, files = Path(folder), enlarge(files, arguments.repeat, Path(folder))
        size = rows = 0
        for path in files:
            lines = lines_of(path)
            size, rows = size + sum(map(len, lines)) + len(lines), rows + len(lines)
        measured: dict[str, Callable[[], Took]] = {
            "orjson.loads + dumps, in memory": lambda: bare(files),
            "fhir.resources alone, in memory": lambda: library(files, arguments.lines),
        }
        for workers in arguments.workers:
            for validate in ("off", "all"):
                name = f"mayo-data scrub, validate {validate}, {workers} worker{'s' * (workers > 1)}"
                measured[name] = lambda workers=workers, validate=validate: scrub(export, workers, validate)  # type: ignore[misc]
        taken: dict[str, list[Took]] = {name: [] for name in measured}
        for _ in range(arguments.runs):
            for name, measure in measured.items():
                taken[name].append(measure())
    show(taken, size, rows, arguments)


def show(taken: dict[str, list[Took]], size: int, rows: int, arguments: argparse.Namespace) -> None:
    median = {name: Took(*map(statistics.median, zip(*all_, strict=True))) for name, all_ in taken.items()}
    limit = next(iter(median.values()))
    table = Table(title=f"{size / 1e6:,.0f} MB, {rows:,} resources")
    for name in ("what", "seconds", "MB/s", "resources/s", "MB/s a core", "times the round trip", "peak MiB"):
        table.add_column(name, justify="left" if name == "what" else "right")
    for name, one in median.items():
        table.add_row(
            name, f"{one.wall:.1f}", f"{size / 1e6 / one.wall:,.1f}", f"{rows / one.wall:,.0f}",
            f"{size / 1e6 / one.processor:,.1f}", f"{one.processor / limit.processor:.1f}",
            f"{one.peak:,.0f}" if one.peak else "",
        )  # fmt: skip
    console = Console(width=140)
    console.print(table)
    console.print(f"medians of {arguments.runs}; MB unpacked; ratios of processor time; peak of all processes together")
    versions = ", ".join(f"{name} {version(name)}" for name in ("orjson", "msgspec", "pyarrow", "fhir.resources"))
    python = f"Python {platform.python_version()}, mayo_data {mayo_data.__version__}, {versions}"
    console.print(f"{os.cpu_count()} cores, {platform.machine()}, {python}")
    if arguments.json:
        found = {name: one._asdict() for name, one in median.items()}
        arguments.json.write_text(
            json.dumps({"bytes": size, "resources": rows, "repeat": arguments.repeat, "measured": found}, indent=1)
            + "\n"
        )


if __name__ == "__main__":
    main()
