"""What stands for an element that FHIR requires and a policy drops: `data-absent-reason`, in a form that is valid.

FHIR lets an extension take the place of a value. Three forms need care, for validators are strict there: a list of
primitives keeps a gap for the value, a datatype with required elements of its own has those masked too, and a choice
(`value[x]`) needs a member that can do without a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from mayo_data.phi.elements import elements
from mayo_data.types import Json

ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"

_MASK = {"extension": [{"url": ABSENT, "valueCode": "masked"}]}
_WORD = "masked"  # the text of a choice between primitives: one of them must have a value


@cache
def required(kind: str) -> Mapping[str, Json]:
    """Return what to write in place of each required element of a FHIR type: element to the entries of an object.

    Args:
        kind: FHIR type of the object.

    Source: FHIR R4, JSON representation of primitive elements, and the extension data-absent-reason.

    >>> required("Observation")["status"]["_status"]["extension"][0]["valueCode"]
    'masked'
    >>> list(required("CapabilityStatement")["format"])
    ['format', '_format']
    >>> list(required("CommunicationRequestPayload")["contentString"])
    ['contentAttachment']
    """
    return {name: _masked(kind, name) for name, element in elements(kind).items() if element.required}


def _masked(kind: str, name: str) -> Json:
    element = elements(kind)[name]
    if element.choice and element.primitive:
        members = [other for other, one in elements(kind).items() if one.choice == element.choice]
        name = next((other for other in members if not elements(kind)[other].primitive), f"{element.choice}String")
        element = elements(kind)[name]
        if element.primitive:
            return {name: _WORD, f"_{name}": _MASK}
    if element.primitive:
        return {name: [None], f"_{name}": [_MASK]} if element.repeats else {f"_{name}": _MASK}
    whole = _stand_in(element.type)
    return {name: [whole] if element.repeats else whole}


@cache
def _stand_in(kind: str) -> Json:
    """An object of a type that says nothing: what it must have is masked too."""
    made: dict[str, Any] = dict(_MASK)
    chosen: set[str] = set()
    for name, element in elements(kind).items():
        if element.required and element.choice not in chosen:
            made.update(_masked(kind, name))
            chosen.update([element.choice] if element.choice else [])
    return made
