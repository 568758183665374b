"""The whole run beside the physical limit: `python benchmarks/whole_run.py EXPORT [--runs 3] [--workers 2]`.

In one go and in turn: the run (`mayo-data run`, a process of its own, start-up included), and bare `orjson.loads`
over the same files in the same number of processes (their start-up not counted), with and without the gunzip.
Prints medians, ratios and peak memory; writes JSON where --json says.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

import mayo_data

IDS = re.compile(rb'("id"\s*:\s*"|"reference"\s*:\s*"(?:[A-Za-z]+/|urn:uuid:|#))([A-Za-z0-9.-]{1,58})"')


def lines_of(path: Path) -> list[bytes]:
    body = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [line for line in body.splitlines() if line.strip()]


def parse(path: Path, decode: Callable[[bytes], object] = orjson.loads) -> tuple[int, int, float]:
    """Read and parse one file; return its rows, bytes, and the seconds that the parser alone took."""
    rows = size = 0
    inside = 0.0
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        while lines := file.readlines(1 << 22):
            began = time.perf_counter()
            for line in lines:
                decode(line)
            inside += time.perf_counter() - began
            rows += len(lines)
            size += sum(map(len, lines))
    return rows, size, inside


def bare(files: list[Path], workers: int) -> tuple[float, float, int, int]:
    """Seconds of reading and parsing, seconds of parsing alone (a core), rows, bytes."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(abs, range(workers)))
        began = time.perf_counter()
        done = list(pool.map(parse, sorted(files, key=lambda path: -path.stat().st_size)))
        taken = time.perf_counter() - began
    rows, size, inside = (sum(column) for column in zip(*done, strict=True))
    return taken, inside / workers, rows, size


def run(export: Path, workers: int) -> tuple[float, float, dict[str, object]]:
    """Seconds of a whole run, peak memory of all of its processes in MiB, and its report."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "mayo_data", "run", "fhir.toml", "--input", str(export)]
        command += ["--store", f"{folder}/store", "--workers", str(workers), "--log", "json"]
        key = base64.b64encode(os.urandom(32)).decode()
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "MAYO_DATA_KEY": key})
        peak = [0.0]
        watcher = threading.Thread(target=watch, args=(process, peak))
        watcher.start()
        assert process.stdout is not None
        said = process.stdout.read().splitlines()
        process.wait()
        taken = time.perf_counter() - began
        watcher.join()
        if process.returncode:
            raise SystemExit(f"the run failed with exit code {process.returncode}")
        return taken, peak[0], json.loads(said[-1])


def watch(process: subprocess.Popen[bytes], peak: list[float]) -> None:
    """Sum the proportional memory of a process and its children, as often as costs little."""
    while process.poll() is None:
        began = time.perf_counter()
        total = sum(_memory(pid) for pid in _family(process.pid))
        peak[0] = max(peak[0], total)
        time.sleep(max(0.05, 20 * (time.perf_counter() - began)))


def _family(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                found += [int(child) for child in task.read_text().split()]
            except OSError:
                continue
    return found


def _memory(pid: int) -> float:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    files = [path for path in arguments.export.rglob("*") if ".ndjson" in path.name]
    runs, bares = [], []
    for _ in range(arguments.runs):
        bares.append(bare(files, arguments.workers))
        runs.append(run(arguments.export, arguments.workers))
    seconds = statistics.median(one[0] for one in runs)
    peak = statistics.median(one[1] for one in runs)
    reading = statistics.median(one[0] for one in bares)
    parsing = statistics.median(one[1] for one in bares)
    _, _, rows, size = bares[0]
    events = runs[0][2]["events"]
    table = Table(title=f"{size / 1e6:,.0f} MB, {rows:,} resources, {events:,} events; {arguments.workers} processes")
    for name in ("what", "seconds", "MB/s", "resources/s", "whole run is"):
        table.add_column(name, justify="left" if name == "what" else "right")
    for what, taken in (
        ("whole run, start-up included", seconds),
        ("read, gunzip and orjson.loads", reading),
        ("orjson.loads alone", parsing),
    ):
        table.add_row(
            what, f"{taken:.2f}", f"{size / 1e6 / taken:,.0f}", f"{rows / taken:,.0f}", f"{seconds / taken:.1f} ×"
        )
    console = Console()
    console.print(table)
    console.print(f"peak memory of all processes: {peak:,.0f} MiB; medians of {arguments.runs}")
    versions = f"Python {platform.python_version()}, mayo_data {mayo_data.__version__}"
    console.print(f"{os.cpu_count()} cores, {platform.machine()}, {versions}")
    if arguments.json:
        found = {"seconds": seconds, "peak_mib": peak, "read_and_parse": reading, "parse": parsing, "bytes": size}
        arguments.json.write_text(json.dumps({**found, "rows": rows, "events": events}, indent=1) + "\n")


if __name__ == "__main__":
    main()
