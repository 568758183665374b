"""A ViewDefinition in, one SQL statement out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mayo_data.errors import ConfigError
from mayo_data.views import elements, rows, sql
from mayo_data.views.columns import Field
from mayo_data.views.definition import View, at, read
from mayo_data.views.expressions import Compiler
from mayo_data.views.scope import Scope
from mayo_data.views.values import Nodes, Value, one_of, scalar

DEEPEST = 12  # lambdas within each other: a second of planning; each level more doubles it
_RESOURCE = "resource"  # the column that holds a resource


@dataclass(frozen=True)
class Compiled:
    """A view as SQL.

    Attributes:
        resource: The resource type that it reads.
        name: The name of the view, or empty.
        fields: Its columns.
        notes: What is suspicious in the view, with its place.
    """

    resource: str
    name: str
    fields: tuple[Field, ...]
    notes: tuple[str, ...]
    _body: str

    def sql(self, source: str) -> str:
        """Return the whole statement for DuckDB.

        Args:
            source: A SELECT that gives a column `resource` of JSON, and of this resource type only.
        """
        return f"WITH resources AS (\n{source}\n)\n{self._body}"


def compile_view(view: Mapping[str, Any], *, written: bool = False) -> Compiled:
    """Compile a ViewDefinition of SQL on FHIR v2.

    Everything that the view alone can tell is checked here, so that a wrong view stops before data are read.

    Args:
        view: The view, as JSON gives it.
        written: Give decimals as text, with the digits that the resource has, for output that is text anyway.
            Otherwise they are DECIMAL(38,18): exact, but 1.10 and 1.1 are the same.

    Raises:
        ConfigError: The view is wrong, or uses what is not supported; the message begins with the place in the view.

    >>> made = compile_view({"resource": "Patient", "select": [{"column": [{"name": "born", "path": "birthDate"}]}]})
    >>> print(made.sql("SELECT resource FROM patients"))
    WITH resources AS (
    SELECT resource FROM patients
    )
    SELECT json_extract_string(resource, '$.birthDate') AS "born"
    FROM resources
    """
    found = read(view)
    types = elements.r4()
    if found.versions and not any(version.startswith("4") for version in found.versions):
        types = elements.untyped()
    compiler = Compiler(types, found.constants, written)
    root = one_of(_RESOURCE, found.resource)
    scope = Scope(root, root)
    condition = _where(found, compiler, scope)
    merged = rows.merge(rows.parts(found.selects, compiler, scope), compiler)
    _distinct(merged.fields)
    body = _statement(merged, condition)
    if len(body) > rows.LARGEST:
        raise ConfigError("select: the view is too large", hint="split it")
    if sql.nesting(body) > DEEPEST:
        raise ConfigError("select: loops and filters are nested too deeply", hint="split the view")
    return Compiled(found.resource, found.name, merged.fields, tuple(dict.fromkeys(compiler.notes)), body)


def _distinct(fields: tuple[Field, ...]) -> None:
    seen: set[str] = set()
    for field in fields:
        if field.name.lower() in seen:
            raise ConfigError(
                f"{field.place}.name: there is a column {field.name} already", hint="upper and lower case are the same"
            )
        seen.add(field.name.lower())


def _where(view: View, compiler: Compiler, scope: Scope) -> str:
    made = []
    for place, path in view.where:
        with at(place):
            made.append(_condition(compiler.compile(path, replace(scope, place=place)), place))
    return "\nWHERE " + " AND ".join(made) if made else ""


def _condition(value: Value, place: str) -> str:
    if isinstance(value, Nodes) and not value.kind:  # known when the query runs
        stop = f"CAST({sql.fail(f'{place}: this is no boolean')} AS BOOLEAN)"
        text = f"coalesce(CAST({value.one(place)} AS VARCHAR), 'false')"
        return f"CASE {text} WHEN 'true' THEN true WHEN 'false' THEN false ELSE {stop} END"
    if value.kind != "boolean":
        raise ConfigError("a condition must be true or false", hint="for example name.exists()")
    return f"coalesce({scalar(value, place).sql}, false)"


def _statement(merged: rows.Merged, condition: str) -> str:
    if not merged.rows:
        columns = ",\n  ".join(f"{merged.one[field.slot]} AS {sql.name(field.name)}" for field in merged.fields)
        return f"SELECT {columns}\nFROM resources{condition}"
    inner = [f"{made} AS {slot}" for slot, made in merged.one.items()] + [f"unnest({merged.rows}) AS r"]
    inside = ",\n  ".join(inner)
    columns = ", ".join(
        f"{field.slot if field.slot in merged.one else f'r.{field.slot}'} AS {sql.name(field.name)}"
        for field in merged.fields
    )
    return f"SELECT {columns}\nFROM (\n  SELECT {inside}\n  FROM resources{condition}\n)"
