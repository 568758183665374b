"""OMOP to a store beside meds_etl: `python benchmarks/omop.py CDM --meds-etl VENV [--runs 3] [--workers 2]`.

In one go and in turn, each a process of its own, start-up included: `mayo-data run pipelines/omop.toml`, and
`meds_etl_omop` with its C++ and its Polars backend, from a virtual environment of its own:

    python -m venv VENV && VENV/bin/pip install meds_etl meds_etl_cpp 'meds==0.3.3' 'polars<2'

CDM is the folder `omop_csv` of `mayo-data synth OUT --patients 5000`. meds_etl scrubs nothing, so that two comparisons
are made: without the notes (events alone), and with them (here every note is read for PHI, there it is copied).
Prints at the median seconds and seconds of processor (which other work on the machine changes little), the ratios, and
how many events each wrote; writes JSON where --json says.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.dataset as ds

import mayo_data
from mayo_data import keys


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds of a command, from its start to its end, and of the processor in all of its processes."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"})
    if done.returncode:
        sys.exit(f"{command[0]} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, busy


def rows(folder: Path) -> int:
    """Events in a MEDS dataset."""
    return int(ds.dataset([str(path) for path in folder.rglob("data/**/*.parquet")]).count_rows())


def ours(cdm: Path, root: Path, workers: int) -> tuple[tuple[float, float], int]:
    """Run mayo_data into an empty store."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    keys.generate(root / "site.key")
    command = [
        sys.executable,
        "-m",
        "mayo_data",
        "run",
        "omop.toml",
        "--input",
        str(cdm),
        "--store",
        str(root / "store"),
    ]
    taken = timed([*command, "--key-file", str(root / "site.key"), "--workers", str(workers), "--log", "quiet"])
    return taken, rows(root / "store" / "snapshots" / "000001")


def theirs(cdm: Path, root: Path, venv: Path, backend: str, workers: int) -> tuple[tuple[float, float], int]:
    """Run meds_etl into an empty folder."""
    shutil.rmtree(root, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    command = [str(venv / "bin" / "meds_etl_omop"), str(cdm), str(root), "--backend", backend]
    taken = timed([*command, "--num_proc", str(workers), "--num_shards", "100"])
    return taken, rows(root)


def without_notes(cdm: Path, bare: Path) -> Path:
    """Fill a new folder with the tables of a CDM, less its notes."""
    bare.mkdir()
    for path in cdm.iterdir():
        if not path.name.startswith(("note.", "note_nlp.")):
            os.link(path, bare / path.name) if path.stat().st_dev == bare.stat().st_dev else shutil.copy(path, bare)
    return bare


def compare(cdm: Path, arguments: argparse.Namespace, scratch: Path) -> dict[str, dict[str, float]]:
    """Run all of them in turn; return seconds at the median and events."""
    found: dict[str, list[tuple[tuple[float, float], int]]] = {}
    for _ in range(arguments.runs):
        found.setdefault("mayo_data", []).append(ours(cdm, scratch / "ours", arguments.workers))
        for backend in arguments.backends:
            taken = theirs(cdm, scratch / "theirs", arguments.meds_etl, backend, arguments.workers)
            found.setdefault(f"meds_etl {backend}", []).append(taken)
    return {
        name: {
            "seconds": round(statistics.median(taken for (taken, _), _ in runs), 2),
            "processor_seconds": round(statistics.median(busy for (_, busy), _ in runs), 2),
            "events": runs[0][1],
        }
        for name, runs in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cdm", type=Path)
    parser.add_argument("--meds-etl", type=Path, required=True, help="virtual environment with meds_etl")
    parser.add_argument("--backends", nargs="+", default=["cpp", "polars"])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--notes", action="store_true", help="also with the notes, which takes minutes")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    report: dict[str, object] = {
        "mayo_data": mayo_data.__version__, "python": platform.python_version(), "cores": os.cpu_count(),
        "bytes": sum(path.stat().st_size for path in arguments.cdm.iterdir()),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        bare = without_notes(arguments.cdm, scratch / "cdm")
        for title, cdm in (("without notes", bare), *((("with notes", arguments.cdm),) if arguments.notes else ())):
            found = compare(cdm, arguments, scratch)
            report[title] = found
            print(title)
            base = found["mayo_data"]
            for name, one in found.items():
                ratio, busy = (one[key] / base[key] for key in ("seconds", "processor_seconds"))
                print(
                    f"  {name:16} {one['seconds']:8.1f} s {ratio:5.2f} x  "
                    f"{one['processor_seconds']:8.1f} s of processor {busy:5.2f} x  {one['events']:>10,} events"
                )
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
