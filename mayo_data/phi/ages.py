"""Ages and birth dates that stand as the value of an Observation.

45 CFR 164.514(b)(2)(i)(C): all ages over 89 may only be told as one group of 90 or older, and so may no element of a
date that tells such an age.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from mayo_data.phi.actions import Actions, encode, parse

# LOINC: age, age at time of study, age calculated; date of birth.
_AGE = re.compile(rb'"(?:30525-0|21612-7|29553-5)"')
_BIRTH = re.compile(rb'"21112-8"')
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_A_YEAR = {
    "mo": "12", "month": "12", "months": "12", "wk": "52.18", "week": "52.18", "weeks": "52.18", "d": "365.25",
    "day": "365.25", "days": "365.25", "h": "8766", "hour": "8766", "hours": "8766", "min": "525960",
}  # fmt: skip
_YEARS = {"unit": "a", "system": "http://unitsofmeasure.org", "code": "a"}


def grouped(clean: dict[str, Any], code: bytes, actions: Actions, top: int) -> dict[str, Any]:
    """Return an Observation, or a component of one, whose value tells no age over the top age.

    Args:
        clean: What the scrub left of it.
        code: Its `code`, as written in the source.
        actions: The current subject, and where is counted.
        top: The top age, in years; 0 groups nothing.
    """
    if not top:
        return clean
    if _AGE.search(code):
        return {name: _value(name, value, actions, top) for name, value in clean.items()}
    birth = actions.subject.birth
    if birth is not None and _BIRTH.search(code):
        actions.counts["phi/AGE90/generalise"] += 1
        kept = {name: value for name, value in clean.items() if not name.startswith("value")}
        return {**kept, "valueDateTime": birth}
    return clean


def _value(name: str, value: Any, actions: Actions, top: int) -> Any:
    if not name.startswith("value"):
        return value
    plain = parse(encode(value))
    done = _capped(plain, top)
    if done == plain:
        return value
    actions.counts["phi/AGE90/generalise"] += 1
    return done


def _capped(value: Any, top: int) -> Any:
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return top + 1 if value > top else value
    if isinstance(value, str):
        return _NUMBER.sub(lambda found: str(top + 1) if Decimal(found[0]) > top else found[0], value)
    if isinstance(value, dict) and "value" in value:
        unit = str(value.get("code", value.get("unit", "a"))).lower()
        years = Decimal(value["value"]) / Decimal(_A_YEAR.get(unit, "1"))
        return {"value": top + 1, **_YEARS} if years > top else value
    if isinstance(value, dict):
        return {name: _capped(inner, top) if name in ("low", "high") else inner for name, inner in value.items()}
    return value
