"""What an expression becomes: SQL for nodes of JSON, or SQL for one value.

FHIRPath knows only collections. Here a collection is one of two things:

* `Nodes`: elements of a resource, as JSON. `sql` is a list (`many`), empty where there are none; or one nullable JSON.
* `Scalar`: at most one computed or literal value; NULL stands for the empty collection.

A number of a resource arrives as a string of a mark and its digits (see `mayo_data.views.source`), so that 1.10 stays
1.10; plain JSON numbers are understood as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mayo_data.errors import ConfigError
from mayo_data.views import sql
from mayo_data.views.elements import kind

DECIMAL = "DECIMAL(38,18)"
SQL_TYPES = {"boolean": "BOOLEAN", "integer": "BIGINT", "decimal": DECIMAL}
MOMENTS = frozenset({"date", "dateTime", "time"})
NUMBERS = frozenset({"integer", "decimal"})
_BARE = f"ltrim({{}}, chr({ord(sql.MARK)}))"


@dataclass(frozen=True)
class Scalar:
    """At most one value.

    Attributes:
        sql: SQL of the type that the kind has; NULL for none.
        kind: `boolean`, `integer`, `decimal`, `string`, `date`, `dateTime` or `time`. A decimal is kept exact as
            DECIMAL(38,18); dates and times are text, because they can be partial.
    """

    sql: str
    kind: str


@dataclass(frozen=True)
class Nodes:
    """Elements.

    Attributes:
        sql: A list of JSON, or one nullable JSON.
        many: Which of both.
        type: FHIR type, or empty where it is not known.
        single: A list that has at most one element.
        base: The JSON in which `path` leads to the elements, where a longer path can simply be appended.
        path: See `base`.
        hidden: The extensions of a primitive element: `_birthDate` of `birthDate`.
    """

    sql: str
    many: bool
    type: str = ""
    single: bool = False
    base: str = ""
    path: str = ""
    hidden: Nodes | None = None

    @property
    def kind(self) -> str:
        """How its values compare; empty where the type is not known."""
        return kind(self.type)

    def list(self) -> str:
        """SQL of a list of JSON without nulls."""
        if self.many:
            return self.sql
        return f"list_filter([{self.sql}], lambda z: z IS NOT NULL)"

    def one(self, place: str) -> str:
        """SQL of the only element; the query stops where there are more."""
        if not self.many:
            return self.sql
        if self.single:
            return f"({self.sql})[1]"
        stop = sql.fail(f"{place}: one value was expected, and there are more: use first(), where() or collection")
        return f"list_reduce(nullif({self.sql}, []), lambda y, z: CAST({stop} AS JSON))"

    def typed(self, type_: str) -> Nodes:
        """Return the same elements as elements of a type."""
        return replace(self, type=type_)


Value = Nodes | Scalar


def one_of(node: str, type_: str = "") -> Nodes:
    """Return one JSON value as nodes."""
    return Nodes(node, many=False, type=type_, base=node, path="$")


def text_of(node: str) -> str:
    """Return SQL of the text of a JSON value, a number without its mark.

    >>> text_of("n")
    "ltrim(json_extract_string(n, '$'), chr(1))"
    """
    return _BARE.format(f"json_extract_string({node}, '$')")


def read(node: str, kind_: str) -> str:
    """Return SQL that reads a JSON value as a value of a kind."""
    if kind_ in ("string", *MOMENTS):
        return f"json_extract_string({node}, '$')"
    if kind_ == "boolean":
        return f"CAST(json_extract_string({node}, '$') AS BOOLEAN)"
    return f"CAST({text_of(node)} AS {SQL_TYPES[kind_]})"


def scalar(value: Value, place: str, wanted: str = "") -> Scalar:
    """Return a collection as its only value.

    Args:
        value: The collection.
        place: Where in the view, for the message of a query that stops.
        wanted: The kind to read it as where its own is not known.

    Raises:
        ConfigError: It is no primitive value.
    """
    if isinstance(value, Scalar):
        return value
    found = value.kind or wanted
    if found == "complex":
        raise ConfigError(f"{value.type} is no single value", hint="go on to one of its elements")
    if not found:
        return Scalar(text_of(value.one(place)), "string")
    if not value.many and value.base:  # the usual case, in one step
        leaf = f"json_extract_string({value.base}, '{value.path}')"
        if found in ("string", *MOMENTS):
            return Scalar(leaf, found)
        if found == "boolean":
            return Scalar(f"CAST({leaf} AS BOOLEAN)", found)
        return Scalar(f"CAST({_BARE.format(leaf)} AS {SQL_TYPES[found]})", found)
    return Scalar(read(value.one(place), found), found)


def boolean(value: Value, place: str) -> str:
    """Return SQL of a collection where FHIRPath expects a boolean: a single value that is no boolean counts as true.

    Source: FHIRPath, "Singleton Evaluation of Collections".
    """
    if isinstance(value, Scalar):
        return value.sql if value.kind == "boolean" else f"nullif({value.sql} IS NOT NULL, false)"
    if value.kind == "boolean":
        return scalar(value, place).sql
    node = value.one(place)
    if value.kind:
        return f"nullif(({node}) IS NOT NULL, false)"
    # Not known before the query runs: false is false, nothing is nothing, all else is true.
    return f"(CAST({node} AS VARCHAR) <> 'false')"
