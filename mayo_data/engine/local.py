"""The local engine: one function over many tasks, in spawned processes, results as they come."""

from __future__ import annotations

import gc
import multiprocessing
import os
import resource
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from queue import SimpleQueue
from types import TracebackType
from typing import TypeVar

from mayo_data.errors import MayoDataError

T = TypeVar("T")
R = TypeVar("R")


_RARE = (200_000, 20, 1000)  # of the garbage collector: stages make millions of objects and no cycles
_THREADS_AT_MOST = 4  # beyond that, what Python itself does would be waited for
_BREAKS = 3  # of the pool, one after the other without a task that gets done in between
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
        no_image()
        self._collected = gc.get_threshold()
        gc.set_threshold(*_RARE)
        if self.workers > 1:
            # One thread of numpy a worker: several workers with several threads each wait for one another.
            self._set = [name for name in _THREADS if name not in os.environ]
            os.environ.update(dict.fromkeys(self._set, "1"))
            self._pool = self._fresh()
        return self

    def _fresh(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(self.workers, mp_context=multiprocessing.get_context("spawn"), initializer=settle)

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

        Where a worker dies, what was not done is begun again with new ones. A task that finds that it was begun before
        can take care: see `mayo_data.pipeline.crashes`.

        Raises:
            MayoDataError: Workers died (killed, or out of memory) again and again. Finished tasks are kept: run again
                to resume.
        """
        if self._pool is None:
            yield from (function(task) for task in tasks)
            return
        self._spawned = True
        queue, breaks = iter(tasks), 0
        again: list[T] = []
        waiting: dict[Future[R], T] = {}
        try:
            while True:
                try:
                    # A few tasks ahead of the workers: enough to keep them busy, few enough to stay flat in memory.
                    while len(waiting) < 2 * self.workers:
                        again = again or list(islice(queue, 1))
                        if not again:
                            break
                        with nameless_main():
                            waiting[self._pool.submit(function, again[0])] = again[0]
                        del again[0]
                    if not waiting:
                        return
                    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                        result = future.result()
                        del waiting[future]
                        breaks = 0
                        yield result
                except BrokenProcessPool as error:
                    breaks += 1
                    if breaks == _BREAKS:
                        raise died() from error
                    lost = [future for future in wait(waiting).done if future.exception() is not None]
                    again += [waiting.pop(future) for future in lost]
                    self._pool.shutdown(wait=True)
                    self._pool = self._fresh()
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

    def rest(self) -> None:
        """End the processes; the next tasks start new ones."""
        if self._pool is not None and self._spawned:
            self._pool.shutdown(wait=True)
            self._pool, self._spawned = self._fresh(), False


def died() -> MayoDataError:
    """Return the error that says that workers die, and that nobody knows of what."""
    return MayoDataError(
        "a worker process died",
        hint="often out of memory: use fewer --workers. Run again: finished parts are kept",
    )


def threaded(function: Callable[[T], R], tasks: Sequence[T], threads: int) -> Iterator[R]:
    """Yield the results of a function over tasks, in threads of this process, as they are done.

    What they leave to `in_front` is done by the thread that takes the results.

    >>> sorted(threaded(abs, [-2, 1], 2))
    [1, 2]
    """
    front: SimpleQueue[_Asked | None] = SimpleQueue()
    with ThreadPoolExecutor(max(1, min(threads, len(tasks))), initializer=_behind, initargs=(front,)) as pool:
        waiting = [pool.submit(function, task) for task in tasks]
        for future in waiting:
            future.add_done_callback(lambda _: front.put(None))
        left = set(waiting)
        try:
            while left:
                asked = front.get()
                if asked is not None:
                    asked.do()
                    continue
                done = {future for future in left if future.done()}
                left -= done
                yield from (future.result() for future in done)
        finally:
            for future in waiting:
                future.cancel()
            while not all(future.done() for future in waiting):
                asked = front.get()
                if asked is not None:
                    asked.answer.cancel()


class _Asked:
    """What a thread leaves to the one in front."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self.answer: Future[object] = Future()

    def do(self) -> None:
        try:
            self.answer.set_result(self._work())
        except BaseException as error:
            self.answer.set_exception(error)
            if not isinstance(error, Exception):
                raise


_thread = threading.local()


def _behind(front: SimpleQueue[_Asked | None]) -> None:
    _thread.front = front


def in_front(work: Callable[[], R]) -> R:
    """Do something in the thread that waits for the threads of `threaded`, one thing after another; elsewhere, here.

    Usually that is the main thread, the only one in which Python hears signals.

    Args:
        work: What to do.

    >>> set(threaded(lambda _: in_front(threading.current_thread), [1, 2], 2)) == {threading.current_thread()}
    True
    """
    front: SimpleQueue[_Asked | None] | None = getattr(_thread, "front", None)
    if front is None:
        return work()
    asked = _Asked(work)
    front.put(asked)
    return asked.answer.result()  # type: ignore[return-value]  # what `work` returned


@contextmanager
def nameless_main() -> Iterator[None]:
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


def no_image() -> None:
    """Let this process leave no image of its memory where it crashes: it holds PHI, and the key."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def settle() -> None:
    """Make a worker's garbage collector rare, let the worker end with its run, and leave no image of its memory.

    Where the run is killed, its workers would otherwise wait for
    ever, or write beside the run that resumes.
    """
    gc.freeze()
    gc.set_threshold(*_RARE)
    no_image()
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
