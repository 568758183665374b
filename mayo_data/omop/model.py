"""The tables and fields of the OMOP CDM 5.3 and 5.4, read from `schemas/omop/cdm.toml`, their only definition."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from mayo_data import assets

Kind = Literal["key", "id", "concept", "int", "float", "date", "datetime", "text"]
_FIELD = re.compile(
    r"(?P<kind>key text|key|id|concept|int|float|date|datetime|text|-> \w+)(?P<needed>!)?( (?P<only>5\.\d))?"
)
_SQL = {
    "key": "BIGINT", "id": "BIGINT", "concept": "BIGINT", "int": "BIGINT", "float": "DOUBLE", "date": "TIMESTAMP",
    "datetime": "TIMESTAMP", "text": "VARCHAR",
}  # fmt: skip


@dataclass(frozen=True)
class Field:
    """A field of a table.

    Attributes:
        name: Its name in CDM 5.4 (or 5.3 where only that has it).
        kind: What it holds.
        needed: Whether it must not be empty.
        target: The table whose row it names, else empty.
        action: What the scrub does to it, else empty.
    """

    name: str
    kind: Kind
    needed: bool
    target: str
    action: str

    @property
    def sql(self) -> str:
        """The DuckDB type that it is read as; a date is read as a timestamp, because exports mix the two."""
        return _SQL[self.kind]


@dataclass(frozen=True)
class Table:
    """A table of the CDM.

    Attributes:
        name: Its name.
        of: `subject`, `directory`, `vocabulary` or `about`.
        fields: Its fields by name, in the order of the standard.
        renamed: Names that other versions gave to its fields.
    """

    name: str
    of: str
    fields: dict[str, Field]
    renamed: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str | None:
        """The primary key, where it is one number; person_id for `death`, which has one row a person."""
        found = next((one.name for one in self.fields.values() if one.kind == "key"), None)
        return found or ("person_id" if self.name == "death" else None)

    @property
    def personal(self) -> bool:
        """Whether its rows name their person."""
        return "person_id" in self.fields


@cache
def tables() -> dict[str, Table]:
    """Return every table of the CDM by name.

    >>> tables()["person"].key, tables()["measurement"].fields["value_as_number"].sql
    ('person_id', 'DOUBLE')
    """
    listed = assets.toml("schemas", "omop", "cdm.toml")
    return {name: _table(name, body) for name, body in listed.items()}


def _table(name: str, body: dict[str, Any]) -> Table:
    fields = {known: _field(known, written) for known, written in body["fields"].items()}
    return Table(name, body["of"], fields, dict(body.get("renamed", {})))


def _field(name: str, written: str) -> Field:
    left, _, action = written.partition(" : ")
    match = _FIELD.fullmatch(left)
    if match is None:
        raise ValueError(f"schemas/omop/cdm.toml: {name} has no such type")
    kind = match["kind"]
    target = kind[3:] if kind.startswith("->") else ""
    plain: Any = "id" if target else "text" if kind == "key text" else kind
    return Field(name, plain, bool(match["needed"]), target, action)


@cache
def concepts() -> dict[str, Any]:
    """Return what is known without a vocabulary: `schemas/omop/concepts.toml`."""
    return assets.toml("schemas", "omop", "concepts.toml")


@cache
def mapping() -> dict[str, dict[str, Any]]:
    """Return how rows become events: `schemas/omop/events.toml`."""
    return assets.toml("schemas", "omop", "events.toml")
