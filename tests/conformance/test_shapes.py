"""The data files say what the installed library says, and what R4 has beyond it."""

from __future__ import annotations

import json
import os

from mayo_data import assets
from mayo_data.conformance import models, shapes
from mayo_data.conformance.element import RESOURCE, Element
from mayo_data.conformance.primitives import TYPES

KNOWN = frozenset(assets.toml("schemas", "fhir", "resource_types.toml")["types"])


def test_the_shapes_are_those_of_the_library() -> None:
    """UPDATE_DOCS=1 writes the file anew."""
    made = models.shapes()
    path = assets.path("schemas", "fhir", "r4.toml").with_name("shapes.json")
    if os.environ.get("UPDATE_DOCS"):
        lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(body)}" for name, body in made["types"].items())
        path.write_text(f'{{\n"library": {json.dumps(made["library"])},\n"types": {{\n{lines}\n}}\n}}\n')
        shapes.r4b.cache_clear()
    assert json.loads(path.read_text()) == made


def test_every_model_has_a_shape_and_every_primitive_a_type() -> None:
    assert len(shapes.r4b()) > 650
    elements = [element for of in shapes.r4().values() for element in of.values()]
    assert {element.type for element in elements if element.primitive} == set(TYPES)
    assert {element.type for element in elements if not element.primitive} - {RESOURCE} <= set(shapes.r4b())
    assert all(Element.parse(str(element)) == element for element in elements)


def test_what_only_r4_has_is_listed() -> None:
    rules = assets.toml("schemas", "fhir", "r4.toml")
    assert set(rules["gone"]["types"]) == KNOWN - set(shapes.r4b())
    assert set(rules["redefined"]["types"]) <= set(shapes.r4b())
    assert shapes.judged() | shapes.unjudged() == KNOWN
    for name, added in rules["elements"].items():
        assert not set(added) & set(shapes.r4b()[name]), "the library knows it by now"
        for text in added.values():  # a boolean of the same choice stands in for it
            assert f"{Element.parse(text).choice}Boolean" in shapes.r4b()[name]
