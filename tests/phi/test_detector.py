"""The ensemble as a whole: hostile texts, consistency, the merge. See also `test_complaints.py`."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mayo_data.phi.detector import Detector
from mayo_data.phi.known import Known
from mayo_data.types import Identifier, PhiSpan


@pytest.fixture(scope="module", params=[None, "fast"], ids=["patterns", "model"])
def detector(request: pytest.FixtureRequest) -> Detector:
    return Detector(request.param)


def pieces(detector: Detector, text: str, known: object = None) -> list[tuple[str, str]]:
    return [(text[s.start : s.end], s.category) for s in detector.detect([text], known)[0]]  # type: ignore[arg-type]


def sound(text: str, spans: list[PhiSpan]) -> None:
    """Inside the text, sorted, never overlapping, never empty, never half a word or half a number."""
    end = 0
    for span in spans:
        assert end <= span.start < span.end <= len(text)
        end = span.end
        for a, b in ((span.start - 1, span.start), (span.end - 1, span.end)):
            if a >= 0 and b < len(text):
                assert not (text[a].isalpha() and text[b].isalpha())
                assert not (text[a].isdigit() and text[b].isdigit())


# Hostile texts


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "x", "7", "\n", "\x00", "\ud800", "😀", "é",
        "7" * 50_000, "a" * 50_000, "A " * 20_000, "1/1/" * 10_000, "((((" * 5_000, "." * 50_000, "\n" * 20_000,
        "Dr. \ud800\udc00 Smith \ud800", "Дмитрий Петров принят 03.04.2021", "患者王小明 seen 3/4/2021", "مريض Ahmad 3/4/2021",
        "J\u200bane D\u200doe, MRN 447\u200b1123", "<p>Dr.&nbsp;Okafor</p>", r"{\rtf1 Dr. Okafor\par}", "Dr. Okafor\r\nseen\r\n",
    ],
)  # fmt: skip
def test_any_text_gives_sound_spans(detector: Detector, text: str) -> None:
    sound(text, detector.detect([text])[0])


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(codec=None), max_size=200))
def test_whatever_comes_offsets_are_right(text: str) -> None:
    sound(text, Detector(model=None).detect([text])[0])


@pytest.mark.slow
def test_five_megabytes_in_one_text() -> None:
    text = "Seen by Dr. Okafor on 3/4/2021; Foley draining, WBC 12.4.\r\n" * 84_000
    began = time.monotonic()
    spans = Detector(model=None).detect([text])[0]
    assert len(spans) == 168_000
    assert time.monotonic() - began < 300  # a hang is found, a slow machine is not


def test_a_name_hidden_by_invisible_characters_is_found_at_its_own_place(detector: Detector) -> None:
    text = "Dr. O\u200bka\u200bfor"
    assert pieces(detector, text)[0][0] == "O\u200bka\u200bfor"


# Consistency


def test_a_name_found_once_is_found_everywhere_in_the_document(detector: Detector) -> None:
    text = "Seen by Dr. Zorblat.\n\nPlan as above.\n\nZorblat"
    assert [piece for piece, _ in pieces(detector, text)].count("Zorblat") == 2


def test_and_in_the_other_documents_of_the_subject() -> None:
    texts = ["Seen by Dr. Zorblat today.", "Plan reviewed. Zorblat agrees.", "Zorblat agrees."]
    found = Detector(model=None).detect(texts, subjects=["a", "a", "b"])
    assert [[text[s.start : s.end] for s in spans] for text, spans in zip(texts, found, strict=True)] == [
        ["Zorblat"], ["Zorblat"], []
    ]  # fmt: skip


def test_what_the_record_says_is_found_without_any_cue(detector: Detector) -> None:
    known = Known([Identifier("PATIENT", "full", "Zorblat Quixin"), Identifier("MRN", "value", "QX7719")], 1, 5)
    text = "ate well, zorblat walked, QX-7719, quixin denies pain"
    assert [piece for piece, _ in pieces(detector, text, known)] == ["zorblat", "QX-7719", "quixin"]
