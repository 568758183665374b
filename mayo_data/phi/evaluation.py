"""Measures a detector on labelled text: what was found in full, what was touched, what was taken for nothing.

A span counts as covered when every letter and digit of it is. Precision is counted in letters and digits too: what a
reader loses is text, not spans. Intervals are Wilson's at 95 %.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from mayo_data.phi import origins
from mayo_data.phi.corpora import Document, Gold
from mayo_data.types import PhiSpan

OPTIONAL = frozenset({"YEAR", "STATE", "COUNTRY", "AGE", "PROFESSION", "TITLE", "NRP", "TIME"})
_BATCH = 64
_CONTEXT = 40  # characters beside a miss
_Z = 1.959964  # 95 %


class Finder(Protocol):
    """Anything with `detect`: a `Detector`, or what it is compared with."""

    def detect(self, texts: Sequence[str], known: Any = None) -> list[list[PhiSpan]]:
        """Return the spans of each text."""
        ...


class Share(NamedTuple):
    """A share with its interval.

    Attributes:
        hits: How many.
        total: Of how many.
    """

    hits: int
    total: int

    @property
    def value(self) -> float:
        """The share, 0 to 1; 1 of nothing."""
        return self.hits / self.total if self.total else 1.0

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's interval at 95 % (E. B. Wilson, 1927): right for shares near 1 and for few spans.

        >>> [round(end, 3) for end in Share(99, 100).interval]
        [0.946, 0.998]
        """
        if not self.total:
            return 0.0, 1.0
        n, p, z2 = self.total, self.value, _Z * _Z
        middle = (p + z2 / (2 * n)) / (1 + z2 / n)
        half = _Z * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
        return max(0.0, middle - half), min(1.0, middle + half)


@dataclass
class _Tally:
    spans: int = 0
    covered: int = 0
    touched: int = 0

    def add(self, hits: int, characters: int) -> None:
        self.spans += 1
        self.touched += hits > 0
        self.covered += hits == characters

    def dict(self) -> dict[str, Any]:
        share = Share(self.covered, self.spans)
        return {
            "spans": self.spans,
            "covered": round(share.value, 4),
            "interval": [round(end, 4) for end in share.interval],
            "touched": round(Share(self.touched, self.spans).value, 4),
        }


@dataclass
class Evaluation:
    """What a detector did on a corpus. `dict()` is free of text; `misses` are PHI zone.

    Attributes:
        documents: How many.
        characters: How many, white space and all.
        leaking: Documents in which a required span was not covered.
        clean: Documents without any marked span.
        clean_touched: Of these, how many lost something.
        gold: Letters and digits in marked spans, the optional ones too.
        required: Letters and digits in required spans.
        hit: Letters and digits taken inside marked spans.
        hit_required: Letters and digits taken inside required spans.
        taken: Letters and digits taken.
        plain: Letters and digits outside of marked spans.
        misses: Required spans that were not covered, with the text beside them.
        origins: Spans of people by the origin of their name, see `mayo_data.phi.origins`.
    """

    documents: int = 0
    characters: int = 0
    leaking: int = 0
    clean: int = 0
    clean_touched: int = 0
    gold: int = 0
    required: int = 0
    hit: int = 0
    hit_required: int = 0
    taken: int = 0
    plain: int = 0
    misses: list[dict[str, Any]] = field(default_factory=list)
    categories: dict[str, _Tally] = field(default_factory=dict)
    origins: dict[str, _Tally] = field(default_factory=dict)
    optional: frozenset[str] = OPTIONAL

    def _sum(self, what: str) -> Share:
        needed = [tally for name, tally in self.categories.items() if name not in self.optional]
        return Share(sum(getattr(tally, what) for tally in needed), sum(tally.spans for tally in needed))

    @property
    def covered(self) -> Share:
        """Required spans with every character covered."""
        return self._sum("covered")

    @property
    def touched(self) -> Share:
        """Required spans with at least one character covered."""
        return self._sum("touched")

    @property
    def precision(self) -> float:
        """Share of the letters and digits taken that were marked."""
        return self.hit / self.taken if self.taken else 1.0

    @property
    def recall(self) -> float:
        """Share of the required letters and digits that were taken."""
        return self.hit_required / self.required if self.required else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, in letters and digits."""
        return 2 * self.precision * self.recall / ((self.precision + self.recall) or 1.0)

    def dict(self) -> dict[str, Any]:
        """Return the figures, and no text."""
        table = {
            name: {**tally.dict(), "required": name not in self.optional}
            for name, tally in sorted(self.categories.items())
        }
        return {
            "documents": self.documents,
            "characters": self.characters,
            "documents_with_a_leak": self.leaking,
            "clean_documents": self.clean,
            "clean_documents_touched": self.clean_touched,
            "spans": self.covered.total,
            "covered": round(self.covered.value, 4),
            "covered_interval": [round(end, 4) for end in self.covered.interval],
            "touched": round(self.touched.value, 4),
            "character_precision": round(self.precision, 4),
            "character_recall": round(self.recall, 4),
            "character_f1": round(self.f1, 4),
            "plain_text_taken": round((self.taken - self.hit) / self.plain, 5) if self.plain else 0.0,
            "categories": table,
            "origins": {name: tally.dict() for name, tally in sorted(self.origins.items())},
        }


def evaluate(
    documents: Iterable[Document], finder: Finder, *, optional: Iterable[str] = OPTIONAL, known: bool = True
) -> Evaluation:
    """Run a detector over a corpus and compare.

    Args:
        documents: The labelled texts.
        finder: What to measure.
        optional: Categories that need not be found, and cost no precision where they are.
        known: Whether the detector gets what a document says of its subject.

    >>> from mayo_data.phi.corpora import inline
    >>> class Nothing:
    ...     def detect(self, texts, known=None):
    ...         return [[] for _ in texts]
    >>> evaluate([inline("a", "Dr. [[STAFF:Doe]], [[YEAR:2019]]")], Nothing()).covered
    Share(hits=0, total=1)
    """
    made = Evaluation(optional=frozenset(optional))
    for batch in _batches(documents):
        records = [document.known if known else None for document in batch]
        answers = finder.detect([document.text for document in batch], records)
        for document, found in zip(batch, answers, strict=True):
            _count(made, document, found)
    return made


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    for document in documents:
        batch.append(document)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _painted(text: str, spans: Iterable[PhiSpan] | Iterable[Gold]) -> bytearray:
    marks = bytearray(len(text))
    for span in spans:
        marks[span.start : span.end] = b"\1" * (span.end - span.start)
    return marks


def _count(made: Evaluation, document: Document, found: list[PhiSpan]) -> None:
    text = document.text
    taken = _painted(text, found)
    gold = _painted(text, document.spans)
    required = _painted(text, [span for span in document.spans if span.category not in made.optional])
    made.documents += 1
    made.characters += len(text)
    leaks = False
    for span in document.spans:
        inside = [at for at in range(span.start, span.end) if text[at].isalnum()]
        if not inside:
            continue
        hits = sum(taken[at] for at in inside)
        made.categories.setdefault(span.category, _Tally()).add(hits, len(inside))
        if span.category in origins.PEOPLE:
            name = origins.origin(text[span.start : span.end])
            made.origins.setdefault(name, _Tally()).add(hits, len(inside))
        if hits < len(inside) and span.category not in made.optional:
            leaks = True
            made.misses.append(
                {
                    "document": document.name,
                    "start": span.start,
                    "end": span.end,
                    "category": span.category,
                    "touched": hits > 0,
                    "before": text[max(0, span.start - _CONTEXT) : span.start],
                    "text": text[span.start : span.end],
                    "after": text[span.end : span.end + _CONTEXT],
                }
            )
    made.leaking += leaks
    if not document.spans:
        made.clean += 1
        made.clean_touched += any(taken)
    for at, char in enumerate(text):
        if char.isalnum():
            made.gold += gold[at]
            made.plain += not gold[at]
            made.required += required[at]
            made.taken += taken[at]
            made.hit += taken[at] & gold[at]
            made.hit_required += taken[at] & required[at]
