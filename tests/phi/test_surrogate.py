from __future__ import annotations

import re
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mayo_data import assets
from mayo_data.keys import Secret
from mayo_data.phi import dates
from mayo_data.phi.known import Known
from mayo_data.phi.surrogate import Surrogates, moved
from mayo_data.phi.text import Gazetteer, TextScrubber, TextSettings
from mayo_data.phi.words import fold
from mayo_data.types import Identifier

SECRET = Secret(bytes(range(32)))
KNOWN = Known(
    [
        Identifier("PATIENT", "given", "William"),
        Identifier("PATIENT", "family", "Quennell"),
        Identifier("SSN", "value", "123-45-6789"),
        Identifier("PHONE", "value", "212-555-0143"),
        Identifier("MRN", "value", "0048812"),
    ],
    99,
    17,
    "male",
)
S = Surrogates(SECRET)


def test_the_same_person_gets_the_same_name_in_every_form() -> None:
    given_name, family = S.make("PATIENT", "name", "William Quennell", KNOWN).split()
    assert S.make("PATIENT", "name", "QUENNELL, WILLIAM", KNOWN) == f"{family}, {given_name}".upper()
    assert S.make("PATIENT", "name", "W. Quennell", KNOWN) == f"{given_name[0]}. {family}"
    assert S.make("PATIENT", "name", "quennell", KNOWN) == family.lower()
    assert S.make("PATIENT", "name", "Bill", KNOWN) == given_name
    assert S.make("PATIENT", "name", "Quennel", KNOWN) == family  # a typo is still he
    assert "William" not in given_name
    assert "Quennell" not in family


def test_names_keep_their_sex_and_differ_between_subjects() -> None:
    other = Known([Identifier("PATIENT", "full", "William Quennell")], 100, 5, "male")
    names = {S.make("PATIENT", "name", "William Quennell", known) for known in (KNOWN, other)}
    assert len(names) == 2
    assert S.make("STAFF", "name", "Okonjo", KNOWN) == S.make("STAFF", "name", "Okonjo", other)


def test_numbers_keep_their_form() -> None:
    ssn = S.make("SSN", "ssn", "123-45-6789", KNOWN)
    assert ssn[0] == "9"
    assert ssn[3] == ssn[6] == "-"
    assert S.make("SSN", "ssn", "xxx-xx-6789", KNOWN) == f"xxx-xx-{ssn[-4:]}"
    assert S.make("SSN", "ssn", "6789", KNOWN) == ssn[-4:]
    phone = S.make("PHONE", "phone", "(212) 555-0143", KNOWN)
    assert phone[6:12] == "555-01"
    assert phone.replace("(", "").replace(") ", "-") == S.make("PHONE", "phone", "212-555-0143", KNOWN)
    assert "212-555-0143" not in phone
    mrn = S.make("MRN", "id", "0048812", KNOWN)
    assert mrn.startswith("00")
    assert len(mrn) == 7
    assert S.make("MRN", "id", "48812", KNOWN) == mrn[2:]
    assert S.make("EMAIL", "email", "a@b.org", KNOWN).endswith("@example.org")
    assert S.make("URL", "url", "https://x.org/1", KNOWN).startswith("https://example.org/")
    assert S.make("HOSPITAL", "facility", "ST. BRIGID HOSPITAL", KNOWN).endswith(" HOSPITAL")
    assert S.make("AGE90", "age", "94", KNOWN) == "90+"


@given(st.text(alphabet="0123456789AZaz-/. ", min_size=1, max_size=24))
def test_any_id_keeps_digits_letters_and_separators(text: str) -> None:
    made = S.make("OTHERID", "id", text, KNOWN)
    assert len(made) == len(text)
    for old, new in zip(text, made, strict=True):
        assert old.isdigit() == new.isdigit()
        assert old.isupper() == new.isupper()
        assert old.isalnum() or old == new


_PADDED = re.compile(r"(?<!\d)0(?=\d(?!\d))")
_FORMS = [
    "%Y-%m-%d",
    "%m/%d/%Y",
    "%m/%d/%y",
    "%B %d, %Y",
    "%b %d %Y",
    "%d %b %Y",
    "%Y%m%d",
    "%d%b%Y",
    "%A, %B %d, %Y",
    "%Y-%m-%dT10:11:12Z",
]


@given(st.dates(date(1945, 1, 1), date(2030, 12, 31)), st.integers(-365, 365), st.sampled_from(_FORMS))
def test_dates_move_exactly_in_their_own_form(day: date, days: int, form: str) -> None:
    if "%b" in form and day.month == 5:
        return  # May is both the short and the full form
    moved_text = dates.move(day.strftime(form), days) or ""
    expected = (day + timedelta(days)).strftime(form)
    # Whether `March 10` would write the third as 3 or 03 nobody can tell.
    assert _PADDED.sub("", moved_text) == _PADDED.sub("", expected)


@pytest.mark.parametrize(
    ("text", "days", "expected"),
    [
        ("Tuesday", 1, "Wednesday"),
        ("TUE 3/4", 3, "FRI 3/7"),
        ("March 3–5", 30, "April 2–4"),
        ("March 30-31", 2, "April 1-2"),
        ("Mar 3rd", 19, "Mar 22nd"),
        ("the 3rd of March", 1, "the 4th of March"),
        ("Christmas", 1, "December 26"),
        ("3/4/21", 30, "4/3/21"),
        ("03/04", 30, "04/03"),
        ("May", 365, "May"),
        ("20210304101112", -4, "20210228101112"),
        ("25.12.2020", 10, "04.01.2021"),
        ("no date", 1, None),
        ("99/99/9999", 1, None),
    ],
)
def test_written_forms(text: str, days: int, expected: str | None) -> None:
    assert dates.move(text, days) == expected


def test_what_cannot_be_moved_is_tagged() -> None:
    assert moved("9999-12-31", "shift", 10) == ("[DATE]", "tag")
    assert moved("Tuesday", "year", 0) == ("[DATE]", "tag")
    assert moved("4-Mar-56", "year", 0) == ("1956", "generalise")
    assert moved("March 30-31", "year", 0) == ("[DATE]", "tag")


@pytest.mark.parametrize("name", ["Xanthorel", "Emily", "Boris", "Xanthorel Quixin"])
def test_what_a_worker_met_before_changes_nothing(name: str) -> None:
    """Another number of workers, another order of texts: the same surrogate."""
    known = Known([], 7, 3)
    wanted = {
        sex: Surrogates(Secret(bytes(32)), {}.get).make("STAFF", "name", name, known, sex) for sex in ("F", "M", None)
    }
    for order in (("F", "M", None), ("M", None, "F"), (None, "F", "M")):
        met = Surrogates(Secret(bytes(32)), {}.get)
        assert {sex: met.make("STAFF", "name", name, known, sex) for sex in order} == wanted


@pytest.mark.parametrize(
    ("category", "text", "sex"),
    [
        ("PATIENT", "Katarzyna", "F"),
        ("STAFF", "Oluwaseun", None),
        ("RELATIVE", "Zorblat", None),
        ("PERSON", "ANGELINA", "F"),
    ],
)
def test_a_given_name_alone_gets_a_given_name(category: str, text: str, sex: str | None) -> None:
    made = fold(S.make(category, "name", text, Known((), 3, 4)))
    given_names = {fold(name): kind for kind in "FM" for name in listed(f"given_{'female' if kind == 'F' else 'male'}")}
    assert made in given_names
    assert sex in (None, given_names[made])


def listed(key: str) -> list[str]:
    names: str = assets.toml("schemas", "phi", "surrogates", "names.toml")[key]
    return names.split()


def test_a_word_alone_is_what_the_document_shows_it_to_be() -> None:
    scrubber = TextScrubber(TextSettings(), SECRET, Gazetteer([]))
    known = Known((), 3, 4)
    text = "Seen by Lee Gregory, MD.\n\nDr. Gregory agrees.\n\nThanks,\nGregory"
    out, decisions = scrubber.scrub(text, known)
    assert len(decisions) == 3
    full = out[len("Seen by ") :].split(",")[0]
    assert full.split()[-1] not in {fold(name) for name in listed("given_female") + listed("given_male")}
    assert out.count(full.split()[-1]) == 3
