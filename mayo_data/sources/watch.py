"""Says at which place of a file a reader is, and leaves places alone at which a process ended before.

A place is a number. Row `n`, or a batch that begins with it, is `n`. A line or an entry that is not opened yet, and may
turn out to be many rows, is `-1 - offset`, with the offset of its first byte. 0 is between places, and `FORM` the look
at how a file is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mayo_data.sources.bundles import Row

FORM = -(1 << 62)
BETWEEN = 0
CRASHED = "crashed"
TOGETHER = 64  # rows that are one place, until one of them is the end of a process

At = Callable[[int], object]


@dataclass(frozen=True)
class Watch:
    """What a reader tells, and asks, before it works at a place.

    Attributes:
        crashed: Places that are left alone.
        at: Told every place before it is worked at.

    >>> told = []
    >>> watch = Watch(frozenset([2]), told.append)
    >>> watch.works_at(1), watch.works_at(2), told
    (True, False, [1])
    """

    crashed: frozenset[int]
    at: At

    @classmethod
    def over(cls, crashed: frozenset[int], at: At | None) -> Watch | None:
        """Return what a reader asks; None where nobody listens and nothing is left alone."""
        return cls(crashed, at or _unheard) if crashed or at else None

    def works_at(self, place: int) -> bool:
        """Tell a place, and return whether it may be worked at."""
        if place in self.crashed:
            return False
        self.at(place)
        return True

    def opens(self, offset: int) -> bool:
        """Return whether the line or entry that begins at a byte may be opened."""
        return self.works_at(-1 - offset)

    def row(self, number: int, row: Row) -> Row:
        """Return a row, ended where it must be left alone."""
        return Row(row.body, CRASHED) if number in self.crashed and not row.reason else row

    def leaves(self) -> None:
        """Tell that the work at a place is done."""
        self.at(BETWEEN)


def alone(number: int, near: frozenset[int]) -> bool:
    """Return whether a row is a place of its own, because a process ended at its batch.

    Args:
        number: The row.
        near: First rows of such batches.

    >>> alone(70, frozenset()), alone(70, frozenset([65])), alone(70, frozenset([1]))
    (False, True, False)
    """
    return any(first <= number < first + TOGETHER for first in near)


def _unheard(place: int) -> None:
    """Nobody listens."""
