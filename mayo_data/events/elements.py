"""JSON taken apart no further than the mapping asks, and read once where it says the same again.

A `Shape` is a struct with one field a key that the mapping names; the decoder skips every other key, and leaves
what it keeps as the bytes of the source. Codes, categories, units, references and times repeat massively in an
export, so a `Memory` reads such bytes once: most look-ups decode nothing.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, TypeVar

import msgspec

from mayo_data.errors import ConfigError

Element = Any
"""A struct of some `Shape`: each field a `msgspec.Raw`, or None where the element lacks the key."""

Json = bytes | msgspec.Raw
BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What the decoder raises at worst."""

_MOST = 32_768  # readings that one memory holds before it starts anew: bounded on any input
_LONGEST = 1024  # bytes; what is longer, notes first of all, hardly comes twice and is not kept
_T = TypeVar("_T")


class Digits(str):
    """A JSON number with a point or an exponent, as written: `1.10` stays `1.10`, as no float can."""

    __slots__ = ()


_decode = msgspec.json.Decoder(float_hook=Digits).decode
_listed: Callable[[Json], list[msgspec.Raw]] = msgspec.json.Decoder(list[msgspec.Raw]).decode


def whole(raw: Json) -> Any:
    """Decode an element completely; what is not JSON is not there.

    >>> whole(b'{"value": 1.10}'), whole(b'{"value": ')
    ({'value': '1.10'}, None)
    """
    try:
        return _decode(raw)
    except BROKEN:
        return None


def parts(raw: Json) -> list[bytes]:
    """Return the elements of a list, or the one element that is no list; FHIR has no lists of lists.

    >>> parts(b'[1, {"a": 2}]'), parts(b'{"a": 2}')
    ([b'1', b'{"a": 2}'], [b'{"a": 2}'])
    """
    whole_ = bytes(raw)
    if whole_[:1] != b"[":
        return [whole_]
    try:
        return [bytes(part) for part in _listed(whole_)]
    except BROKEN:
        return []


class Memory(dict[bytes, _T]):
    """What a reader makes of an element, by the element's bytes: `memory[bytes(raw)]`.

    Args:
        read: Gets the bytes of an element that is new.

    >>> lengths = Memory(lambda raw: len(whole(raw)))
    >>> lengths[b"[1, 2]"], dict(lengths)
    (2, {b'[1, 2]': 2})
    """

    __slots__ = ("read",)

    def __init__(self, read: Callable[[bytes], _T]) -> None:
        super().__init__()
        self.read = read

    def __missing__(self, raw: bytes) -> _T:
        said = self.read(raw)
        if len(raw) <= _LONGEST:
            if len(self) >= _MOST:
                self.clear()
            self[raw] = said
        return said


class Shape:
    """Which keys of an element are looked at.

    Args:
        keys: JSON keys, or `.` alone: the element itself. The field of a key is `field(key)`.

    Raises:
        ConfigError: A key that no FHIR element can have.

    >>> shape = Shape(["status", "class"])
    >>> element = shape.one(b'{"class": {"code": "AMB"}, "text": 1}')
    >>> bytes(getattr(element, field("class"))), getattr(element, field("status"))
    (b'{"code": "AMB"}', None)
    """

    def __init__(self, keys: Iterable[str]) -> None:
        names = {field(key): key for key in keys}
        self._itself = names == {field("."): "."}
        if "." in names.values() and not self._itself:
            raise ConfigError(
                "events.toml: an element is read as a whole or by its keys, not both",
                hint="give '.' a group under each of its own",
            )
        struct = msgspec.defstruct("Element", [(name, msgspec.Raw, None) for name in names], rename=names, gc=False)
        self._new: Callable[[bytes], Element] = struct
        self._one: Callable[[Json], Element] = msgspec.json.Decoder(struct).decode
        self._some: Callable[[Json], Element] = msgspec.json.Decoder(struct | list[struct]).decode  # type: ignore[valid-type]

    def one(self, raw: Json) -> Element | None:
        """Return an element, or None for what is no JSON object."""
        if self._itself:
            text = bytes(raw)
            return self._new(text) if text[:1] == b"{" else None
        try:
            return self._one(raw)
        except BROKEN:
            return None

    def some(self, raw: Json) -> list[Element]:
        """Return the elements of a list, or the one that lost its brackets; what is no object is left out.

        >>> len(Shape(["code"]).some(b'[{"code": 1}, null, {}]'))
        2
        """
        if not self._itself:
            try:
                found = self._some(raw)
            except BROKEN:
                pass
            else:
                return found if type(found) is list else [found]
        return [one for one in map(self.one, parts(raw)) if one is not None]


def field(key: str) -> str:
    """Return the name of the field of a `Shape` that holds a key.

    >>> field("status"), field("class"), field(".")
    ('status', 'class_', 'itself_')
    """
    if key == ".":
        return "itself_"
    if not key.isidentifier():
        raise ConfigError(f"events.toml: {key} is no key of a FHIR element", hint="paths are keys with points between")
    return key + "_" if keyword.iskeyword(key) else key


@cache
def _only(key: str) -> tuple[Shape, str]:
    return Shape([key]), field(key)


def reach(raws: list[Json], keys: tuple[str, ...]) -> list[Json]:
    """Follow keys downwards, lists on the way opened; what is there may be a list itself.

    >>> [bytes(raw) for raw in reach([b'{"a": [{"b": 1}, {"b": [2]}, {}]}'], ("a", "b"))]
    [b'1', b'[2]']
    """
    for key in keys:
        shape, name = _only(key)
        raws = [below for raw in raws for one in shape.some(raw) if (below := getattr(one, name)) is not None]
    return raws


def dig(raw: Json, keys: tuple[str, ...]) -> list[Any] | None:
    """Decode everything that lies at a path of several keys; None where there is nothing.

    >>> dig(b'{"a": [{"b": 1}, {"b": [2, 3]}, {}]}', ("a", "b"))
    [1, 2, 3]
    """
    found: list[Any] = []
    for leaf in map(whole, reach([raw], keys)):
        if type(leaf) is list:
            found += leaf
        elif leaf is not None:
            found.append(leaf)
    return found or None


@cache
def memory(read: Callable[[Any], _T], below: tuple[str, ...] = ()) -> Memory[_T]:
    """Return the one memory for all elements that the same function reads.

    Args:
        read: Gets the decoded element; None where it is absent or broken.
        below: Keys below the element: the function gets a list of what lies there.
    """
    if below:
        return Memory(lambda raw: read(dig(raw, below)))
    return Memory(lambda raw: read(whole(raw)))
