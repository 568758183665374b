"""What a model read in a text: the spans it is sure of, and how likely any other piece is to be PHI."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from mayo_data.types import PhiSpan


class Reading(NamedTuple):
    """One text as a model reads it.

    Attributes:
        spans: What it holds to be PHI.
        starts: Where each token begins; empty where the model gives no probabilities.
        chances: How likely each token is to be PHI.
    """

    spans: list[PhiSpan]
    starts: Sequence[int] = ()
    chances: Sequence[float] = ()

    def chance(self, start: int, end: int) -> float:
        """Return how likely a piece is to hold PHI: the likeliest of its tokens; 1 where the model cannot say.

        Args:
            start: Offset of its first character.
            end: Offset after its last.

        >>> Reading([], [0, 4, 8], [0.1, 0.7, 0.2]).chance(4, 7)
        0.7
        """
        first = bisect_left(self.starts, start)
        return max(self.chances[first : bisect_left(self.starts, end)], default=1.0)

    def trimmed(self, start: int, end: int, least: float) -> tuple[int, int]:
        """Return a piece without the tokens at its ends that are not likely to be PHI.

        Args:
            start: Offset of its first character.
            end: Offset after its last.
            least: The chance below which a token goes.

        >>> Reading([], [0, 4, 8], [0.1, 0.7, 0.2]).trimmed(0, 11, 0.15)
        (4, 11)
        """
        first, last = bisect_left(self.starts, start), bisect_left(self.starts, end)
        while first < last and self.chances[first] < least:
            first += 1
        while last > first and self.chances[last - 1] < least:
            last -= 1
            end = self.starts[last]
        return (self.starts[first] if first < last else end), end


class Model(Protocol):
    """A trained model: reads many texts at once faster than one after the other."""

    name: str

    def readings(self, texts: Sequence[str]) -> list[Reading]:
        """Return what it reads in each text."""
        ...
