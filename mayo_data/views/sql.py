"""Pieces of SQL text. Whatever comes from a view gets into SQL through `text`, `name` or `key`, and only there."""

from __future__ import annotations

import re
from collections.abc import Mapping

from mayo_data import sql
from mayo_data.errors import ConfigError
from mayo_data.sql import name as name

MARK = "\x01"  # stands before the digits of a number that the reader has made a string: see mayo_data.views.source
_WORD = re.compile(r"'(?:[^']|'')*'|\blambda\b|[()\[\]]")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def text(value: str) -> str:
    """Return text as an SQL string.

    >>> text("it's")
    "'it''s'"
    """
    if "\0" in value:
        raise ConfigError("a text of the view holds a zero byte", hint="remove it")
    return sql.text(value)


def key(value: str) -> str:
    """Return an element name as a step of a JSON path.

    Raises:
        ConfigError: No element of FHIR can have such a name.

    >>> key("given")
    '.given'
    """
    if not _KEY.fullmatch(value):
        raise ConfigError("this is no name of an element", hint="letters, digits and underscores")
    return f".{value}"


def let(bound: Mapping[str, str], body: str, variable: str) -> str:
    """Evaluate expressions once and use them many times: SQL has no `let`, a lambda over one struct is one.

    Args:
        bound: Field to SQL expression.
        body: SQL that reads `variable.field`.
        variable: Name of the lambda's parameter, new in its surroundings.

    >>> let({"a": "f(t)"}, "v.a + v.a", "v")
    'list_transform([struct_pack(a := f(t))], lambda v: v.a + v.a)[1]'
    """
    fields = ", ".join(f"{field} := {value}" for field, value in bound.items())
    return f"list_transform([struct_pack({fields})], lambda {variable}: {body})[1]"


def either(condition: str, then: str, otherwise: str = "NULL") -> str:
    """Return a CASE of one branch.

    >>> either("a", "b")
    'CASE WHEN a THEN b ELSE NULL END'
    """
    return f"CASE WHEN {condition} THEN {then} ELSE {otherwise} END"


def fail(message: str) -> str:
    """Return SQL that stops the query with a message of ours.

    >>> fail("no")
    "error('view: no')"
    """
    return f"error({text('view: ' + message)})"


def nesting(statement: str) -> int:
    """Return how many lambdas stand within each other: DuckDB needs about twice the time for each level.

    >>> nesting("list_transform(list_transform(a, lambda x: x), lambda y: list_filter(y, lambda z: z))")
    2
    """
    depth, deepest = 0, 0
    bodies: list[int] = []  # the depth of brackets at which each open lambda began
    for found in _WORD.finditer(statement):
        word = found[0]
        if word == "lambda":
            bodies.append(depth)
            deepest = max(deepest, len(bodies))
        elif word in "([":
            depth += 1
        elif word in ")]":
            depth -= 1
            while bodies and bodies[-1] > depth:
                bodies.pop()
    return deepest
