"""FHIR date, dateTime and instant to microseconds, without a datetime object on the way.

A timeline holds one to three times an event, so this is the most called code of the stage. Days, clock times
and endings (fraction and zone) are looked up once parsed; only a new one meets a regular expression.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Any

from mayo_data.events.elements import Memory, whole

Moment = tuple[int, str, int | None]
"""Microseconds since 1970 UTC, precision (year, month, day, second), minutes east of UTC where given."""

Period = tuple[Moment | None, Moment | None]
"""Start and end of an element; of a single time the first alone."""

_START = b'{"start":"'
_LEAD = len(_START)
_MOST = 100_000  # entries a cache may hold before it starts anew: bounded on any input
_EPOCH = date(1970, 1, 1).toordinal()
_DAY = 86_400_000_000
_SPAN = {"second": 0, "day": _DAY, "month": 31 * _DAY, "year": 366 * _DAY}

_DATE = re.compile(rb"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?")
_CLOCK = re.compile(rb"T([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d|60))?")
_ENDING = re.compile(rb"(?:\.(\d{1,12}))?(?:(Z|z)|([+-])(\d\d):?([0-5]\d))?")
_LONGEST_OFFSET = 14 * 60  # FHIR R4, datatypes, dateTime: zones reach from -14:00 to +14:00

_dates: dict[bytes, Moment] = {}
_clocks: dict[bytes, int] = {}
_endings: dict[bytes, tuple[int, int | None]] = {}


def parse(text: str) -> Moment | None:
    """Return the moment that a FHIR date, dateTime or instant names, or None where it names none.

    A partial date stands for its first instant, its precision beside it; without a zone it is UTC.

    Args:
        text: For example `2019`, `2019-03`, `2019-03-05`, `2019-03-05T10:11:12.530+02:00`.

    >>> parse("1970-01-01T00:00:01.5+00:30")
    (-1798500000, 'second', 30)
    >>> parse("1971")
    (31536000000000, 'year', None)
    >>> parse("1971-02-30") is None
    True
    """
    return _parse(text.encode("utf-8", "replace"))


def _parse(text: bytes) -> Moment | None:
    if len(text) < 11:
        return _dates.get(text) or _new_date(text)
    day = _dates.get(text[:10]) or _new_date(text[:10])
    if day is None:
        return None
    clock = _clocks.get(text[10:19])
    if clock is None:
        return _rare(day[0], text[10:])
    ending = _endings.get(text[19:]) or _new_ending(text[19:])
    if ending is None:
        return None
    return day[0] + clock + ending[0], "second", ending[1]


def _new_date(text: bytes) -> Moment | None:
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day = match.groups()
    try:
        ordinal = date(int(year), int(month or 1), int(day or 1)).toordinal()
    except ValueError:
        return None
    moment = ((ordinal - _EPOCH) * _DAY, "day" if day else "month" if month else "year", None)
    if len(_dates) > _MOST:
        _dates.clear()
    _dates[text] = moment
    return moment


def _rare(day: int, rest: bytes) -> Moment | None:
    """Read a clock time not met before, or one without seconds, which FHIR forbids and exports have."""
    match = _CLOCK.match(rest)
    if match is None:
        return None
    hours, minutes, seconds = match.groups()
    clock = (int(hours) * 3600 + int(minutes) * 60 + int(seconds or 0)) * 1_000_000
    ending = _new_ending(rest[match.end() :])
    if ending is None:
        return None
    if seconds:  # at most 86,460 of them
        _clocks[match.group()] = clock
    return day + clock + ending[0], "second", ending[1]


def _new_ending(text: bytes) -> tuple[int, int | None] | None:
    match = _ENDING.fullmatch(text)
    if match is None:
        return None
    fraction, zulu, sign, hours, minutes = match.groups()
    micros = int(fraction[:6].ljust(6, b"0")) if fraction else 0
    offset = 0 if zulu else None
    if sign:
        offset = int(hours) * 60 + int(minutes)
        if offset > _LONGEST_OFFSET:
            return None
        offset = -offset if sign == b"-" else offset
    ending = (micros - (offset or 0) * 60_000_000, offset)
    if len(_endings) > _MOST:
        _endings.clear()
    _endings[text] = ending
    return ending


def read(raw: bytes) -> Period:
    """Read a time element as `period` does, from its bytes: the two usual forms are not decoded.

    >>> read(b'{"start":"1970","end":"1970-01-02"}')
    ((0, 'year', None), (86400000000, 'day', None))
    """
    if raw[:1] == b'"':
        return _quoted[raw], None
    if raw[:_LEAD] == _START:
        start, _, end = raw[_LEAD:-2].partition(b'","end":"')
        first, last = _parse(start), _parse(end)
        if first and last:
            return first, last
    return period(whole(raw))


_quoted: Memory[Moment | None] = Memory(lambda raw: _parse(raw[1:-1]))


def period(value: Any) -> Period:
    """Return start and end of what FHIR puts in a time element: a dateTime, Period, Timing, or several.

    >>> period({"end": "1970-01-02"})
    ((86400000000, 'day', None), (86400000000, 'day', None))
    >>> period({"repeat": {"boundsPeriod": {"start": "1970"}}})
    ((0, 'year', None), None)
    """
    if type(value) is str:
        return parse(value), None
    if type(value) is list:
        for one in value:
            if type(one) is not list:  # FHIR has no lists of lists
                found = period(one)
                if found[0] is not None:
                    return found
        return None, None
    if type(value) is not dict:
        return None, None
    start, end = value.get("start"), value.get("end")
    if start is None and end is None:
        return _timing(value)
    first = parse(start) if type(start) is str else None
    last = parse(end) if type(end) is str else None
    return first or last, last


def _timing(value: dict[str, Any]) -> Period:
    event = value.get("event")
    if type(event) is list:
        moments = [moment for moment in (parse(one) for one in event if type(one) is str) if moment]
        if moments:
            return moments[0], moments[-1] if len(moments) > 1 else None
    repeat = value.get("repeat")
    bounds = repeat.get("boundsPeriod") if type(repeat) is dict else None
    if type(bounds) is dict and ("start" in bounds or "end" in bounds):
        return period(bounds)
    return None, None


def close(start: int | None, end: Moment) -> int:
    """Return an end in microseconds; one known only to the day is not before a start on that day.

    FHIR R4, datatypes, Period: an end of day precision includes every instant of that day.

    >>> close(5, parse("1970-01-01"))
    5
    """
    if start is not None and end[0] < start < end[0] + _SPAN[end[1]]:
        return start
    return end[0]
