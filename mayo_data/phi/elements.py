"""The elements of FHIR R4, and what a policy says of each: by its path, else by its type.

The shapes of types come from `schemas/fhir/shapes.json`, required value sets from `schemas/fhir/required_codes.json`.
Both are data about FHIR, the same for every policy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import msgspec

from mayo_data import assets

# What value[x], onset[x], ... may be called, and the action on each.
CHOICES = {
    "Quantity": "quantity", "CodeableConcept": "concept", "String": "text", "Boolean": "boolean", "Integer": "number",
    "Range": "range", "Ratio": "ratio", "SampledData": "sampled", "Time": "time", "DateTime": "date",
    "Instant": "date", "Date": "date", "Period": "period", "Timing": "timing", "Age": "age", "Decimal": "number",
    "Coding": "coding", "Duration": "quantity",
}  # fmt: skip
EXPORTED = frozenset(["reference", "identifier", "part", "narrative"])  # actions of which a store has no use

_ELEMENT = re.compile(r"(\w+?)([?*1+])(?: (\w+)\[x\])?( bare)?")
_DEEPEST = 6  # levels that are listed of an element that nests in itself


class Element(NamedTuple):
    """One element of a FHIR type.

    Attributes:
        type: Its FHIR type; a primitive one begins with a lower-case letter.
        repeats: Whether it is a list.
        required: Whether it must be there.
        choice: Name of its choice group (`value` of `value[x]`), or empty.
    """

    type: str
    repeats: bool
    required: bool
    choice: str

    @property
    def primitive(self) -> bool:
        """Whether it holds a JSON string, number or boolean."""
        return self.type[0].islower()


@cache
def _types() -> dict[str, Any]:
    raw = assets.path("schemas", "fhir", "shapes.json").read_bytes()
    found: dict[str, Any] = msgspec.json.decode(raw)["types"]
    return found


@cache
def elements(kind: str) -> Mapping[str, Element]:
    """Return the elements of a FHIR type by name; none for a type that is not known.

    Args:
        kind: Resource type, datatype, or backbone element in one word (`ObservationComponent`).

    >>> elements("Observation")["valueQuantity"].choice, elements("ObservationComponent")["code"].required
    ('value', True)
    """
    shape = _types().get(kind)
    if shape is None:
        return {}
    found = dict(elements(shape["is"])) if shape["is"] else {}
    for name, text in shape["elements"].items():
        match = _ELEMENT.fullmatch(text)
        assert match is not None, "schemas/fhir/shapes.json"
        found[name] = Element(match[1], match[2] in "*+", match[2] in "1+", match[3] or "")
    return found


@cache
def required_codes(kind: str, name: str) -> Mapping[str, str] | None:
    """Return the codes that FHIR allows in an element, by folded spelling, or None where it fixes none.

    Args:
        kind: FHIR type that has the element.
        name: Name of the element, of type `code`.

    >>> required_codes("Observation", "status")["entered-in-error"], required_codes("Observation", "code")
    ('entered-in-error', None)
    """
    listed = _required()
    named = listed["elements"].get(kind, {}).get(name)
    if named is None and kind in _types() and (base := _types()[kind]["is"]):
        return required_codes(base, name)
    return {code.casefold(): code for code in listed["sets"][named]} if named else None


@cache
def _required() -> dict[str, Any]:
    raw = assets.path("schemas", "fhir", "required_codes.json").read_bytes()
    found: dict[str, Any] = msgspec.json.decode(raw)
    return found


def by_type(policy_elements: Mapping[str, Any], kind: str, tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the action, or the tree of actions, on every element of a FHIR type, also those that `tree` leaves out.

    Args:
        policy_elements: Elements of a policy, with `by_type`.
        kind: FHIR type.
        tree: What the policy says of elements by name.

    >>> rules = {"by_type": {"type": {"code": "code", "string": "drop"}, "text": {"names": ["comment"]}}}
    >>> found = by_type(rules, "Slot", {"start": "date"})
    >>> found["start"], found["status"], found["comment"], found["schedule"]
    ('date', 'code', 'text', {})
    """
    rules = policy_elements["by_type"]
    texts = frozenset(rules["text"]["names"])
    found: dict[str, Any] = {name: action for name, action in tree.items() if not name.endswith("[x]")}
    for name, element in elements(kind).items():
        if name in found:
            continue
        said = tree.get(f"{element.choice}[x]") if element.choice else None
        if said is not None and said != "any":
            found[name] = said
        elif said is not None and name[len(element.choice) :] in CHOICES:
            found[name] = CHOICES[name[len(element.choice) :]]
        elif element.type == "string" and name in texts:
            found[name] = "text"
        else:
            found[name] = rules["type"].get(element.type, "drop" if element.primitive else {})
    return found


class Line(NamedTuple):
    """One line of what a policy does.

    Attributes:
        path: Element path.
        type: Its FHIR type.
        action: What happens to it.
        store: Whether a run into a store keeps it too; otherwise only FHIR out does.
    """

    path: str
    type: str
    action: str
    store: bool


def explained(policy_elements: Mapping[str, Any], kind: str) -> Iterator[Line]:
    """Yield what a policy does with each element of a resource type, in the order of FHIR.

    Args:
        policy_elements: Elements of a policy.
        kind: Resource type.
    """
    tree = policy_elements.get(kind)
    yield from _lines(policy_elements, kind, tree or {}, kind, stored=tree is not None, depth=0)


def _lines(
    rules: Mapping[str, Any], kind: str, tree: Mapping[str, Any], path: str, *, stored: bool, depth: int
) -> Iterator[Line]:
    shape = elements(kind)
    for name, action in by_type(rules, kind, tree).items():
        element = shape.get(name)
        what = element.type if element else "?"
        said = name in tree or bool(element and element.choice and f"{element.choice}[x]" in tree)
        if name == "id" and depth == 0:
            yield Line(f"{path}.{name}", what, "id", stored)
        elif name in ("id", "resourceType"):
            continue
        elif name == "modifierExtension" or name == "implicitRules":
            yield Line(f"{path}.{name}", what, "reject", stored)
        elif name == "contained":
            yield Line(f"{path}.{name}", what, "each by its own type", False)
        else:
            inner = action if isinstance(action, dict) else rules["datatypes"].get(action)
            if isinstance(action, str) and action.startswith("part "):
                inner, said = {}, False
            kept = stored and said and (isinstance(action, dict) or action.split(" ")[0] not in EXPORTED)
            if inner is None or element is None or element.primitive:
                yield Line(f"{path}.{name}", what, str(action), kept and not str(action).startswith("drop"))
            elif path.count(element.type) or depth >= _DEEPEST or f".{name}." in path:
                yield Line(f"{path}.{name}", what, "as above, nested", kept)
            else:
                yield from _lines(rules, element.type, inner, f"{path}.{name}", stored=kept, depth=depth + 1)
