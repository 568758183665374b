"""The ensemble as a whole: what Presidio's users complain of, hostile texts, consistency, the merge."""

from __future__ import annotations

import multiprocessing
import pickle
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mayo_data.phi.detector import Detector
from mayo_data.phi.known import Known
from mayo_data.types import Identifier, PhiSpan


@pytest.fixture(scope="module", params=[None, "default"], ids=["patterns", "model"])
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


# What users of Presidio complain of


@pytest.mark.parametrize(
    "text",
    [
        "WBC 12.4, Hgb 9.8, platelets 210, sodium 138, potassium 4.1.",
        "Take 2 tablets 3 times a day for 10 days.",
        "Strength 5/5 in all extremities, reflexes 2+ throughout.",
        "BP 128/76, HR 88, RR 16, T 98.6, SpO2 97% on 2 L.",
    ],
)
def test_numbers_are_nobody(detector: Detector, text: str) -> None:
    assert pieces(detector, text) == []


@pytest.mark.parametrize("text", ["DR. JOHN SMITH SAW THE PATIENT IN CLINIC.", "seen by dr. john smith in clinic."])
def test_names_in_capitals_and_in_lower_case(detector: Detector, text: str) -> None:
    assert [piece.lower() for piece, _ in pieces(detector, text)] == ["john smith"]


@pytest.mark.parametrize(
    "text", ["Hgb A1 and A2 were normal.", "Fracture at T12 and L1.", "Give B12 and D3 daily, vitamin K1."]
)
def test_short_codes_are_no_driving_licences(detector: Detector, text: str) -> None:
    assert pieces(detector, text) == []


def test_overlapping_finds_become_one_span_so_no_text_is_corrupted(detector: Detector) -> None:
    text = (
        "Contact jane.doe@mercy-hospital.org or 212-555-0143 ext 12 (Mercy Hospital, 12 Main Street, Salem, OR 97301)."
    )
    spans = detector.detect([text])[0]
    sound(text, spans)
    for piece in ("jane.doe@mercy-hospital.org", "212-555-0143", "Mercy", "12 Main Street", "97301"):
        start = text.rindex(piece)
        assert any(s.start <= start and start + len(piece) <= s.end for s in spans), piece


def test_many_texts_at_once_give_what_one_by_one_gives(detector: Detector) -> None:
    texts = ["Dr. Okafor called.", "", "Nothing here.", "MRN 4471123, born 3/4/1950.", "x" * 300]
    assert detector.detect(texts) == [detector.detect([text])[0] for text in texts]


def _elsewhere(packed: bytes) -> list[list[PhiSpan]]:
    detector: Detector = pickle.loads(packed)
    return detector.detect(["Dr. Okafor called on 3/4/2021."])


def test_it_works_in_other_processes() -> None:
    packed = pickle.dumps(Detector())
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(_elsewhere, [packed]) == [_elsewhere(packed)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("MRN: 00447112", ("00447112", "MRN")),
        ("Accession # S21-4471", ("S21-4471", "OTHERID")),
        ("Medicare number 1EG4-TE5-MK73", ("1EG4-TE5-MK73", "HEALTHPLAN")),
        ("NPI 1234567893", ("1234567893", "LICENSE")),
        ("pacemaker serial number PJN447112S", ("PJN447112S", "DEVICE")),
        ("acct 99-447112", ("99-447112", "ACCOUNT")),
    ],
)
def test_identifiers_of_health_care_are_known(detector: Detector, text: str, wanted: tuple[str, str]) -> None:
    found = pieces(detector, text)
    assert [piece for piece, _ in found] == [wanted[0].lower() if text.islower() else wanted[0]]
    assert found[0][1] == wanted[1]


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
