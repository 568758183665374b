"""A task of the tests that ends its process at a row, as often as it is told to."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path

from mayo_data.pipeline.crashes import telling
from mayo_data.sources.watch import BETWEEN


@dataclass(frozen=True)
class Rows:
    """Rows 1 to 9. Attempt by attempt, `ends` says at which one the process ends, and how: `3 SIGSEGV`, or `fine`.

    The last of them counts for all further attempts.
    """

    folder: Path
    ends: tuple[str, ...]
    crashed: frozenset[int] = frozenset()
    place: Path | None = None

    def closely(self, crashed: frozenset[int], near: frozenset[int], place: Path) -> Rows:
        return replace(self, crashed=crashed, place=place)


def work(task: Rows) -> tuple[int, list[int]]:
    """Do it; return the process, and the rows that it did."""
    attempts = task.folder / "attempts"
    number = attempts.stat().st_size if attempts.exists() else 0
    with attempts.open("ab") as out:
        out.write(b".")
    at, _, how = task.ends[min(number, len(task.ends) - 1)].partition(" ")
    tell = telling(task.place) if task.place else lambda place: None
    done = []
    if at == "0":
        die(how)
    for row in range(1, 10):
        if row in task.crashed:
            continue
        tell(row)
        if str(row) == at:
            die(how)
        done.append(row)
        tell(BETWEEN)
    return os.getpid(), done


def die(how: str) -> None:
    if how == "ValueError":
        raise ValueError("a value that nobody may see")
    if how == "exit":
        os._exit(0)
    os.kill(os.getpid(), getattr(signal, how))
    time.sleep(60)
