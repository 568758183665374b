from __future__ import annotations

import pickle
import random
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mayo_data.keys import Secret
from mayo_data.phi.audit import Audit
from mayo_data.phi.text import Decision, Gazetteer, Known, TextScrubber, TextSettings
from mayo_data.types import Identifier, PhiSpan

SECRET = Secret(bytes(range(32)))
RECORD = [
    Identifier("PATIENT", "given", "Rose"),
    Identifier("PATIENT", "family", "Quennell"),
    Identifier("PATIENT", "full", "Mrs. Rose Quennell"),
    Identifier("RELATIVE", "full", "Tobin Quennell"),
    Identifier("STAFF", "full", "Dr. Marisa Okonjo"),
    Identifier("MRN", "value", "0048812"),
    Identifier("SSN", "value", "123-45-6789"),
    Identifier("PHONE", "value", "212-555-0143"),
    Identifier("STREET", "value", "1200 Larkspur Way"),
    Identifier("CITY", "value", "Ashburnham"),
    Identifier("DATE", "birth", "1956-03-04"),
]
KNOWN = Known(RECORD, 5, 11, "female")
SITE = Gazetteer(
    [
        Identifier("STAFF", "full", "Dr. Peter Vandermeer"),
        Identifier("STAFF", "full", "Long, Anna"),
        Identifier("HOSPITAL", "value", "Ashburnham Lakes"),
    ]
)
NOTE = (
    "PATIENT: QUENNELL, ROSE   MRN 48812  DOB 03/04/1956\n"
    "Mrs. Quennell, a 67-year-old from Ashburnham, was seen on Tuesday, March 7, 2023 with her son Tobin.\n"
    "She smelled a rose. Foley catheter out. BP 120/80. Call (212) 555-0143.\n"
    "Lives at 1200 Larkspur Way. SSN last four 6789. "
    "Seen at Ashburnham Lakes by P. Vandermeer and Dr. Okonjo.\n"
)


def scrubber(**options: str) -> TextScrubber:
    return TextScrubber(TextSettings(**options), SECRET, SITE)  # type: ignore[arg-type]


def test_nothing_known_is_left_and_medicine_stays() -> None:
    for options in ({}, {"replace": "tag"}, {"dates": "year"}):
        text, decisions = scrubber(**options).scrub(NOTE, KNOWN)
        assert Audit(RECORD, dates="all").leaks([text]) == []
        for kept in ("67-year-old", "smelled a rose", "Foley catheter", "BP 120/80"):
            assert kept in text
        assert "Vandermeer" not in text
        assert {d.category for d in decisions} >= {
            "PATIENT",
            "RELATIVE",
            "STAFF",
            "MRN",
            "DATE",
            "PHONE",
            "STREET",
            "SSN",
            "CITY",
        }
        assert all(isinstance(d, Decision) and 0 <= d.start < d.end <= len(NOTE) for d in decisions)
    assert "Saturday, March 18, 2023" in scrubber().scrub(NOTE, KNOWN)[0]


def test_tags_are_left_alone_the_second_time() -> None:
    tagger = scrubber(replace="tag")
    once, _ = tagger.scrub(NOTE, KNOWN)
    assert tagger.scrub(once, KNOWN) == (once, [])


_PARTS = st.sampled_from(
    "Mrs. Quennell|Rose|Dr. Long|on|3/4/21|March 4|in|Hospital|St.|,|\n|MRN 48812|Call|212-555-0143|wife|Tamsin"  # noqa: SIM905
    "|Ashby, MN 55901|Foley|94-year-old|10 mg|1200|Oak|Street|MD|Dear|room 12|:|-|Patient:|a@b.org|will|May".split("|")
)


@settings(max_examples=200)
@given(st.lists(_PARTS, max_size=14).map(" ".join))
def test_tagging_is_idempotent(text: str) -> None:
    tagger = scrubber(replace="tag")
    once, _ = tagger.scrub(text, KNOWN)
    assert tagger.scrub(once, KNOWN)[0] == once


@given(st.text(max_size=200))
def test_any_text_gives_sound_spans(text: str) -> None:
    at = 0
    for span in scrubber().find(text, KNOWN):
        assert at <= span.start < span.end <= len(text)
        at = span.end
    scrubber().scrub(text, KNOWN)


def test_surrogates_agree_between_workers_and_differ_between_keys() -> None:
    first, second = scrubber(), TextScrubber(TextSettings(), SECRET, pickle.loads(pickle.dumps(SITE)))
    assert first.scrub(NOTE, KNOWN) == second.scrub(NOTE, KNOWN)
    assert first.fingerprint == second.fingerprint
    other = TextScrubber(TextSettings(), Secret(bytes(32)), SITE)
    assert other.scrub(NOTE, KNOWN)[0] != first.scrub(NOTE, KNOWN)[0]
    assert other.fingerprint != first.fingerprint


def test_kept_categories_stay() -> None:
    settings_ = TextSettings(keep=frozenset({"DATE", "CITY"}))
    text, _ = TextScrubber(settings_, SECRET, SITE).scrub("In Ashburnham on March 7, 2023, in Ohio, 1998.", KNOWN)
    assert "March 7, 2023" in text
    assert "Ashburnham" in text
    assert "[STATE]" in text
    assert "1998" not in text


@pytest.mark.parametrize(
    "text", ["Quen\u200bnell", "Qu\u00adennell", "QUÉNNELL", "Quenne\u0301ll", "Ｑuennell", "Quеnnell"]
)
def test_hidden_letters_hide_no_name(text: str) -> None:
    assert scrubber(replace="tag").scrub(f"seen: {text} today", KNOWN)[0] == "seen: [PATIENT] today"


def test_hundreds_of_subjects_leave_nothing_that_the_audit_finds() -> None:
    dice = random.Random(7)
    given_names = ["May", "Will", "Rose", "Bo", "Anh", "José", "Jean-Luc", "Tamsin", "Marisa"]
    families = ["Young", "Long", "White", "Foley", "Ng", "O'Hara", "De La Cruz", "Smith-Jones", "Okonjo", "Quennell"]
    for number in range(400):
        a, b = dice.choice(given_names), dice.choice(families)
        ssn = f"{dice.randint(100, 899)}-{dice.randint(10, 99)}-{dice.randint(1000, 9999)}"
        mrn = f"{dice.randint(0, 10**8):08d}"
        record = [
            Identifier("PATIENT", "given", a),
            Identifier("PATIENT", "family", b),
            Identifier("SSN", "value", ssn),
            Identifier("MRN", "value", mrn),
            Identifier("DATE", "birth", "1956-03-04"),
        ]
        note = (
            f"{b}, {a}\n{a.upper()} {b.upper()}: {a} {b}'s mrn {mrn}, ssn {ssn.replace('-', '')} or {ssn}. "
            f"DOB 3/4/1956, born 4 Mar 1956. Dr. {dice.choice(families)} saw {a} {b[0]}. on 5/6/2021, "
            f"case {dice.randint(10**8, 10**9)}."
        )
        known = Known(record, number, dice.choice([-200, 30, 365]))
        for one in (scrubber(), scrubber(replace="tag")):
            assert Audit(record).leaks([one.scrub(note, known)[0]]) == []


def test_labels_are_scrubbed_and_cheap() -> None:
    one = scrubber(replace="tag")
    assert one.label("Hemoglobin A1c", KNOWN) == ("Hemoglobin A1c", [])
    for label, expected in (
        ("Quennell family note", "[PATIENT] family note"),
        ("Chart 0048812 copy", "Chart [MRN] copy"),
        ("tel 2125550143", "tel [PHONE]"),
        ("born 4 Mar 1956", "born [DATE]"),
        ("rose-Quennell", "[PATIENT]"),
    ):
        assert one.label(label, KNOWN)[0] == expected
        assert one.label(label, KNOWN)[0] == expected
    started = time.perf_counter()
    for _ in range(20_000):
        one.label("Hemoglobin A1c", KNOWN)
    assert (time.perf_counter() - started) / 20_000 < 5e-6


def test_a_site_adds_its_own_recognizer() -> None:
    class Badge:
        name = "badge"

        def spans(self, text: str, known: Known) -> Iterator[PhiSpan]:
            at = text.find("ZZ")
            if at >= 0:
                yield PhiSpan(at, at + 4, "OTHERID", self.name, 0.9)

    one = TextScrubber(TextSettings(replace="tag"), SECRET, Gazetteer([]), [Badge()])
    assert one.scrub("he wears ZZ77 here", KNOWN)[0] == "he wears [OTHERID] here"


def test_the_gazetteer_takes_a_large_site() -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    big = Gazetteer(
        Identifier("STAFF", "full", f"Dr. Gv{letters[i % 26]}{letters[i // 26 % 26]} Fm{letters[i // 676 % 26]}ax")
        for i in range(100_000)
    )
    one = TextScrubber(TextSettings(replace="tag"), SECRET, big)
    assert one.scrub("plan of Gvaa Fmaax noted", KNOWN)[0] == "plan of [STAFF] noted"


def test_neither_presidio_nor_spacy_is_loaded() -> None:
    code = (
        "import sys, mayo_data.phi.text; "
        "sys.exit(any(m in sys.modules for m in ('presidio_analyzer', 'spacy', 'pandas')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
