"""One task in a process of its own, of which one learns how it ended: what to do where a task may end its process."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from mayo_data.engine.local import nameless_main, settle
from mayo_data.errors import MayoDataError

T = TypeVar("T")
R = TypeVar("R")


class Died(Exception):  # noqa: N818 - not an error yet: whoever asked knows what it means
    """The process ended without an answer.

    Attributes:
        code: Its exit code; minus the number of the signal that ended it.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def alone(function: Callable[[T], R], task: T) -> R:
    """Return what a function makes of a task, in a new process that ends with it; what it raises is raised here.

    Args:
        function: A picklable function.
        task: Its argument.

    Raises:
        Died: The process ended before the function did.

    >>> alone.__name__  # alone(abs, -2) is 2, and alone(os._exit, 3) raises Died(3)
    'alone'
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(there, function, task))
    with here:
        with there, nameless_main():
            child.start()
        try:
            error, answer = here.recv()
        except (EOFError, OSError):  # it ended before its answer, or within
            child.join()
            raise Died(child.exitcode or 0) from None
        finally:
            if child.exitcode is None:
                child.join(1)
                child.kill()
            child.join()
            child.close()
    if error is not None:
        raise error
    found: R = answer
    return found


def _work(answers: Connection, function: Callable[[Any], Any], task: Any) -> None:
    settle()
    try:
        said: tuple[BaseException | None, Any] = (None, function(task))
    except Exception as error:
        # What it was may hold a value, or not travel; its kind does.
        known = isinstance(error, MayoDataError | OSError | MemoryError)
        said = (error if known else MayoDataError(f"a task failed ({type(error).__name__})"), None)
    answers.send(said)
