from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mayo_data.phi.training.moments import Moments
from mayo_data.phi.training.people import People, names
from mayo_data.phi.training.slots import Filler, spell
from mayo_data.phi.training.templates import FORMS, PLAIN, Slot, Template

ALL = [Slot(category, 0, form, "") for category, forms in FORMS.items() for form in ("", *sorted(forms))]


def template(*parts: str | Slot) -> Template:
    return Template("t", "s", "", parts)


@pytest.mark.parametrize("slot", ALL, ids=lambda slot: f"{slot.category}-{slot.form}")
def test_every_form_of_every_category_is_filled(slot):
    for seed in range(40):
        (piece,) = Filler(seed).fill(template(slot))
        assert piece.text.strip() == piece.text != ""
        assert (piece.category == "") == (slot.category in PLAIN)
        assert "\n" not in piece.text


@given(st.integers(0, 2**40))
def test_a_seed_writes_the_same_again_and_another_one_does_not(seed):
    parts = template(Slot("PATIENT", 1, "full", ""), " ", Slot("MRN", 0, "", ""), " ", Slot("DATE", 0, "", ""))
    assert Filler(seed).fill(parts) == Filler(seed).fill(parts) != Filler(seed + 1).fill(parts)


@given(st.integers(0, 2**40))
def test_one_number_is_one_person_and_another_number_another(seed):
    slots = [Slot("STAFF", 2, "full", ""), Slot("STAFF", 2, "last", ""), Slot("STAFF", 3, "full", "")]
    full, last, other = (piece.text for piece in Filler(seed).fill(template(*slots)))
    assert full.endswith(" " + last)
    assert full != other


@given(st.integers(0, 2**40))
def test_spans_are_what_was_filled(seed):
    parts = template(
        "Dr. ",
        Slot("STAFF", 0, "last", "upper"),
        " on ",
        Slot("DATE", 0, "", ""),
        ", age ",
        Slot("AGE", 0, "", ""),
        "\n",
    )
    pieces = Filler(seed).fill(parts)
    text, spans = spell(pieces)
    assert text == "".join(piece.text for piece in pieces)
    assert [(text[start:end], category) for start, end, category in spans] == [
        (piece.text, piece.category) for piece in pieces if piece.category
    ]
    assert pieces[1].text == pieces[1].text.upper()


@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        ("mdy", r"\d{1,2}/\d{1,2}/\d{4}"), ("iso", r"\d{4}[-/]\d\d[-/]\d\d"), ("military", r"\d\d ?[A-Z]{3} ?\d{2,4}"),
        ("hl7", r"\d{8}"), ("wd", r"[A-Z][a-z]{2,3}\.?"), ("day_ord", r"(?:the )?\d{1,2}(?:st|nd|rd|th)"),
        ("dots", r"\d{1,2}\.\d{1,2}\.\d{2,4}"), ("season", r"(?:[Ss]pring|[Ss]ummer|[Ff]all|[Ww]inter|[Aa]utumn) (?:of )?'?\d{2,4}"),
    ],
)  # fmt: skip
def test_a_date_has_its_form(form, pattern):
    import random

    for seed in range(100):
        moments = Moments(random.Random(seed))
        assert re.fullmatch(pattern, moments.write(moments.draw(form), form))


def test_names_come_from_many_origins_and_a_third_are_on_no_list():
    import random

    given_names, family = names()
    assert len(given_names) > 1500
    assert len(family) > 2500
    drawn = [People(random.Random(seed)).draw() for seed in range(3000)]
    assert len({person.family for person in drawn}) > 1800
    known = {name.lower() for name in family}
    single = [p.family.lower() for p in drawn if p.family.isascii() and p.family.isalpha()]
    unknown = sum(name not in known for name in single) / len(single)
    assert 0.15 < unknown < 0.5
