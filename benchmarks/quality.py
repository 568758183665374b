"""What the gates and the leak audit cost: processor time of one run in one process, by part.

python benchmarks/quality.py ../shared/data/fhir/synthea_615 --runs 3
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mayo_data import config
from mayo_data.keys import Secret
from mayo_data.pipeline import quality, run, shards
from mayo_data.quality import gates

LIMIT = 0.20  # of the processor time of a run
PARTS: dict[str, list[tuple[Any, str]]] = {
    "native gates": [(gates, name) for name in ("events", "shard", "resource_verdicts", "event_verdicts")],
    "suites of expectations": [(quality, "verdicts")],
    "leak audit": [(shards, "search")],
}


def timed(spent: Counter[str], part: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the processor time of a function, threads included, to a part."""

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        began = time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            spent[part] += time.process_time() - began

    return wrapped


def one_run(source: Path, model: str) -> dict[str, float]:
    """Run once; return seconds of processor time by part, and of the whole."""
    spent: Counter[str] = Counter()
    kept = [(owner, name, getattr(owner, name)) for places in PARTS.values() for owner, name in places]
    for part, places in PARTS.items():
        for owner, name in places:
            setattr(owner, name, timed(spent, part, getattr(owner, name)))
    began = time.process_time()
    try:
        with tempfile.TemporaryDirectory(prefix="quality") as folder:
            setting = config.PipelineConfig(name="benchmark", phi=config.PhiConfig(model=model))
            run(setting, source, Path(folder) / "store", Secret(bytes(range(32))), workers=1)
    finally:
        for owner, name, function in kept:
            setattr(owner, name, function)
    return {**spent, "the run": time.process_time() - began}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--model", default="default", help="what reads free text: default, fast, none")
    given = parser.parse_args()
    runs = [one_run(given.source, given.model) for _ in range(given.runs)]
    middle = {part: statistics.median(one[part] for one in runs) for part in (*PARTS, "the run")}
    for part, seconds in middle.items():
        print(f"{part:>24} {seconds:8.2f} s  {seconds / middle['the run']:6.1%}")
    share = sum(middle[part] for part in PARTS) / middle["the run"]
    print(f"gates and leak audit together: {share:.1%} of the processor time (limit {LIMIT:.0%}), {given.runs} run(s)")
    if share > LIMIT:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
