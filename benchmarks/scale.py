"""How a run grows with its export: `python benchmarks/scale.py EXPORT [--times 1 2 4 8 16] [--workers 2]`.

Makes the export twice, four times, … as large: the same files once more, with ids, references and identifiers of
patients of their own, so that every copy holds other people of the same shape. Runs each size (`mayo-data run`, a
process of its own, start-up included), and fits two things over the sizes:

* the growth exponent of time, memory and bytes: the slope of log(value) over log(size), where 1 is in proportion;
* what one more patient costs and what a run costs anyway: the line through the measured sizes.

From the line follows what --patients would cost. Prints tables; writes JSON where --json says. Free disk needed: about
a fifth of the largest export, unpacked.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from isal import igzip
from rich.console import Console
from rich.table import Table
from whole_run import IDS, lines_of, watch

import mayo_data

_FROM = 4  # sizes below are mostly start-up: the exponent is fitted over all, the line from here on
_RAW = msgspec.json.Decoder(dict[str, object])


class Size(NamedTuple):
    """One run: what went in, what it took, what it left.

    Seconds are of the wall and of processors; MiB of all processes together at their peak; bytes as they lie on disk,
    but `raw`, which is unpacked.
    """

    times: int
    raw: int
    packed: int
    resources: int
    subjects: int
    events: int
    wall: float
    processor: float
    memory: float
    store: int
    zone: int
    scratch: int


def copy(files: list[Path], number: int, folder: Path) -> tuple[int, int, int]:
    """Write one more copy of the files; return its bytes unpacked, its bytes, and its resources."""
    raw = packed = resources = 0
    for path in files:
        target = folder / f"{path.name.partition('.')[0]}.{number:03d}.ndjson.gz"
        lines = lines_of(path)
        with igzip.open(target, "wb") as out:
            for line in lines:
                said = IDS.sub(rb"\1\2-%d" % number + b'"', line) if number else line
                if number and b'"Patient"' in said[:200]:
                    said = _others(said, number)
                out.write(said + b"\n")
                raw += len(said) + 1
        resources += len(lines)
        packed += target.stat().st_size
    return raw, packed, resources


def _others(line: bytes, number: int) -> bytes:
    """Give a patient identifiers of their own."""
    body = _RAW.decode(line)
    if body.get("resourceType") != "Patient":
        return line
    for one in body.get("identifier", []):  # type: ignore[attr-defined]
        if "value" in one:
            one["value"] = f"{one['value']}{number:03d}"
    return msgspec.json.encode(body)


def run(export: Path, workers: int, made: tuple[int, int, int], times: int) -> Size:
    """Run once into an empty store, and weigh all of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, "-m", "mayo_data", "run", "fhir.toml", "--input", str(export)]
        command += ["--store", f"{folder}/store", "--workers", str(workers), "--log", "json"]
        key = base64.b64encode(os.urandom(32)).decode()
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, "MAYO_DATA_KEY": key}
        )
        peak, scratch = [0.0], [0]
        watchers = [
            threading.Thread(target=watch, args=(process, peak)),
            threading.Thread(target=_weigh, args=(process, folder, scratch)),
        ]
        for watcher in watchers:
            watcher.start()
        assert process.stdout is not None
        said = process.stdout.read().splitlines()
        process.wait()
        wall = time.perf_counter() - began
        for watcher in watchers:
            watcher.join()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if process.returncode:
            raise SystemExit(f"the run of {times} x failed with exit code {process.returncode}")
        report = json.loads(said[-1])
        busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        store, zone = bytes_in(folder / "store"), bytes_in(folder / "store.phi")
        return Size(
            times, *made, report["subjects"], report["events"], wall, busy, peak[0], store, zone,
            max(0, scratch[0] - store - zone),
        )  # fmt: skip


def _weigh(process: subprocess.Popen[bytes], folder: Path, most: list[int]) -> None:
    """Note the most that lay on disk while a process ran."""
    while process.poll() is None:
        most[0] = max(most[0], bytes_in(folder))
        time.sleep(1)


def bytes_in(folder: Path) -> int:
    """Bytes of all files below a folder; files may come and go meanwhile."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except OSError:
                continue
    return total


def exponent(sizes: list[Size], name: str) -> float:
    """Slope of log(value) over log(bytes read)."""
    x = np.log([one.raw for one in sizes])
    return float(np.polyfit(x, np.log([max(1e-9, getattr(one, name)) for one in sizes]), 1)[0])


def line(sizes: list[Size], name: str) -> tuple[float, float]:
    """What one more subject adds, and what is there anyway."""
    large = [one for one in sizes if one.times >= _FROM]
    large = large if len(large) > 1 else sizes
    slope, fixed = np.polyfit([one.subjects for one in large], [getattr(one, name) for one in large], 1)
    return float(slope), float(fixed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", type=Path)
    parser.add_argument("--times", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--patients", type=int, default=10_000_000, help="how many the model is asked for")
    parser.add_argument("--scratch", type=Path, help="where copies and stores may lie (default: the temporary folder)")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.scratch:
        tempfile.tempdir = str(arguments.scratch)
    files = sorted(path for path in arguments.export.rglob("*") if ".ndjson" in path.name)
    sizes: list[Size] = []
    with tempfile.TemporaryDirectory() as name:
        export, made, copies = Path(name), [0, 0, 0], 0
        for times in sorted(arguments.times):
            while copies < times:
                made = [had + more for had, more in zip(made, copy(files, copies, export), strict=True)]
                copies += 1
            sizes.append(run(export, arguments.workers, (made[0], made[1], made[2]), times))
            told = sizes[-1]
            print(f"{times:3} x: {told.raw / 1e6:,.0f} MB, {told.wall:.1f} s, {told.memory:,.0f} MiB", file=sys.stderr)
    show(sizes, arguments)


def show(sizes: list[Size], arguments: argparse.Namespace) -> None:
    console = Console(width=140)
    table = Table(title=f"A run of 1 to {sizes[-1].times} times an export; {arguments.workers} workers")
    columns = {
        "×": "times", "MB": "raw", "resources": "resources", "subjects": "subjects", "events": "events",
        "s": "wall", "s of processor": "processor", "MB/s": "", "peak MiB": "memory", "store MB": "store",
        "PHI zone MB": "zone", "work MB": "scratch",
    }  # fmt: skip
    for name in columns:
        table.add_column(name, justify="right")
    for one in sizes:
        table.add_row(*(_cell(one, name) for name in columns.values()))
    grown = {name: round(exponent(sizes, name), 3) for name in ("wall", "processor", "memory", "store", "scratch")}
    if len(sizes) > 1:
        table.add_section()
        table.add_row(
            *(
                f"{grown[name]:.2f}" if name in grown else "exponent" if name == "times" else ""
                for name in columns.values()
            )
        )
    console.print(table)
    model: dict[str, dict[str, float]] = {}
    if len(sizes) > 1:
        many = arguments.patients
        guess = Table(title=f"What {many:,} patients of this shape would cost")
        for name in ("what", "a patient", "anyway", f"{many:,} patients"):
            guess.add_column(name, justify="left" if name == "what" else "right")
        for what, name, unit, by in (
            ("input, unpacked", "raw", "GB", 1e9), ("input, packed", "packed", "GB", 1e9),
            ("processor time", "processor", "core-hours", 3600.0), ("store", "store", "GB", 1e9),
            ("PHI zone", "zone", "GB", 1e9), ("work, while it runs", "scratch", "GB", 1e9),
            ("events", "events", "million", 1e6),
        ):  # fmt: skip
            slope, fixed = line(sizes, name)
            model[name] = {"a_patient": slope, "anyway": fixed, "all": slope * many + fixed}
            small = {"GB": f"{slope / 1e3:,.1f} kB", "core-hours": f"{slope * 1e3:,.2f} ms"}.get(unit, f"{slope:,.0f}")
            there = {"GB": f"{fixed / 1e6:,.1f} MB", "core-hours": f"{fixed:,.1f} s"}.get(unit, f"{fixed:,.0f}")
            guess.add_row(what, small, there, f"{(slope * many + fixed) / by:,.0f} {unit}")
        console.print(guess)
    console.print("MB unpacked; exponent of growth over bytes read; peak memory of all processes together")
    console.print(
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
        f"mayo_data {mayo_data.__version__}, {datetime.now(UTC):%Y-%m-%d}"
    )
    if arguments.json:
        found = {
            "date": f"{datetime.now(UTC):%Y-%m-%d}", "cores": os.cpu_count(), "python": platform.python_version(),
            "workers": arguments.workers, "sizes": [one._asdict() for one in sizes], "exponents": grown,
            "patients": arguments.patients, "model": model,
        }  # fmt: skip
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


def _cell(one: Size, name: str) -> str:
    if not name:
        return f"{one.raw / 1e6 / one.wall:,.1f}"
    value = getattr(one, name)
    if name in ("raw", "store", "zone", "scratch"):
        return f"{value / 1e6:,.0f}"
    return f"{value:,.1f}" if name in ("wall", "processor") else f"{value:,.0f}"


if __name__ == "__main__":
    main()
