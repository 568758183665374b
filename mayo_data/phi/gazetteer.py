"""The site's clinicians and facilities, found in anybody's text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from mayo_data.phi.words import LETTERS, NAME_FRAME, RUNS, common, fold, generic_places, guard
from mayo_data.types import Identifier, PhiSpan

NAME = "gazetteer"

_GAP = re.compile(r"[\s.,'’^_\-]{1,3}|\d{1,4},?\s")
_TITLED = re.compile(r"\b(?:dr|doctor|prof|nurse|np|pa|rn|mr|mrs|ms)[.:]?\s{1,3}$")


class Gazetteer:
    """Clinicians (STAFF) and facilities (HOSPITAL, ORG) of a site. Built once a worker process, picklable.

    A clinician is found by the whole name in either order, by initial and family name, or by family name after
    a title; a facility by its name. A single common word is no name.

    Args:
        identifiers: `STAFF` with part `full`, or `given` followed by `family`; `HOSPITAL` and `ORG` with
            `value`.

    >>> gazetteer = Gazetteer([Identifier("STAFF", "full", "Dr. Maria Okafor")])
    >>> text = "Reviewed with Okafor, Maria today."
    >>> [text[s.start : s.end] for s in gazetteer.find(text, fold(text))]
    ['Okafor, Maria']
    """

    __slots__ = ("_phrases", "_staff", "size")

    def __init__(self, identifiers: Iterable[Identifier]) -> None:
        # Family name to the given names it goes with; first word to the phrases it starts.
        self._staff: dict[str, set[str]] = {}
        self._phrases: dict[str, set[tuple[tuple[str, ...], str]]] = {}
        self.size = 0
        given = ""
        for category, part, value in identifiers:
            self.size += 1
            if category in ("HOSPITAL", "ORG", "USERNAME", "LICENSE"):
                self._place(category, value)
            elif category == "STAFF":
                words = [word for word in LETTERS.findall(fold(value)) if word not in NAME_FRAME]
                if not words:
                    continue
                if part == "given":
                    given = words[0]
                elif part == "family":
                    self._person([given] if given else [], words)
                    given = ""
                elif "," in value or "^" in value:
                    self._person(words[1:], words[:1])
                else:
                    self._person(words[:-1], words[-1:])

    def _person(self, given: list[str], family: list[str]) -> None:
        known = self._staff.setdefault(family[-1], set())
        known.update(given)

    def _place(self, category: str, value: str) -> None:
        words = tuple(RUNS.findall(fold(value)))
        if not words or all(word in generic_places() or word in common() for word in words):
            return
        if len(words) > 1 or (len(words[0]) > 3 and words[0] not in guard()):
            self._phrases.setdefault(words[0], set()).add((words, category))

    def given_of(self, family: str, initial: str) -> str | None:
        """Return the one given name that goes with family name and initial, so that `M. Okafor` is she."""
        fits = [given for given in self._staff.get(family, ()) if given[0] == initial and len(given) > 1]
        return fits[0] if len(fits) == 1 else None

    def find(self, text: str, folded: str) -> Iterator[PhiSpan]:
        """Yield the clinicians and facilities of the site in a text.

        Args:
            text: The text.
            folded: `fold(text)`.
        """
        if not self.size:
            return
        runs = list(RUNS.finditer(folded))
        names = [run.group() for run in runs]
        staff, phrases = self._staff, self._phrases
        for index, word in enumerate(names):
            if word in phrases:
                longest = 0
                for phrase, category in phrases[word]:
                    size = len(phrase)
                    if size > longest and tuple(names[index : index + size]) == phrase:
                        start, end = runs[index].start(), runs[index + size - 1].end()
                        if end - start <= sum(map(len, phrase)) + 4 * size:
                            longest = size
                            found = PhiSpan(start, end, category, NAME, 0.95)
                if longest:
                    yield found
            if word in staff and len(word) > 1:
                span = self._clinician(text, folded, runs, names, index)
                if span is not None:
                    yield span

    def _clinician(
        self, text: str, folded: str, runs: list[re.Match[str]], names: list[str], index: int
    ) -> PhiSpan | None:
        given = self._staff[names[index]]
        start, end = runs[index].span()
        cased = text[start].isupper()
        for step in (-1, 1):
            at, seen = index, 0
            while 0 <= at + step < len(names) and seen < 3:
                near, far = (runs[at + step], runs[at]) if step < 0 else (runs[at], runs[at + step])
                if not (_GAP.fullmatch(folded, near.end(), far.start()) or near.end() == far.start()):
                    break
                at += step
                seen += 1
                word = names[at]
                whole = word in given and len(word) > 1
                initial = len(word) == 1 and any(name[0] == word for name in given) and text[runs[at].start()].isupper()
                if whole and (cased or word not in common()):
                    return PhiSpan(
                        min(start, runs[at].start()),
                        self._glued(text, max(end, runs[at].end())),
                        "STAFF",
                        NAME,
                        0.95,
                    )
                if (
                    initial
                    and cased
                    and names[index] not in common()
                    and (step < 0 or "," in text[end : runs[at].start()])
                ):
                    return PhiSpan(min(start, runs[at].start()), max(end, runs[at].end()), "STAFF", NAME, 0.85)
                if not (len(word) == 1 or word.isdigit()):
                    break
        if _TITLED.search(folded[max(0, start - 12) : start]) and (cased or names[index] not in common()):
            return PhiSpan(start, self._glued(text, end), "STAFF", NAME, 0.9)
        return None

    @staticmethod
    def _glued(text: str, end: int) -> int:
        while end < len(text) and text[end].isdigit():
            end += 1
        return end
