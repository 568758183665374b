"""What a stage is, and how its rows are accounted for.

A stage is a pure function over Arrow record batches. It does not know where it runs, who checks it, or who
records it. Every row that enters leaves: alive, or as a row whose `fate` says why not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import orjson
import pyarrow as pa
import pyarrow.compute as pc

TALLY = "tally"


@runtime_checkable
class Stage(Protocol):
    """A step of the pipeline: the schemas it reads and writes, frozen parameters, and a call.

    The call has the signature of Spark's `mapInArrow`. A stage is picklable: what it compiles from its
    parameters, it compiles on first use in each process.
    """

    name: str
    reads: str
    writes: str

    @property
    def fingerprint(self) -> str:
        """Digest of name, version, schemas and parameters."""
        ...

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Turn batches of schema `reads` into batches of schema `writes`."""
        ...


def fate(arrow: str, reason: str) -> str:
    """Return the `fate` of a row that ends at an arrow, for a reason of `schemas/reasons.toml`.

    >>> fate("scrub", "bad_json")
    'scrub/bad_json'
    """
    return f"{arrow}/{reason}"


def tally(schema: pa.Schema, counts: Counter[str]) -> pa.RecordBatch:
    """Return one row that carries counts (PHI actions, masked codes) along the stream.

    Args:
        schema: Schema of the stream; it has columns `body` and `fate`, all others are set to null or zero.
        counts: Names to counts. Names are ours, never from the input.
    """
    row: dict[str, Any] = {}
    for field in schema:
        if field.name == "body":
            row["body"] = orjson.dumps(counts, option=orjson.OPT_SORT_KEYS)
        elif field.name == "fate":
            row["fate"] = TALLY
        else:
            row[field.name] = None if field.nullable else 0
    return pa.RecordBatch.from_pylist([row], schema=schema)


def alive(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the rows whose fate is open."""
    return batch.filter(pc.is_null(batch.column("fate")))


def fates(batch: pa.RecordBatch) -> Counter[str]:
    """Count the rows that ended, by fate; tallies are not rows of data and are left out."""
    ended = batch.column("fate").drop_null()
    if len(ended) == 0:
        return Counter()
    counted = Counter({row["values"]: row["counts"] for row in pc.value_counts(ended).to_pylist()})
    del counted[TALLY]
    return counted
