from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pytest

from mayo_data import schema
from mayo_data.events.normalize import Normalize

Make = Callable[..., pa.RecordBatch]
SUBJECT = 7


@pytest.fixture(scope="session")
def scrubbed() -> Make:
    """Make a batch as the scrub yields it, from resources (dicts, or JSON as bytes) or whole rows."""

    def make(resources: Sequence[dict[str, Any] | bytes], **columns: list[Any]) -> pa.RecordBatch:
        bodies = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in resources]
        rows = {
            "source_table": [1] * len(bodies),
            "source_row": list(range(1, len(bodies) + 1)),
            "resource_key": list(range(100, 100 + len(bodies))),
            "subject_id": [SUBJECT] * len(bodies),
            "body": bodies,
            **columns,
        }
        if "resource_type" not in rows:
            rows["resource_type"] = [json.loads(body)["resourceType"] for body in bodies]
        table = schema.table("scrubbed")
        arrays = [pa.array(rows.get(field.name, [None] * len(bodies)), field.type) for field in table]
        return pa.RecordBatch.from_arrays(arrays, schema=table)

    return make


@pytest.fixture(scope="session")
def staged() -> Callable[..., list[dict[str, Any]]]:
    """Run the stage and return its rows, without the columns that are null."""

    def run(*batches: pa.RecordBatch) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for batch in Normalize(scrub_ref=3)(iter(batches)):
            assert batch.schema.equals(schema.table("staged"))
            batch.validate(full=True)
            rows += [{key: value for key, value in row.items() if value is not None} for row in batch.to_pylist()]
        return rows

    return run
