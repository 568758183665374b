"""`python -m tests.fuzz NAME --minutes 10`: fuzz one target, print how often, and the seed of what it found."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.fuzz.targets import TARGETS, once


def main() -> None:
    """The command."""
    given = argparse.ArgumentParser(prog="python -m tests.fuzz")
    given.add_argument("name", choices=sorted(TARGETS))
    given.add_argument("--minutes", type=float, default=10)
    given.add_argument("--seed", type=int, default=0, help="where it begins; with --minutes 0, this one alone")
    words = given.parse_args()
    end = time.monotonic() + 60 * words.minutes
    count, found = 0, []
    with tempfile.TemporaryDirectory() as folder:
        while not count or time.monotonic() < end:
            try:
                once(words.name, words.seed + count, Path(folder))
            except Exception:
                found.append(words.seed + count)
                if len(found) <= 5:
                    traceback.print_exc()
            count += 1
    sys.stdout.write(f"{words.name}: {count} inputs in {words.minutes:g} minutes, {len(found)} failed {found[:20]}\n")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
