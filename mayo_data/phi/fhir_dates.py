"""Moves FHIR dates of every precision: the date rule of a policy on structured values.

The calendar part is looked up, the rest of the string (time, fraction, zone) stays as written, so that precision
and intervals survive and a date costs a fraction of a microsecond.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime

_TAIL = re.compile(r"T([01]\d|2[0-3]):[0-5]\d(:([0-5]\d|60)(\.\d{1,9})?)?(Z|[+-](0\d|1[0-4]):[0-5]\d)?")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_PARTIAL = re.compile(r"\d{4}(-(0[1-9]|1[0-2]))?")
_MOST = 200_000  # entries of a cache before it starts afresh

_ordinal: dict[str, int] = {}
_iso: dict[int, str] = {}
_tails: set[str] = {""}


def shift(text: str, days: int) -> str | None:
    """Return a FHIR date, dateTime or instant moved by whole days, or None where it is no date.

    A year or month alone moves as its first day would, and keeps its precision.

    Args:
        text: FHIR date, dateTime or instant.
        days: The subject's offset.

    >>> shift("2019-03-01T10:00:00.50+02:00", -1)
    '2019-02-28T10:00:00.50+02:00'
    >>> shift("2019", 40), shift("2019-12", 40), shift("soon", 1)
    ('2019', '2020-01', None)
    """
    day = text[:10]
    tail = text[10:]
    if tail not in _tails and not _known_tail(tail):
        return None
    ordinal = _ordinal.get(day)
    if ordinal is None:
        ordinal = _parse(day)
        if ordinal is None:
            return _shift_partial(text, days)
    moved = _iso.get(ordinal + days)
    if moved is None:
        moved = _format(ordinal + days)
        if moved is None:
            return None
    return moved + tail


def year(text: str, days: int = 0) -> str | None:
    """Return the year of a FHIR date alone (45 CFR 164.514(b)(2)(i)(C)), or None where it is no date.

    >>> year("2019-03-01T10:00:00Z")
    '2019'
    """
    return text[:4] if shift(text, 0) is not None else None


def keep(text: str, days: int = 0) -> str | None:
    """Return a FHIR date as it is, or None where it is no date."""
    return shift(text, 0)


def method(name: str) -> Callable[[str, int], str | None]:
    """Return the date rule of a policy by its name.

    >>> method("shift") is shift
    True
    """
    return {"shift": shift, "year": year, "keep": keep}[name]


def age_at(birth: str, at: str) -> int | None:
    """Return the age in whole years on a day, or None where a date is no date; partial dates count by year.

    >>> age_at("1930-05-02", "2020-05-01")
    89
    """
    first, second = _parse(birth[:10]), _parse(at[:10])
    if first is None or second is None:
        if birth[:4].isdecimal() and at[:4].isdecimal():
            return int(at[:4]) - int(birth[:4])
        return None
    born, then = date.fromordinal(first), date.fromordinal(second)
    return then.year - born.year - ((then.month, then.day) < (born.month, born.day))


def microseconds(text: str) -> int | None:
    """Return an instant in microseconds since 1970, or None where it is none; without an offset it is UTC.

    >>> microseconds("1970-01-01T00:00:01Z")
    1000000
    """
    try:
        moment = datetime.fromisoformat(text)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        return None


def _known_tail(tail: str) -> bool:
    if _TAIL.fullmatch(tail) is None:
        return False
    if len(_tails) > _MOST:
        _tails.clear()
        _tails.add("")
    _tails.add(tail)
    return True


def _parse(day: str) -> int | None:
    if _DAY.fullmatch(day) is None:
        return None
    try:
        ordinal = date(int(day[:4]), int(day[5:7]), int(day[8:])).toordinal()
    except ValueError:
        return None
    if len(_ordinal) > _MOST:
        _ordinal.clear()
    _ordinal[day] = ordinal
    return ordinal


def _format(ordinal: int) -> str | None:
    try:
        text = date.fromordinal(ordinal).isoformat()
    except (ValueError, OverflowError):
        return None
    if len(_iso) > _MOST:
        _iso.clear()
    _iso[ordinal] = text
    return text


def _shift_partial(text: str, days: int) -> str | None:
    if _PARTIAL.fullmatch(text) is None or text[:4] == "0000":
        return None
    moved = _format(date(int(text[:4]), int(text[5:7] or 1), 1).toordinal() + days)
    return moved[: len(text)] if moved else None
