"""Ends the work on one document that takes too long: an expression may meet the text that it cannot get past.

The limit is processor time, so that a busy machine changes nothing. It is kept by a signal of the operating system,
which also ends a regular expression in the middle. Python delivers signals in the main thread only: worker processes
and a run with one worker do their work there, and threads leave their texts to it (`mayo_data.engine.local.in_front`).
In any other thread there is no limit.
"""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

_MIB = 1 << 20


class TooSlow(BaseException):
    """A document took too long. Not an `Exception`: nobody on the way may take it for something else."""


class TimeLimit:
    """A limit for each of many documents, in force while it is entered.

    Where other threads are at work, enter it anew for every few documents: their time is told apart from then on.

    Args:
        seconds: Processor seconds for each MiB of a document that is begun; 0 for no limit.

    >>> with TimeLimit(60) as limit:
    ...     with limit.of(10):
    ...         sum(range(10))
    45
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._inside = False
        self._before: Any = None
        self._kept = False
        self._began = self._allowed = 0.0

    def __enter__(self) -> TimeLimit:
        if self._seconds and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGPROF, self._ring)
            self._began = time.thread_time()
            self._kept = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._kept:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, self._before or signal.SIG_DFL)
            self._kept = False

    def of(self, size: int) -> _Document:
        """Return the limit of one document; `TooSlow` comes out of it.

        Args:
            size: Size of the document, bytes.
        """
        if self._kept:
            self._allowed = self._seconds * (1 + size // _MIB)
            signal.setitimer(signal.ITIMER_PROF, self._allowed)
        return _Document(self)

    def _ring(self, number: int, frame: FrameType | None) -> None:
        if not self._inside:
            return
        # The alarm counts the time of all threads. Since the limit is in force, has this one had so much?
        left = self._began + self._allowed - time.thread_time()
        if left > 0:
            signal.setitimer(signal.ITIMER_PROF, left)
            return
        self._inside = False
        raise TooSlow


class _Document:
    __slots__ = ("_limit",)

    def __init__(self, limit: TimeLimit) -> None:
        self._limit = limit

    def __enter__(self) -> None:
        self._limit._inside = True  # noqa: SLF001 - one class in two parts

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._limit._inside = False  # noqa: SLF001
