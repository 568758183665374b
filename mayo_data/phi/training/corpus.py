"""Turns templates into examples for the network: filled, soiled, cut into tokens, labelled."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mayo_data.phi.tokens import Places
from mayo_data.phi.training.learn import Example
from mayo_data.phi.training.noise import soil, splice
from mayo_data.phi.training.slots import Filler, spell
from mayo_data.phi.training.templates import Slot, Template

# Category of a slot to what the network calls it.
KINDS = {
    "PATIENT": "NAME", "STAFF": "NAME", "RELATIVE": "NAME", "PERSON": "NAME", "DATE": "DATE", "AGE90": "AGE",
    "STREET": "STREET", "CITY": "CITY", "COUNTY": "COUNTY", "ZIP": "ZIP", "HOSPITAL": "HOSPITAL", "ORG": "ORG",
    "PHONE": "PHONE", "FAX": "PHONE", "EMAIL": "NET", "URL": "NET", "IP": "NET", "ROOM": "ROOM", "USERNAME": "USERNAME",
    "SSN": "ID", "MRN": "ID", "ACCOUNT": "ID", "HEALTHPLAN": "ID", "LICENSE": "ID", "VEHICLE": "ID", "DEVICE": "ID",
    "OTHERID": "ID",
}  # fmt: skip
LABELS = ("O", *(f"{mark}-{kind}" for kind in dict.fromkeys(KINDS.values()) for mark in "BI"))
_INDEX = {label: at for at, label in enumerate(LABELS)}
Spans = list[tuple[int, int, str]]


@dataclass
class Counts:
    """How many spans there were, and how many do not end where a token ends."""

    spans: int = 0
    misaligned: int = 0


def label(starts: Sequence[int], words: Sequence[str], spans: Spans, counts: Counts | None = None) -> list[int]:
    """Return the label of every token.

    Args:
        starts: Where each token begins.
        words: The tokens.
        spans: Start, end and category of what identifies, in order.
        counts: Where misaligned spans are counted.

    >>> label([0, 4], ["seen", "May"], [(4, 7, "DATE")]) == [0, LABELS.index("B-DATE")]
    True
    """
    labels = [0] * len(words)
    at = 0
    for start, end, category in spans:
        while at < len(words) and starts[at] + len(words[at]) <= start:
            at += 1
        first = at
        mark = "B-"
        while at < len(words) and starts[at] < end:
            labels[at] = _INDEX[mark + KINDS[category]]
            mark = "I-"
            at += 1
        if counts is not None:
            counts.spans += 1
            last = at - 1
            if first >= at or starts[first] != start or starts[last] + len(words[last]) != end:
                counts.misaligned += 1
        if at > first and starts[at - 1] + len(words[at - 1]) > end:
            at -= 1
    return labels


_RARE = frozenset(
    [
        "AGE90",
        "USERNAME",
        "ROOM",
        "VEHICLE",
        "IP",
        "URL",
        "COUNTY",
        "ZIP",
        "SSN",
        "LICENSE",
        "DEVICE",
        "HEALTHPLAN",
        "ACCOUNT",
    ]
)


def weight(template: Template) -> float:
    """Return how often a template is drawn: short ones less, those with what is rare elsewhere more."""
    size = sum(len(part) if isinstance(part, str) else 8 for part in template.parts)
    rare = len({part.category for part in template.parts if isinstance(part, Slot)} & _RARE)
    return (0.35 if size < 120 else 0.6 if size < 300 else 1.0) * (1 + 0.4 * min(rare, 3))


class Corpus:
    """Examples without end.

    Args:
        templates: What they are made of.
        rows: Rows of the network's table.
        seed: For everything random.
    """

    def __init__(self, templates: Sequence[Template], rows: int, seed: int) -> None:
        self._templates = list(templates)
        self._weights = [weight(template) for template in self._templates]
        self._rng = random.Random(seed)  # noqa: S311 - training text, no secret
        self._places = Places(rows)
        self.counts = Counts()

    def text(self) -> tuple[str, Spans]:
        """Return a new text and its spans."""
        rng = self._rng
        template, other = rng.choices(self._templates, self._weights, k=2)
        pieces = Filler(rng.getrandbits(48)).fill(template)
        if rng.random() < 0.12:
            pieces = splice(pieces, Filler(rng.getrandbits(48)).fill(other), rng)
        return spell(soil(pieces, rng))

    def example(self) -> Example:
        """Return a new example."""
        text, spans = self.text()
        tokens = self._places.split(text)
        return Example(tokens.words, tokens.around, label(tokens.starts, tokens.words, spans, self.counts))

    def batches(self, size: int) -> Iterator[list[Example]]:
        """Yield batches.

        Args:
            size: Tokens a batch, about.
        """
        while True:
            batch: list[Example] = []
            total = 0
            while total < size:
                example = self.example()
                if example.words:
                    batch.append(example)
                    total += len(example.words)
            yield batch


def fixed(templates: Sequence[Template], seed: int, fills: int = 1, clean: bool = False) -> list[tuple[str, Spans]]:
    """Return texts for measuring, the same for the same seed.

    Args:
        templates: Each is filled.
        seed: For everything random.
        fills: How often.
        clean: Leave them tidy.
    """
    made = []
    for number in range(fills):
        for at, template in enumerate(templates):
            rng = random.Random(f"{seed}/{number}/{at}")  # noqa: S311
            pieces = Filler(rng.getrandbits(48)).fill(template)
            made.append(spell(pieces if clean else soil(pieces, rng)))
    return made
