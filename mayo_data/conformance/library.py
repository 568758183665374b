"""Puts before `fhir.resources` what the acceptor did not take: the library decides, and says why.

Of a verdict only the element path and the type of the error leave this module: messages of pydantic hold values, and a
key that is no element name may be one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from fhir.resources.R4B import get_fhir_model_class
from pydantic import ValidationError

from mayo_data import assets
from mayo_data.conformance import shapes
from mayo_data.conformance.acceptor import Acceptor
from mayo_data.conformance.element import RESOURCE

_MOST_PARTS = 100_000  # each can become an error of a kilobyte: a hostile line must not fill the memory
_NO_ELEMENT = frozenset(["root", "resource_type"])  # how the library calls the thing itself
_STAND_IN = {"resourceType": "Basic", "code": {}}


def judge(body: bytes, kind: str, acceptor: Acceptor) -> str | None:
    """Let `fhir.resources` decide on a resource: None where it is right, else path and type of the first error.

    What R4 has and the R4B models lack is no error (`schemas/fhir/r4.toml`).

    Args:
        body: The JSON.
        kind: Its `resourceType`, one of `shapes.judged()`.
        acceptor: Judges the elements that only R4 has.

    >>> judge(b'{"resourceType": "Patient", "birthDate": "soon"}', "Patient", Acceptor())
    'Patient.birthDate: value_error'
    """
    if body.count(b",") + body.count(b"{") > _MOST_PARTS:
        return f"{kind}: too_many_parts"
    found = _verdict(body, kind)
    if found is not None and (translated := _r4b(body, kind, acceptor)) is not None:
        return _verdict(translated, kind)
    return found


def _verdict(body: bytes, kind: str) -> str | None:
    try:
        get_fhir_model_class(kind).model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        return f"{_path(kind, first['loc'])}: {first['type']}"
    except Exception as error:  # some input breaks its validators: an unknown contained type is a KeyError
        return f"{kind}: {type(error).__name__}"
    return None


def _path(kind: str, parts: Sequence[int | str]) -> str:
    """Write a location as an element path; a key that is no element name becomes a question mark."""
    path = kind
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part in shapes.names():
            path += f".{part}"
        elif part not in _NO_ELEMENT:
            return path + ".?"
    return path


def _r4b(body: bytes, kind: str, acceptor: Acceptor) -> bytes | None:
    """Return the resource with stand-ins for what only R4 has, or None where it has nothing of the kind."""
    rules = assets.toml("schemas", "fhir", "r4.toml")["elements"]
    words = [name for added in rules.values() for name in added] + list(shapes.unjudged())
    if not any(b'"%s"' % word.encode() in body for word in words):
        return None

    def translated(value: Any, kind: str) -> Any:
        if isinstance(value, list):
            return [translated(one, kind) for one in value]
        if not isinstance(value, dict):
            return value
        if kind == RESOURCE:
            kind = str(value.get("resourceType"))
            if kind in shapes.unjudged():
                return _STAND_IN
        out = {}
        for name, inner in value.items():
            element = shapes.r4().get(kind, {}).get(name)
            if element is None or element.primitive:
                out[name] = inner
            elif name not in rules.get(kind, ()):
                out[name] = translated(inner, element.type)
            elif f"{element.choice}Boolean" in value or not acceptor.is_element(element.type, inner):
                out[name] = inner  # the library will mind it
            else:
                out[f"{element.choice}Boolean"] = True
        return out

    try:
        resource = msgspec.json.decode(body)
        found = translated(resource, kind)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return None if found == resource else msgspec.json.encode(found)
