"""The bridge to Presidio, both ways: our parts as plain recognizers, a site's recognizers as ours.

This module loads Presidio; nothing else of the text half does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from presidio_analyzer import EntityRecognizer, RecognizerResult

from mayo_data.phi import patterns
from mayo_data.phi.detector import Detector, echo, names
from mayo_data.phi.known import Known
from mayo_data.phi.models import load
from mayo_data.phi.spans import families, merge
from mayo_data.phi.words import fold, visible
from mayo_data.types import Identifier, PhiSpan

_FROM_PRESIDIO = {
    "PERSON": "PERSON", "PHONE_NUMBER": "PHONE", "EMAIL_ADDRESS": "EMAIL", "IP_ADDRESS": "IP",
    "MAC_ADDRESS": "IP", "US_SSN": "SSN", "DATE_TIME": "DATE", "LOCATION": "CITY",
    "US_DRIVER_LICENSE": "LICENSE", "US_PASSPORT": "LICENSE", "MEDICAL_LICENSE": "LICENSE",
    "US_NPI": "LICENSE", "US_MBI": "HEALTHPLAN", "CREDIT_CARD": "ACCOUNT", "IBAN_CODE": "ACCOUNT",
    "US_BANK_NUMBER": "ACCOUNT", "US_ITIN": "SSN", "UK_NHS": "MRN", "ORGANIZATION": "ORG",
    "CRYPTO": "ACCOUNT", "ID": "OTHERID", "AGE": "AGE90",
}  # fmt: skip


def _results(spans: Iterable[PhiSpan], text: str, entities: Sequence[str], name: str) -> list[RecognizerResult]:
    wanted = set(entities)
    return [
        RecognizerResult(
            entity_type=span.category,
            start=span.start,
            end=span.end,
            score=span.score,
            recognition_metadata={
                RecognizerResult.RECOGNIZER_NAME_KEY: span.recognizer,
                RecognizerResult.RECOGNIZER_IDENTIFIER_KEY: name,
            },
        )
        for span in merge(spans, text)
        if not wanted or span.category in wanted
    ]


class _Ours(EntityRecognizer):  # type: ignore[misc]  # Presidio ships no types
    """What both recognizers share: no model to load, and invisible characters mapped back."""

    def __init__(self, name: str, language: str) -> None:
        super().__init__(supported_entities=list(families()), name=name, supported_language=language)

    def load(self) -> None:
        """Nothing to load."""

    def found_in(self, text: str, folded: str) -> Iterable[PhiSpan]:
        """Return what is found in a text without invisible characters.

        Args:
            text: The text.
            folded: `fold(text)`.
        """
        raise NotImplementedError

    def analyze(self, text: str, entities: list[str], nlp_artifacts: Any = None) -> list[RecognizerResult]:
        """Return what is found in a text, as Presidio wants it.

        Args:
            text: The text.
            entities: The categories that are wanted; empty for all.
            nlp_artifacts: Not needed.
        """
        clean, offsets = visible(text)
        found = self.found_in(clean, fold(clean))
        if offsets is not None:
            found = [s._replace(start=offsets[s.start], end=offsets[s.end - 1] + 1) for s in found]
        return _results(found, text, entities, self.id)


class PatternsRecognizer(_Ours):
    """Patterns with context, for a stock `AnalyzerEngine`.

    Args:
        language: The language under which Presidio lists it.

    >>> [r.entity_type for r in PatternsRecognizer().analyze("Mail to jo@example.org", [])]
    ['EMAIL']
    """

    def __init__(self, language: str = "en") -> None:
        super().__init__("PatternsRecognizer", language)

    def found_in(self, text: str, folded: str) -> Iterable[PhiSpan]:
        """Return what is found."""
        return patterns.find(text, folded, ("YEAR", "STATE", "COUNTRY"))


class KnownIdentifierRecognizer(_Ours):
    """Everything that the record says of one subject, for a stock `AnalyzerEngine`.

    Args:
        identifiers: The subject's identifiers.
        language: The language under which Presidio lists it.

    >>> known = KnownIdentifierRecognizer([Identifier("PATIENT", "full", "Jane Doe")])
    >>> [(r.start, r.end) for r in known.analyze("DOE, JANE was seen", [])]
    [(0, 9)]
    """

    def __init__(self, identifiers: Sequence[Identifier], language: str = "en") -> None:
        self._known = Known(identifiers, 0, 0)
        super().__init__("KnownIdentifierRecognizer", language)

    def found_in(self, text: str, folded: str) -> Iterable[PhiSpan]:
        """Return what is found."""
        return self._known.find(text, folded)


class ModelEntityRecognizer(_Ours):
    """The trained model, for a stock `AnalyzerEngine`.

    Args:
        model: `default` for the shipped model, else the folder or package name of a spaCy pipeline.
        language: The language under which Presidio lists it.

    >>> [r.entity_type for r in ModelEntityRecognizer().analyze("Seen by Dr. Ilse Brandt.", ["PERSON"])]
    ['PERSON']
    """

    def __init__(self, model: str = "default", language: str = "en") -> None:
        self._model = load(model)
        super().__init__("ModelEntityRecognizer", language)

    def found_in(self, text: str, folded: str) -> Iterable[PhiSpan]:
        """Return what is found."""
        return self._model.readings([text])[0].spans


class ConsistencyRecognizer(_Ours):
    """A name that another recognizer found for sure, found everywhere in the document, for a stock `AnalyzerEngine`.

    Args:
        recognizers: Whose names count; the patterns and the trained model by default.
        language: The language under which Presidio lists it.

    >>> text = "Seen by Dr. Zorblat. Plan as above. Zorblat"
    >>> found = ConsistencyRecognizer([PatternsRecognizer()]).analyze(text, [])
    >>> [text[r.start : r.end] for r in found]
    ['Zorblat', 'Zorblat']
    """

    def __init__(self, recognizers: Sequence[_Ours] | None = None, language: str = "en") -> None:
        self._of = tuple(recognizers) if recognizers is not None else (PatternsRecognizer(), ModelEntityRecognizer())
        super().__init__("ConsistencyRecognizer", language)

    def found_in(self, text: str, folded: str) -> Iterable[PhiSpan]:
        """Return what is found."""
        found = [span for recognizer in self._of for span in recognizer.found_in(text, folded)]
        return echo(text, folded, names(text, folded, found))


class EnsembleRecognizer(_Ours):
    """Everything together, as `mayo_data.Detector` finds it, the clinical guard included, for a stock `AnalyzerEngine`.

    Presidio merges the results of recognizers by overlap and score alone, and none can take back what another found:
    so the guard and the merge work inside, and this recognizer is best used by itself.

    Args:
        detector: What finds; a `Detector` with the default model otherwise.
        known: What the record says of the subject.
        language: The language under which Presidio lists it.

    >>> text = "Dr. Brandt placed a Foley on 3/4/2021."
    >>> [text[r.start : r.end] for r in EnsembleRecognizer().analyze(text, [])]
    ['Brandt', '3/4/2021']
    """

    def __init__(self, detector: Detector | None = None, known: Known | None = None, language: str = "en") -> None:
        self._detector = detector or Detector()
        self._known = known or Known((), 0, 0)
        super().__init__("EnsembleRecognizer", language)

    def found_in(self, text: str, folded: str) -> Iterable[PhiSpan]:
        """Return what is found."""
        return self._detector.find(text, self._known)


class FromPresidio:
    r"""A site's own Presidio recognizer as one of ours, for `TextScrubber(recognizers=...)`.

    Args:
        recognizer: A Presidio recognizer that needs no language model.
        categories: Its entity names to our categories; those of Presidio's own recognizers are known. An
            entity with no category becomes OTHERID, so that nothing found is left in the text.
        threshold: Scores below are not believed.

    >>> from presidio_analyzer import Pattern, PatternRecognizer
    >>> own = PatternRecognizer("BADGE", patterns=[Pattern("badge", r"B-\d{3}", 0.9)])
    >>> [tuple(s)[:3] for s in FromPresidio(own).spans("badge B-123", Known((), 0, 0))]
    [(6, 11, 'OTHERID')]
    """

    def __init__(
        self,
        recognizer: EntityRecognizer,
        categories: Mapping[str, str] | None = None,
        threshold: float = 0.35,
    ) -> None:
        self.name = f"presidio.{recognizer.name}"
        self._recognizer = recognizer
        self._categories = {**_FROM_PRESIDIO, **(categories or {})}
        self._threshold = threshold

    def spans(self, text: str, known: Known) -> Iterable[PhiSpan]:
        """Yield what the recognizer finds.

        Args:
            text: The text.
            known: Not looked at.
        """
        own = families()
        for result in self._recognizer.analyze(text, self._recognizer.supported_entities, None) or []:
            if result.score >= self._threshold:
                name = result.entity_type
                category = self._categories.get(name, name if name in own else "OTHERID")
                yield PhiSpan(result.start, result.end, category, self.name, float(result.score))
