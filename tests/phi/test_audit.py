from __future__ import annotations

import pytest

from mayo_data.phi.audit import Audit
from mayo_data.types import Identifier

RECORD = [
    Identifier("PATIENT", "given", "May"),
    Identifier("PATIENT", "family", "Young"),
    Identifier("RELATIVE", "full", "José Muñoz"),
    Identifier("PATIENT", "family", "Koepp521"),
    Identifier("SSN", "value", "123-45-6789"),
    Identifier("PHONE", "value", "+1 (212) 555-0143"),
    Identifier("MRN", "value", "0048812"),
    Identifier("OTHERID", "value", "a1b2c3d4-e5f6-7788-99aa-bbccddeeff00"),
    Identifier("LICENSE", "value", "S99962177"),
    Identifier("EMAIL", "value", "may.y@mail.test"),
    Identifier("STREET", "value", "1200 Larkspur Way"),
    Identifier("CITY", "value", "Ashburnham"),
    Identifier("HOSPITAL", "value", "Saint Elsewhere Clinic"),
    Identifier("ZIP", "value", "55901-1234"),
    Identifier("DATE", "birth", "1956-03-04"),
]


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("MAY YOUNG", "PATIENT"),
        ("young, may", "PATIENT"),
        ("muñoz", "RELATIVE"),
        ("MUNOZ's", "RELATIVE"),
        ("koepp", "PATIENT"),
        ("Koepp521", "PATIENT"),
        ("id 123456789", "SSN"),
        ("id 123 45 6789", "SSN"),
        ("212.555.0143", "PHONE"),
        ("12125550143 (212)555-0143", "PHONE"),
        ("no. 00048812", "MRN"),
        ("mrn48812", "MRN"),
        ("A1B2C3D4E5F6778899AABBCCDDEEFF00", "OTHERID"),
        ("a1b2c3d4-e5f6-7788-99aa-bbccddeeff00", "OTHERID"),
        ("S999-62177", "LICENSE"),
        ("<May.Y@mail.test>", "EMAIL"),
        ("1200 LARKSPUR", "STREET"),
        ("of ashburnham", "CITY"),
        ("saint elsewhere clinic", "HOSPITAL"),
        ("55901", "ZIP"),
        ("DOB: 3/4/56", "DATE"),
        ("born on March 4th, 1956", "DATE"),
        ("date of birth 19560304", "DATE"),
    ],
)
def test_leaks(text: str, category: str) -> None:
    assert (1, category) in Audit(RECORD).leaks(["clean", text])


@pytest.mark.parametrize(
    "text",
    [
        "she may be young",
        "may 2021",
        "1234567890",
        "112345678",
        "4881",
        "12 00 larks",
        "seen 3/4/1956",
        "born 4/3/1956",
        "elsewhere",
        "way",
    ],
)
def test_clean(text: str) -> None:
    assert Audit(RECORD).leaks([text]) == []


def test_every_date_counts_where_dates_are_not_moved() -> None:
    assert Audit(RECORD, dates="all").leaks(["seen 1956-03-04", "4 Mar 1956", "3/5/1956"]) == [
        (0, "DATE"),
        (1, "DATE"),
    ]


def test_one_leak_a_category_and_text() -> None:
    assert Audit(RECORD).leaks(["Koepp Koepp 123-45-6789"]) == [(0, "PATIENT"), (0, "SSN")]


def test_a_month_is_no_name_and_a_visit_no_birthday() -> None:
    audit = Audit([Identifier("PATIENT", "given", "Jun-Hao"), Identifier("DATE", "birth", "2021-03-04")])
    assert audit.leaks(["seen 14JUN2022, better", "born 1/2/2020, seen 3/4/2021"]) == []
    assert audit.leaks(["Jun-Hao is better", "DOB: 03/04/2021"]) == [(0, "PATIENT"), (1, "DATE")]
