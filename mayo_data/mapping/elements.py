"""FHIR elements as a map reads them: codings, references, moments, values. What is not as FHIR says is not there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta, timezone
from functools import cache
from typing import Any, NamedTuple

from mayo_data import assets

Json = dict[str, Any]

_MOMENT = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,12}))?)?(Z|[+-]\d\d:?\d\d)?)?)?)?", re.IGNORECASE
)


class Coding(NamedTuple):
    """A code that an element gives.

    Attributes:
        vocabulary: The `vocabulary_id` of its system; empty where OMOP knows no such system.
        code: The code; empty where only words are given.
        display: Its words, or empty.
    """

    vocabulary: str
    code: str
    display: str


class Moment(NamedTuple):
    """A day, and the time on it: midnight where none is given, as the CDM wants it."""

    day: date
    time: datetime


@cache
def data() -> Json:
    """Return `schemas/omop/from_fhir.toml`."""
    return assets.toml("schemas", "omop", "from_fhir.toml")


def words(value: Any) -> str:
    """Return a text, or an empty one."""
    return value if isinstance(value, str) else ""


def some(value: Any) -> list[Json]:
    """Return the elements of a list that are objects; an element that lost its brackets is a list of one.

    >>> some([{"a": 1}, None, 2]), some({"a": 1}), some("x")
    ([{'a': 1}], [{'a': 1}], [])
    """
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, dict)]


def first(value: Any) -> Json:
    """Return the first object of an element, or an empty one."""
    found = some(value)
    return found[0] if found else {}


def vocabulary_of(system: Any) -> str:
    """Return OMOP's name of a code system, or an empty text.

    >>> vocabulary_of("http://snomed.info/sct/731000124108/version/20230301"), vocabulary_of("urn:a")
    ('SNOMED', '')
    """
    if not isinstance(system, str):
        return ""
    plain = system.partition("|")[0].rstrip("/")
    if plain.startswith("http://snomed.info/sct/"):
        plain = "http://snomed.info/sct"
    found: str = data()["systems"].get(plain, "")
    return found


def codings(value: Any) -> list[Coding]:
    """Return the codings of CodeableConcepts, or of bare Codings, in their order, each once.

    >>> codings({"coding": [{"system": "http://loinc.org", "code": "2160-0"}], "text": "Creatinine"})
    [Coding(vocabulary='LOINC', code='2160-0', display='')]
    """
    found = []
    for concept in some(value):
        for one in some(concept["coding"]) if "coding" in concept else [concept]:
            code = words(one.get("code")).strip()
            if code:
                found.append(Coding(vocabulary_of(one.get("system")), code, words(one.get("display"))))
    return list(dict.fromkeys(found))


def text_of(value: Any) -> str:
    """Return the words of a CodeableConcept: its text, else the first display.

    >>> text_of({"coding": [{"code": "a", "display": "A"}]})
    'A'
    """
    for concept in some(value):
        text = words(concept.get("text"))
        if text:
            return text
        for one in some(concept["coding"]) if "coding" in concept else [concept]:
            if words(one.get("display")):
                return words(one["display"])
    return ""


def code_of(value: Any) -> str:
    """Return the first code of a CodeableConcept, a Coding or a bare code.

    >>> code_of("final"), code_of({"coding": [{"code": "active"}]}), code_of(None)
    ('final', 'active', '')
    """
    if isinstance(value, list) and value and isinstance(value[0], str):
        return words(value[0])
    if isinstance(value, str):
        return value
    found = codings(value)
    return found[0].code if found else ""


def moment(value: Any, clock: str = "wall") -> Moment | None:
    """Return the moment that a FHIR date, dateTime or instant names, or None.

    Args:
        value: The element.
        clock: `wall` keeps the time as written, `utc` moves it to UTC.

    >>> moment("2017-11-02T03:30:00+05:00", "utc").time.isoformat(), moment("2019-03").day.isoformat()
    ('2017-11-01T22:30:00', '2019-03-01')
    >>> moment("2019-02-30") is None
    True
    """
    match = _MOMENT.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        at = datetime(
            int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), min(int(second or 0), 59),
            int(f"{fraction or '':0<6}"[:6]), _zone(zone) if zone else UTC,
        )  # fmt: skip
        at = (at.astimezone(UTC) if clock == "utc" else at).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None
    return Moment(at.date(), at)


def _zone(written: str) -> timezone:
    if written in "Zz":
        return UTC
    sign = -1 if written[0] == "-" else 1
    return timezone(sign * timedelta(hours=int(written[1:3]), minutes=int(written[-2:])))


def earliest(element: Json, names: Iterable[str], clock: str) -> Moment | None:
    """Return the first of several elements that holds a moment; of a Period, its start.

    >>> earliest({"onsetPeriod": {"start": "2008"}}, ("onsetDateTime", "onsetPeriod"), "wall").day.year
    2008
    """
    for name in names:
        value = element.get(name)
        found = moment(value.get("start") if isinstance(value, dict) else value, clock)
        if found is not None:
            return found
    return None


def reference(value: Any, *types: str) -> str:
    """Return the id that a Reference points to, or an empty text where it points elsewhere.

    Args:
        value: The Reference.
        types: The resource types that it may point to; any where none is given, or where it does not say.

    >>> reference({"reference": "Patient/p1/_history/2"}, "Patient"), reference({"reference": "urn:uuid:p1"}, "Patient")
    ('p1', 'p1')
    >>> reference({"reference": "Organization/o1"}, "Practitioner")
    ''
    """
    one = first(value)
    target = words(one.get("reference")).partition("/_history/")[0]
    if not target or target.startswith("#"):
        return ""
    if target.startswith(("urn:uuid:", "urn:oid:")):
        said = words(one.get("type"))
        return target[9 if target.startswith("urn:uuid:") else 8 :] if not (said and types) or said in types else ""
    parts = target.rstrip("/").split("/")
    if len(parts) < 2 or (types and parts[-2] not in types):
        return ""
    return parts[-1]


def number(value: Any) -> float | int | None:
    """Return a number, or None for what is none: true is no number, nor is what a decimal cannot be.

    >>> number(5), number("5.5"), number(True), number("many")
    (5, 5.5, None, None)
    """
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        return value if abs(value) < 2**53 else float(value) if abs(value) < 10**300 else None
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if found == found and abs(found) != float("inf") else None


def extension(element: Json, url: str) -> list[Json]:
    """Return the extensions of an element that have a URL."""
    return [one for one in some(element.get("extension")) if one.get("url") == url]
