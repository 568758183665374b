"""The tables of the CDM 5.4 as a map fills them: every field, in order, of the right type and length."""

from __future__ import annotations

from datetime import date, datetime
from functools import cache
from hashlib import blake2b
from typing import Any, NamedTuple

import pyarrow as pa

from mayo_data import assets

Row = dict[str, Any]
VERSION = "5.4"
MADE = (
    "person", "observation_period", "visit_occurrence", "condition_occurrence", "drug_exposure",
    "procedure_occurrence", "device_exposure", "measurement", "observation", "death", "note", "specimen", "location",
    "care_site", "provider",
)  # fmt: skip
"""The tables that FHIR fills, parents and children mixed, as the standard lists them."""

_TYPES = {
    "key": pa.int64(), "id": pa.int64(), "concept": pa.int32(), "int": pa.int32(), "float": pa.float64(),
    "date": pa.date32(), "datetime": pa.timestamp("us"), "text": pa.string(),
}  # fmt: skip


class Field(NamedTuple):
    """A field of a CDM table.

    Attributes:
        name: Its name.
        kind: `key`, `id`, `concept`, `int`, `float`, `date`, `datetime` or `text`.
        required: Whether it must not be empty.
        target: The table that it points to, else empty.
        width: The most characters of a text; 0 for any number.
    """

    name: str
    kind: str
    required: bool
    target: str
    width: int


@cache
def fields(table: str) -> tuple[Field, ...]:
    """Return the fields of a table, from `schemas/omop/cdm.toml` and the lengths of `from_fhir.toml`.

    Args:
        table: Name of a table of the CDM, in lower case.

    Raises:
        KeyError: No such table.

    >>> [field.name for field in fields("death")][:2], fields("location")[4].width
    (['person_id', 'death_date'], 2)
    """
    widths = assets.toml("schemas", "omop", "from_fhir.toml")["width"]
    found = []
    for name, written in assets.toml("schemas", "omop", "cdm.toml")[table]["fields"].items():
        spec = written.partition(" : ")[0]
        head, _, version = spec.rpartition(" 5.")
        if head and version != VERSION[2:]:
            continue
        kind = (head or spec).rstrip("!")
        target = kind.removeprefix("-> ") if kind.startswith("-> ") else ""
        width = widths.get(f"{table}.{name}", widths["*"]) if kind == "text" else 0
        found.append(Field(name, "id" if target else kind, (head or spec).endswith("!"), target, width))
    return tuple(found)


@cache
def schema(table: str) -> pa.Schema:
    """Return the Arrow schema of a table.

    >>> schema("death").field("death_datetime").type
    TimestampType(timestamp[us])
    """
    return pa.schema([pa.field(one.name, _TYPES[one.kind], True) for one in fields(table)])


def key(kind: str, name: str) -> int:
    """Return the number of a row: 63 bits of a digest, the same wherever the same thing is named.

    Args:
        kind: The table whose row it is.
        name: What identifies the row within it, in de-identified data.

    >>> key("person", "p1") == key("person", "p1") != key("visit_occurrence", "p1")
    True
    """
    digest = blake2b(f"{kind}\0{name}".encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def fit(table: str, row: Row) -> tuple[Row, str | None]:
    """Return a row with every field of its table, and the first required field that is empty.

    A text is cut where the CDM ends; a state that is no two letters is left out, because half a name is a wrong name.

    Args:
        table: Name of the table.
        row: Values by field.

    Raises:
        KeyError: A value for a field that the table lacks.

    >>> row, missing = fit("death", {"person_id": 1, "death_type_concept_id": 32817})
    >>> missing, len(row)
    ('death_date', 7)
    """
    whole: Row = {}
    missing = None
    for name, kind, required, _, width in fields(table):
        value = row.get(name)
        if kind == "text":
            if not isinstance(value, str) or not value:
                value = None
            elif width and len(value) > width:
                value = value[:width] if width > 2 else None
        if value is None and required and missing is None:
            missing = name
        whole[name] = value
    unknown = row.keys() - whole.keys()
    if unknown:
        raise KeyError(f"{table} has no field {min(unknown)}")
    return whole, missing


@cache
def days(table: str) -> tuple[str, ...]:
    """Return the date fields of a table that tell when something of its person was recorded.

    >>> days("condition_occurrence"), days("person"), days("device_exposure")
    (('condition_start_date', 'condition_end_date'), (), ('device_exposure_start_date',))
    """
    names = {one.name for one in fields(table)}
    if table in ("person", "death", "observation_period") or "person_id" not in names:
        return ()
    if table == "device_exposure":  # its end is when it expires, perhaps years after anybody last looked
        return ("device_exposure_start_date",)
    return tuple(one.name for one in fields(table) if one.kind == "date" and one.name != "verbatim_end_date")


@cache
def is_late(table: str, field: str) -> bool:
    """Whether a required field may wait for the other tables: a visit's days for its events', theirs for the visit's.

    >>> is_late("visit_occurrence", "visit_start_date"), is_late("death", "death_date")
    (True, False)
    """
    return field in days(table) and any(one.name == "visit_occurrence_id" for one in fields(table))


def plain(value: Any) -> Any:
    """Return a value as JSON has it: days and times in ISO 8601.

    >>> plain(datetime(2020, 1, 2, 3, 4)), plain(date(2020, 1, 2)), plain(5)
    ('2020-01-02T03:04:00', '2020-01-02', 5)
    """
    return value.isoformat() if isinstance(value, date | datetime) else value
