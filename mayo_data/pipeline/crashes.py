"""Survives what ends a process: a resource at which C code crashes, or that takes all memory.

A task leaves a mark while it works, and takes it away whatever Python has to say in the end. Who finds a mark knows
that an attempt before ended without a word. That may have been anything, so it proves nothing; but now the task is
done closely: in a process of its own, a few rows at a time, telling each place before the work there begins. Where
such a process ends, the next one goes row by row. A row at which two of them end of their own is left alone from then
on, and ends as `crashed`. Where the system killed them, as it does for memory, it takes three, and one more after
everything else went well.

So a run that is killed loses time, never a row. The mark is a file, so it is all the same whether the next attempt is
made by another worker, by another executor, or by the run of the next day.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import msgspec

import mayo_data
from mayo_data.engine.alone import Died, alone
from mayo_data.engine.local import died
from mayo_data.pipeline.place import private
from mayo_data.sources import fhir
from mayo_data.sources.watch import BETWEEN, At
from mayo_data.sources.watch import alone as single

MARK = ".begun"
_CRASHES = 2  # at one place that make it the cause
_KILLS = 3  # the same where the system, or a person, ended the process
_EACH = 1 + _KILLS  # deaths until a place is left alone: one at its batch, the others at its row
_STRAY = 5  # further deaths, after which nobody tries again
_MOST = 25  # places of a task that are left alone
_SENT = frozenset(-one for one in (
    signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGXCPU
))  # fmt: skip
_KEPT = 1_000  # files of which it is remembered

R = TypeVar("R")


class Task(Protocol):
    """What can be done closely."""

    def closely(self, crashed: frozenset[int], near: frozenset[int], place: Path) -> Self:
        """Return a task that leaves places alone, goes row by row near others, and writes into a file where it is."""
        ...


T = TypeVar("T", bound=Task)


@contextmanager
def marked(mark: Path) -> Iterator[None]:
    """Leave a mark while something is done."""
    mark.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)


def survived(work: Callable[[T], R], task: T, mark: Path) -> R:
    """Do a task; where an attempt before left its mark, closely.

    Args:
        work: A picklable function that does it.
        task: The task.
        mark: The file that is its mark.

    Raises:
        MayoDataError: The process dies, and no place is the cause.
    """
    suspected = mark.exists()
    with marked(mark):
        return _closely(work, task, mark) if suspected else work(task)


def _closely(work: Callable[[T], R], task: T, mark: Path) -> R:
    place = mark.with_suffix(f".{secrets.token_hex(4)}.place")
    crashed: set[int] = set()
    killed: set[int] = set()
    near: set[int] = set()
    own: Counter[int] = Counter()  # deaths, by place
    sent: Counter[int] = Counter()
    total = 0
    try:
        while True:
            place.unlink(missing_ok=True)
            try:
                done = alone(work, task.closely(frozenset(crashed), frozenset(near), place))
                break
            except Died as end:
                at, total = _place(place), total + 1
                if at > BETWEEN and not single(at, frozenset(near)):
                    near.add(at)
                elif end.code in _SENT:
                    sent[at] += 1
                else:
                    own[at] += 1
                suspected = at not in (BETWEEN, *crashed)
                if suspected and own[at] >= _CRASHES:
                    crashed.add(at)
                elif suspected and own[at] + sent[at] >= _KILLS:
                    crashed.add(at)
                    killed.add(at)
                elif own[at] + sent[at] > _KILLS or total >= _EACH * len(crashed) + _STRAY:
                    raise died() from None
                if len(crashed) > _MOST:
                    raise died() from None
        if killed:  # was it the row, or was the machine short of memory just then?
            place.unlink(missing_ok=True)
            try:
                done = alone(work, task.closely(frozenset(crashed - killed), frozenset(near), place))
            except Died:
                if _place(place) not in killed:
                    raise died() from None
        return done
    finally:
        place.unlink(missing_ok=True)


def telling(place: Path) -> At:
    """Return what writes into a file at which place the work is; the file outlives the process.

    Args:
        place: The file.
    """
    handle = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def at(number: int) -> None:
        os.pwrite(handle, number.to_bytes(8, "little", signed=True), 0)

    at(BETWEEN)
    return at


def _place(place: Path) -> int:
    return int.from_bytes(place.read_bytes(), "little", signed=True) if place.exists() else BETWEEN


def emptied(folder: Path) -> None:
    """Empty a folder, or make it, and keep the marks in it.

    Args:
        folder: The folder. PHI zone.
    """
    marks = [mark.name for mark in folder.glob("*" + MARK)]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    for name in marks:
        (folder / name).touch(mode=0o600)


class _Known(msgspec.Struct):
    """What is remembered of a file."""

    version: str
    size: int
    sha256: str
    places: list[int]


def recalled(path: Path, files: Sequence[fhir.SourceFile]) -> list[fhir.SourceFile]:
    """Return the files of an export, each with the places at which a run before has met its end.

    What another version of this library could not read is tried again.

    Args:
        path: Where it is remembered. PHI zone.
        files: The files.
    """
    known = _known(path)
    sizes = {one.size for one in known}
    found = {one.sha256: frozenset(one.places) for one in known}
    return [
        replace(file, crashed=found.get(fhir.sha256(file), frozenset())) if file.size in sizes else file
        for file in files
    ]


def remember(path: Path, surveys: Sequence[fhir.Survey]) -> None:
    """Remember at which places of which files processes end.

    Args:
        path: Where. PHI zone.
        surveys: What the first pass found.
    """
    fresh = [
        _Known(mayo_data.__version__, one.file.size, one.sha256, sorted(one.file.crashed))
        for one in surveys
        if one.file.crashed
    ]
    if fresh:
        names = {one.sha256 for one in fresh}
        kept = [*(one for one in _known(path) if one.sha256 not in names), *fresh]
        with private(path) as out:
            out.write(msgspec.json.encode(kept[-_KEPT:]))


def _known(path: Path) -> list[_Known]:
    try:
        found: list[Any] = msgspec.json.decode(path.read_bytes(), type=list[_Known])
    except (OSError, ValueError):  # what is damaged there is found out again
        return []
    return [one for one in found if one.version == mayo_data.__version__]
