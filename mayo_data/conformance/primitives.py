"""The primitive types of FHIR as msgspec reads them: never wider than the validators of `fhir.resources`.

Where the library is lenient (numbers in strings, leap seconds, fractions beyond nanoseconds, any form of a UUID),
these are strict, and the library decides. Where it is strict, so are they: a `string` has a character that is no space,
a `code` no space at either end, dates exist.

A value that follows a pattern is judged once: msgspec asks its `dec_hook` for `TYPES[...][value]`, and that looks it
up in a table of the values that were right. The same by `Meta(pattern=...)` takes ten times as long.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Annotated, Any, Final

from msgspec import Meta

_LEAP = r"(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29"
_DAY = (
    r"(?!0000)(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    rf"|02-(?:0[1-9]|1[0-9]|2[0-8]))|{_LEAP})"
)
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?"
_ZONE = r"(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
_MONTH = r"(?!0000)[0-9]{4}(?:-(?:0[1-9]|1[0-2]))?"


_MOST = 50_000  # values remembered of a type,
_LONGEST = 100  # and characters of such a value


class _Right(dict[str, Any]):
    """The values of a type that were found right; another is judged when it is asked for."""

    def __init__(self, pattern: str) -> None:
        self._matches = re.compile(pattern).fullmatch
        # A type that knows by its index whether a value is one of it: no function of Python is called to look it up.
        self.type: Any = type("Judged", (), {"__slots__": (), "__class_getitem__": self.__getitem__})
        self._one = self.type()

    def __missing__(self, value: Any) -> Any:
        if type(value) is not str or self._matches(value) is None:
            raise ValueError("not of the type")
        if len(value) <= _LONGEST:
            if len(self) >= _MOST:
                self.clear()
            self[value] = self._one
        return self._one


def _text(pattern: str) -> Any:
    return _Right(pattern).type


dec_hook: Final[Callable[[Any, Any], Any]] = operator.getitem


def _number(least: int) -> Any:
    return Annotated[int, Meta(ge=least, le=2**31 - 1)]


TYPES: Final[dict[str, Any]] = {
    "base64Binary": bytes,
    "boolean": bool,
    "canonical": str,
    "code": _text(r"\S+(?:\s\S+)*"),
    "date": _text(f"{_DAY}|{_MONTH}"),
    "dateTime": _text(f"{_DAY}(?:T{_CLOCK}{_ZONE})?|{_MONTH}"),
    "decimal": float,
    "id": _text(r"[A-Za-z0-9.-]{1,255}"),
    "instant": _text(f"{_DAY}T{_CLOCK}{_ZONE}"),
    "integer": _number(-(2**31)),
    "markdown": str,
    "oid": _text(r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+"),
    "positiveInt": _number(1),
    "string": Annotated[str, Meta(min_length=1)],  # and `has_blank` below
    "time": _text(_CLOCK),
    "unsignedInt": _number(0),
    "uri": str,
    "url": str,  # the library takes any
    "uuid": _text(r"(?:urn:uuid:)?[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"),
    "xhtml": str,
}

# A string of nothing but spaces other than blank, tab and line ends, raw or escaped. A pattern on every string would
# cost more than all the rest.
_BLANK = re.compile(
    rb'"(?:\\f|\\u(?:000[bBcC]|0085|00[aA]0|1680|20(?:0[0-9aA]|28|29|2[fF]|5[fF])|3000)|\xc2[\x85\xa0]|\xe1\x9a\x80'
    rb'|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]|\xe2\x81\x9f|\xe3\x80\x80)+"'
)


def has_blank(line: bytes) -> bool:
    r"""Return whether a JSON text may hold a string of nothing but odd spaces, which no FHIR `string` may be.

    >>> has_blank(b'{"a": "\\u00a0"}'), has_blank(b'{"a": "\\u00a0b", "c": " "}')
    (True, False)
    """
    if line.isascii() and b"\\" not in line:
        return False
    return _BLANK.search(line) is not None
