"""The detector: known identifiers, patterns, the trained model and document consistency, merged into one answer.

It finds; `mayo_data.phi.text` replaces. Neither Presidio nor spaCy is loaded until the model is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

from mayo_data.phi import patterns
from mayo_data.phi.gazetteer import Gazetteer
from mayo_data.phi.known import Known
from mayo_data.phi.reading import Model, Reading
from mayo_data.phi.record import Record, known_from
from mayo_data.phi.spans import families, merge
from mayo_data.phi.words import LETTERS, fold, guard, visible
from mayo_data.types import PhiSpan

KEPT = frozenset({"YEAR", "STATE", "COUNTRY"})  # found only where the policy wants them found

# Recognizers that need the words of a sentence around what they find.
_GUESSES = (
    "patterns.name.by", "patterns.name.list", "patterns.hospital", "patterns.org", "patterns.initials",
    "patterns.city", "patterns.id.mixed",
)  # fmt: skip
# Recognizers whose spans the model may refuse: they guess from words nearby.
_REFUSABLE = (
    "patterns.name.", "patterns.hospital", "patterns.org", "patterns.initials", "patterns.city", "patterns.room",
    "patterns.date.partial", "patterns.date.month", "patterns.date.weekday", "patterns.date.season", "patterns.hl7",
    "patterns.id.mixed", "patterns.id.bare", "patterns.label.loose", "patterns.street.name", "patterns.triple",
    "patterns.phone.form", "patterns.pager.form", "patterns.plate", "patterns.handle", "patterns.county",
    "patterns.age.sex", "patterns.user",
)  # fmt: skip
_SHORT_CODE = re.compile(
    r"[ctls]\d{1,2}(?:[-/][ctls]?\d{1,2})?|[abdk]\d{1,2}|(?:hb)?a1c|g6pd|t\dn\d(?:m\d)?|p53|ca[- ]?\d{2,3}"
)
_ROOM_BEFORE = re.compile(r"(?:room|rm|bed|bay|ward|unit|ed|er|to|in|from)[\s.#:]{1,3}$")
_REFUSED = 0.1  # a guess in which the model sees less PHI than this is refused
_SURE = 0.7  # a name found with this score is found everywhere in its document
_NOBODY = Known((), 0, 0)


class Recognizer(Protocol):
    """What a site adds: anything with a name that yields spans. See `phi.presidio.FromPresidio`."""

    name: str

    def spans(self, text: str, known: Known) -> Iterable[PhiSpan]:
        """Yield the PHI of a text."""
        ...


@cache
def _tags() -> re.Pattern[str]:
    return re.compile(r"\[(?:" + "|".join(families()) + r")\]")


def _load(model: str) -> Model:
    """Return a model by name or folder; a transformer works beside the shipped one."""
    if (Path(model) / "transformer.json").is_file():
        from mayo_data.phi.transformer import Transformer  # an extra

        return Transformer(model, network="default")
    from mayo_data.phi.model import load  # numpy and the weights: only where a model is wanted

    return load(model)


class Detector:
    """Finds PHI in clinical text, offline. One per worker process; picklable.

    The ensemble: what the record says of the subject (`known`), patterns with context, a trained spaCy
    pipeline, the site's own recognizers; then a name found for sure once is found everywhere in the document
    (and in the subject's other documents of the same call), a clinical guard keeps eponyms, drugs and scores,
    and one merge step leaves spans that never overlap and never cut a word.

    Args:
        model: `default` for the shipped model, None for none, else the path of a spaCy pipeline or of a
            transformer, or a model that is loaded already.
        keep: Categories that are not reported.
        gazetteer: The site's clinicians and facilities.
        recognizers: Further recognizers of the site.

    >>> text = "Ms. Doe was seen on 3/4/2021 for chest pain."
    >>> [(text[s.start : s.end], s.category) for s in Detector(model=None).detect([text])[0]]
    [('Doe', 'PATIENT'), ('3/4/2021', 'DATE')]
    """

    def __init__(
        self,
        model: str | Model | None = "default",
        keep: Iterable[str] = KEPT,
        gazetteer: Gazetteer | None = None,
        recognizers: Sequence[Recognizer] = (),
    ) -> None:
        self.keep = frozenset(keep)
        self._kept = KEPT & self.keep
        self._gazetteer = gazetteer or Gazetteer([])
        self._recognizers = tuple(recognizers)
        self._model: Model | None = None
        if model is not None and not isinstance(model, str):
            self._model = model
        elif model is not None:
            self._model = _load(model)

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the model and of the site's recognizers: what a fingerprint needs."""
        models = () if self._model is None else (self._model.name,)
        return (*models, *(recognizer.name for recognizer in self._recognizers))

    def detect(
        self,
        texts: Sequence[str],
        known: Sequence[Known | Record | None] | Known | Record | None = None,
        subjects: Sequence[object] | None = None,
    ) -> list[list[PhiSpan]]:
        """Return the PHI of each text: sorted, never overlapping, never half a word.

        Args:
            texts: Any texts; a batch is faster than one call a text.
            known: What the record says: one for all texts, or one a text. See `mayo_data.phi.record`.
            subjects: Who each text is about, any hashable: a name found for sure in one text of a subject is
                found in the others too.

        Raises:
            ConfigError: `known` or `subjects` has another length than `texts`, or a record cannot be read.
        """
        people = known_from(known, len(texts), subjects)
        cleaned = [visible(text) for text in texts]
        read = self._read([clean for clean, _ in cleaned])
        found: list[list[PhiSpan]] = []
        folds: list[str] = []
        for (clean, _), person, model in zip(cleaned, people, read, strict=True):
            folds.append(fold(clean))
            found.append(self._found(clean, folds[-1], person, model, label=False))
        shared: dict[object, dict[str, str]] = {}
        if subjects is not None:
            for (clean, _), folded, subject, spans in zip(cleaned, folds, subjects, found, strict=True):
                shared.setdefault(subject, {}).update(names(clean, folded, spans))
        return [
            self._settle(clean, folded, offsets, spans, shared.get(subjects[at]) if subjects is not None else None)
            for at, ((clean, offsets), folded, spans) in enumerate(zip(cleaned, folds, found, strict=True))
        ]

    def find(self, text: str, known: Known = _NOBODY, *, label: bool = False) -> list[PhiSpan]:
        """Return the PHI of one text.

        Args:
            text: Any text.
            known: What the record says of its subject.
            label: A label has no sentence around its words, so guesses at names and places from the words
                nearby are left out: known identifiers, the site's directory and unmistakable forms remain.
        """
        clean, offsets = visible(text)
        folded = fold(clean)
        model = Reading([]) if label else self._read([clean])[0]
        return self._settle(clean, folded, offsets, self._found(clean, folded, known, model, label=label))

    def _read(self, texts: list[str]) -> list[Reading]:
        return [Reading([]) for _ in texts] if self._model is None else self._model.readings(texts)

    def _found(self, clean: str, folded: str, known: Known, model: Reading, *, label: bool) -> list[PhiSpan]:
        found = list(known.find(clean, folded))
        found += self._gazetteer.find(clean, folded)
        guessed = patterns.find(clean, folded, self._kept)
        if label:
            found += (span for span in guessed if not span.recognizer.startswith(_GUESSES))
        else:
            found += _weighed(guessed, model)
        found += (span for span in model.spans if not _is_medicine(folded, span))
        for recognizer in self._recognizers:
            found += recognizer.spans(clean, known)
        return found

    def _settle(
        self,
        clean: str,
        folded: str,
        offsets: list[int] | None,
        found: list[PhiSpan],
        shared: Mapping[str, str] | None = None,
    ) -> list[PhiSpan]:
        words = {**(shared or {}), **names(clean, folded, found)}
        if words:
            found += echo(clean, folded, words)
        if not found:
            return []
        spans = [span for span in merge(found, clean) if span.category not in self.keep]
        if "[" in clean:
            tags = [match.span() for match in _tags().finditer(clean)]
            if tags:
                spans = [s for s in spans if not any(s.start < end and start < s.end for start, end in tags)]
        if offsets is not None:
            spans = [s._replace(start=offsets[s.start], end=offsets[s.end - 1] + 1) for s in spans]
        return spans


def _is_medicine(folded: str, span: PhiSpan) -> bool:
    """Whether what the model found is a spinal level, a vitamin or a haemoglobin: the clinical guard."""
    if _SHORT_CODE.fullmatch(folded, span.start, span.end) is None:
        return False
    return _ROOM_BEFORE.search(folded, max(0, span.start - 12), span.start) is None


def _weighed(guessed: Iterable[PhiSpan], model: Reading) -> Iterator[PhiSpan]:
    """Yield what the patterns found, less the guesses, and the ends of guesses, in which the model sees nothing."""
    for span in guessed:
        if model.starts and span.recognizer.startswith(_REFUSABLE):
            start, end = model.trimmed(span.start, span.end, _REFUSED)
            if start < end:
                yield span._replace(start=start, end=end)
        else:
            yield span


def names(text: str, folded: str, found: Iterable[PhiSpan]) -> dict[str, str]:
    """Return the words of names that were found for sure, and whose they are.

    Args:
        text: The text.
        folded: `fold(text)`.
        found: What was found in it.
    """
    family = families()
    words: dict[str, str] = {}
    for span in found:
        if family.get(span.category) == "person" and span.score >= _SURE and span.recognizer != "known":
            for word in LETTERS.findall(folded, span.start, span.end):
                if len(word) > 2 and word not in guard():
                    words.setdefault(word, span.category)
    return words


def echo(text: str, folded: str, words: Mapping[str, str]) -> list[PhiSpan]:
    """Return every place of a document where words of names stand.

    Args:
        text: The text.
        folded: `fold(text)`.
        words: See `names`.
    """
    return [
        PhiSpan(match.start(), match.end(), category, "echo", 0.65)
        for match in LETTERS.finditer(folded)
        if (category := words.get(match.group())) is not None and text[match.start()].isupper()
    ]
