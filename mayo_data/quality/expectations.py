"""Expectations of Great Expectations as SQL for DuckDB, with the verdicts of Great Expectations. Pure: text out.

Loading Great Expectations takes longer than a small run, and it asks several queries an expectation. A run needs the
verdict alone, and that is one aggregate. What is not known here is refused, so that nothing passes unseen; a test
holds both engines against each other on data of every kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mayo_data import sql
from mayo_data.errors import ConfigError
from mayo_data.quality.suites import Expectation

_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")
_QUERY = re.compile(r"SELECT \* FROM \{batch\} WHERE ([^;{}]+)", re.IGNORECASE | re.DOTALL)


class Compiled(NamedTuple):
    """An expectation as SQL.

    Attributes:
        counts: Selects two numbers: rows that are not as expected, and rows that were looked at.
        bad: Condition of a row that is not as expected, or empty where no row can be blamed.
        mostly: Share of the rows that must be as expected.
        empty: Whether it holds of no rows.
    """

    counts: str
    bad: str = ""
    mostly: float = 1.0
    empty: bool = True

    def holds(self, unexpected: int, rows: int) -> bool:
        """Return whether the expectation holds, as Great Expectations reckons it.

        >>> Compiled("", mostly=0.9).holds(1, 10)
        True
        """
        if rows == 0:
            return self.empty
        return (float(rows) - float(unexpected)) / float(rows) >= self.mostly


def compiled(one: Expectation) -> Compiled:
    """Return an expectation as SQL.

    Args:
        one: The expectation; its table is read by name.

    Raises:
        ConfigError: Its type or a parameter is not among those that are known here.

    >>> from mayo_data.quality.suites import About
    >>> about = About("files", "whole", "stop", "Completeness")
    >>> compiled(Expectation("expect_column_values_to_not_be_null", {"column": "rows"}, about)).bad
    '"rows" IS NULL'
    """
    if one.type not in _TYPES:
        known = ", ".join(sorted(_TYPES))
        raise ConfigError(f"{one.meta.check}: expectations of type {one.type} cannot be run", hint=f"known: {known}")
    made, allowed = _TYPES[one.type]
    unknown = sorted(set(one.kwargs) - allowed)
    if unknown:
        raise ConfigError(f"{one.meta.check}: {one.type} is run without {', '.join(unknown)}", hint="leave it out")
    try:
        return made(one.kwargs, sql.name(one.meta.table))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{one.meta.check}: a parameter of {one.type} is missing or wrong") from error


def _rows(bad: str, among: str, table: str, kwargs: Mapping[str, Any]) -> Compiled:
    """Rows that break a rule, among those it speaks of."""
    filtered = f" FILTER ({among})" if among else ""
    both = f"({among}) AND ({bad})" if among else bad
    mostly = float(kwargs.get("mostly", 1.0))
    if not 0 <= mostly <= 1:
        raise ValueError("mostly")
    return Compiled(f"SELECT count(*) FILTER ({both}), count(*){filtered} FROM {table}", both, mostly)


def _not_null(kwargs: Mapping[str, Any], table: str) -> Compiled:
    return _rows(f"{sql.name(kwargs['column'])} IS NULL", "", table, kwargs)


def _between(kwargs: Mapping[str, Any], table: str) -> Compiled:
    column = sql.name(kwargs["column"])
    return _rows(_outside(column, kwargs), f"{column} IS NOT NULL", table, kwargs)


def _outside(value: str, kwargs: Mapping[str, Any]) -> str:
    bounds = []
    if kwargs.get("min_value") is not None:
        bounds.append(f"{value} {'>' if kwargs.get('strict_min') else '>='} {_literal(kwargs['min_value'])}")
    if kwargs.get("max_value") is not None:
        bounds.append(f"{value} {'<' if kwargs.get('strict_max') else '<='} {_literal(kwargs['max_value'])}")
    if not bounds:
        raise ValueError("no bound")
    return f"NOT ({' AND '.join(bounds)})"


def _literal(value: object) -> str:
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return sql.text(value)
    raise TypeError("neither a number nor text")


def _in_set(kwargs: Mapping[str, Any], table: str) -> Compiled:
    column = sql.name(kwargs["column"])
    listed = ", ".join(map(_literal, kwargs["value_set"]))
    return _rows(f"{column} NOT IN ({listed})", f"{column} IS NOT NULL", table, kwargs)


def _unique(kwargs: Mapping[str, Any], table: str) -> Compiled:
    column = sql.name(kwargs["column"])
    twins = f"(SELECT count(*) AS n FROM {table} WHERE {column} IS NOT NULL GROUP BY {column})"
    mostly = float(kwargs.get("mostly", 1.0))
    return Compiled(f"SELECT coalesce(sum(n) FILTER (n > 1), 0), coalesce(sum(n), 0) FROM {twins}", "", mostly)


def _compound(kwargs: Mapping[str, Any], table: str) -> Compiled:
    if kwargs["ignore_row_if"] != "any_value_is_missing":
        raise ValueError("ignore_row_if")
    columns = [sql.name(column) for column in kwargs["column_list"]]
    whole = " AND ".join(f"{column} IS NOT NULL" for column in columns)
    twins = f"(SELECT count(*) AS n FROM {table} WHERE {whole} GROUP BY {', '.join(columns)})"
    return Compiled(f"SELECT coalesce(sum(n) FILTER (n > 1), 0), coalesce(sum(n), 0) FROM {twins}")


def _greater(kwargs: Mapping[str, Any], table: str) -> Compiled:
    if kwargs["ignore_row_if"] != "either_value_is_missing":
        raise ValueError("ignore_row_if")
    first, second = sql.name(kwargs["column_A"]), sql.name(kwargs["column_B"])
    bad = f"NOT ({first} {'>=' if kwargs.get('or_equal') else '>'} {second})"
    return _rows(bad, f"{first} IS NOT NULL AND {second} IS NOT NULL", table, kwargs)


def _query(kwargs: Mapping[str, Any], table: str) -> Compiled:
    match = _QUERY.fullmatch(kwargs["unexpected_rows_query"].strip())
    if match is None:
        raise ValueError("write it as SELECT * FROM {batch} WHERE ...")
    if not _one_condition(match[1]):
        raise ValueError("the condition is none")
    return _rows(match[1], "", table, {})


def _one_condition(text: str) -> bool:
    """Whether a text stays in the parentheses that it is put into: else it could select a value, not a count."""
    bare = _QUOTED.sub("", text)
    if any(mark in bare for mark in ("'", '"', "--", "/*", "$")):
        return False
    depth = 0
    for char in bare:
        depth += (char == "(") - (char == ")")
        if depth < 0:
            return False
    return depth == 0


def _row_count(kwargs: Mapping[str, Any], table: str) -> Compiled:
    return Compiled(f"SELECT CAST({_outside('count(*)', kwargs)} AS INTEGER), 1 FROM {table}")


def _aggregate(function: str) -> Callable[[Mapping[str, Any], str], Compiled]:
    def made(kwargs: Mapping[str, Any], table: str) -> Compiled:
        value = f"{function}({sql.name(kwargs['column'])})"
        outside = f"coalesce({_outside(value, kwargs)}, true)"  # of nothing there is no such value: not as expected
        return Compiled(f"SELECT CAST({outside} AS INTEGER), 1 FROM {table}")

    return made


def _exists(kwargs: Mapping[str, Any], table: str) -> Compiled:
    name = sql.text(kwargs["column"])
    return Compiled(
        f"SELECT CAST(count(*) FILTER (column_name = {name}) = 0 AS INTEGER), 1 FROM (DESCRIBE SELECT * FROM {table})"
    )


_BOUNDS = {"min_value", "max_value", "strict_min", "strict_max"}
_TYPES: dict[str, tuple[Callable[[Mapping[str, Any], str], Compiled], set[str]]] = {
    "expect_column_values_to_not_be_null": (_not_null, {"column", "mostly"}),
    "expect_column_values_to_be_between": (_between, {"column", "mostly", *_BOUNDS}),
    "expect_column_values_to_be_in_set": (_in_set, {"column", "mostly", "value_set"}),
    "expect_column_values_to_be_unique": (_unique, {"column", "mostly"}),
    "expect_compound_columns_to_be_unique": (_compound, {"column_list", "ignore_row_if"}),
    "expect_column_pair_values_a_to_be_greater_than_b": (
        _greater, {"column_A", "column_B", "or_equal", "ignore_row_if", "mostly"},
    ),
    "unexpected_rows_expectation": (_query, {"unexpected_rows_query"}),
    "expect_table_row_count_to_be_between": (_row_count, {"min_value", "max_value"}),
    "expect_column_to_exist": (_exists, {"column"}),
    **{
        f"expect_column_{name}_to_be_between": (_aggregate(function), {"column", *_BOUNDS})
        for name, function in
        {"max": "max", "min": "min", "mean": "avg", "sum": "sum", "median": "median"}.items()
    },
}  # fmt: skip
