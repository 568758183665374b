"""Which units are public: UCUM terms and the printed units of clinical practice.

Units repeat on every number, and to a detector `mg/dL` looks like dictation initials and `/min` like a name. So what
is made of known units only is let through; anything else is a label like any other.
"""

from __future__ import annotations

import re
from functools import cache

from mayo_data import assets

_TERM = re.compile(r"[./\s*]+")
_FACTOR = re.compile(r"\d{1,4}(?:\.\d{1,4})?")
_ANNOTATION = re.compile(r"\{([^{}]+)\}")
_EXPONENT = re.compile(r"(?<=[A-Za-z\]*^'])\^?[+-]?\d{1,2}$")
_LONGEST = 60
_DIGITS = 6  # in all: seven make a telephone number


@cache
def is_public(unit: str) -> bool:
    """Return whether a unit is made of known units only.

    Args:
        unit: A UCUM code or a printed unit.

    >>> [is_public(unit) for unit in ("mg/dL", "10*3/uL", "/min", "m[H2O]", "kg/m2", "mL/min/1.73", "Smith", "{Jane}")]
    [True, True, True, True, True, True, False, False]
    >>> [is_public(unit) for unit in ("mL/min/{1.73_m2}", "mL/5551234567", "617.555.1234", "3/12/61")]
    [True, False, False, False]
    """
    if not unit or len(unit) > _LONGEST:
        return False
    unit = _ANNOTATION.sub(lambda found: f" {found[1].replace('_', ' ')} ", unit)  # what it says is judged as well
    terms = [term for term in _TERM.split(unit.replace("(", "").replace(")", "").replace("10*", "10^")) if term]
    if sum(char.isdigit() for char in unit) > _DIGITS or (len(terms) > 2 and all(map(_FACTOR.fullmatch, terms))):
        return False  # a telephone number or a date
    return bool(terms) and all(_is_term(term) for term in terms)


def _is_term(term: str) -> bool:
    if _FACTOR.fullmatch(term) or re.fullmatch(r"10\^\d{0,2}", term):
        return True
    bare = _EXPONENT.sub("", term)
    known = _known()
    return bare in known or term in known


@cache
def _known() -> frozenset[str]:
    listed = assets.toml("schemas", "fhir", "ucum.toml")
    prefixed = {prefix + unit for unit in listed["metric"] for prefix in listed["prefixes"]}
    words = {part for text in listed["printed"] for part in text.split()}
    return frozenset({*listed["metric"], *listed["plain"], *prefixed, *words})
