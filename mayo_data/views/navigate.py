"""Steps from elements to their children, as JSON paths where the types are known, and by looking where they are not."""

from __future__ import annotations

from dataclasses import replace

from mayo_data.errors import ConfigError
from mayo_data.views import sql
from mayo_data.views.elements import KINDS, Types
from mayo_data.views.values import Nodes, one_of

_SYSTEM = {"String", "Boolean", "Integer", "Decimal", "Date", "DateTime", "Time"}
_FAR = 1_000_000_000  # no collection is longer
_NOTHING = Nodes("NULL::JSON", many=False)


def child(nodes: Nodes, name: str, types: Types, variable: str) -> Nodes:
    """Return the children of a name: `nodes.name`.

    Args:
        nodes: Where to start.
        name: An element as FHIRPath calls it: `value`, not `valueString`.
        types: The types that are known.
        variable: A new name for a lambda's parameter.

    Raises:
        ConfigError: A primitive value has no such child, or no element can have such a name.
    """
    element = types.element(nodes.type, name)
    if element is not None:
        return _step(nodes, name, element.type, element.repeats, variable)
    choices = types.choices(nodes.type, name)
    if choices:
        return _choice(nodes, choices, variable)
    if nodes.kind not in ("", "complex"):
        if nodes.hidden is not None and name in ("extension", "id"):
            return child(nodes.hidden, name, types, variable)
        raise ConfigError(f"{nodes.type} has no element {name}", hint="it is a value, the path ends here")
    return _look(nodes, name, variable)


def of_type(nodes: Nodes, name: str, wanted: str, types: Types, variable: str) -> Nodes:
    """Return `nodes.name.ofType(wanted)`: of a choice the JSON element of that type.

    Raises:
        ConfigError: FHIR has no such type.
    """
    wanted = type_name(wanted, types)
    choices = types.choices(nodes.type, name)
    for key, kind in choices.items():
        if kind == wanted:
            return _step(nodes, key, kind, False, variable)
    element = types.element(nodes.type, name)
    if choices:
        return replace(_NOTHING, type=wanted)
    if element is not None and element.type:
        found = child(nodes, name, types, variable)
        return found if element.type == wanted else replace(_NOTHING, type=wanted)
    if _is_resource(wanted, types):
        return resources(child(nodes, name, types, variable), wanted, variable)
    return _look(nodes, name + wanted[0].upper() + wanted[1:], variable).typed(wanted)


def filtered(nodes: Nodes, wanted: str, types: Types, variable: str) -> Nodes:
    """Return `nodes.ofType(wanted)` of elements that have a type, or are resources.

    Raises:
        ConfigError: FHIR has no such type, or the type of the elements is not known.
    """
    wanted = type_name(wanted, types)
    if nodes.type:
        return nodes if nodes.type == wanted else replace(_NOTHING, type=wanted)
    if _is_resource(wanted, types):
        return resources(nodes, wanted, variable)
    raise ConfigError("ofType() must stand behind the choice itself", hint="for example value.ofType(Quantity)")


def resources(nodes: Nodes, wanted: str, variable: str) -> Nodes:
    """Return those elements that are resources of a type."""
    kept = f"lambda {variable}: json_extract_string({variable}, '$.resourceType') = {sql.text(wanted)}"
    return Nodes(f"list_filter({nodes.list()}, {kept})", True, wanted, single=not nodes.many or nodes.single)


def type_name(wanted: str, types: Types) -> str:
    """Return the FHIR type of a type specifier.

    Raises:
        ConfigError: There is no such type.
    """
    if wanted in _SYSTEM:
        wanted = wanted[0].lower() + wanted[1:]
    if wanted not in KINDS and types.shapes and not types.known(wanted):
        raise ConfigError(f"FHIR R4 has no type {wanted[:60]}", hint="for example Quantity, dateTime, string")
    return wanted


def _is_resource(wanted: str, types: Types) -> bool:
    return types.element(wanted, "implicitRules") is not None


def _step(nodes: Nodes, name: str, kind: str, repeats: bool, variable: str) -> Nodes:
    key = sql.key(name)
    path = key + ("[*]" if repeats else "")
    many = nodes.many or repeats
    hidden: Nodes | None = None
    if kind in KINDS and nodes.kind != "":
        hidden = _walk(nodes, sql.key(f"_{name}") + ("[*]" if repeats else ""), many, "Element", variable)
    found = _walk(nodes, path, many, kind, variable)
    if repeats and kind in KINDS:  # [null, "b"]: the first has only an extension
        found = _clean(found)
    return replace(found, hidden=hidden)


def _walk(nodes: Nodes, path: str, many: bool, kind: str, variable: str) -> Nodes:
    if nodes.base:
        whole = nodes.path + path
        found = f"json_extract({nodes.base}, '{whole}')"
        return Nodes(f"coalesce({found}, [])" if many else found, many, kind, base=nodes.base, path=whole)
    if not nodes.many:
        return _walk(replace(nodes, base=nodes.sql, path="$"), path, many, kind, variable)
    if nodes.single:
        return _walk(one_of(nodes.one(""), nodes.type), path, path.endswith("[*]"), kind, variable)
    inner = f"list_transform({nodes.sql}, lambda {variable}: json_extract({variable}, '${path}'))"
    if path.endswith("[*]"):
        return Nodes(f"flatten({inner})", True, kind)
    return Nodes(f"list_filter({inner}, lambda z: z IS NOT NULL)", True, kind)


def _clean(nodes: Nodes) -> Nodes:
    cleaned = f"list_filter({nodes.sql}, lambda z: CAST(z AS VARCHAR) <> 'null')"
    return replace(nodes, sql=cleaned, base="", path="")


def _choice(nodes: Nodes, choices: dict[str, str], variable: str) -> Nodes:
    """A choice without `ofType()`: whichever there is, of a type that nobody knows before the query runs."""
    kinds = set(choices.values())
    kind = kinds.pop() if len(kinds) == 1 else ""
    if not nodes.many:
        found = [_step(nodes, key, kind, False, variable).sql for key in choices]
        return Nodes(f"coalesce({', '.join(found)})", False, kind)
    found = [f"json_extract({variable}, '${sql.key(key)}')" for key in choices]
    inner = f"list_transform({nodes.sql}, lambda {variable}: coalesce({', '.join(found)}))"
    return Nodes(f"list_filter({inner}, lambda z: z IS NOT NULL)", True, kind, single=nodes.single)


def _look(nodes: Nodes, name: str, variable: str) -> Nodes:
    """A step whose cardinality only the data know."""
    path = f"'${sql.key(name)}'"
    array = f"json_extract({variable}, '${sql.key(name)}[*]')"
    one = f"[json_extract({variable}, {path})]"
    inner = f"CASE json_type({variable}, {path}) WHEN 'ARRAY' THEN {array} ELSE {one} END"
    every = f"flatten(list_transform({nodes.list()}, lambda {variable}: {inner}))"
    return Nodes(f"list_filter({every}, lambda z: z IS NOT NULL AND CAST(z AS VARCHAR) <> 'null')", True)


def element(of: Nodes, index: int) -> Nodes:
    """Return the element at a place that is known, from 0.

    >>> element(Nodes("f(n)", True, base="n", path="$.name[*]"), 0).sql
    "json_extract(n, '$.name[0]')"
    """
    if not 0 <= index < _FAR or (index and not of.many):
        return replace(of, sql="NULL::JSON", many=False, base="", path="", hidden=None)
    if not of.many:
        return of
    if of.base and of.path.endswith("[*]") and of.path.count("[*]") == 1:
        path = f"{of.path[:-3]}[{index}]"
        return Nodes(f"json_extract({of.base}, '{path}')", False, of.type, base=of.base, path=path)
    return one_of(f"({of.sql})[{index + 1}]", of.type)
