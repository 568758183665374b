"""The functions of FHIRPath that a view can call, and the two that SQL on FHIR adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mayo_data.errors import ConfigError
from mayo_data.views import moments, navigate, sql
from mayo_data.views.elements import KINDS
from mayo_data.views.scope import Compiles, Scope
from mayo_data.views.syntax import Literal, Member, Node
from mayo_data.views.values import (
    MOMENTS,
    Nodes,
    Scalar,
    Value,
    boolean,
    one_of,
    scalar,
    text_of,
)

# Type/id at the end, with or without a server in front and a version behind. Not: #contained, Patient?identifier=...
_REFERENCE = r"^(?:https?://[^?#]*/)?([A-Z][A-Za-z]+)/([A-Za-z0-9.-]+)(?:/_history/[A-Za-z0-9.-]+)?$"
_URN = r"^urn:(?:uuid|oid):([A-Za-z0-9.-]+)$"
NAMES = {  # function to the numbers of arguments that it takes
    "where": (1,),
    "exists": (0, 1),
    "empty": (0,),
    "first": (0,),
    "count": (0,),
    "not": (0,),
    "join": (0, 1),
    "extension": (1,),
    "ofType": (1,),
    "lowBoundary": (0,),
    "highBoundary": (0,),
    "getResourceKey": (0,),
    "getReferenceKey": (0, 1),
}


def call(compiler: Compiles, of: Node | None, name: str, arguments: Sequence[Node], scope: Scope) -> Value:
    """Return `of.name(arguments)`.

    Raises:
        ConfigError: There is no such function here, or it takes other arguments.
    """
    if name not in NAMES:
        raise ConfigError(f"the function {name[:60]} is not supported", hint=f"there are {', '.join(sorted(NAMES))}")
    if len(arguments) not in NAMES[name]:
        raise ConfigError(f"{name}() takes another number of arguments", hint=f"{' or '.join(map(str, NAMES[name]))}")
    if name == "ofType":
        return _of_type(compiler, of, arguments[0], scope)
    if name == "not":
        focus = scope.this if of is None else compiler.compile(of, scope)
        return Scalar(f"(NOT {boolean(focus, scope.place)})", "boolean")
    if name in ("exists", "empty") and not arguments:
        there = _there(scope.this if of is None else compiler.compile(of, scope))
        return Scalar(there if name == "exists" else f"(NOT {there})", "boolean")
    nodes = compiler.nodes(of, scope)
    match name:
        case "where":
            return _where(compiler, nodes, arguments[0], scope)
        case "exists":
            return Scalar(_there(_where(compiler, nodes, arguments[0], scope)), "boolean")
        case "first":
            return navigate.element(nodes, 0)
        case "count":
            return Scalar(f"CAST(len({nodes.list()}) AS BIGINT)", "integer")
        case "join":
            return _join(compiler, nodes, arguments, scope)
        case "extension":
            return _extension(compiler, nodes, arguments[0])
        case "getResourceKey":
            return _resource_key(nodes, scope)
        case "getReferenceKey":
            return _reference_key(compiler, nodes, arguments)
    return _boundary(compiler, nodes, high=name == "highBoundary", scope=scope)


def _there(value: Value) -> str:
    if isinstance(value, Nodes) and value.many:
        return f"(len({value.sql}) > 0)"
    if isinstance(value, Nodes) and value.base and value.kind not in ("", "complex"):
        return f"(json_extract_string({value.base}, '{value.path}') IS NOT NULL)"
    return f"(({value.sql}) IS NOT NULL)"


def _where(compiler: Compiles, nodes: Nodes, criterion: Node, scope: Scope) -> Nodes:
    item, place = compiler.fresh(), compiler.fresh()
    inner = replace(scope, this=one_of(item, nodes.type), index=f"({place} - 1)")
    keep = boolean(compiler.compile(criterion, inner), scope.place)
    found = f"list_filter({nodes.list()}, lambda {item}, {place}: coalesce({keep}, false))"
    return Nodes(found, True, nodes.type, single=not nodes.many or nodes.single)


def _join(compiler: Compiles, nodes: Nodes, arguments: Sequence[Node], scope: Scope) -> Scalar:
    between = "''"
    if arguments:
        separator = scalar(compiler.compile(arguments[0], scope), scope.place)
        if separator.kind != "string":
            raise ConfigError("join() takes a text", hint="for example join(', ')")
        between = separator.sql
    if nodes.kind == "complex":
        raise ConfigError(f"{nodes.type} is no text that could be joined", hint="go on to one of its elements")
    texts = f"list_transform({nodes.list()}, lambda z: {text_of('z')})"
    return Scalar(f"array_to_string({texts}, {between})", "string")


def _extension(compiler: Compiles, nodes: Nodes, url: Node) -> Nodes:
    if not isinstance(url, Literal) or url.kind != "string":
        raise ConfigError("extension() takes the URL as a text", hint="for example extension('http://example.org/x')")
    if nodes.kind not in ("", "complex") and nodes.hidden is None:
        raise ConfigError("the extensions of this value are out of reach", hint="call extension() at the element")
    start = nodes if nodes.kind in ("", "complex") else nodes.hidden
    assert start is not None
    every = navigate.child(start, "extension", compiler.types, compiler.fresh())
    item = compiler.fresh()
    kept = f"lambda {item}: json_extract_string({item}, '$.url') = {sql.text(url.value)}"
    return Nodes(f"list_filter({every.list()}, {kept})", True, "Extension")


def _of_type(compiler: Compiles, of: Node | None, wanted: Node, scope: Scope) -> Nodes:
    match wanted:
        case Member(None, name) | Member(Member(None, "FHIR" | "System"), name):
            pass
        case Literal("string", name):
            pass
        case _:
            raise ConfigError("ofType() takes the name of a type", hint="for example value.ofType(Quantity)")
    if isinstance(of, Member):
        start = compiler.nodes(of.of, scope)
        return navigate.of_type(start, of.name, name, compiler.types, compiler.fresh())
    return navigate.filtered(compiler.nodes(of, scope), name, compiler.types, compiler.fresh())


def _boundary(compiler: Compiles, nodes: Nodes, *, high: bool, scope: Scope) -> Scalar:
    if nodes.type == "Period":
        name = "end" if high else "start"
        nodes = navigate.child(nodes, name, compiler.types, compiler.fresh())
    if nodes.kind not in ("integer", "decimal", *MOMENTS):
        raise ConfigError("only numbers, dates, times and periods have bounds", hint="name the type with ofType()")
    made = moments.boundary(text_of(nodes.one(scope.place)), nodes.kind, high=high, variable=compiler.fresh())
    return Scalar(made, "decimal" if nodes.kind == "integer" else nodes.kind)


def _resource_key(nodes: Nodes, scope: Scope) -> Scalar:
    if nodes is not scope.root:
        raise ConfigError("getResourceKey() is a function of the resource", hint="call it outside of forEach")
    return Scalar(f"json_extract_string({nodes.sql}, '$.id')", "string")


def _reference_key(compiler: Compiles, nodes: Nodes, arguments: Sequence[Node]) -> Nodes:
    """The id that a reference names: relative, on a server, or `urn:uuid:`."""
    wanted = ""
    if arguments:
        match arguments[0]:
            case Member(None, name) | Literal("string", name):
                wanted = navigate.type_name(name, compiler.types)
            case _:
                raise ConfigError("getReferenceKey() takes a resource type", hint="such as Patient")
    if nodes.type not in ("", "Reference") or wanted in KINDS:
        raise ConfigError("getReferenceKey() is a function of references", hint="for example subject.getReferenceKey()")
    item = compiler.fresh()
    reference = f"json_extract_string({item}, '$.reference')"
    kind, named = (f"regexp_extract({reference}, '{_REFERENCE}', {group})" for group in (1, 2))
    urn = f"nullif(regexp_extract({reference}, '{_URN}', 1), '')"
    if wanted:
        named = sql.either(f"{kind} = {sql.text(wanted)}", named)
        urn = sql.either(f"json_extract_string({item}, '$.type') = {sql.text(wanted)}", urn)
    key = f"to_json(coalesce(nullif({named}, ''), {urn}))"
    found = f"list_filter(list_transform({nodes.list()}, lambda {item}: {key}), lambda z: z IS NOT NULL)"
    return Nodes(found, True, "id", single=not nodes.many or nodes.single)
