"""Accepts resources that have no elements but those met before: in small structs, which cost a third of the full ones.

A type of FHIR has dozens of elements, each with a sibling for extensions, and a site uses ten of them. What is accepted
here is certainly accepted by the full structs too: these have some of the same fields, with the same types.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from mayo_data.conformance import shapes
from mayo_data.conformance.element import RESOURCE, Element
from mayo_data.conformance.primitives import dec_hook
from mayo_data.conformance.structs import Structs

_LESSONS = frozenset([4, 16, 64, 256, 1024])  # after so many resources with an element not met before, it is learned


class Usual:
    """The usual form of one resource type, as this process has met it.

    Args:
        kind: The resource type.
        inside: Told of the resources inside one, which nobody has looked at yet.

    Attributes:
        nests: Whether a type is met inside itself, so that nothing bounds the depth of what is accepted.

    >>> usual = Usual("Basic", list)
    >>> for _ in range(4):
    ...     usual.learn(b'{"resourceType": "Basic", "code": {"text": "plan"}}')
    >>> usual.accepts(b'{"code": {"text": "referral"}, "resourceType": "Basic"}')
    True
    >>> usual.accepts(b'{"resourceType": "Basic", "code": {"text": 5}}')
    False
    """

    def __init__(self, kind: str, inside: Callable[[list[msgspec.Raw]], object]) -> None:
        self.nests = False
        self._inside = inside
        self._kind = kind
        self._met: dict[str, dict[str, Element]] = {}  # in the order in which they are written: msgspec goes by it
        self._lessons = 0
        self._new = False
        self._decode: Callable[[bytes], object] | None = None

    def accepts(self, line: bytes) -> bool:
        """Return whether a line is certainly a resource of this type; False says nothing.

        Args:
            line: The JSON.
        """
        if self._decode is None:
            return False
        try:
            self._decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        return True

    def learn(self, line: bytes) -> None:
        """Remember the elements of a resource that the full structs have accepted.

        Args:
            line: The JSON.
        """
        if self._lessons == max(_LESSONS):
            return
        self._lessons += 1
        resource = msgspec.json.decode(line)
        if resource["resourceType"] == self._kind:
            self._new = self._look(resource, self._kind) or self._new
        if self._new and self._lessons in _LESSONS:
            self._new = False
            self.nests = _nests(self._met, self._kind, ())
            struct = Structs(self._met, frozenset([self._kind]), self._inside, bare=True).of(self._kind)
            self._decode = msgspec.json.Decoder(struct, dec_hook=dec_hook).decode

    def _look(self, value: Any, kind: str) -> bool:
        """Note the elements of a value, and tell whether any is new.

        Only what stands in right values is noted, so whatever a type requires is among it.
        """
        new = kind not in self._met
        met = self._met.setdefault(kind, {})
        known = shapes.r4()[kind]
        for name, inner in value.items():
            element = known.get(name)
            if element is None:
                continue
            if not (element.primitive or element.type == RESOURCE):
                objects = [one for one in (inner if isinstance(inner, list) else [inner]) if isinstance(one, dict)]
                if not objects:
                    continue
                for one in objects:
                    new = self._look(one, element.type) or new
            if name not in met:
                met[name] = element
                new = True
        return new


def _nests(types: dict[str, dict[str, Element]], kind: str, above: tuple[str, ...]) -> bool:
    return kind in above or any(
        _nests(types, element.type, (*above, kind)) for element in types[kind].values() if element.type in types
    )
