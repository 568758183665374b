"""What users of Presidio complain of, a test each: what the stock engine does, and what ours does."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
import textwrap
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from mayo_data.errors import MayoDataError
from mayo_data.keys import Secret
from mayo_data.phi.detector import Detector
from mayo_data.phi.known import Known
from mayo_data.phi.text import Gazetteer, TextScrubber, TextSettings
from mayo_data.pipeline.texts import detect_file
from mayo_data.types import Identifier, PhiSpan

presidio = pytest.importorskip("presidio_analyzer")


@pytest.fixture(scope="module", params=[None, "fast"], ids=["patterns", "model"])
def detector(request: pytest.FixtureRequest) -> Detector:
    return Detector(request.param)


@pytest.fixture(scope="module")
def stock() -> Any:
    """Presidio with its default recognizers and a blank pipeline: no model, no network."""
    import spacy
    import tldextract
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    engine = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": "blank"}])
    engine.nlp = {"en": spacy.blank("en")}
    registry = presidio.RecognizerRegistry()
    registry.load_predefined_recognizers(languages=["en"], nlp_engine=engine)
    return presidio.AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"])


def pieces(detector: Detector, text: str, known: Known | None = None) -> list[tuple[str, str]]:
    return [(text[s.start : s.end], s.category) for s in detector.detect([text], known)[0]]


def entities(stock: Any, text: str) -> list[tuple[str, str]]:
    return [(text[found.start : found.end], found.entity_type) for found in stock.analyze(text, "en")]


@pytest.mark.parametrize(
    "text",
    [
        "WBC 12.4, Hgb 9.8, platelets 210, sodium 138, potassium 4.1.",
        "Take 2 tablets 3 times a day for 10 days.",
        "Strength 5/5 in all extremities, reflexes 2+ throughout.",
        "BP 128/76, HR 88, RR 16, T 98.6, SpO2 97% on 2 L.",
        "Glucose 110 fasting, 163 after meals; A1c 7.1.",
        "Dose 0.5 mg, then 1.5 mg, then 2.5 mg at 0800 1400 2000.",
    ],
)
def test_numbers_are_nobody(detector: Detector, text: str) -> None:
    assert pieces(detector, text) == []


@pytest.mark.parametrize(
    "text",
    [
        "DR. JOHN SMITH SAW THE PATIENT IN CLINIC.",
        "seen by dr. john smith in clinic.",
        "ATTENDING: JOHN SMITH, MD",
        "Dr. john SMITH agrees.",
    ],
)
def test_names_in_capitals_and_in_lower_case(detector: Detector, stock: Any, text: str) -> None:
    assert entities(stock, text) == []  # without a cased model there is nothing at all
    assert [piece.lower() for piece, _ in pieces(detector, text)] == ["john smith"]


def test_a_known_name_in_any_case_needs_no_cue(detector: Detector) -> None:
    known = Known([Identifier("PATIENT", "full", "Rose Quennell")], 1, 5)
    for text in ("ROSE QUENNELL ATE WELL", "rose quennell ate well", "quennell ate well", "pt. ROSE ate well"):
        assert [
            piece.lower() in ("rose quennell", "quennell", "rose") for piece, _ in pieces(detector, text, known)
        ] == [True]


@pytest.mark.parametrize(
    "text",
    [
        "Hgb A1 and A2 were normal.",
        "Fracture at T12 and L1.",
        "Give B12 and D3 daily, vitamin K1.",
        "C5 and C6 radiculopathy, T2 signal, stage N2.",
    ],
)
def test_short_codes_are_no_driving_licences(detector: Detector, stock: Any, text: str) -> None:
    assert "US_DRIVER_LICENSE" in {kind for _, kind in entities(stock, text)}
    assert pieces(detector, text) == []


def test_a_licence_is_found_where_it_is_one(detector: Detector) -> None:
    assert pieces(detector, "Driver's license D1234567") == [("D1234567", "LICENSE")]


def test_overlapping_finds_become_one_span_so_no_text_is_corrupted(detector: Detector, stock: Any) -> None:
    text = (
        "Contact jane.doe@mercy-hospital.org or 212-555-0143 ext 12 (Mercy Hospital, 12 Main Street, Salem, OR 97301)."
    )
    found = sorted(stock.analyze(text, "en"), key=lambda one: one.start)
    assert any(before.end > after.start for before, after in pairwise(found))  # an address and parts of it
    spans = detector.detect([text])[0]
    assert all(before.end <= after.start for before, after in pairwise(spans))
    whole = ("jane.doe@mercy-hospital.org", "212-555-0143 ext 12", "Mercy Hospital", "12 Main Street", "97301")
    assert set(whole) <= {text[span.start : span.end] for span in spans}
    scrubber = TextScrubber(TextSettings(replace="tag"), Secret(bytes(32)), Gazetteer([]))
    assert scrubber.scrub(text, Known((), 1, 5))[0] == (
        "Contact [EMAIL] or [PHONE] ([HOSPITAL], [STREET], [CITY], OR [ZIP])."
    )


def test_replacements_are_the_same_everywhere() -> None:
    known = Known([Identifier("PATIENT", "full", "Rose Quennell"), Identifier("MRN", "value", "4471123")], 7, -30)
    scrubbers = [TextScrubber(TextSettings(), Secret(bytes(32)), Gazetteer([])) for _ in range(2)]
    notes = ["Rose Quennell, MRN 4471123, seen by Dr. Okafor.", "QUENNELL, ROSE: Dr. Okafor, MRN 447-1123"]
    (first, _), (second, _) = (one.scrub(text, known) for one, text in zip(scrubbers, notes, strict=True))
    given, family = first.split(",")[0].split()
    assert second.startswith(f"{family}, {given}".upper())
    doctor = first.rsplit(" ", 1)[1].rstrip(".")
    assert f"Dr. {doctor}," in second
    assert first.split("MRN ")[1][:7] == second.split("MRN ")[1].replace("-", "")
    assert scrubbers[1].scrub(notes[0], known)[0] == first


def test_many_texts_at_once_give_what_one_by_one_gives(detector: Detector) -> None:
    texts = ["Dr. Okafor called.", "", "Nothing here.", "MRN 4471123, born 3/4/1950.", "x" * 300, "Dr. Okafor called."]
    together = detector.detect(texts)
    assert together == [Detector(detector._model).detect([text])[0] for text in texts]
    together[0].clear()  # an answer belongs to the caller
    assert detector.detect(texts[:1])[0] == together[5]


def _elsewhere(packed: bytes) -> list[list[PhiSpan]]:
    detector: Detector = pickle.loads(packed)
    return detector.detect(["Dr. Okafor called on 3/4/2021."])


def test_it_works_in_other_processes(tmp_path: Path) -> None:
    detector = Detector("fast")
    detector.detect(["Dr. Quennell called."])
    packed = pickle.dumps(detector)
    assert b"Quennell" not in packed  # what it read before is PHI, and stays
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(_elsewhere, [packed]) == [_elsewhere(packed)]
    source = tmp_path / "in.jsonl"
    source.write_bytes(b"\n".join(orjson.dumps({"id": at, "text": f"Dr. Okafor, bed {at}"}) for at in range(600)))
    for workers in (1, 2):
        detect_file(source, tmp_path / f"out{workers}.jsonl", model=None, workers=workers)
    assert (tmp_path / "out1.jsonl").read_bytes() == (tmp_path / "out2.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("text", "value", "category"),
    [
        ("MRN: 00447112", "00447112", "MRN"),
        ("Accession # S21-4471", "S21-4471", "OTHERID"),
        ("Medicare number 1EG4-TE5-MK73", "1EG4-TE5-MK73", "HEALTHPLAN"),
        ("NPI 1234567893", "1234567893", "LICENSE"),
        ("pacemaker serial number PJN447112S", "PJN447112S", "DEVICE"),
        ("acct 99-447112", "99-447112", "ACCOUNT"),
        ("Rx # 7714482", "7714482", "OTHERID"),
        ("DEA AB1234563", "AB1234563", "LICENSE"),
    ],
)
def test_identifiers_of_health_care_are_known(
    detector: Detector, stock: Any, text: str, value: str, category: str
) -> None:
    named = {kind for piece, kind in entities(stock, text) if piece == value} - {"MEDICAL_LICENSE"}
    assert named <= {"US_BANK_NUMBER", "US_DRIVER_LICENSE", "PHONE_NUMBER", "US_PASSPORT"}  # if anything, another thing
    assert pieces(detector, text) == [(value, category)]


_OFFLINE = """
import sys
calls = []
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        calls.append(event)
        raise OSError("no network here")
sys.addaudithook(watch)
text = "Mail jane.doe@mercy-hospital.org, see www.mercy.example.org, Dr. Okafor, 3/4/2021."
from mayo_data.phi.detector import Detector
found = {span.category for span in Detector("fast").detect([text])[0]}
assert {"EMAIL", "URL", "DATE"} <= found, found
assert not calls and "tldextract" not in sys.modules and "requests" not in sys.modules
from presidio_analyzer.predefined_recognizers import EmailRecognizer
EmailRecognizer().analyze(text, ["EMAIL_ADDRESS"])
print(len(calls))
"""


def test_nothing_is_looked_up_on_the_internet(tmp_path: Path) -> None:
    environment = {**os.environ, "TLDEXTRACT_CACHE": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_OFFLINE)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0  # stock asks the internet for the public suffix list


def test_no_error_carries_the_text(stock: Any, detector: Detector, tmp_path: Path) -> None:
    secret = "Zorblat Quixin"
    hostile = f"{secret}\ud800 called 212-555-0143"
    with pytest.raises(UnicodeEncodeError) as raised:
        stock.analyze(hostile, "en")
    assert "Quixin" in raised.value.object  # the name travels with the error
    assert [piece for piece, _ in pieces(detector, hostile)][-1] == "212-555-0143"
    source = tmp_path / "in.jsonl"
    for line in (
        f'{{"id": 1, "text": "{secret}"',
        f'{{"text": ["{secret}"]}}',
        f'{{"text": "x", "known": "{secret}"}}',
    ):
        source.write_text(line)
        with pytest.raises(MayoDataError) as refused:
            detect_file(source, tmp_path / "out.jsonl", model=None)
        shown = f"{refused.value} {refused.value.hint} {refused.value.__cause__!r}"
        assert "line 1" in shown
        assert not any(word in shown for word in secret.split())
    with pytest.raises(MayoDataError) as refused:
        detector.detect([secret], {"name": object()})
    assert secret not in str(refused.value)
