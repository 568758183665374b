"""The Arrow schemas of every table, read from `schemas/tables/*.toml`, their only definition."""

from __future__ import annotations

from functools import cache

import pyarrow as pa

from mayo_data import assets

_TYPES: dict[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "string": pa.string(),
    "large_string": pa.large_string(),
    "large_binary": pa.large_binary(),
    "timestamp[us]": pa.timestamp("us"),
    "list<string>": pa.list_(pa.string()),
}


@cache
def table(name: str) -> pa.Schema:
    """Return the Arrow schema of a table; each field carries its documentation as metadata `doc`.

    Args:
        name: `events`, `codes`, `subject_splits`, `sources`, `resources`, `decisions`, `scrubs`, or one
            of the transit tables `raw`, `scrubbed`, `staged`.

    Raises:
        FileNotFoundError: No such table.

    >>> table("events").field("time").type
    TimestampType(timestamp[us])
    """
    spec = assets.toml("schemas", "tables", f"{name}.toml")
    fields = list(table(spec["extends"])) if "extends" in spec else []
    fields += [_field(entry) for entry in spec["field"]]
    if spec.get("nullable"):
        fields = [field.with_nullable(True) for field in fields]
    return pa.schema(fields, metadata={"doc": spec["doc"]})


def _field(entry: dict[str, object]) -> pa.Field:
    kind = str(entry["type"])
    if kind == "list<decision>":
        dtype: pa.DataType = pa.list_(pa.struct(list(table("decision"))))
    else:
        dtype = _TYPES[kind]
    return pa.field(str(entry["name"]), dtype, bool(entry.get("nullable", False)), {"doc": str(entry["doc"])})


def doc(field: pa.Field) -> str:
    """Return the documentation of a field.

    >>> doc(table("events").field("subject_id")).startswith("Keyed")
    True
    """
    text: bytes = (field.metadata or {}).get(b"doc", b"")
    return text.decode()
