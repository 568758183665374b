from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mayo_data.phi.sieve import reviewed
from mayo_data.phi.words import fold
from mayo_data.types import PhiSpan


def left(text: str, found: str, category: str, score: float = 0.7) -> list[str]:
    start = text.index(found)
    spans = reviewed(text, fold(text), [PhiSpan(start, start + len(found), category, "model", score)])
    return [text[span.start : span.end] for span in spans]


@pytest.mark.parametrize(
    ("text", "found", "category"),
    [
        ("suctioned with a Yankauer at bedside", "Yankauer", "PERSON"),
        ("Score 10/10 at discharge", "10/10", "DATE"),
        ("audiogram 15/20/45 on the left", "15/20/45", "DATE"),
        ("HCPCS A4615 cannula", "A4615", "OTHERID"),
        ("root 2.16.840.1.113883.4.1 in use", "2.16.840.1.113883.4.1", "OTHERID"),
        ("ferritin 232-1245 pg/mL", "232-1245", "PHONE"),
        ("She looks frail today", "frail", "PERSON"),
        ("Awaiting XFER to the ward", "XFER", "PERSON"),
        ("fracture of T12 seen", "T12", "OTHERID"),
        ("IgA 120 mg", "IgA", "OTHERID"),
        ("the MRN is below", "MRN", "OTHERID"),
        ("x" * 500, "x" * 500, "PERSON"),
    ],
)
def test_what_medicine_explains_stays_in_the_text(text: str, found: str, category: str) -> None:
    assert left(text, found, category) == []


@pytest.mark.parametrize(
    ("text", "found", "category", "wanted"),
    [
        ("seen by Ms. Yankauer today", "Yankauer", "PERSON", "Yankauer"),
        ("Foley, RN, called", "Foley", "PERSON", "Foley"),
        ("Grace walked", "Grace", "PERSON", "Grace"),
        ("MRN 447112", "MRN 447112", "OTHERID", "447112"),
        ("seen on 3/4 at", "on 3/4 at", "DATE", "3/4"),
        ("DXA 8/20/24 showed", "DXA 8/20/24", "DATE", "8/20/24"),
        ("the 9th of August", "the 9th of August", "DATE", "the 9th of August"),
        ("at Lake Hills Urgent Care on 3/4", "Lake Hills Urgent Care on", "HOSPITAL", "Lake Hills Urgent Care"),
        ("signed B Novak, DO", "B Novak, DO", "PERSON", "B Novak"),
        ("room T12 is free", "T12", "ROOM", "T12"),
        ("a 94 year old", "a 94", "AGE90", "94"),
    ],
)
def test_what_names_somebody_goes_without_what_stands_beside(text: str, found: str, category: str, wanted: str) -> None:
    assert left(text, found, category) == [wanted]


@given(st.text(max_size=60), st.data())
def test_nothing_is_ever_added(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    category = data.draw(st.sampled_from(["PERSON", "DATE", "OTHERID", "HOSPITAL", "ROOM", "AGE90", "EMAIL"]))
    for span in reviewed(text, fold(text), [PhiSpan(start, end, category, "model", 0.7)]):
        assert start <= span.start < span.end <= end
