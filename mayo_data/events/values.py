"""value[x] of every FHIR type to number, digits, text and unit.

| type | numeric_value, value_text | text_value | unit |
|---|---|---|---|
| Quantity, Age, Money | the number; its digits, comparator in front: `<5.0` | | UCUM, unit or currency |
| integer, decimal | the number; its digits | | |
| CodeableConcept, Coding, code | | `VOCABULARY//CODE//DISPLAY`, or the text | |
| string, date, dateTime, time, boolean, uri | | as written | |
| Range | | `1.5-2.5`, `>=1.5`, `<=2.5` | of the limits |
| Ratio | the numerator where the denominator is 1 | else `1:128` | `mg/mL` |
| Period | | `start/end`, as ISO 8601 writes intervals | |
| SampledData | | factor, period, origin and the samples | of the origin |
| Attachment | | the text that it holds | |
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from functools import cache
from typing import Any

from mayo_data.events import codes
from mayo_data.events.elements import Digits, Memory, whole

Value = tuple[float | None, str | None, str | None, str | None]
"""numeric_value, value_text, text_value, unit."""

NOTHING: Value = (None, None, None, None)
_UCUM = "http://unitsofmeasure.org"
_FLOAT32_MAX = 3.4028234663852886e38
_NUMERAL = re.compile(r"\s*([-+]?\d{1,40}(?:\.\d{1,40})?(?:[eE][-+]?\d{1,3})?)\s*", re.ASCII)


def number(value: Any) -> tuple[float | None, str] | None:
    """Return a JSON number, or a string that is one, as float and digits; the float is None beyond float32.

    >>> number(Digits("1.10")), number(1), number("1e99"), number("many")
    ((1.1, '1.10'), (1.0, '1'), (None, '1e99'), None)
    """
    kind = type(value)
    if kind is Digits:
        numeric = float(value)
        return (numeric if -_FLOAT32_MAX <= numeric <= _FLOAT32_MAX else None), value
    if kind is int:  # bool is not int here
        return (float(value) if -_FLOAT32_MAX <= value <= _FLOAT32_MAX else None), str(value)
    if kind is str:
        match = _NUMERAL.fullmatch(value)
        return number(Digits(match.group(1))) if match else None
    return None


def quantity(value: Any) -> Value:
    """Read a Quantity, Age, Count, Distance, Duration or Money.

    >>> quantity({"value": Digits("5.0"), "comparator": "<", "unit": "mg/dL"})
    (5.0, '<5.0', None, 'mg/dL')
    >>> quantity({"value": Digits("140.52"), "currency": "USD"})
    (140.52, '140.52', None, 'USD')
    """
    if type(value) is not dict:
        found = number(value)
        return (found[0], found[1], None, None) if found else NOTHING
    found = number(value.get("value"))
    if found is None:
        return NOTHING
    comparator = value.get("comparator")
    if comparator is not None and type(comparator) is str:
        return found[0], comparator + found[1], None, _unit(value)
    return found[0], found[1], None, _unit(value)


def read_quantity(raw: bytes) -> Value:
    """Read what `quantity` does, from bytes: where the value comes first, all behind it is read once.

    >>> read_quantity(b'{"value":5.0,"comparator":"<","unit":"mg/dL"}')
    (5.0, '<5.0', None, 'mg/dL')
    """
    head, _, rest = raw.partition(b",")
    digits = head[_LEAD:]
    if head[:_LEAD] == _VALUE and len(digits) < _EXACT and digits.replace(b".", b"", 1).isdigit():
        behind = _behind[rest]
        if behind is not None:
            written = digits.decode()
            return float(digits), behind[0] + written, None, behind[1]
    return quantity(whole(raw))


def _read_behind(rest: bytes) -> tuple[str, str | None] | None:
    """Return comparator and unit from what follows the value of a Quantity."""
    element = whole(b"{" + rest)
    if type(element) is not dict or "value" in element:
        return None
    _, digits, _, unit = quantity({**element, "value": 0})
    return (digits[:-1], unit) if digits else None


_VALUE = b'{"value":'
_LEAD = len(_VALUE)
_EXACT = 32  # digits that cannot leave the range of float32
_behind: Memory[tuple[str, str | None] | None] = Memory(_read_behind)


def _unit(value: dict[str, Any]) -> str | None:
    code = value.get("code")
    if type(code) is str and code and value.get("system") == _UCUM:
        return code
    for key in ("unit", "code", "currency"):
        unit = value.get(key)
        if type(unit) is str and unit:
            return unit
    return None


def coded(value: Any) -> Value:
    """Read a CodeableConcept or Coding.

    >>> coded({"text": "yes"})
    (None, None, 'yes', None)
    """
    text = codes.answer(value)
    return (None, None, text, None) if text else NOTHING


def text(value: Any) -> Value:
    """Read a string, code, uri, date, dateTime, instant or time.

    >>> text("10:30:00"), text("")
    ((None, None, '10:30:00', None), (None, None, None, None))
    """
    if type(value) is str and value:
        return None, None, value, None
    return NOTHING


def boolean(value: Any) -> Value:
    """Read a boolean.

    >>> boolean(False)
    (None, None, 'false', None)
    """
    if value is True:
        return None, None, "true", None
    return (None, None, "false", None) if value is False else text(value)


def limits(value: Any) -> Value:
    """Read a Range; it has no single number.

    >>> limits({"low": {"value": 1}, "high": {"value": 2, "unit": "h"}})
    (None, None, '1-2', 'h')
    """
    if type(value) is not dict:
        return NOTHING
    low, high = quantity(value.get("low")), quantity(value.get("high"))
    unit = low[3] or high[3]
    if low[1] and high[1]:
        return None, None, f"{low[1]}-{high[1]}", unit
    if low[1]:
        return None, None, f">={low[1]}", unit
    return (None, None, f"<={high[1]}", unit) if high[1] else NOTHING


def ratio(value: Any) -> Value:
    """Read a Ratio: a number only where the denominator is 1, for 1:128 is a titre and not 0.0078.

    >>> ratio({"numerator": {"value": 1}, "denominator": {"value": 128}})
    (None, None, '1:128', None)
    >>> ratio({"numerator": {"value": 5, "unit": "mg"}, "denominator": {"value": 1, "unit": "mL"}})
    (5.0, '5', None, 'mg/mL')
    """
    if type(value) is not dict:
        return NOTHING
    above, below = quantity(value.get("numerator")), quantity(value.get("denominator"))
    if above[1] is None:
        return NOTHING
    unit = f"{above[3] or '1'}/{below[3]}" if below[3] else above[3]
    if below[1] is None or (below[0] == 1.0 and below[1][0] not in "<>"):
        return above[0], above[1], None, unit
    return None, None, f"{above[1]}:{below[1]}", unit


def interval(value: Any) -> Value:
    """Read a Period.

    >>> interval({"start": "2019-01-01"})
    (None, None, '2019-01-01/..', None)
    """
    if type(value) is not dict:
        return NOTHING
    ends = [end if type(end) is str and end else ".." for end in (value.get("start"), value.get("end"))]
    return NOTHING if ends == ["..", ".."] else (None, None, "/".join(ends), None)


def samples(value: Any) -> Value:
    """Read a SampledData; the samples stay in the source's own numbers, with what turns them into values.

    >>> samples({"origin": {"value": 0, "unit": "mV"}, "period": 10, "dimensions": 1, "data": "1 2 E"})
    (None, None, 'period=10 dimensions=1 origin=0: 1 2 E', 'mV')
    """
    if type(value) is not dict or type(value.get("data")) is not str:
        return NOTHING
    said = []
    for key in ("period", "factor", "lowerLimit", "upperLimit", "dimensions"):
        found = number(value.get(key))
        if found:
            said.append(f"{key}={found[1]}")
    origin = quantity(value.get("origin"))
    if origin[1]:
        said.append(f"origin={origin[1]}")
    return None, None, f"{' '.join(said)}: {value['data']}" if said else value["data"], origin[3]


def attachment(value: Any) -> Value:
    """Read the text of an Attachment; what is no UTF-8 text is not there.

    >>> attachment({"contentType": "text/plain", "data": "SGVsbG8="})
    (None, None, 'Hello', None)
    """
    data = value.get("data") if type(value) is dict else None
    if type(data) is not str:
        return NOTHING
    try:
        return text(base64.b64decode(data).decode("utf-8"))
    except (binascii.Error, ValueError):
        return NOTHING


def guess(value: Any) -> Value:
    """Read a value whose type its element name does not tell, by its shape.

    >>> guess({"value": 3, "unit": "d"}), guess("ml")
    ((3.0, '3', None, 'd'), (None, None, 'ml', None))
    """
    if type(value) is list:
        value = value[0] if value else None
    if type(value) is dict:
        for key, read in _SHAPES:
            if key in value:
                return read(value)
        return NOTHING
    if type(value) is bool:
        return boolean(value)
    return text(value) if type(value) is str else quantity(value)


def read_guess(raw: bytes) -> tuple[Value, ...]:
    """Read what `every(guess)` does, from bytes.

    >>> read_guess(b'[{"value": 3, "unit": "d"}, {"text": "often"}]')
    ((3.0, '3', None, 'd'), (None, None, 'often', None))
    """
    if raw[:_LEAD] == _VALUE:
        value = read_quantity(raw)
        return () if value is NOTHING else (value,)
    return every(guess)(whole(raw))


def _no_value(_: Any) -> Value:
    return NOTHING


_SHAPES: tuple[tuple[str, Callable[[Any], Value]], ...] = (
    ("value", quantity),
    ("unit", _no_value),  # a Quantity that lacks its value is not a Coding
    ("coding", coded),
    ("numerator", ratio),
    ("low", limits),
    ("high", limits),
    ("start", interval),
    ("end", interval),
    ("dimensions", samples),
    ("data", attachment),
    ("code", coded),
    ("text", coded),
)

READERS: dict[str, Callable[[Any], Value]] = {
    "Quantity": quantity,
    "CodeableConcept": coded,
    "String": text,
    "Boolean": boolean,
    "Integer": quantity,
    "Range": limits,
    "Ratio": ratio,
    "SampledData": samples,
    "Time": text,
    "DateTime": text,
    "Period": interval,
    "Coding": coded,
    "Code": text,
    "Decimal": quantity,
    "Date": text,
    "Instant": text,
    "Age": quantity,
    "Duration": quantity,
    "Money": quantity,
    "Uri": text,
    "Attachment": attachment,
}
"""Reader of each type that a choice element (`value[x]`) can have."""


def choices(name: str, without: frozenset[str] = frozenset()) -> dict[str, Callable[[Any], Value]]:
    """Return the reader of each element that can hold a choice `name[x]`.

    Args:
        name: Name of the choice, without its type.
        without: Element names that are no value, for they are a time.

    >>> choices("onset", frozenset({"onsetDateTime"}))["onsetBoolean"](True)
    (None, None, 'true', None)
    """
    return {name + kind: read for kind, read in READERS.items() if name + kind not in without}


@cache
def choice(name: str, without: frozenset[str] = frozenset()) -> Callable[[Any], Value]:
    """Return a reader for the element that holds a choice, where that lies below what is read.

    >>> choice("value")({"valueBoolean": True})
    (None, None, 'true', None)
    """
    readers = choices(name, without)

    def read(element: Any) -> Value:
        if type(element) is dict:
            for key in element:
                reader = readers.get(key)
                if reader is not None:
                    value = reader(element[key])
                    if value is not NOTHING:
                        return value
        return NOTHING

    return read


@cache
def sole(read: Callable[[Any], Value]) -> Callable[[bytes], tuple[Value, ...]]:
    """Return a reader, from bytes, of an element that does not repeat: one value, or none.

    >>> sole(text)(b'"a"'), sole(text)(b'["a"]')
    (((None, None, 'a', None),), ())
    """

    def one(raw: bytes) -> tuple[Value, ...]:
        value = read_quantity(raw) if read is quantity else read(whole(raw))
        return () if value is NOTHING else (value,)

    memory: Memory[tuple[Value, ...]] = Memory(one)
    return one if read is quantity else memory.__getitem__


@cache
def every(read: Callable[[Any], Value]) -> Callable[[Any], tuple[Value, ...]]:
    """Return a reader of an element that may repeat.

    >>> every(text)(["a", "", "b"])
    ((None, None, 'a', None), (None, None, 'b', None))
    """

    def some(element: Any) -> tuple[Value, ...]:
        found = [read(one) for one in (element if type(element) is list else (element,))]
        return tuple(value for value in found if value is not NOTHING)

    return some


def texts(element: Any) -> tuple[str, ...]:
    """Read one text or several.

    >>> texts(["a", "", None, "b"])
    ('a', 'b')
    """
    return tuple(one for one in (element if type(element) is list else (element,)) if type(one) is str and one)
