"""What a nightly delta costs beside a full build, in one run: `python benchmarks/delta.py EXPORT`.

The export (a folder of ndjson, plain or .gz) is read several times over, each time under other ids, so that the store
is larger. Then a delta brings all resources of some of the patients anew, each with a newer version. Both runs are
measured in seconds on the clock and in seconds of processor time, worker processes included. `--check` builds the
store once more from everything, and compares the digests.
"""

from __future__ import annotations

import argparse
import gzip
import re
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from mayo_data import config, keys
from mayo_data.pipeline import run

_NAMED = re.compile(rb'("(?:id|reference)"\s*:\s*"[^"#][^"]*)"')
_PATIENT = re.compile(rb'"(?:subject|patient|beneficiary)"\s*:\s*\{\s*"reference"\s*:\s*"Patient/([^"]+)"')
_ID = re.compile(rb'"id"\s*:\s*"([^"]+)"')
_BODY = rb'"meta"\s*:\s*\{(?:[^{}]|\{[^{}]*\})*\}\s*'
_META = re.compile(_BODY + rb"," + rb"|,\s*" + _BODY)  # with one comma, so that what is left is JSON


def lines(path: Path) -> Iterator[bytes]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        yield from file


def copies(source: Path, out: Path, count: int) -> None:
    """Write an export several times over, each time with other ids."""
    for number in range(count):
        (out / f"{number:03d}").mkdir(parents=True)
        for path in sorted(source.glob("*.ndjson*")):
            mark = rb'\1-%d"' % number
            with (out / f"{number:03d}" / path.name.removesuffix(".gz")).open("wb") as target:
                target.writelines(_NAMED.sub(mark, line) for line in lines(path))


def owner(line: bytes, kind: str) -> bytes | None:
    found = (_ID if kind == "Patient" else _PATIENT).search(line)
    return found[1] if found else None


def delta(whole: Path, out: Path, share: float) -> tuple[int, int]:
    """Write all resources of some patients, with a newer version; return how many patients, and of how many."""
    people = [owner(line, "Patient") for path in sorted(whole.rglob("Patient*.ndjson")) for line in lines(path)]
    chosen = set(people[:: round(1 / share)])
    out.mkdir(parents=True)
    for path in sorted(whole.rglob("*.ndjson")):
        kind = path.name.partition(".")[0]
        with (out / f"{path.parent.name}-{path.name}").open("wb") as target:
            for line in lines(path):
                if owner(line, kind) in chosen:
                    bare = _META.sub(b"", line, count=1)
                    target.write(bare.replace(b"{", b'{"meta":{"lastUpdated":"2035-01-01T00:00:00Z"},', 1))
    for path in out.iterdir():
        if path.stat().st_size == 0:
            path.unlink()
    return len(chosen), len(people)


def cpu() -> float:
    return sum(
        use.ru_utime + use.ru_stime for use in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("export", type=Path)
    parser.add_argument("--copies", type=int, default=8)
    parser.add_argument("--share", type=float, default=0.01, help="share of the patients of whom the delta speaks")
    parser.add_argument("--model", default="none", help="what reads texts; the export of the benchmark has none")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--shards", type=int, default=0)
    parser.add_argument("--check", action="store_true", help="compare with a full rebuild")
    said = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="mayo-data-delta-"))
    try:
        copies(said.export, folder / "all" / "0", said.copies)
        touched, people = delta(folder / "all" / "0", folder / "all" / "1", said.share)
        phi = config.PhiConfig(as_of="2036-01-01", model=said.model)
        pipeline = config.PipelineConfig("benchmark", phi=phi, store=config.StoreConfig(shards=said.shards))
        secret = keys.generate(folder / "key")
        measured = []
        for source, merge in ((folder / "all" / "0", False), (folder / "all" / "1", True)):
            began, before = time.perf_counter(), cpu()
            report = run(pipeline, source, folder / "store", secret, workers=said.workers, delta=merge)
            measured.append((time.perf_counter() - began, cpu() - before, report))
        (wall, work, base), (less, least, night) = measured
        shards = len(list((folder / "store" / "snapshots" / "000001" / "data").iterdir()))
        print(f"{base.subjects:,} subjects, {base.events:,} events, {base.input_bytes / 1e6:,.0f} MB, {shards} shards")
        print(f"delta: {touched} of {people} patients, {night.input_bytes / 1e6:,.1f} MB, {night.rewritten} shards")
        print(f"{'':12}{'clock s':>10}{'cpu s':>10}")
        print(f"{'full build':12}{wall:>10.2f}{work:>10.2f}")
        print(f"{'delta':12}{less:>10.2f}{least:>10.2f}")
        print(f"{'ratio':12}{less / wall:>10.1%}{least / work:>10.1%}")
        if said.check:
            rebuilt = run(pipeline, folder / "all", folder / "store2", secret, workers=said.workers)
            same = rebuilt.logical_digest == night.logical_digest
            print("a full rebuild has", "the same digest" if same else "ANOTHER DIGEST")
            sys.exit(not same)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
