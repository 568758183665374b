from __future__ import annotations

import time

import pytest

from mayo_data.phi.patterns import find
from mayo_data.phi.spans import merge
from mayo_data.phi.words import fold

KEPT = ("YEAR", "STATE", "COUNTRY")


def spans(text: str) -> list[tuple[str, str]]:
    return [(s.category, text[s.start : s.end]) for s in merge(find(text, fold(text), KEPT), text)]


@pytest.mark.parametrize(
    ("text", "category", "value"),
    [
        ("Seen 2021-03-04 in clinic", "DATE", "2021-03-04"),
        ("at 2021-03-04T10:11:12+02:00 ok", "DATE", "2021-03-04T10:11:12+02:00"),
        ("|20210304101112|", "DATE", "20210304101112"),
        ("dob: 3/4/56", "DATE", "3/4/56"),
        ("on 28.02.2021", "DATE", "28.02.2021"),
        ("since 03/04 she", "DATE", "03/04"),
        ("done on March 3–5", "DATE", "March 3–5"),
        ("on Mar 3rd", "DATE", "Mar 3rd"),
        ("on 04MAR2021", "DATE", "04MAR2021"),
        ("4-Mar-56", "DATE", "4-Mar-56"),
        ("in March 2021", "DATE", "March 2021"),
        ("since last October", "DATE", "October"),
        ("seen on Tuesday", "DATE", "Tuesday"),
        ("ill since Christmas", "DATE", "Christmas"),
        ("a 94-year-old woman", "AGE90", "94"),
        ("a 101 yo man", "AGE90", "101"),
        ("ninety-two year old", "AGE90", "ninety-two"),
        ("Phone (212) 555-0143 x12", "PHONE", "(212) 555-0143 x12"),
        ("call +44 20 7946 0958 please", "PHONE", "+44 20 7946 0958"),
        ("Fax: 212-555-0143", "FAX", "212-555-0143"),
        ("pager 4-1234", "PHONE", "4-1234"),
        ("write jo.b+x@example.co.uk.", "EMAIL", "jo.b+x@example.co.uk"),
        ("see https://portal.example.com/a?b=1.", "URL", "https://portal.example.com/a?b=1"),
        ("from 10.1.2.33", "IP", "10.1.2.33"),
        ("at 2001:db8::1 now", "IP", "2001:db8::1"),
        ("00:1B:44:11:3A:B7", "IP", "00:1B:44:11:3A:B7"),
        ("SSN 123-45-6789", "SSN", "123-45-6789"),
        ("ssn ending in 6789", "SSN", "6789"),
        ("xxx-xx-6789", "SSN", "xxx-xx-6789"),
        ("MRN: 0048812", "MRN", "0048812"),
        ("Acct # 88123-44", "ACCOUNT", "88123-44"),
        ("Member ID: XKZ123456789", "HEALTHPLAN", "XKZ123456789"),
        ("1EG4-TE5-MK73", "HEALTHPLAN", "1EG4-TE5-MK73"),
        ("NPI 1234567893", "LICENSE", "1234567893"),
        ("DEA AB1234563", "LICENSE", "AB1234563"),
        ("Serial: PJN123456H", "DEVICE", "PJN123456H"),
        ("accession S21-14455", "OTHERID", "S21-14455"),
        ("Claim #: 99812-A", "OTHERID", "99812-A"),
        ("Room 412B, calm", "ROOM", "412B"),
        ("1200 N Main Street, Apt 4B", "STREET", "1200 N Main Street, Apt 4B"),
        ("P.O. Box 551", "STREET", "P.O. Box 551"),
        ("Ashby, MN 55901", "CITY", "Ashby"),
        ("Ashby, MN 55901", "ZIP", "55901"),
        ("in Otter Tail County", "COUNTY", "Otter Tail"),
        ("at St. Brigid Hospital today", "HOSPITAL", "St. Brigid Hospital"),
        ("sent to Larkfield Nursing Home", "HOSPITAL", "Larkfield Nursing Home"),
        ("Dr. Quennell agrees", "STAFF", "Quennell"),
        ("dr. quennell agrees", "STAFF", "quennell"),
        ("Dr. Long agrees", "STAFF", "Long"),
        ("Attending: Marisa Okonjo, MD", "STAFF", "Marisa Okonjo"),
        ("Patient: Okonjo, Marisa T.", "PATIENT", "Okonjo, Marisa T"),
        ("her wife Tamsin cooks", "RELATIVE", "Tamsin"),
        ("Tobin Quennell, RN", "STAFF", "Tobin Quennell"),
        ("Dear Tamsin,\nall well", "STAFF", "Tamsin"),
        ("Electronically signed by Tobin Quennell", "STAFF", "Tobin Quennell"),
        ("PID|1||448812^^^A|QUENNELL^TOBIN^R|", "PATIENT", "QUENNELL^TOBIN^R"),
        ("note\nTQ/mk\n", "USERNAME", "TQ/mk"),
        ("username: tquenn4", "USERNAME", "tquenn4"),
    ],
)
def test_found(text: str, category: str, value: str) -> None:
    assert (category, value) in spans(text)


@pytest.mark.parametrize(
    "text",
    [
        "Strength 5/5, 3/5 on the left, pain 7/10, BP 120/80, vision 20/40, take 1/2 tab.",
        "Babinski negative, Foley catheter placed, Parkinson disease, Apgar 8 and 9, Wells score 3.",
        "Sodium 140, WBC 12.4, INR 2.1, platelets 250,000; lisinopril 10 mg daily for 3 weeks.",
        "L4-L5 and C5-C6, T12 fracture, CD34, H1N1, COVID-19, B12 level, stage IIIB, grade 2/6 murmur.",
        "A 67-year-old man in 1998; she may march; the patient will return in 2 weeks.",
        "Assessment and Plan: Continue Metoprolol. Follow up with Cardiology Clinic. Physical Exam: Normal.",
        "Transferred to the Emergency Department. Home Health ordered. Medical Center staff.",
        "Code 80146002 (SNOMED code 80146002), LOINC 4548-4, ICD-10 E11.9",
        "temp 98 F, HR 92, sat 94%, GCS 15",
    ],
)
def test_kept(text: str) -> None:
    assert [s for s in spans(text) if s[1] != "80146002"] == []


@pytest.mark.parametrize(
    "unit",
    [
        "1",
        "a/",
        " ",
        "A ",
        "Dr. ",
        "1/",
        "St. ",
        "Aa-",
        "x@",
        "a.",
        "9-",
        "Mar ",
        "\n",
        "Hospital ",
        "(1",
        "é",
        "::",
        "12 Oak ",
    ],
)
def test_hostile_text_takes_linear_time(unit: str) -> None:
    text = unit * (200_000 // len(unit))
    started = time.process_time()  # a busy machine does not count
    merge(find(text, fold(text), KEPT), text)
    assert time.process_time() - started < 6
