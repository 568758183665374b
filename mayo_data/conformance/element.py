"""One element of a FHIR type, and how elements are written in `schemas/fhir`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import metadata
from typing import Any, NamedTuple

RESOURCE = "Resource"  # stands, as the type of an element, for any resource: contained, Bundle.entry.resource
COMMENTS = "fhir_comments"
_ELEMENT = re.compile(r"(\w+)([?*1+])(?: (\w+)\[x\])?( bare)?")


class Element(NamedTuple):
    """One element of a type.

    Attributes:
        type: Its FHIR type; primitive types begin with a lower-case letter.
        repeats: Whether it is a list.
        required: Whether it must be there; of a choice, whether one of the group must.
        choice: Name of its choice group (`value` of `value[x]`), or empty.
        extensible: Whether it has a sibling `_name` for extensions of a primitive value.

    >>> Element.parse("Quantity? value[x]").choice
    'value'
    >>> str(Element.parse("HumanName*"))
    'HumanName*'
    """

    type: str
    repeats: bool
    required: bool
    choice: str = ""
    extensible: bool = False

    @classmethod
    def parse(cls, text: str) -> Element:
        """Read an element from its short form.

        Args:
            text: Type, cardinality (`?` 0..1, `1` 1..1, `*` 0..n, `+` 1..n), choice group; `bare` where a primitive
                has no extensions.

        Raises:
            ValueError: It is no short form.
        """
        found = _ELEMENT.fullmatch(text)
        if found is None:
            raise ValueError("an element of schemas/fhir has no readable form")
        kind, often, choice, bare = found.groups()
        return cls(kind, often in "*+", often in "1+", choice or "", kind[0].islower() and not bare)

    def __str__(self) -> str:
        often = ("+" if self.required else "*") if self.repeats else ("1" if self.required else "?")
        choice = f" {self.choice}[x]" if self.choice else ""
        bare = " bare" if self.primitive and not self.extensible else ""
        return f"{self.type}{often}{choice}{bare}"

    @property
    def primitive(self) -> bool:
        """Whether it holds a JSON string, number or boolean."""
        return self.type[0].islower()


Shapes = Mapping[str, Mapping[str, Element]]


def decode(types: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Element]]:
    """Turn the `types` of the data file into shapes: each type with the elements of those that it builds on.

    Args:
        types: Type to `{"is": type it builds on, "elements": {name: short form}}`.

    >>> decode({"A": {"is": "", "elements": {"id": "id? bare"}}, "B": {"is": "A", "elements": {}}})["B"].keys()
    dict_keys(['id'])
    """
    made: dict[str, dict[str, Element]] = {}

    def elements(name: str) -> dict[str, Element]:
        if name not in made:
            own = {key: Element.parse(text) for key, text in types[name]["elements"].items()}
            base = types[name]["is"]
            made[name] = {**(elements(base) if base else {}), **own}
        return made[name]

    for name in types:
        elements(name)
    return made


def library() -> str:
    """Return name and version of the libraries whose models the shapes describe."""
    return ", ".join(f"{name} {metadata.version(name)}" for name in ("fhir.resources", "fhir-core"))
