"""CodeableConcept and Coding to VOCABULARY//CODE.

One event a concept: the best coding is the code, the others are its `parent_codes`, and the display is its
description. Short vocabulary names come from `schemas/fhir/code_systems.toml`.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from mayo_data import assets

MASKED_SYSTEM = "urn:mayo-data:masked"
_MASKED = "MASKED//"
_MOST = 10_000  # systems remembered before the memory starts anew: bounded on any input

_prefixes: dict[str, str] = {}


Concept = tuple[str, str | None, list[str] | None, str | None]
"""Tail (VOCABULARY//CODE, or TEXT), description, the other codings, the text where that is all there is."""


def prefix(system: Any) -> str:
    """Return the short vocabulary name of a code system, with `//` after it.

    A system without a short name gets the last segment of its URI, in capitals; no system is `NOSYSTEM`.

    Args:
        system: `Coding.system`.

    >>> prefix("http://loinc.org"), prefix("http://a.org/fhir/CodeSystem/ward-codes")
    ('LOINC//', 'WARD_CODES//')
    """
    if type(system) is not str:
        return "NOSYSTEM//"
    known = _prefixes.get(system)
    if known is None:
        known = (_table().get(system) or _cleaned(system)) + "//"
        if len(_prefixes) > _MOST:
            _prefixes.clear()
        _prefixes[system] = known
    return known


@cache
def _table() -> dict[str, str]:
    systems = assets.toml("schemas", "fhir", "code_systems.toml")["system"]
    names = {entry["uri"]: entry["name"] for entry in systems if entry["name"] and not entry.get("prefix")}
    return {**names, MASKED_SYSTEM: "MASKED"}


def _cleaned(system: str) -> str:
    last = re.split(r"[/#]", system.partition("|")[0].rstrip("/#"))[-1]
    return re.sub(r"[^A-Z0-9]+", "_", last.upper()).strip("_") or "NOSYSTEM"


def concept(value: Any) -> Concept | None:
    """Return what a CodeableConcept, a Coding or a bare code says, or None where it says nothing.

    Args:
        value: The element. Of several codings the one that the user selected is the code, else the first that
            is not masked, else the first.

    >>> concept({"coding": [{"system": "http://loinc.org", "code": "2160-0", "display": "Creatinine"}]})
    ('LOINC//2160-0', 'Creatinine', None, None)
    >>> concept({"text": "left knee"})
    ('TEXT', None, None, 'left knee')
    """
    if type(value) is not dict:
        return (value, None, None, None) if type(value) is str and value else None
    codings = value.get("coding")
    text = value.get("text")
    if type(text) is not str or not text:
        text = None
    if type(codings) is not list:
        codings = [value] if codings is None else [codings]  # a bare Coding, or one that lost its brackets
    if len(codings) == 1:  # by far the most frequent: no list, no sorting
        coding = codings[0]
        if type(coding) is dict:
            code = coding.get("code")
            if type(code) is str and code:
                display = coding.get("display")
                if type(display) is not str or not display:
                    display = text
                system = coding.get("system")
                vocabulary = _prefixes.get(system) if type(system) is str else None
                return (vocabulary or prefix(system)) + code, display, None, None
    return _several(codings, text)


def _several(codings: list[Any], text: str | None) -> Concept | None:
    rows: list[tuple[str, str | None]] = []
    best = -1
    selected = False
    display_only = None
    for coding in codings:
        if type(coding) is not dict:
            continue
        code, display = coding.get("code"), coding.get("display")
        if type(display) is not str or not display:
            display = None
        if type(code) is not str or not code:
            display_only = display_only or display
            continue
        tail = prefix(coding.get("system")) + code
        if coding.get("userSelected") is True and not selected:
            best, selected = len(rows), True
        elif best < 0 and not tail.startswith(_MASKED):
            best = len(rows)
        rows.append((tail, display))
    if not rows:
        text = text or display_only
        return ("TEXT", None, None, text) if text else None
    tail, display = rows[max(best, 0)]
    parents = list(dict.fromkeys(other for other, _ in rows if other != tail))
    return tail, display or text or rows[0][1], parents or None, None


def concepts(value: Any) -> list[Concept]:
    """Return every different concept of an element that may repeat.

    >>> [c[0] for c in concepts([{"text": "a"}, {"text": "a"}, None])]
    ['TEXT']
    """
    if type(value) is not list:
        one = concept(value)
        return [one] if one else []
    found: dict[tuple[str, str | None], Concept] = {}
    for element in value:
        one = concept(element)
        if one:
            found.setdefault((one[0], one[3]), one)
    return list(found.values())


def answer(value: Any) -> str | None:
    """Return a coded value as text: `VOCABULARY//CODE//DISPLAY`, the display left out where there is none.

    The code comes first, so that a search by prefix finds the answer under any display.

    >>> answer({"coding": [{"system": "http://snomed.info/sct", "code": "8517006", "display": "Ex-smoker"}]})
    'SNOMED//8517006//Ex-smoker'
    """
    one = concept(value)
    if one is None:
        return None
    tail, description, _, text = one
    if text is not None:
        return text
    return f"{tail}//{description}" if description else tail


def plain_code(value: Any) -> str | None:
    """Return the bare code of a status element, be it a code or a CodeableConcept.

    >>> plain_code({"coding": [{"code": "resolved"}]}), plain_code("final")
    ('resolved', 'final')
    """
    if type(value) is str:
        return value or None
    if type(value) is list:
        value = value[0] if value else None
    if type(value) is not dict:
        return None
    codings = value.get("coding")
    for coding in codings if type(codings) is list else [value]:
        code = coding.get("code") if type(coding) is dict else None
        if type(code) is str and code:
            return code
    return None
