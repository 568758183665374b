"""Gives a column its type: the one the view declares, else the one that its path has in FHIR."""

from __future__ import annotations

from dataclasses import dataclass

from mayo_data.errors import ConfigError
from mayo_data.views.definition import Column
from mayo_data.views.elements import KINDS
from mayo_data.views.values import DECIMAL, MOMENTS, SQL_TYPES, Nodes, Scalar, Value, read, scalar, text_of

DIGITS = "DIGITS"  # a decimal as text, for output that is text anyway
_SYSTEM = "http://hl7.org/fhirpath/System."
# Declared kind to the kinds that may be read as it.
_READABLE = {
    "string": {"boolean", "integer", "decimal", "string", *MOMENTS},
    "decimal": {"decimal", "integer"},
    "integer": {"integer"},
    "boolean": {"boolean"},
    **{moment: {"string", *MOMENTS} for moment in MOMENTS},
}


@dataclass(frozen=True)
class Field:
    """A column of the output.

    Attributes:
        name: Its name.
        sql: Its SQL type; `DIGITS` for the text of a decimal, where that was asked for.
        slot: What it is called inside of the query.
        place: Where it stands in the view.
    """

    name: str
    sql: str
    slot: str
    place: str = ""


def finish(value: Value, column: Column, number: int, *, written: bool = False) -> tuple[Field, str]:
    """Return a column and its SQL.

    Args:
        value: What its path became.
        column: The column of the view.
        number: Its number in the output, from 0.
        written: Give decimals as text, with the digits that the resource has.

    Raises:
        ConfigError: The path gives something else than the declared type, or elements without a declared type.
    """
    declared = _declared(column.type)
    actual = value.kind
    if actual and declared and actual not in ({"complex"} if declared == "complex" else _READABLE[declared]):
        what = value.type if isinstance(value, Nodes) else actual
        raise ConfigError(f"the path gives {what}, the column is declared as {column.type}", hint="correct the type")
    if actual == "complex" and not declared:
        assert isinstance(value, Nodes)
        raise ConfigError(f"the path gives {value.type}, which is no single value", hint="go on to an element of it")
    if column.collection:
        kind, made = _collection(value, declared, column.cast)
    else:
        kind, made = _single(value, declared, column.cast, column.place)
    if written and kind == DECIMAL and not column.cast:
        kind, made = DIGITS, _digits(value, made, column)
    if column.cast and kind != column.cast:
        made, kind = _cast(made, column.cast, column.collection), column.cast
    return Field(column.name, f"{kind}[]" if column.collection else kind, f"c{number}", column.place), made


def _declared(type_: str) -> str:
    if type_.startswith(_SYSTEM):
        type_ = type_.removeprefix(_SYSTEM)
        type_ = type_[0].lower() + type_[1:]
    return (KINDS.get(type_) or "complex") if type_ else ""


def _single(value: Value, declared: str, cast: str, place: str) -> tuple[str, str]:
    if isinstance(value, Scalar):
        return _converted(value, declared)
    kind = value.kind or declared
    if kind == "complex":
        return "JSON", plain(value.one(place))
    if not kind:
        return "VARCHAR", _open(value.one(place))
    if kind in ("integer", "decimal", "boolean") and (declared == "string" or cast == "VARCHAR"):
        return "VARCHAR", text_of(value.one(place))  # the digits as they were written
    return _converted(scalar(value, place, kind), declared)


def _converted(value: Scalar, declared: str) -> tuple[str, str]:
    kind = declared or value.kind
    made = SQL_TYPES.get(kind, "VARCHAR")
    if made != SQL_TYPES.get(value.kind, "VARCHAR"):
        return made, f"CAST({value.sql} AS {made})"
    return made, value.sql


def _collection(value: Value, declared: str, cast: str) -> tuple[str, str]:
    if isinstance(value, Scalar):
        kind, made = _converted(value, declared)
        return kind, f"list_filter([{made}], lambda z: z IS NOT NULL)"
    kind = value.kind or declared
    every = value.list()
    if kind == "complex":
        return "JSON", f"list_transform({every}, lambda z: {plain('z')})"
    if not kind:
        return "VARCHAR", f"list_transform({every}, lambda z: {_open('z')})"
    if kind in ("integer", "decimal", "boolean") and (declared == "string" or cast == "VARCHAR"):
        return "VARCHAR", f"list_transform({every}, lambda z: {text_of('z')})"
    kind = "decimal" if declared == "decimal" else kind
    return SQL_TYPES.get(kind, "VARCHAR"), f"list_transform({every}, lambda z: {read('z', kind)})"


def plain(node: str) -> str:
    r"""Return SQL of a JSON value in which marked numbers are numbers again.

    >>> plain("n")
    'CAST(regexp_replace(CAST(n AS VARCHAR), \'"\\\\u0001([^"]*)"\', \'\\1\', \'g\') AS JSON)'
    """
    return f"CAST({_unmarked(f'CAST({node} AS VARCHAR)')} AS JSON)"


def _unmarked(text: str) -> str:
    return f"""regexp_replace({text}, '"\\\\u0001([^"]*)"', '\\1', 'g')"""


def _open(node: str) -> str:
    """The text of a value of unknown type; of an element its JSON."""
    return _unmarked(text_of(node))


def _cast(made: str, cast: str, collection: bool) -> str:
    if collection:
        if cast == "TIMESTAMP":
            return f"list_transform({made}, lambda z: {_cast('z', cast, False)})"
        return f"CAST({made} AS {cast}[])"
    if cast == "TIMESTAMP":  # straight from text the offset would be lost
        return f"CAST(CAST({made} AS TIMESTAMPTZ) AS TIMESTAMP)"
    return f"CAST({made} AS {cast})"


def _digits(value: Value, made: str, column: Column) -> str:
    if isinstance(value, Nodes):
        if column.collection:
            return f"list_transform({value.list()}, lambda z: {text_of('z')})"
        return text_of(value.one(column.place))
    text = "rtrim(rtrim(CAST({} AS VARCHAR), '0'), '.')"  # always has a point, so no zero of an integer goes
    if column.collection:
        return f"list_transform({made}, lambda z: {text.format('z')})"
    return text.format(made)
