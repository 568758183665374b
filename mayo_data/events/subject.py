"""Events of a Patient resource: birth and death with their times, everything else static.

Race and ethnicity follow US Core: the OMB categories in an extension, as text where no category is given.
Sex, race, ethnicity, language, marital status, ZIP3 and state have no time: MEDS calls them static.
"""

from __future__ import annotations

from typing import Any

from mayo_data.events import codes, times
from mayo_data.events.elements import Json, whole
from mayo_data.events.rows import Rows

PATHS = (
    "gender",
    "birthDate",
    "deceasedDateTime",
    "deceasedBoolean",
    "maritalStatus",
    "communication.language",
    "address.postalCode",
    "address.state",
    "extension",
)
_US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"
_GROUPS = {f"{_US_CORE}race": "RACE", f"{_US_CORE}ethnicity": "ETHNICITY"}
_IMPLIED = ("urn:ietf:bcp:47", "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus")
"""Systems that FHIR R4 binds language and marital status to: LANGUAGE//en-US needs no vocabulary."""


def resource(raw: Json, origin: int, rows: Rows) -> str | None:
    """Append the events of one Patient; return the reason where it gives none.

    Args:
        raw: The de-identified resource.
        origin: Row of the batch that it came from.
        rows: Where events go.

    >>> rows = Rows()
    >>> resource(b'{"gender": "female", "birthDate": "1970"}', 0, rows)
    >>> [fact[0] for fact in rows.facts]
    ['MEDS_BIRTH', 'SEX//female']
    """
    body = whole(raw)
    if type(body) is not dict:
        return "no_facts"
    before = len(rows)
    birth = _moment(body.get("birthDate"))
    if birth:
        rows.add(origin, "MEDS_BIRTH", birth, available=birth[0])
    death = _moment(body.get("deceasedDateTime"))
    if death:
        rows.add(origin, "MEDS_DEATH", death, available=death[0])
    elif body.get("deceasedDateTime") is not None or body.get("deceasedBoolean") is True:
        rows.add(origin, "DEATH//UNKNOWN_TIME")
    gender = body.get("gender")
    if type(gender) is str and gender:
        rows.add(origin, f"SEX//{gender}")
    seen: set[tuple[str, str | None]] = set()
    for code, description, parents, text in _statics(body):
        if (code, text) not in seen:
            seen.add((code, text))
            rows.add(origin, code, value=(None, None, text, None), description=description, parents=parents)
    return None if len(rows) > before else "no_facts"


def _moment(value: Any) -> times.Moment | None:
    return times.parse(value) if type(value) is str else None


def _statics(body: dict[str, Any]) -> list[codes.Concept]:
    found: list[codes.Concept] = []
    for extension in _dicts(body.get("extension")):
        url = extension.get("url")
        if type(url) is not str:
            continue
        if url in _GROUPS:
            found += _group(_GROUPS[url], extension)
        elif url == f"{_US_CORE}birthsex":
            code = extension.get("valueCode")
            if type(code) is str and code:
                found.append((f"BIRTH_SEX//{code}", None, None, None))
    for element in _dicts(body.get("communication")):
        found += _concepts("LANGUAGE", element.get("language"))
    found += _concepts("MARITAL_STATUS", body.get("maritalStatus"))
    for address in _dicts(body.get("address")):
        for kind, key in (("ZIP3", "postalCode"), ("STATE", "state")):
            code = address.get(key)
            if type(code) is str and code:
                found.append((f"{kind}//{code}", None, None, None))
    return found


def _group(kind: str, extension: dict[str, Any]) -> list[codes.Concept]:
    found: list[codes.Concept] = []
    text = None
    for part in _dicts(extension.get("extension")):
        url = part.get("url")
        if url == "ombCategory":
            found += _concepts(kind, part.get("valueCoding"))
        elif url == "detailed":
            found += _concepts(f"{kind}_DETAILED", part.get("valueCoding"))
        elif url == "text" and type(part.get("valueString")) is str:
            text = part["valueString"]
    return found or ([(f"{kind}//TEXT", None, None, text)] if text else [])


def _concepts(kind: str, value: Any) -> list[codes.Concept]:
    return [
        (f"{kind}//{_short(tail)}", description, parents, text)
        for tail, description, parents, text in codes.concepts(value)
    ]


def _short(tail: str) -> str:
    for system in _IMPLIED:
        tail = tail.removeprefix(codes.prefix(system))
    return tail


def _dicts(value: Any) -> list[dict[str, Any]]:
    if type(value) is dict:
        return [value]
    return [one for one in value if type(one) is dict] if type(value) is list else []
