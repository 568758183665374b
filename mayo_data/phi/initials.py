"""The initials of a patient: capitals that spell the name, where they are no short form of medicine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mayo_data.phi.words import PARTICLES, abbreviations

_BEFORE = re.compile(r"(?:\b(?:pt|patient|initials|name|mr|mrs|ms)\b[.:,]?\s{0,3})$")
_AFTER = re.compile(r"\s(?:rm|room|bed)\b|\s{1,2}/?\s?\d{6,10}(?!\d)|:\s[a-z]+\s\d")


class Initials:
    """Collects the names of a patient, then says whether some capitals are their initials.

    >>> initials = Initials()
    >>> initials.note("full", ["jane", "doe"], turned=False)
    >>> text = "JD walked; JMD too"
    >>> initials.settle(), initials.meant(text, text.lower(), 0, 2), initials.meant(text, text.lower(), 11, 14)
    (None, True, True)
    """

    __slots__ = ("_family", "_given", "_particles", "_spelled")

    def __init__(self) -> None:
        self._given: list[str] = []
        self._family: list[str] = []
        self._particles: list[str] = []
        self._spelled: frozenset[str] = frozenset()

    def note(self, part: str, words: Sequence[str], *, turned: bool) -> None:
        """Take in a name of the patient.

        Args:
            part: `given`, `family` or `full`.
            words: Its folded words.
            turned: Whether the family name stands first.
        """
        if part == "given":
            self._given += (word[0] for word in words)
        elif part == "family":
            self._family += (word[0] for word in words if word not in PARTICLES or len(words) == 1)
            self._particles += (word[0] for word in words[:-1] if word in PARTICLES)
        elif len(words) > 1:
            self._family.append((words[0] if turned else words[-1])[0])
            self._given += (word[0] for word in (words[1:] if turned else words[:-1]))

    def settle(self) -> None:
        """Spell out what was taken in."""
        self._spelled = frozenset(self._spell())

    def _spell(self) -> Iterator[str]:
        given, family = self._given, self._family
        # Of da Silva some write the D, some the S.
        for last in dict.fromkeys([*family, *self._particles]):
            for at, first in enumerate(given):
                yield first + last
                if at + 1 < len(given):
                    yield first + given[at + 1] + last
        if len(family) > 1:
            yield from (first + family[0] + family[1] for first in given)

    def meant(self, text: str, folded: str, start: int, end: int) -> bool:
        """Whether a word of two or three capitals is meant as the patient's initials.

        Args:
            text: The text.
            folded: `fold(text)`.
            start: Where the word begins.
            end: Where it ends.
        """
        word = folded[start:end]
        # A middle name that the record does not know may stand between.
        if word not in self._spelled and not (len(word) == 3 and word[0] + word[2] in self._spelled):
            return False
        if not text[start:end].isupper():
            return False
        if _BEFORE.search(folded, max(0, start - 14), start) or _AFTER.match(folded, end):
            return True
        if word in abbreviations():
            return False
        return len(word) == 3 or not text[max(0, start - 12) : end + 12].isupper()
