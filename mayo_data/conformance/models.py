"""Reads shapes off the models of `fhir.resources`: how `schemas/fhir/shapes.json` is made.

A field that is not of a form known here leaves its whole type out: then the acceptor takes nothing that holds it, and
the library decides.
"""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass
from typing import Any

from fhir.resources.R4B import get_fhir_model_class
from fhir.resources.R4B.fhirprimitiveextension import FHIRPrimitiveExtension
from fhir_core.fhirabstractmodel import FHIRAbstractModel
from fhir_core.types import FhirBase
from pydantic.fields import FieldInfo
from pydantic.types import UuidVersion

from mayo_data import assets
from mayo_data.conformance.element import COMMENTS, RESOURCE, Element, library
from mayo_data.conformance.primitives import TYPES

Model = type[FHIRAbstractModel]

_ROOTS = ("FHIRAbstractModel", "FHIRResourceModel")


def shapes() -> dict[str, Any]:
    """Return the content of `schemas/fhir/shapes.json` for the installed library.

    >>> shapes()["types"]["Period"]["elements"]
    {'start': 'dateTime?', 'end': 'dateTime?'}
    """
    found: dict[str, _Described] = {}
    _visit(FHIRPrimitiveExtension, found)
    for name in assets.toml("schemas", "fhir", "resource_types.toml")["types"]:
        try:
            _visit(get_fhir_model_class(name), found)
        except ValueError:
            continue  # a type of R4 that R4B dropped
    types_: dict[str, Any] = {}
    for name, described in sorted(found.items()):
        above = found[described.base].elements if described.base else {}
        if above is not None and described.elements is not None:
            own = {key: str(one) for key, one in described.elements.items() if above.get(key) != one}
            types_[name] = {"is": described.base, "elements": own}
    return {"library": library(), "types": types_}


@dataclass
class _Described:
    """A model: what it builds on, and all of its elements, or None where one of them is of an unknown form."""

    base: str
    elements: dict[str, Element] | None = None


def _visit(model: Model, found: dict[str, _Described]) -> None:
    """Describe a model, what it builds on, and what its elements are made of."""
    name = model.__name__
    if name in found:
        return
    base = model.__mro__[1]
    builds = issubclass(base, FHIRAbstractModel) and base.__name__ not in _ROOTS
    found[name] = _Described(base.__name__ if builds else "")
    if builds:
        _visit(base, found)
    fields = {str(field.alias): field for field in model.model_fields.values()}
    required = {key for key, _ in model.get_required_fields(model.model_construct())}
    elements: dict[str, Element] = {}
    for key in model.elements_sequence():
        element = _element(fields[key], key in required, f"_{key}" in fields, found)
        if element is None:
            return
        elements[key] = element
    siblings = {f"_{key}" for key, element in elements.items() if element.extensible}
    if set(fields) == {*elements, *siblings, COMMENTS}:
        found[name].elements = elements


def _element(field: FieldInfo, required: bool, extensible: bool, found: dict[str, _Described]) -> Element | None:
    """Describe a field: one value or a list, of a primitive or of another model."""
    kind = _inner(field.annotation)
    repeats = typing.get_origin(kind) is list
    if repeats:
        kind = _inner(typing.get_args(kind)[0])
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    choice = str(extra.get("one_of_many") or "")
    must = required or field.is_required() or extra.get("one_of_many_required") is True
    if isinstance(kind, type) and issubclass(kind, FhirBase):
        model = kind.get_model_klass()
        if model.__name__ != RESOURCE:
            _visit(model, found)
        return Element(model.__name__, repeats, must, choice)
    name = _primitive(kind)
    return Element(name, repeats, must, choice, extensible) if name in TYPES else None


def _inner(kind: Any) -> Any:
    """Take the None out of `X | None`."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        parts = [part for part in typing.get_args(kind) if part is not type(None)]
        return parts[0] if len(parts) == 1 else None
    return kind


def _primitive(kind: Any) -> str:
    """Name the FHIR primitive of an annotation, or return an empty string."""
    if kind is bool:
        return "boolean"
    for mark in getattr(kind, "__metadata__", ()):
        if isinstance(mark, UuidVersion):
            return "uuid" if mark.uuid_version == 4 else ""
        if hasattr(mark, "__visit_name__"):
            return str(mark.__visit_name__)
    return ""
