"""Engines: where tasks run. `local` has processes of this machine, `spark` the executors of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Engine(Protocol):
    """Runs one function over many tasks, elsewhere and side by side.

    A task names what it reads and where it leaves what it made; it may run twice, and leaves the same twice.

    Attributes:
        workers: How many tasks run at a time.
        threads: How many threads the process of the driver may use for what is done there.
    """

    workers: int
    threads: int

    def __enter__(self) -> Self:
        """Get ready."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of what was started."""
        ...

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        """Yield the results of a function over tasks, as they are done."""
        ...

    def beside(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        """The same, for work that Arrow, numpy or DuckDB do: threads may do as well as processes."""
        ...

    def rest(self) -> None:
        """Give back, until the next tasks, what workers hold: the driver has work of its own."""
        ...
