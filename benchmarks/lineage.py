"""What lineage costs, and how fast it answers: `python benchmarks/lineage.py EXPORT`.

A store is made of the export (a folder of FHIR ndjson, plain or .gz) in this process, and read, trained on and served.
Then: traces of random events and predictions, each held against the raw line of the export; the impact of random
subjects; the bytes of the store that exist for lineage at the level of records alone (tables of resources, decisions,
sources and scrubs, and the four columns of an event that name its place); and the share of processor time that went
into making, writing and digesting them and into the ledger. `--store DIR` with `--key-file` takes a store that is there
already, and leaves out the last.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pyarrow.dataset as ds
import pyarrow.parquet as pq

import mayo_data as md
from mayo_data import keys
from mayo_data.lineage.ledger import Ledger
from mayo_data.store import snapshot, write
from mayo_data.store.layout import Store
from mayo_data.timeline import build

PLACE = ["source_table", "source_row", "source_item", "scrub_ref"]
TABLES = ("resources", "decisions", "sources", "scrubs")


class Clock:
    """Adds up the processor time of some calls."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, owner: Any, name: str, counts: Callable[..., bool] = lambda *_, **__: True) -> None:
        inner = getattr(owner, name)

        def timed(*given: Any, **named: Any) -> Any:
            began = time.process_time()
            try:
                return inner(*given, **named)
            finally:
                if counts(*given, **named):
                    self.seconds += time.process_time() - began

        setattr(owner, name, timed)


def made(export: Path, folder: Path) -> tuple[Path, Path, float]:
    """Make a store; return it, its key, and the share of processor time that lineage took."""
    key, clock = folder / "site.key", Clock()
    keys.generate(key)
    clock.around(build, "_resources")
    clock.around(build, "_decisions")
    clock.around(write, "write_table", lambda *_, schema_name, **__: schema_name in TABLES)
    clock.around(snapshot, "_summary", lambda _db, files, *_, **__: "lineage" in str(files[0]))
    clock.around(Ledger, "append")
    began = time.process_time()
    md.run("fhir.toml", export, folder / "store", key_file=key, workers=1)
    whole = time.process_time() - began
    for path in sorted((Store.open(folder / "store").current() / "data").iterdir()):
        table = pq.read_table(path)
        spent = []
        for some in (table, table.drop_columns(PLACE)):
            began = time.process_time()
            pq.write_table(some, folder / "columns.parquet", compression="zstd")
            spent.append(time.process_time() - began)
        clock.seconds += spent[0] - spent[1]
    return folder / "store", key, clock.seconds / (whole - clock.seconds)


def share_of_bytes(path: Path) -> tuple[int, int]:
    """Bytes of a snapshot that are there for lineage alone, and all others."""
    files = [file for file in path.rglob("*") if file.is_file()]
    whole = sum(file.stat().st_size for file in files)
    lineage = sum(file.stat().st_size for file in files if file.is_relative_to(path / "lineage"))
    for file in (path / "data").iterdir():
        about = pq.read_metadata(file)
        for group in range(about.num_row_groups):
            columns = [about.row_group(group).column(number) for number in range(about.num_columns)]
            lineage += sum(one.total_compressed_size for one in columns if one.path_in_schema in PLACE)
    return lineage, whole - lineage


def raw_lines(export: Path) -> dict[str, list[bytes]]:
    found = {}
    for path in sorted(export.iterdir()):
        if ".ndjson" in path.name:
            content = path.read_bytes()
            text = gzip.decompress(content) if path.suffix == ".gz" else content
            found[hashlib.sha256(content).hexdigest()] = text.split(b"\n")
    return found


def exact(raw: dict[str, list[bytes]], secret: keys.Secret, sha256: str, row: int, kind: str, key: int) -> bool:
    body = orjson.loads(raw[sha256][row - 1])
    named = f"{body['resourceType']}/{body['id']}"
    return body["resourceType"] == kind and secret.integer("resource", named) == key


def serve(store: Path, folder: Path, count: int) -> list[str]:
    """Train once and predict some times, so that there is something to trace."""
    reader = md.open(store).reader("train", consumer="benchmark")
    (folder / "weights.bin").write_bytes(b"weights")
    trained = md.training_run(
        store, name="benchmark", reads=[reader.lineage_id], files=[folder / "weights.bin"], config={}
    )
    log, opened = md.inference_log(store), md.open(store)
    chosen = random.sample(list(reader.subjects), min(count, len(reader.subjects)))
    contexts = [opened.context(int(subject), "2200-01-01", consumer="benchmark") for subject in chosen]
    return [log.record(one, trained.model_digest, latency_ms=1.0) for one in contexts]


def told(name: str, times: list[float], limit: str) -> None:
    times = sorted(times)
    late = times[int(len(times) * 0.95)]
    middle = statistics.median(times)
    print(f"{name:<46} {middle:7.1f} {late:7.1f} {times[-1]:7.1f}   {limit}")


def clocked(work: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    found = work()
    return found, (time.perf_counter() - began) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("export", type=Path)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--key-file", type=Path)
    parser.add_argument("--count", type=int, default=100)
    given = parser.parse_args()
    random.seed(1)
    with tempfile.TemporaryDirectory(prefix="mayo-data-") as place:
        folder, cost = Path(place), None
        if given.store:
            store, key = folder / "store", given.key_file
            shutil.copytree(given.store, store)
        else:
            store, key, cost = made(given.export, folder)
        secret, path = keys.load(key), Store.open(store).current()
        lineage, rest = share_of_bytes(path)
        raw = raw_lines(given.export)
        predictions = serve(store, folder, given.count)
        rows = ds.dataset(path / "data", format="parquet").to_table(columns=PLACE[:3])
        chosen = random.sample(range(rows.num_rows), given.count)
        print(f"{'milliseconds':<46} {'median':>7} {'95 %':>7} {'most':>7}")
        times, right, lines = [], 0, 0
        for one in rows.take(chosen).to_pylist():
            event_id = ".".join(str(one[name]) for name in PLACE[:3])
            found, spent = clocked(lambda name=event_id: md.trace(store, name))
            times.append(spent)
            source, resource = found["source"], found["resource"]
            kind, number = resource["resource_type"], resource["resource_key"]
            right += exact(raw, secret, source["sha256"], source["row"], kind, number)
            lines += 1
        told("trace of an event", times, "must be <= 100")
        times = []
        for name in predictions:
            found, spent = clocked(lambda name=name: md.trace(store, name))
            times.append(spent)
            for line in found["lines"]:
                row, kind = line["source_row"], line["resource_type"]
                right += exact(raw, secret, line["sha256"], row, kind, line["resource_key"])
                lines += 1
        told("trace of a prediction", times, "must be <= 100")
        subjects = random.sample(md.open(store).subjects(), min(given.count, len(md.open(store).subjects())))
        times = [clocked(lambda one=one: md.impact(store, subject=one))[1] for one in subjects]
        told("impact of a subject", times, "must be <= 200")
        print(f"lines of the source that were the right ones: {right:,} of {lines:,}")
        print(f"bytes: {lineage:,} for lineage, {rest:,} for the rest: {lineage / rest:.1%} more, must be <= 40 %")
        if cost is not None:
            print(f"processor time of the run: {cost:.1%} more, must be <= 10 %")


if __name__ == "__main__":
    main()
