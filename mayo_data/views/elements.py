"""What the types of FHIR R4 say of an element: its type, whether it repeats, whether it is a choice.

A view works without: what is not known here is found out from each value when the query runs. What is known gives
faster SQL, the type of a column, and `value` of `valueQuantity`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import msgspec

from mayo_data import assets

_FORM = re.compile(r"(\w+)([?*1+])(?: (\w+)\[x\])?")
# FHIR types by the way their values compare and compute.
KINDS = {
    "boolean": "boolean",
    "integer": "integer",
    "integer64": "integer",
    "positiveInt": "integer",
    "unsignedInt": "integer",
    "decimal": "decimal",
    "date": "date",
    "dateTime": "dateTime",
    "instant": "dateTime",
    "time": "time",
    **dict.fromkeys(
        ("string", "code", "id", "uri", "url", "canonical", "oid", "uuid", "markdown", "base64Binary", "xhtml"),
        "string",
    ),
}


class Element(NamedTuple):
    """One element of a type.

    Attributes:
        type: Its FHIR type; empty where any resource can stand.
        repeats: Whether it is a JSON array.
        choice: Name of its choice: `value` of `valueQuantity`, or empty.
    """

    type: str
    repeats: bool
    choice: str = ""


class Types:
    """The elements of FHIR types.

    Args:
        shapes: Type to its elements.
    """

    def __init__(self, shapes: Mapping[str, Mapping[str, Element]]) -> None:
        self.shapes = shapes

    def known(self, kind: str) -> bool:
        """Whether the elements of a type are known."""
        return kind in self.shapes

    def element(self, kind: str, name: str) -> Element | None:
        """Return an element of a type, or None where the type or the element is not known.

        >>> r4().element("Patient", "name")
        Element(type='HumanName', repeats=True, choice='')
        """
        return self.shapes.get(kind, {}).get(name)

    def has(self, kind: str, name: str) -> bool:
        """Whether a type has an element, or a choice, of a name."""
        return self.element(kind, name) is not None or bool(self.choices(kind, name))

    def choices(self, kind: str, name: str) -> dict[str, str]:
        """Return the JSON names of a choice with their types; empty where it is none.

        >>> r4().choices("Patient", "deceased")
        {'deceasedBoolean': 'boolean', 'deceasedDateTime': 'dateTime'}
        """
        found = self.shapes.get(kind, {})
        return {key: element.type for key, element in found.items() if element.choice == name}


@cache
def r4() -> Types:
    """Return the types of FHIR R4.

    Their source is `schemas/fhir/shapes.json`.
    """
    types = msgspec.json.decode(assets.path("schemas", "fhir", "shapes.json").read_bytes())["types"]
    made: dict[str, dict[str, Element]] = {}

    def elements(name: str) -> dict[str, Element]:
        if name not in made:
            base = types[name]["is"]
            made[name] = dict(elements(base)) if base else {}
            for key, form in types[name]["elements"].items():
                found = _FORM.match(form)
                if found is None:
                    raise ValueError(f"schemas/fhir/shapes.json: {name}.{key} has no readable form")
                made[name][key] = Element(found[1], found[2] in "*+", found[3] or "")
        return made[name]

    for name in types:
        elements(name)
    abstract = {"Resource", "DomainResource", "Element", "BackboneElement"}
    return Types(
        {
            name: {key: one._replace(type="" if one.type in abstract else one.type) for key, one in found.items()}
            for name, found in made.items()
        }
    )


@cache
def untyped() -> Types:
    """Return no types at all: for views over another version of FHIR."""
    return Types({})


def kind(fhir: str) -> str:
    """Return how values of a FHIR type compare: a kind, `complex`, or empty where the type is not known.

    >>> kind("positiveInt"), kind("HumanName"), kind("")
    ('integer', 'complex', '')
    """
    if not fhir:
        return ""
    return KINDS.get(fhir, "complex")
