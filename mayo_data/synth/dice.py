"""Chance that is the same on every machine: one generator a patient, seeded by a digest."""

from __future__ import annotations

import hashlib
import random
import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """A seeded source of choices that depends only on its labels, never on hash seed or platform.

    Args:
        labels: What the dice is for, for example seed and patient number.

    >>> Dice(7, "patient", 3).between(1, 6) == Dice(7, "patient", 3).between(1, 6)
    True
    """

    def __init__(self, *labels: object) -> None:
        digest = hashlib.sha256("\x00".join(map(str, labels)).encode()).digest()
        self._random = random.Random(int.from_bytes(digest, "big"))  # noqa: S311  invented people, not secrets

    def pick(self, items: Sequence[T]) -> T:
        """Return one item."""
        return items[int(self._random.random() * len(items))]

    def weighed(self, items: Sequence[T], weights: Sequence[float]) -> T:
        """Return one item, by weight."""
        point = self._random.random() * sum(weights)
        for item, weight in zip(items, weights, strict=True):
            point -= weight
            if point < 0:
                return item
        return items[-1]

    def some(self, items: Sequence[T], count: int) -> list[T]:
        """Return `count` different items in their own order."""
        left = list(range(len(items)))
        taken = [left.pop(int(self._random.random() * len(left))) for _ in range(min(count, len(items)))]
        return [items[index] for index in sorted(taken)]

    def chance(self, probability: float) -> bool:
        """Return true with a probability."""
        return self._random.random() < probability

    def between(self, low: int, high: int) -> int:
        """Return a whole number in [low, high]."""
        return low + int(self._random.random() * (high - low + 1))

    def around(self, middle: float, spread: float) -> float:
        """Return a number near the middle: a mean of three draws, bell-shaped, bounded by the spread."""
        return middle + spread * (sum(self._random.random() for _ in range(3)) / 1.5 - 1)

    def digits(self, count: int) -> str:
        """Return digits, the first not zero."""
        return str(self.between(1, 9)) + "".join(str(self.between(0, 9)) for _ in range(count - 1))

    def letters(self, count: int) -> str:
        """Return capital letters without I and O, which plates and serial numbers avoid."""
        return "".join(self.pick("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(count))


def decimal(number: float, places: int) -> str:
    """Return a number as a laboratory prints it, trailing zeros kept.

    >>> decimal(1.1, 2)
    '1.10'
    """
    return str(Decimal(repr(number)).quantize(Decimal(1).scaleb(-places)))


def identify(*labels: object) -> str:
    """Return a UUID that depends only on its labels.

    >>> identify(7, "Patient", 1) == identify(7, "Patient", 1)
    True
    """
    digest = hashlib.sha256("\x00".join(map(str, labels)).encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))
