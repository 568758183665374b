"""Scrubs free text: finds PHI with every recognizer, merges, and writes surrogates or tags in its place.

Loads neither Presidio nor spaCy: `mayo_data.phi.presidio` wraps these parts for those who want them there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple, Protocol

from mayo_data import assets
from mayo_data.keys import Secret, fingerprint
from mayo_data.phi import patterns, surrogate
from mayo_data.phi.gazetteer import Gazetteer
from mayo_data.phi.known import Known
from mayo_data.phi.spans import merge
from mayo_data.phi.words import LETTERS, RUNS, fold, guard, visible
from mayo_data.types import PhiSpan

__all__ = ["Decision", "Gazetteer", "Known", "Recognizer", "TextScrubber", "TextSettings"]

_VERSION = "text/1"
_LABELS = 200_000  # short strings remembered as clean
# Recognizers that need the words of a sentence around what they find.
_GUESSES = (
    "patterns.name.by", "patterns.name.list", "patterns.hospital", "patterns.org", "patterns.initials",
    "patterns.city", "patterns.id.mixed",
)  # fmt: skip
_PEOPLE = frozenset({"PATIENT", "RELATIVE", "STAFF"})
_SEX = re.compile(
    r"\b(?:(mr|sir|husband|father|son|brother)|(mrs|ms|miss|wife|mother|daughter|sister))\b[.:,]?\s{0,3}$"
)


@dataclass(frozen=True)
class TextSettings:
    """How text is scrubbed.

    Attributes:
        replace: `surrogate` writes invented values of the same form, `tag` writes `[CATEGORY]`.
        dates: With surrogates, what a date becomes: `shift` moves it by the subject's offset in its own
            written form, `year` leaves its year, `tag` writes `[DATE]`.
        keep: Categories that stay.

    >>> TextSettings().dates
    'shift'
    """

    replace: Literal["surrogate", "tag"] = "surrogate"
    dates: Literal["shift", "year", "tag"] = "shift"
    keep: frozenset[str] = frozenset({"YEAR", "STATE", "COUNTRY"})


class Decision(NamedTuple):
    """One PHI decision on a text: where, what and by whom; never the text itself.

    Attributes:
        start: Offset of the first character in the input.
        end: Offset after the last.
        category: PHI category.
        recognizer: Who found it.
        score: 0 to 1.
        action: `surrogate`, `tag`, `shift` or `generalise`.
    """

    start: int
    end: int
    category: str
    recognizer: str
    score: float
    action: str


class Recognizer(Protocol):
    """What a site adds: anything with a name that yields spans. See `phi.presidio.FromPresidio`."""

    name: str

    def spans(self, text: str, known: Known) -> Iterable[PhiSpan]:
        """Yield the PHI of a text."""
        ...


@cache
def _kinds() -> dict[str, str]:
    return {name: entry["kind"] for name, entry in assets.toml("schemas", "phi", "categories.toml").items()}


@cache
def _tags() -> re.Pattern[str]:
    return re.compile(r"\[(?:" + "|".join(_kinds()) + r")\]")


class TextScrubber:
    """Finds and replaces PHI in free text. One per worker process.

    Args:
        settings: How to replace.
        secret: The site's key.
        gazetteer: The site's clinicians and facilities.
        recognizers: Further recognizers of the site.

    >>> from mayo_data.types import Identifier
    >>> known = Known([Identifier("PATIENT", "full", "Jane Doe")], 1, 5)
    >>> scrubber = TextScrubber(TextSettings(replace="tag"), Secret(bytes(32)), Gazetteer([]))
    >>> scrubber.scrub("Ms. Doe, seen on 3/4/2021.", known)[0]
    'Ms. [PATIENT], seen on [DATE].'
    """

    def __init__(
        self,
        settings: TextSettings,
        secret: Secret,
        gazetteer: Gazetteer,
        recognizers: Sequence[Recognizer] = (),
    ) -> None:
        self._settings = settings
        self._gazetteer = gazetteer
        self._recognizers = tuple(recognizers)
        self._surrogates = surrogate.Surrogates(secret, gazetteer.given_of)
        self._kept = {kept for kept in ("YEAR", "STATE", "COUNTRY") if kept in settings.keep}
        self._labels: dict[str, frozenset[str] | None] = {}
        self._nobody = Known((), 0, 0)
        self.fingerprint = fingerprint(
            _VERSION,
            settings.replace,
            settings.dates,
            ",".join(sorted(settings.keep)),
            secret.key_id,
            *(recognizer.name for recognizer in self._recognizers),
        )

    def find(self, text: str, known: Known, *, label: bool = False) -> list[PhiSpan]:
        """Return the PHI of a text: sorted, never overlapping, never half a word.

        Args:
            text: Any text.
            known: What the record says of its subject.
            label: A label has no sentence around its words, so guesses at names and places from the words
                nearby are left out: known identifiers, the site's directory and unmistakable forms remain.
        """
        clean, offsets = visible(text)
        folded = fold(clean)
        found = list(known.find(clean, folded))
        found += self._gazetteer.find(clean, folded)
        guessed = patterns.find(clean, folded, self._kept)
        found += (span for span in guessed if not span.recognizer.startswith(_GUESSES)) if label else guessed
        for recognizer in self._recognizers:
            found += recognizer.spans(clean, known)
        if not found:
            return []
        found += _echo(clean, folded, found)
        keep = self._settings.keep
        spans = [span for span in merge(found, clean) if span.category not in keep]
        if "[" in clean:
            tags = [match.span() for match in _tags().finditer(clean)]
            if tags:
                spans = [s for s in spans if not any(s.start < end and start < s.end for start, end in tags)]
        if offsets is not None:
            spans = [s._replace(start=offsets[s.start], end=offsets[s.end - 1] + 1) for s in spans]
        return spans

    def scrub(self, text: str, known: Known, *, label: bool = False) -> tuple[str, list[Decision]]:
        """Return the text with its PHI replaced, and the decisions, with offsets in the input.

        Args:
            text: Any text.
            known: What the record says of its subject.
            label: Whether it is a label: see `find`.
        """
        spans = self.find(text, known, label=label)
        if not spans:
            return text, []
        if self._settings.replace == "tag":
            spans = self._settled(text, spans, known, label)
        out: list[str] = []
        decisions: list[Decision] = []
        at = 0
        for span in spans:
            new, action = self._replacement(text, span, known)
            out += (text[at : span.start], new)
            at = span.end
            decisions.append(Decision(*span, action))
        out.append(text[at:])
        return "".join(out), decisions

    def _settled(self, text: str, spans: list[PhiSpan], known: Known, label: bool) -> list[PhiSpan]:
        """Add what is found only beside a tag, so that a second scrub of the output changes nothing."""
        for _ in range(4):
            out: list[str] = []
            moved: list[tuple[int, int]] = []  # offset in the output, offset in the text
            at = size = 0
            for span in spans:
                moved.append((size, at))
                tag = f"[{span.category}]"
                out += (text[at : span.start], tag)
                size += span.start - at + len(tag)
                at = span.end
            moved.append((size, at))
            out.append(text[at:])
            more = self.find("".join(out), known, label=label)
            if not more:
                break
            for span in more:
                start, origin = max(pair for pair in moved if pair[0] <= span.start)
                shift = origin - start
                spans.append(span._replace(start=span.start + shift, end=span.end + shift))
            spans.sort()
        return spans

    def label(self, text: str, known: Known) -> tuple[str, list[Decision]]:
        """Scrub a short string that repeats over patients, such as a `display`; a clean one is only looked up.

        Small typos of a name are not looked for in labels that are clean otherwise.

        Args:
            text: The label.
            known: What the record says of the subject.
        """
        tokens = self.words(text)
        if tokens is not None and tokens.isdisjoint(known.tokens):
            return text, []
        return self.scrub(text, known, label=True)

    def words(self, text: str) -> frozenset[str] | None:
        """Return what of a label could touch a known identifier; None where it holds PHI for any subject.

        A label whose words are disjoint from `Known.tokens` is clean for that subject.

        Args:
            text: The label.
        """
        try:
            return self._labels[text]
        except KeyError:
            return self._learn(text)

    def _learn(self, text: str) -> frozenset[str] | None:
        """Remember the words of a label that holds no PHI by itself; None for one that does."""
        tokens: frozenset[str] | None = None
        if not self.find(text, self._nobody, label=True):
            clean, _ = visible(text)
            folded = fold(clean)
            digits = "".join(filter(str.isdigit, folded))
            tokens = frozenset(
                [
                    *RUNS.findall(folded),
                    *("".join(LETTERS.findall(word)) for word in folded.split()),
                    *("#" + digits[i : i + 5] for i in range(len(digits) - 4)),
                    *("#" + digits[i : i + 2] for i in range(len(digits) - 1)),
                ]
            )
        if len(self._labels) >= _LABELS:
            self._labels.clear()
        self._labels[text] = tokens
        return tokens

    def _replacement(self, text: str, span: PhiSpan, known: Known) -> tuple[str, str]:
        category = span.category
        kind = _kinds().get(category, "tag")
        if self._settings.replace == "tag" or kind == "tag":
            return f"[{category}]", "tag"
        old, _ = visible(text[span.start : span.end])
        if kind == "date":
            return surrogate.moved(old, self._settings.dates, known.offset_days)
        sex = None
        if category in _PEOPLE:
            before = _SEX.search(fold(text[max(0, span.start - 16) : span.start]))
            sex = None if before is None else "M" if before.group(1) else "F"
        made = self._surrogates.make(category, kind, old, known, sex)
        if (
            next(iter(known.find(made, fold(made))), None) is not None
        ):  # somebody else's invented ZIP may be this subject's own
            return f"[{category}]", "tag"
        return made, "generalise" if kind == "age" else "surrogate"


def _echo(text: str, folded: str, found: list[PhiSpan]) -> list[PhiSpan]:
    """Find a name that was found for sure once everywhere in the document."""
    names: dict[str, str] = {}
    for span in found:
        if span.category in _PEOPLE and span.score >= 0.7 and span.recognizer != "known":
            for word in LETTERS.findall(folded, span.start, span.end):
                if len(word) > 2 and word not in guard():
                    names.setdefault(word, span.category)
    if not names:
        return []
    return [
        PhiSpan(match.start(), match.end(), category, "echo", 0.65)
        for match in LETTERS.finditer(folded)
        if (category := names.get(match.group())) is not None and text[match.start()].isupper()
    ]
