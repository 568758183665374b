"""Accepts what is certainly FHIR, at the speed of a parser: msgspec structs, made from the shapes as types occur.

It never accepts what `fhir.resources` rejects, except for what R4 has beyond R4B. What it does not accept may still be
right: it is strict where the library is lenient, and does not explain itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import astuple

from mayo_data.conformance import shapes
from mayo_data.conformance.element import COMMENTS, RESOURCE, Element
from mayo_data.conformance.primitives import TYPES, has_blank

_KIND = re.compile(rb'"resourceType"\s*:\s*"([A-Za-z]+)"')
_DEEP = 190  # the library's parser refuses more than 200 levels
_SIBLING = "FHIRPrimitiveExtension"  # the library's type of `_birthDate`
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
        self._structs: dict[str, type[Struct]] = {}
        self._decoders: dict[str, msgspec.json.Decoder[Any]] = {}
        self._inner: list[Raw] = []  # resources inside the one that is being read
        self._typed = msgspec.json.Decoder(_Typed)

    def accepts(self, line: bytes) -> bool:
        """Return whether a line is certainly a resource of a known type.

        Args:
            line: The JSON.
        """
        if not _is_shallow(line):
            return False
        self._inner.clear()
        try:
            found = self._accepts(line)
            for _ in range(_LEVELS):
                inner, self._inner = self._inner, []
                found = found and all(self._accepts(bytes(one)) for one in inner)
        except _REFUSED:
            return False
        return found and not self._inner and not has_blank(line)

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
        first = _KIND.search(line)  # nearly always the resource's own, and the struct checks that it is
        kind = first[1].decode() if first is not None else ""
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
            decoder = self._decoders[kind] = msgspec.json.Decoder(self._struct(kind))
        return decoder

    # ── structs ───────────────────────────────────────────────────────────────────────────────────────

    def _struct(self, kind: str) -> type[Struct]:
        """Make the struct of a type, and of all that it is made of.

        Types refer to each other in circles. So structs are made with open annotations, which msgspec reads when the
        first decoder is made, and by then all are filled in.
        """
        open_: list[str] = []
        self._open(kind, open_)
        for name in open_:
            self._fill(name)
        return self._structs[kind]

    def _open(self, kind: str, made: list[str]) -> None:
        if kind in self._structs:
            return
        elements = shapes.r4()[kind]
        keys = _ordered(elements)
        fields: list[Any] = [("resourceType", Literal[kind])] if kind in shapes.judged() else []
        for key in keys:
            must = elements[key].required and not elements[key].choice
            fields.append((_field(key), Any) if must else (_field(key), Any, None))
        siblings = [f"_{key}" for key in keys if elements[key].extensible]
        fields += [(_field(key), Any, None) for key in siblings]
        check = self._check(kind, elements, [field[0] for field in fields])
        self._structs[kind] = msgspec.defstruct(
            kind,
            [*fields, (COMMENTS, str | list[str] | None, None)],
            namespace={"__post_init__": check} if check else None,
            rename={_field(key): key for key in [*keys, *siblings]},
            kw_only=True,
            forbid_unknown_fields=True,
            gc=False,
        )
        made.append(kind)
        for element in elements.values():
            if not element.primitive and element.type != RESOURCE:
                self._open(element.type, made)
        if siblings:
            self._open(_SIBLING, made)

    def _fill(self, kind: str) -> None:
        annotations = self._structs[kind].__annotations__
        for key, element in shapes.r4()[kind].items():
            one = self._one(element)
            # A list of primitives may have gaps, for values that are only an extension.
            many = list[one | None] if element.primitive else list[one]  # type: ignore[valid-type]
            whole = many if element.repeats else one
            open_end = (element.required and not element.choice) or whole is Raw  # Raw takes a null as it is
            annotations[_field(key)] = whole if open_end else whole | None
            if element.extensible:
                sibling: Any = self._structs[_SIBLING]
                annotations[_field(f"_{key}")] = list[sibling | None] | None if element.repeats else sibling | None

    def _one(self, element: Element) -> Any:
        if element.primitive:
            return TYPES[element.type]
        return Raw if element.type == RESOURCE else self._structs[element.type]

    def _check(self, kind: str, elements: Mapping[str, Element], fields: Sequence[str]) -> Callable[[Any], None] | None:
        """Return what the types do not say: one of a choice, and which resources are inside."""
        groups: dict[str, list[int]] = {}
        required = {element.choice for element in elements.values() if element.choice and element.required}
        for key, element in elements.items():
            if element.choice:
                groups.setdefault(element.choice, []).append(fields.index(_field(key)))
        spans = [(min(found), max(found) + 1, choice in required) for choice, found in groups.items()]
        inside = [fields.index(_field(key)) for key, element in elements.items() if element.type == RESOURCE]

        def check(found: Any) -> None:
            values = astuple(found)
            for start, end, must in spans:
                given = end - start - values[start:end].count(None)
                if given > 1 or (must and not given):
                    raise ValueError("one of a choice")
            for index in inside:
                inner = values[index]
                if inner is not None:
                    self._inner += inner if type(inner) is list else [inner]

        def check_sibling(found: Any) -> None:
            if all(value is None for value in astuple(found)):
                raise ValueError("an extension without content")

        if kind == _SIBLING:
            return check_sibling
        return check if spans or inside else None


def _field(key: str) -> str:
    """Name the field of an element: element names can be words of Python, and begin with an underscore."""
    return f"e_{key}"


def _ordered(elements: Mapping[str, Element]) -> list[str]:
    """Return the names of elements in the order of the specification, the members of a choice side by side."""
    choices = list(dict.fromkeys(element.choice or key for key, element in elements.items()))
    place = {choice: number for number, choice in enumerate(choices)}
    return sorted(elements, key=lambda key: place[elements[key].choice or key])


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
