"""Dates, times and the bounds of what is not exact: comparison as FHIRPath has it, `lowBoundary()`, `highBoundary()`.

All of it works on the text of the value, because a FHIR date can be a year.
"""

from __future__ import annotations

import re

from mayo_data.errors import ConfigError
from mayo_data.views import sql
from mayo_data.views.values import DECIMAL

_WRITTEN = {
    "date": re.compile(r"\d{4}(-\d\d(-\d\d)?)?"),
    "dateTime": re.compile(r"\d{4}(-\d\d(-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?)?)?"),
    "time": re.compile(r"\d\d:\d\d(:\d\d(\.\d+)?)?"),
}
_FIRST, _LAST = "+14:00", "-12:00"  # the places on earth where a day begins first, and where it ends last


def compare(operator: str, left: str, right: str, variable: str) -> str:
    """Return SQL that compares two dates, dateTimes or times; NULL where their precision leaves it open.

    Two instants compare on the time line, whatever their offsets. Else the parts that both have are compared.

    Args:
        operator: `=`, `<`, `<=`, `>` or `>=`.
        left: SQL of text.
        right: SQL of text.
        variable: A new name for a lambda's parameter.

    Source: FHIRPath 2.0, 6.1.1 and 6.2.
    """
    a, b = f"{variable}.a", f"{variable}.b"
    shared = f"least(length({a}), length({b}))"
    head_a, head_b = f"left({a}, {shared})", f"left({b}, {shared})"
    both = f"contains({a}, 'T') AND contains({b}, 'T')"
    instants = f"CAST({a} AS TIMESTAMPTZ) {operator} CAST({b} AS TIMESTAMPTZ)"
    clocks = f"contains({a}, ':') AND contains({b}, ':')"  # seconds with and without a fraction are one precision
    ticking = f"CAST({a} AS TIME) {operator} CAST({b} AS TIME)"
    open_ = "true" if operator == "=" else f"{head_a} {operator} {head_b}"
    apart = f"{head_a} {'=' if operator == '=' else operator.rstrip('=')} {head_b}"
    body = (
        f"CASE WHEN {both} THEN {instants} "
        f"WHEN {clocks} AND NOT contains(concat({a}, {b}), '-') AND {shared} >= 8 THEN {ticking} "
        f"WHEN {head_a} <> {head_b} THEN {apart} "
        f"WHEN length({a}) = length({b}) THEN {open_} END"
    )
    return sql.let({"a": left, "b": right}, body, variable)


def boundary(node: str, kind: str, *, high: bool, variable: str) -> str:
    """Return SQL of the lowest or highest value that an inexact value can stand for.

    Args:
        node: SQL of the text of the value; of a number its digits as written.
        kind: `integer`, `decimal`, `date`, `dateTime` or `time`.
        high: Which end.
        variable: A new name for a lambda's parameter.

    Raises:
        ConfigError: The kind has no bounds.

    Source: FHIRPath 3.0 draft, `lowBoundary` and `highBoundary`; milliseconds, as SQL on FHIR expects them.
    """
    value = f"{variable}.t"
    makers = {"integer": _decimal, "decimal": _decimal, "date": _date, "dateTime": _datetime, "time": _time}
    if kind not in makers:
        raise ConfigError("only numbers, dates and times have bounds", hint="name the type with ofType()")
    return sql.let({"t": node}, makers[kind](value, high), variable)


def _decimal(value: str, high: bool) -> str:
    """Half a unit of the last digit up or down: 1.0 is anything from 0.95 to 1.05."""
    fraction = f"length(regexp_extract({value}, '\\.([0-9]*)', 1))"
    exponent = f"coalesce(try_cast(regexp_extract({value}, '[eE]([+-]?[0-9]+)', 1) AS INTEGER), 0)"
    digits = f"({fraction} - {exponent})"
    half = (
        f"CASE WHEN {digits} >= 0 THEN concat('0.', repeat('0', {digits}), '5') "
        f"ELSE concat('5', repeat('0', -{digits} - 1)) END"
    )
    sign = "+" if high else "-"
    made = f"CAST(CAST({value} AS {DECIMAL}) {sign} CAST({half} AS {DECIMAL}) AS {DECIMAL})"
    return sql.either(f"{value} IS NOT NULL", made)


def _date(value: str, high: bool) -> str:
    if not high:
        return (
            f"CASE length({value}) WHEN 4 THEN concat({value}, '-01-01') WHEN 7 THEN concat({value}, '-01') "
            f"ELSE {value} END"
        )
    last = f"strftime(last_day(CAST(concat({value}, '-01') AS DATE)), '%Y-%m-%d')"
    return f"CASE length({value}) WHEN 4 THEN concat({value}, '-12-31') WHEN 7 THEN {last} ELSE {value} END"


def _datetime(value: str, high: bool) -> str:
    day = _date(value, high)
    whole = f"'T23:59:59.999{_LAST}'" if high else f"'T00:00:00.000{_FIRST}'"
    zone = f"regexp_extract({value}, 'T[^Z+-]*(Z|[+-].*)$', 1)"
    clock = f"regexp_extract({value}, 'T([0-9:.]+)', 1)"
    somewhere = f"coalesce(nullif({zone}, ''), '{_LAST if high else _FIRST}')"
    exact = f"concat(left({value}, 10), 'T', {_clock(clock, high)}, {somewhere})"
    return f"CASE WHEN contains({value}, 'T') THEN {exact} WHEN {value} IS NOT NULL THEN concat({day}, {whole}) END"


def _time(value: str, high: bool) -> str:
    return sql.either(f"{value} IS NOT NULL", _clock(value, high))


def _clock(value: str, high: bool) -> str:
    """Fill hours, minutes, seconds up to milliseconds."""
    tail = ":59:59.999" if high else ":00:00.000"  # what stands behind hours and minutes, from its third character
    fraction = "9" if high else "0"
    return (
        f"CASE WHEN length({value}) <= 8 THEN concat({value}, right('{tail}', 12 - length({value}))) "
        f"ELSE rpad({value}, 12, '{fraction}') END"
    )


def literal_moment(kind: str, value: str) -> str:
    """Return a date, dateTime or time that stands in a view, checked.

    Raises:
        ConfigError: It is written as FHIR does not.

    >>> literal_moment("date", "2024-02")
    '2024-02'
    """
    if not _WRITTEN[kind].fullmatch(value):
        raise ConfigError(f"this is no {kind}", hint="for example @2024-05-06, @2024-05-06T07:08:09Z or @T07:08")
    return value
