"""The operators of FHIRPath in SQL: three-valued logic, exact decimals, collections that may be empty."""

from __future__ import annotations

from collections.abc import Callable

from mayo_data.errors import ConfigError
from mayo_data.views import moments, sql
from mayo_data.views.values import DECIMAL, MOMENTS, NUMBERS, Nodes, Scalar, Value, boolean, read, scalar

_SCALE = "1000000000"  # quotients are computed with nine digits after the point and rounded to eight
_LOGIC = {
    "and": "({} AND {})",
    "or": "({} OR {})",
    "xor": "({} <> {})",
    "implies": "((NOT {}) OR {})",
}
COMPARISONS = frozenset({"=", "!=", "<", "<=", ">", ">="})
Fresh = Callable[[], str]


def apply(operator: str, left: Value, right: Value, place: str, fresh: Fresh) -> Scalar:
    """Return `left operator right`.

    Args:
        operator: An operator of FHIRPath.
        left: Its left operand.
        right: Its right operand.
        place: Where in the view, for messages.
        fresh: Gives new names for lambda parameters.

    Raises:
        ConfigError: The operands are of kinds that the operator does not take.
    """
    if operator in _LOGIC:
        return Scalar(_LOGIC[operator].format(boolean(left, place), boolean(right, place)), "boolean")
    if operator == "!=":
        return Scalar(f"(NOT {apply('=', left, right, place, fresh).sql})", "boolean")
    if operator == "=":
        return Scalar(_equal(left, right, place, fresh), "boolean")
    if operator in COMPARISONS:
        kind = _shared(left, right)
        if kind in ("", "boolean"):
            raise ConfigError(f"these cannot be compared by {operator}", hint="both must be numbers, texts or dates")
        return Scalar(_pair(operator, left, right, kind, place, fresh), "boolean")
    return _compute(operator, left, right, place)


def negative(value: Value, place: str) -> Scalar:
    """Return `-value`.

    Raises:
        ConfigError: It is no number.
    """
    found = scalar(value, place, "decimal")
    if found.kind not in NUMBERS:
        raise ConfigError("only a number has a negative", hint="check the sign")
    return Scalar(f"(-{found.sql})", found.kind)


def _shared(left: Value, right: Value) -> str:
    """Return the kind in which two operands compare, or empty where they do not."""
    a, b = left.kind or right.kind or "string", right.kind or left.kind or "string"
    if {a, b} <= NUMBERS:
        return "decimal" if "decimal" in (a, b) or not (left.kind and right.kind) else "integer"
    if {a, b} & MOMENTS and {a, b} <= MOMENTS | {"string"}:
        return "dateTime"
    return a if a == b else ""


def _equal(left: Value, right: Value, place: str, fresh: Fresh) -> str:
    kind = _shared(left, right)
    lists = [one for one in (left, right) if isinstance(one, Nodes) and one.many and not one.single]
    if not kind:  # values of two kinds are never equal
        return sql.either(f"{_there(left)} AND {_there(right)}", "false")
    if not lists:
        return _pair("=", left, right, kind, place, fresh)
    v = fresh()
    a, b = _values(left, kind, place), _values(right, kind, place)
    if kind == "dateTime":
        same = moments.compare("=", f"{v}.a[1]", f"{v}.b[1]", fresh())
        same = f"CASE WHEN len({v}.a) = 1 THEN {same} ELSE {v}.a = {v}.b END"
    else:
        same = f"{v}.a = {v}.b"
    body = (
        f"CASE WHEN len({v}.a) = 0 OR len({v}.b) = 0 THEN NULL WHEN len({v}.a) <> len({v}.b) THEN false ELSE {same} END"
    )
    return sql.let({"a": a, "b": b}, body, v)


def _there(value: Value) -> str:
    if isinstance(value, Nodes) and value.many:
        return f"len({value.sql}) > 0"
    return f"({value.sql}) IS NOT NULL"


def _values(value: Value, kind: str, place: str) -> str:
    """Return SQL of a list of the values of a collection."""
    if isinstance(value, Scalar):
        return f"list_filter([{_as(value, kind)}], lambda z: z IS NOT NULL)"
    if kind == "complex":
        return f"list_transform({value.list()}, lambda z: CAST(z AS VARCHAR))"
    return f"list_transform({value.list()}, lambda z: {read('z', kind)})"


def _as(value: Scalar, kind: str) -> str:
    if kind == "decimal" and value.kind == "integer":
        return f"CAST({value.sql} AS {DECIMAL})"
    return value.sql


def _pair(operator: str, left: Value, right: Value, kind: str, place: str, fresh: Fresh) -> str:
    if kind == "complex":
        if not (isinstance(left, Nodes) and isinstance(right, Nodes)) or operator != "=":
            raise ConfigError(f"these cannot be compared by {operator}", hint="go on to one of their elements")
        return f"(CAST({left.one(place)} AS VARCHAR) = CAST({right.one(place)} AS VARCHAR))"
    a, b = scalar(left, place, kind), scalar(right, place, kind)
    if kind == "dateTime":
        return moments.compare(operator, a.sql, b.sql, fresh())
    return f"({_as(a, kind)} {operator} {_as(b, kind)})"


def _compute(operator: str, left: Value, right: Value, place: str) -> Scalar:
    wanted = "string" if operator == "&" else ""
    a = scalar(left, place, wanted or right.kind or "decimal")
    b = scalar(right, place, wanted or left.kind or "decimal")
    if operator == "&":
        if {a.kind, b.kind} != {"string"}:
            raise ConfigError("& joins texts", hint="use + for numbers")
        return Scalar(f"concat(coalesce({a.sql}, ''), coalesce({b.sql}, ''))", "string")
    if operator == "+" and {a.kind, b.kind} == {"string"}:
        return Scalar(f"({a.sql} || {b.sql})", "string")
    if not {a.kind, b.kind} <= NUMBERS:
        raise ConfigError(f"{operator} computes with numbers", hint="name the type with ofType()")
    whole = {a.kind, b.kind} == {"integer"}
    x, y = (a.sql, b.sql) if whole else (f"CAST({a.sql} AS {DECIMAL})", f"CAST({b.sql} AS {DECIMAL})")
    match operator:
        case "+" | "-":
            return Scalar(f"({x} {operator} {y})", "integer" if whole else "decimal")
        case "*" if whole:
            return Scalar(f"({x} * {y})", "integer")
        case "*":
            return Scalar(f"CAST(CAST({x} AS DECIMAL(38,9)) * CAST({y} AS DECIMAL(38,9)) AS {DECIMAL})", "decimal")
        case "/":
            return Scalar(_quotient(a.sql, b.sql), "decimal")
        case "div":
            return Scalar(f"CAST(trunc({_quotient(a.sql, b.sql)}) AS BIGINT)", "integer")
        case "mod":
            return Scalar(f"({x} % nullif({y}, 0))", "integer" if whole else "decimal")
    raise ConfigError(f"the operator {operator} is not supported", hint="see the subset in README")


def _quotient(a: str, b: str) -> str:
    """Divide exactly, in whole numbers: SQL's own division of decimals is one of floating-point numbers."""
    x, y = (f"CAST(CAST({one} AS DECIMAL(38,9)) * {_SCALE} AS HUGEINT)" for one in (a, b))
    shifted = f"CAST(({x} * {_SCALE}) // nullif({y}, 0) AS DECIMAL(38,0))"
    return f"CAST(round({shifted} * CAST(0.000000001 AS DECIMAL(9,9)), 8) AS {DECIMAL})"
