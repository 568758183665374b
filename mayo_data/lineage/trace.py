"""The way back: from an event to its source record, the PHI decisions on it, and the run that made it."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.dataset as ds

from mayo_data.errors import StoreError
from mayo_data.types import Json

_EVENT_ID = re.compile(r"([0-9]{1,10})\.([0-9]{1,19})\.([0-9]{1,10})")
_MOST = (2**31 - 1, 2**63 - 1, 2**31 - 1)


def trace(snapshot: Path, ledger: Path, event_id: str) -> Json:
    """Return everything that is known of where an event comes from. JSON-able; no value of the PHI zone.

    It reads only the row groups that can hold the event, so it takes milliseconds in a store of any size.

    Args:
        snapshot: Folder of a snapshot.
        ledger: Path of the store's ledger.
        event_id: `source_table.source_row.source_item`, column `event_id` of view `event`.

    Returns:
        `event`; `source` (digest of the file, its size and format, and `row`: the line); `resource` (type,
        keyed id); `scrub` (policy, its fingerprint, detector, key id); `decisions` on that resource (path,
        offsets, category, recognizer, score, action); `run`, `steps`, `gates` and `snapshots`: the ledger's
        records of the run. What is not known is None or empty.

    Raises:
        StoreError: The id is malformed, or no event of this snapshot has it, or a file cannot be read.
    """
    table, row, item = _parse(event_id)
    here = (ds.field("source_table") == table) & (ds.field("source_row") == row)
    try:
        resource = _first(snapshot, "lineage/resources", here)
        # events are sorted by subject: knowing the subject, almost all row groups can be skipped
        near = here if resource is None else here & (ds.field("subject_id") == resource["subject_id"])
        event = _first(snapshot, "data", near & (ds.field("source_item") == item))
        if event is None:
            raise StoreError("this snapshot has no such event", hint="event ids are in column event_id of view event")
        source = _first(snapshot, "lineage/sources.parquet", ds.field("source_table") == table)
        scrub = _first(snapshot, "lineage/scrubs.parquet", ds.field("scrub_ref") == event["scrub_ref"])
        decisions = _rows(snapshot, "lineage/decisions", here)
    except (OSError, pa.ArrowInvalid) as error:
        raise StoreError("a file of the snapshot is missing or unreadable", hint="run mayo-data validate") from error
    run_id = (source or scrub or {}).get("run_id")  # a delta is scrubbed under the rules of its base
    records = _of_run(ledger, run_id)
    return {
        "event_id": event_id,
        "event": event,
        "source": {**source, "row": row} if source else None,
        "resource": resource,
        "scrub": scrub,
        "decisions": sorted(decisions, key=lambda decision: (decision["path"], decision["start"])),
        "run": next((record for record in records if record["kind"] == "run"), None),
        "steps": [record for record in records if record["kind"] == "step"],
        "gates": [record for record in records if record["kind"] == "gate"],
        "snapshots": [record for record in records if record["kind"] == "snapshot"],
    }


def _parse(event_id: str) -> tuple[int, int, int]:
    match = _EVENT_ID.fullmatch(event_id)
    numbers = tuple(int(part) for part in match.groups()) if match else ()
    if not numbers or any(number > most for number, most in zip(numbers, _MOST, strict=True)):
        raise StoreError("this is no event id", hint="it reads source_table.source_row.source_item, like 3.1520.0")
    table, row, item = numbers
    return table, row, item


def _rows(snapshot: Path, part: str, where: ds.Expression) -> list[Json]:
    table = ds.dataset(snapshot / part, format="parquet").to_table(filter=where)
    return [{name: _plain(value) for name, value in row.items()} for row in table.to_pylist()]


def _first(snapshot: Path, part: str, where: ds.Expression) -> Json | None:
    return next(iter(_rows(snapshot, part, where)), None)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _of_run(ledger: Path, run_id: str | None) -> list[Json]:
    if run_id is None:
        return []
    # Only lines that name the run are parsed: a ledger grows for years.
    needle = b'"run_id":' + orjson.dumps(run_id)
    try:
        with ledger.open("rb") as file:
            lines = [line for line in file if needle in line and line.endswith(b"\n")]
    except FileNotFoundError:
        return []
    try:
        records: list[Json] = [orjson.loads(line) for line in lines]
    except orjson.JSONDecodeError as error:
        raise StoreError("the ledger is damaged", hint="run: mayo-data ledger verify") from error
    return [record for record in records if record["body"].get("run_id") == run_id]
