"""The local engine: one function over many tasks, in spawned processes, results as they come."""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar

from mayo_data.errors import MayoDataError

T = TypeVar("T")
R = TypeVar("R")


_RARE = (200_000, 20, 1000)  # of the garbage collector: stages make millions of objects and no cycles
_THREADS_AT_MOST = 4  # beyond that, what Python itself does would be waited for
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class LocalEngine:
    """Runs tasks in a pool of spawned processes; with one worker, in this process.

    Processes are spawned, not forked: a fork of a process with Arrow's threads can hang.

    Args:
        workers: Number of processes; 0 for one a core.

    >>> with LocalEngine(1) as engine:
    ...     sorted(engine.map(abs, [-2, 1]))
    [1, 2]
    """

    def __init__(self, workers: int = 0) -> None:
        self.workers = self.threads = workers or cores()
        self._pool: ProcessPoolExecutor | None = None
        self._set: list[str] = []
        self._spawned = False
        self._collected = gc.get_threshold()

    def __enter__(self) -> LocalEngine:
        self._collected = gc.get_threshold()
        gc.set_threshold(*_RARE)
        if self.workers > 1:
            # One thread of numpy a worker: several workers with several threads each wait for one another.
            self._set = [name for name in _THREADS if name not in os.environ]
            os.environ.update(dict.fromkeys(self._set, "1"))
            self._pool = ProcessPoolExecutor(
                self.workers, mp_context=multiprocessing.get_context("spawn"), initializer=_settle
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        gc.set_threshold(*self._collected)
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
        for name in self._set:
            os.environ.pop(name, None)
        self._set = []

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        """Yield the results of a picklable function over tasks, as they are done.

        Raises:
            MayoDataError: A worker died (killed, or out of memory). Finished tasks are kept: run again to resume.
        """
        if self._pool is None:
            yield from (function(task) for task in tasks)
            return
        self._spawned = True
        waiting: set[Future[R]] = set()
        queue = iter(tasks)
        try:
            for task in queue:
                with _nameless_main():
                    waiting.add(self._pool.submit(function, task))
                # A few tasks ahead of the workers: enough to keep them busy, few enough to stay flat in memory.
                if len(waiting) >= 2 * self.workers:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        except BrokenProcessPool as error:
            raise MayoDataError(
                "a worker process died",
                hint="often out of memory: use fewer --workers. Run again: finished parts are kept",
            ) from error
        finally:
            for future in waiting:
                future.cancel()

    def beside(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        """Yield the results of a function over tasks whose work is done by Arrow, numpy or DuckDB, as they are done.

        These let go of Python's lock, so that a few threads do as well as processes, and need no start: where no
        process was started yet, it takes threads.

        Raises:
            MayoDataError: As `map`.
        """
        if self._pool is None or self._spawned or self.workers > _THREADS_AT_MOST:
            yield from self.map(function, tasks)
        else:
            yield from threaded(function, tasks, self.workers)


def threaded(function: Callable[[T], R], tasks: Sequence[T], threads: int) -> Iterator[R]:
    """Yield the results of a function over tasks, in threads of this process, as they are done.

    >>> sorted(threaded(abs, [-2, 1], 2))
    [1, 2]
    """
    with ThreadPoolExecutor(max(1, min(threads, len(tasks)))) as pool:
        waiting = [pool.submit(function, task) for task in tasks]
        try:
            for future in as_completed(waiting):
                yield future.result()
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def _nameless_main() -> Iterator[None]:
    """Hide the main module while a process starts: it would run the caller's script again, guard or no guard.

    Tasks are functions of this library, so a worker does not need the script.
    """
    main = sys.modules["__main__"]
    hidden: dict[str, object] = {name: vars(main).pop(name) for name in ("__file__", "__spec__") if name in vars(main)}
    main.__spec__ = None
    try:
        yield
    finally:
        vars(main).update(hidden)


def _settle() -> None:
    """Make a worker's garbage collector rare, and let the worker end with its run.

    Where the run is killed, its workers would otherwise wait for
    ever, or write beside the run that resumes.
    """
    gc.freeze()
    gc.set_threshold(*_RARE)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
