"""Scrubs free text: finds PHI with every recognizer, merges, and writes surrogates or tags in its place.

Loads neither Presidio nor spaCy: `mayo_data.phi.presidio` wraps these parts for those who want them there.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

from mayo_data import assets
from mayo_data.keys import Secret, fingerprint
from mayo_data.phi import surrogate
from mayo_data.phi.detector import Detector, Recognizer
from mayo_data.phi.gazetteer import Gazetteer
from mayo_data.phi.known import Known
from mayo_data.phi.record import Record, known_from
from mayo_data.phi.words import LETTERS, RUNS, fold, visible
from mayo_data.types import PhiSpan

__all__ = ["Decision", "Gazetteer", "Known", "Recognizer", "Scrubbed", "TextScrubber", "TextSettings"]

_VERSION = "text/2"
_LABELS = 200_000  # short strings remembered as clean
_PEOPLE = frozenset({"PATIENT", "RELATIVE", "STAFF", "PERSON"})
_SEX = re.compile(
    r"\b(?:(mr|sir|husband|father|son|brother|dad|uncle|nephew|grandson|boyfriend|grandfather)"
    r"|(mrs|ms|miss|wife|mother|daughter|sister|mom|aunt|niece|granddaughter|girlfriend|grandmother))\b[.:,]?\s{0,3}$"
)
_TITLED = re.compile(r"\b(?:mr|mrs|ms|miss|mx|dr|prof|doctor|professor|rev|sgt|officer|deputy|judge)\b\.?\s{1,3}$")


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


class Scrubbed(NamedTuple):
    """A scrubbed text, and the way back to the offsets of the input. The way back belongs to the PHI zone.

    Attributes:
        text: The output.
        decisions: What was replaced, with offsets in the input.
        moves: Of each replacement its start and length in the output, and its start in the input.
    """

    text: str
    decisions: list[Decision]
    moves: list[tuple[int, int, int]]

    def source(self, offset: int) -> tuple[int, int]:
        """Return the piece of the input that an offset of the output comes from: a character, or a whole span.

        Args:
            offset: Offset in `text`.

        >>> Scrubbed("Ms. Roe, ok", [Decision(4, 9, "PATIENT", "known", 1.0, "surrogate")], [(4, 3, 4)]).source(9)
        (11, 12)
        """
        at = bisect_right(self.moves, (offset, 1 << 62)) - 1
        if at < 0:
            return offset, offset + 1
        start, size, _ = self.moves[at]
        end = self.decisions[at].end
        if offset < start + size:
            return self.decisions[at].start, end
        return end + offset - start - size, end + offset - start - size + 1


@cache
def _kinds() -> dict[str, str]:
    return {name: entry["kind"] for name, entry in assets.toml("schemas", "phi", "categories.toml").items()}


class TextScrubber:
    """Finds and replaces PHI in free text. One per worker process.

    Args:
        settings: How to replace.
        secret: The site's key.
        gazetteer: The site's clinicians and facilities.
        recognizers: Further recognizers of the site.
        model: `default` for the shipped model, None for none, else the path of a spaCy pipeline.

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
        model: str | None = None,
    ) -> None:
        self._settings = settings
        self._detector = Detector(model, settings.keep, gazetteer, recognizers)
        self._surrogates = surrogate.Surrogates(secret, gazetteer.given_of)
        self._labels: dict[str, frozenset[str] | None] = {}
        self._nobody = Known((), 0, 0)
        self.fingerprint = fingerprint(
            _VERSION,
            settings.replace,
            settings.dates,
            ",".join(sorted(settings.keep)),
            secret.key_id,
            *self._detector.parts,
        )

    def find(self, text: str, known: Known, *, label: bool = False) -> list[PhiSpan]:
        """Return the PHI of a text: sorted, never overlapping, never half a word.

        Args:
            text: Any text.
            known: What the record says of its subject.
            label: A label has no sentence around its words, so guesses at names and places from the words
                nearby are left out: known identifiers, the site's directory and unmistakable forms remain.
        """
        return self._detector.find(text, known, label=label)

    def scrub(self, text: str, known: Known, *, label: bool = False) -> tuple[str, list[Decision]]:
        """Return the text with its PHI replaced, and the decisions, with offsets in the input.

        Args:
            text: Any text.
            known: What the record says of its subject.
            label: Whether it is a label: see `find`.
        """
        made = self.rewritten(text, known, label=label)
        return made.text, made.decisions

    def rewritten(self, text: str, known: Known, *, label: bool = False) -> Scrubbed:
        """Return what `scrub` does, and the way back to the offsets of the input.

        Args:
            text: Any text.
            known: What the record says of its subject.
            label: Whether it is a label: see `find`.
        """
        spans = self.find(text, known, label=label)
        return self._rewrite(text, spans, known, label) if spans else Scrubbed(text, [], [])

    def scrub_all(
        self,
        texts: Sequence[str],
        known: Sequence[Known | Record | None] | Known | Record | None = None,
        subjects: Sequence[object] | None = None,
    ) -> list[Scrubbed]:
        """Scrub many texts at once, as `Detector.detect` reads them: faster, and consistent over a subject's texts.

        Args:
            texts: Any texts.
            known: What the record says: one for all texts, or one a text.
            subjects: Who each text is about.

        Raises:
            ConfigError: `known` or `subjects` has another length than `texts`, or a record cannot be read.
        """
        people = known_from(known, len(texts), subjects)
        found = self._detector.detect(texts, people, subjects)
        return [
            self._rewrite(text, spans, person, label=False)
            for text, spans, person in zip(texts, found, people, strict=True)
        ]

    def _rewrite(self, text: str, spans: list[PhiSpan], known: Known, label: bool) -> Scrubbed:
        if self._settings.replace == "tag":
            spans = self._settled(text, spans, known, label)
        roles = surrogate.roles(
            (visible(text[s.start : s.end])[0], _TITLED.search(fold(text[max(0, s.start - 16) : s.start])) is not None)
            for s in spans
            if s.category in _PEOPLE
        )
        out: list[str] = []
        decisions: list[Decision] = []
        moves: list[tuple[int, int, int]] = []
        at = size = 0
        for span in spans:
            new, action = self._replacement(text, span, known, roles)
            out += (text[at : span.start], new)
            size += span.start - at
            moves.append((size, len(new), span.start))
            size += len(new)
            at = span.end
            decisions.append(Decision(*span, action))
        out.append(text[at:])
        return Scrubbed("".join(out), decisions, moves)

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
        tokens = None if self.find(text, self._nobody, label=True) else spelled(text)
        if len(self._labels) >= _LABELS:
            self._labels.clear()
        self._labels[text] = tokens
        return tokens

    def _replacement(self, text: str, span: PhiSpan, known: Known, roles: dict[str, bool]) -> tuple[str, str]:
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
        made = self._surrogates.make(category, kind, old, known, sex, roles)
        if (
            next(iter(known.find(made, fold(made))), None) is not None
        ):  # somebody else's invented ZIP may be this subject's own
            return f"[{category}]", "tag"
        return made, "generalise" if kind == "age" else "surrogate"


def spelled(text: str) -> frozenset[str]:
    """Return what of a label could touch a known identifier: where it is disjoint from `Known.tokens`, none does.

    >>> {"roe", "12", "#12"} <= spelled("Roe, 12")
    True
    """
    clean, _ = visible(text)
    folded = fold(clean)
    digits = "".join(filter(str.isdigit, folded))
    return frozenset(
        [
            *RUNS.findall(folded),
            *("".join(LETTERS.findall(word)) for word in folded.split()),
            *("#" + digits[i : i + 5] for i in range(len(digits) - 4)),
            *("#" + digits[i : i + 2] for i in range(len(digits) - 1)),
        ]
    )
