"""Accepts what is certainly FHIR, at the speed of a parser: msgspec structs, made from the shapes as types occur.

It never accepts what `fhir.resources` rejects, except for what R4 has beyond R4B. What it does not accept may still be
right: it is strict where the library is lenient, and does not explain itself. What has none but usual elements is
through after a first look (`usual`).
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Raw, Struct

from mayo_data.conformance import shapes
from mayo_data.conformance.primitives import dec_hook, has_blank
from mayo_data.conformance.structs import Structs
from mayo_data.conformance.usual import Usual

_KIND = re.compile(rb'"resourceType"\s*:\s*"([A-Za-z]+)"')
_DEEP = 190  # the library's parser refuses more than 200 levels
_LEVELS = 3  # a Bundle, its entries, and what these contain
_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Typed(Struct):
    resourceType: str  # noqa: N815 - the name of the element


class Acceptor:
    """Knows resources by their shape. One a process: it keeps the structs of the types that it has met.

    >>> acceptor = Acceptor()
    >>> acceptor.accepts(b'{"resourceType": "Patient", "birthDate": "1970-02-28"}')
    True
    >>> acceptor.accepts(b'{"resourceType": "Patient", "birthDate": "1970-02-30"}')
    False
    """

    def __init__(self) -> None:
        self._inner: list[Raw] = []  # resources inside the one that is being read
        self._structs = Structs(shapes.r4(), shapes.judged(), self._inner.extend)
        self._decoders: dict[str, msgspec.json.Decoder[Any]] = {}
        self._usual = {kind: Usual(kind, self._inner.extend) for kind in shapes.judged()}
        self._last: Usual | None = None
        self._typed = msgspec.json.Decoder(_Typed)

    def accepts(self, line: bytes) -> bool:
        """Return whether a line is certainly a resource of a known type.

        Args:
            line: The JSON.
        """
        return (self._is_usual(line) or self._is_right(line)) and not has_blank(line)

    def _is_usual(self, line: bytes) -> bool:
        held = self._inner
        held.clear()
        last = self._last  # files are of one type, and the struct checks that this line is of it, too
        if last is None or not last.accepts(line):
            held.clear()
            usual = self._usual.get(_kind(line))
            if usual is None or usual is last or not usual.accepts(line):
                return False
            self._last = last = usual
        nests, level = last.nests, 0
        while held:
            inner = [bytes(one) for one in held]
            held.clear()
            level += 1
            for one in inner:
                usual = self._usual.get(_kind(one))
                if usual is None or level > _LEVELS or not usual.accepts(one):
                    return False
                nests = nests or usual.nests
        return not nests or _is_shallow(line)

    def _is_right(self, line: bytes) -> bool:
        if not _is_shallow(line):
            return False
        held = self._inner
        held.clear()
        lines = resources = [line]
        try:
            for _ in range(_LEVELS + 1):
                if not all(self._accepts(one) for one in lines):
                    return False
                lines = [bytes(one) for one in held]
                held.clear()
                resources = resources + lines
        except _REFUSED:
            return False
        if lines:
            return False
        for one in resources:
            if (usual := self._usual.get(_kind(one))) is not None:
                usual.learn(one)
        return True

    def is_element(self, kind: str, value: Any) -> bool:
        """Return whether a value is certainly a right element of a type.

        Args:
            kind: The FHIR type.
            value: The parsed JSON.
        """
        try:
            line = msgspec.json.encode(value)
            self._inner.clear()
            self._decoder(kind).decode(line)
        except (*_REFUSED, ValueError):
            return False
        return not self._inner and not has_blank(line)

    def _accepts(self, line: bytes) -> bool:
        kind = _kind(line)
        before = len(self._inner)
        if kind in shapes.judged():
            try:
                self._decoder(kind).decode(line)
                return True
            except msgspec.ValidationError:
                del self._inner[before:]
        own = self._typed.decode(line).resourceType
        if own in shapes.unjudged():
            msgspec.json.decode(line)
            return True
        if own == kind or own not in shapes.judged():
            return False
        self._decoder(own).decode(line)
        return True

    def _decoder(self, kind: str) -> msgspec.json.Decoder[Any]:
        decoder = self._decoders.get(kind)
        if decoder is None:
            decoder = self._decoders[kind] = msgspec.json.Decoder(self._structs.of(kind), dec_hook=dec_hook)
        return decoder


def _kind(line: bytes) -> str:
    """The first resource type that a line names: nearly always its own, and the struct checks that it is."""
    first = _KIND.search(line)
    return first[1].decode() if first is not None else ""


def _is_shallow(line: bytes) -> bool:
    """Whether the parser of the library can follow a text into its depth."""
    objects = line.count(b"{")  # a level is an object or a list, and FHIR has no lists of lists
    if 2 * objects < _DEEP or objects + line.count(b"[") < _DEEP:
        return True
    from pydantic_core import from_json  # comes with fhir.resources, and loads without it

    try:
        from_json(line)
    except ValueError:
        return False
    return True
