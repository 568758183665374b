"""Reads the word material of the slots, `schemas/phi/slots/`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache

from mayo_data import assets


@cache
def listed(table: str, key: str) -> tuple[str, ...]:
    """Return a list of a table: parted by `|` where it has one, by white space otherwise.

    Args:
        table: Name of the file.
        key: Which of its lists.

    >>> listed("places", "unit_kind")[0]
    'Pavilion'
    """
    text: str = assets.toml("schemas", "phi", "slots", f"{table}.toml")[key]
    return tuple(" ".join(part.split()) for part in (text.split("|") if "|" in text else text.split()))


class Chain:
    """Makes up words that look like those of a list: two letters say which comes next.

    Args:
        names: The list.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.next: dict[str, list[str]] = {}
        for name in names:
            padded = f"^^{name.lower()}$"
            for at in range(len(padded) - 2):
                self.next.setdefault(padded[at : at + 2], []).append(padded[at + 2])

    def make(self, rng: random.Random) -> str:
        """Return a new word, with a capital.

        Args:
            rng: Random numbers.
        """
        for _ in range(20):
            name = "^^"
            while len(name) < 15:
                char = rng.choice(self.next[name[-2:]])
                if char == "$":
                    break
                name += char
            made = name[2:].strip("'- ")
            if 2 < len(made) < 13 and made.replace("'", "").replace("-", "").isalpha():
                return made.title() if "-" in made else made.capitalize()
        return "Tallon"
