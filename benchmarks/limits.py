"""Readers of JSON that do nothing else: the physical limit beside which a whole run is measured (`peers.py`).

All of them read the same files, packed or not, and only the elements below, of which most events are made. `code` and
`subject` are lists in a few types of resources; how a reader gets past that is said where it does.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import duckdb  # noqa: TID251 - a reader that is measured
import msgspec
import orjson
import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq
from whole_run import parse

BLOCK = 1 << 25  # bytes; the longest line must fit
SCALARS = ("resourceType", "id", "status", "effectiveDateTime", "issued", "recordedDate", "authoredOn")
REFERENCE = pa.struct([("reference", pa.string())])
CODING = pa.struct([("system", pa.string()), ("code", pa.string()), ("display", pa.string())])
STRUCTS = {
    "subject": REFERENCE,
    "encounter": REFERENCE,
    "code": pa.struct([("coding", pa.list_(CODING)), ("text", pa.string())]),
    "valueQuantity": pa.struct([("value", pa.float64()), ("unit", pa.string())]),
}
COLUMNS = {
    **dict.fromkeys(SCALARS, "VARCHAR"),
    "subject": "STRUCT(reference VARCHAR)",
    "encounter": "STRUCT(reference VARCHAR)",
    "code": "STRUCT(coding STRUCT(system VARCHAR, code VARCHAR, display VARCHAR)[], text VARCHAR)",
    "valueQuantity": "STRUCT(value DOUBLE, unit VARCHAR)",
}


class Reference(msgspec.Struct):
    reference: str | None = None


class Coding(msgspec.Struct):
    system: str | None = None
    code: str | None = None
    display: str | None = None


class Concept(msgspec.Struct):
    coding: list[Coding] = []
    text: str | None = None


class Quantity(msgspec.Struct):
    value: float | None = None
    unit: str | None = None


class Resource(msgspec.Struct, rename="camel"):
    """The elements, typed; a list where a type of resource has one."""

    resource_type: str
    id: str | None = None
    status: str | None = None
    effective_date_time: str | None = None
    issued: str | None = None
    recorded_date: str | None = None
    authored_on: str | None = None
    subject: Reference | list[Reference] | None = None
    encounter: Reference | list[Reference] | None = None
    code: Concept | list[Concept] | str | None = None
    value_quantity: Quantity | None = None


def with_orjson(files: list[Path]) -> int:
    """Parse every line into Python objects; return the rows. One process, one core."""
    return sum(parse(path, orjson.loads)[0] for path in files)


def with_msgspec(files: list[Path]) -> int:
    """Parse every line into structs; return the rows. One process, one core."""
    decode = msgspec.json.Decoder(Resource).decode
    return sum(parse(path, decode)[0] for path in files)


def with_pyarrow(files: list[Path], threads: int) -> int:
    """Read every file into an Arrow table; return the rows."""
    pa.set_cpu_count(threads)
    scalars = [(name, pa.string()) for name in SCALARS]
    rows = 0
    for path in files:
        try:
            rows += _table(path, pa.schema([*scalars, *STRUCTS.items()])).num_rows
        except pa.ArrowInvalid:  # a struct that is a list here
            rows += _table(path, pa.schema(scalars)).num_rows
    return rows


def _table(path: Path, schema: pa.Schema) -> pa.Table:
    parsing = pyarrow.json.ParseOptions(schema, unexpected_field_behavior="ignore")
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        return pyarrow.json.read_json(file, pyarrow.json.ReadOptions(block_size=BLOCK), parsing)


def with_duckdb(files: list[Path], out: Path, threads: int) -> int:
    """Read every file with `read_json` and write it as Parquet; return the rows."""
    rows = 0
    with duckdb.connect(config={"threads": threads}) as db:
        for number, path in enumerate(files):
            source = db.read_json(  # a row with a struct that is a list here becomes one of nulls
                str(path), columns=COLUMNS, format="newline_delimited", ignore_errors=True, maximum_object_size=BLOCK
            )
            source.write_parquet(str(out / f"{number}.parquet"), compression="zstd")
            rows += pq.read_metadata(out / f"{number}.parquet").num_rows
    return rows
