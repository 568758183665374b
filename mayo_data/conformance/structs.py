"""Makes msgspec structs of FHIR types: what a decoder takes into them is right, but for what `check` looks at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from msgspec import Raw, Struct, defstruct
from msgspec.structs import astuple

from mayo_data.conformance.element import COMMENTS, RESOURCE, Element, Shapes
from mayo_data.conformance.primitives import TYPES

_SIBLING = "FHIRPrimitiveExtension"  # the library's type of `_birthDate`


class Structs:
    """The structs of FHIR types, made as they are asked for.

    Args:
        types: The types, with the elements that their structs shall have.
        resources: The types that have a `resourceType`.
        inside: Told of resources inside a resource, which a struct leaves as they are written.
        bare: Whether values are all there is: no extensions of primitive values, no nulls, no comments.
    """

    def __init__(
        self, types: Shapes, resources: frozenset[str], inside: Callable[[list[Raw]], object], *, bare: bool = False
    ) -> None:
        self._types = types
        self._resources = resources
        self._inside = inside
        self._bare = bare
        self._structs: dict[str, type[Struct]] = {}

    def of(self, kind: str) -> type[Struct]:
        """Return the struct of a type, having made those of all that it is made of.

        Types refer to each other in circles. So structs are made with open annotations, which msgspec reads when the
        first decoder is made, and by then all are filled in.

        Args:
            kind: The FHIR type.
        """
        open_: list[str] = []
        self._open(kind, open_)
        for name in open_:
            self._fill(name)
        return self._structs[kind]

    def _open(self, kind: str, made: list[str]) -> None:
        if kind in self._structs:
            return
        elements = self._types[kind]
        keys = list(elements) if self._bare else _ordered(elements)
        fields: list[Any] = [("resourceType", Literal[kind])] if kind in self._resources else []
        groups = _choices(elements)
        for key in keys:
            one = elements[key]
            only = self._bare and len(groups.get(one.choice, ())) == 1
            must = one.required and (not one.choice or only)
            fields.append((_field(key), Any) if must else (_field(key), Any, None))
        siblings = [] if self._bare else [f"_{key}" for key in keys if elements[key].extensible]
        fields += [(_field(key), Any, None) for key in siblings]
        check = self._check(kind, elements, [field[0] for field in fields])
        self._structs[kind] = defstruct(
            kind,
            [*fields, *([] if self._bare else [(COMMENTS, str | list[str] | None, None)])],
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
        for key, element in self._types[kind].items():
            one = self._one(element)
            if self._bare:
                annotations[_field(key)] = list[one] if element.repeats else one  # type: ignore[valid-type]
                continue
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
        required = {element.choice for element in elements.values() if element.choice and element.required}
        spans = []
        for choice, members in _choices(elements).items():
            if len(members) > 1 or not self._bare:  # the one field of a choice is required or not, like any other
                places = [fields.index(_field(key)) for key in members]
                spans.append((places if self._bare else range(min(places), max(places) + 1), choice in required))
        inside = [fields.index(_field(key)) for key, element in elements.items() if element.type == RESOURCE]

        def check(found: Any) -> None:
            values = astuple(found)
            for places, must in spans:
                given = sum(values[place] is not None for place in places)
                if given > 1 or (must and not given):
                    raise ValueError("one of a choice")
            for index in inside:
                inner = values[index]
                if inner is not None:
                    self._inside(inner if type(inner) is list else [inner])

        def check_sibling(found: Any) -> None:
            if all(value is None for value in astuple(found)):
                raise ValueError("an extension without content")

        if kind == _SIBLING:
            return check_sibling
        return check if spans or inside else None


def _choices(elements: Mapping[str, Element]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for key, element in elements.items():
        if element.choice:
            groups.setdefault(element.choice, []).append(key)
    return groups


def _field(key: str) -> str:
    """Name the field of an element: element names can be words of Python, and begin with an underscore."""
    return f"e_{key}"


def _ordered(elements: Mapping[str, Element]) -> list[str]:
    """Return the names of elements in the order of the specification, the members of a choice side by side."""
    choices = list(dict.fromkeys(element.choice or key for key, element in elements.items()))
    place = {choice: number for number, choice in enumerate(choices)}
    return sorted(elements, key=lambda key: place[elements[key].choice or key])
