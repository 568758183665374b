from __future__ import annotations

import pytest

presidio = pytest.importorskip("presidio_analyzer")

import spacy  # noqa: E402
from presidio_analyzer.nlp_engine import NlpEngine, SpacyNlpEngine  # noqa: E402

from mayo_data.keys import Secret  # noqa: E402
from mayo_data.phi.presidio import FromPresidio, KnownIdentifierRecognizer, PatternsRecognizer  # noqa: E402
from mayo_data.phi.text import Gazetteer, Known, TextScrubber, TextSettings  # noqa: E402
from mayo_data.types import Identifier  # noqa: E402


def _blank() -> NlpEngine:
    """A blank spaCy pipeline: no model, no network."""
    engine = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": "blank"}])
    engine.nlp = {"en": spacy.blank("en")}
    return engine


def test_our_parts_work_in_a_stock_analyzer_engine() -> None:
    registry = presidio.RecognizerRegistry(recognizers=[], supported_languages=["en"])
    registry.add_recognizer(PatternsRecognizer())
    registry.add_recognizer(KnownIdentifierRecognizer([Identifier("PATIENT", "full", "Rose Quennell")]))
    analyzer = presidio.AnalyzerEngine(registry=registry, nlp_engine=_blank(), supported_languages=["en"])
    text = "QUENNELL, ROSE was seen on 2021-03-04. MRN 4471123."
    found = {(r.entity_type, text[r.start : r.end]) for r in analyzer.analyze(text, language="en")}
    assert found >= {("PATIENT", "QUENNELL, ROSE"), ("DATE", "2021-03-04"), ("MRN", "4471123")}
    assert {r.entity_type for r in analyzer.analyze(text, language="en", entities=["MRN"])} == {"MRN"}


def test_a_presidio_recognizer_works_in_ours() -> None:
    badge = presidio.PatternRecognizer("BADGE", patterns=[presidio.Pattern("badge", r"B-\d{3}", 0.9)])
    person = presidio.PatternRecognizer("PERSON", deny_list=["Tamsin"])
    parts = [FromPresidio(badge, {"BADGE": "USERNAME"}), FromPresidio(person)]
    scrubber = TextScrubber(TextSettings(replace="tag"), Secret(bytes(32)), Gazetteer([]), parts)
    assert scrubber.scrub("ask Tamsin for B-123", Known((), 1, 2))[0] == "ask [PERSON] for [USERNAME]"
