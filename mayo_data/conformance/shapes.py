"""The shapes of FHIR types: which elements they have, of what type, how often, and which are choices.

The shapes are those of the R4B models of `fhir.resources`, kept as data in `schemas/fhir/shapes.json`, so that a worker
need not load hundreds of models to know them. What R4 has beyond R4B comes from `schemas/fhir/r4.toml`.
"""

from __future__ import annotations

from functools import cache

import msgspec

from mayo_data import assets
from mayo_data.conformance.element import COMMENTS, Element, Shapes, decode, library


@cache
def r4b() -> Shapes:
    """Return the shapes of the installed library's R4B models.

    They come from the data file. Where another version of the library is installed than the file was made from, they
    come from its models, which takes some seconds: what is accepted must never be more than what that version accepts.
    """
    kept = msgspec.json.decode(assets.path("schemas", "fhir", "shapes.json").read_bytes())
    if kept["library"] != library():
        from mayo_data.conformance import models  # loads fhir.resources

        kept = models.shapes()
    return decode(kept["types"])


@cache
def r4() -> Shapes:
    """Return the shapes by which resources are accepted: R4B, and what R4 has beyond it (`schemas/fhir/r4.toml`)."""
    added = assets.toml("schemas", "fhir", "r4.toml")["elements"]
    more = {name: {key: Element.parse(text) for key, text in extra.items()} for name, extra in added.items()}
    return {name: {**elements, **more.get(name, {})} for name, elements in r4b().items()}


@cache
def unjudged() -> frozenset[str]:
    """Return the resource types of R4 that `fhir.resources` R4B does not know, or knows as something else."""
    rules = assets.toml("schemas", "fhir", "r4.toml")
    return frozenset([*rules["gone"]["types"], *rules["redefined"]["types"]])


@cache
def judged() -> frozenset[str]:
    """Return the resource types that can be judged."""
    known = assets.toml("schemas", "fhir", "resource_types.toml")["types"]
    return frozenset(name for name in known if name in r4b() and name not in unjudged())


@cache
def names() -> frozenset[str]:
    """Return every element name there is: such a name can stand in a message, any other key may be a value."""
    found = {COMMENTS, "resourceType"}
    for elements in r4().values():
        for name, element in elements.items():
            found.update([name, "_" + name] if element.extensible else [name])
    return frozenset(found)
