"""The way back: from an event, a subject, a training read or a prediction to the lines of the source.

What is returned can be written as JSON and holds no value of the PHI zone: keyed ids, digests, places, rules.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from mayo_data.errors import StoreError
from mayo_data.lineage import inputs, search, withdrawals
from mayo_data.types import Json

_EVENT_ID = re.compile(r"([0-9]{1,10})\.([0-9]{1,19})\.([0-9]{1,10})")
_SUBJECT = re.compile(r"[0-9]{1,19}")
_RUN_OF_TOKENS = re.compile(r"[LP]-[0-9a-f]{32}")
_MOST = (2**31 - 1, 2**63 - 1, 2**31 - 1)
_PLACE = ("source_table", "source_row", "source_item")
LIMIT = 100  # lines that a trace lists; all of them are counted


def trace(snapshot: Path, ledger: Path, name: str, *, limit: int = LIMIT) -> Json:
    """Return everything that is known of where something comes from. JSON-able; no value of the PHI zone.

    It reads only the row groups that can hold an answer, so it takes milliseconds in a store of any size.

    Args:
        snapshot: Folder of a snapshot; a read or a prediction names its own.
        ledger: Path of the store's ledger.
        name: An event (`source_table.source_row.source_item`, column `event_id` of view `event`), a subject (its
            `subject_id`), a read or context (`L-...`), or a prediction (`P-...`).
        limit: How many source lines are listed; all of them are counted.

    Returns:
        `kind`: `event`, `subject`, `read`, `context` or `prediction`. Of an event: `event`; `source` (digest of the
        file, its size and format, and `row`: the line); `resource` (type, keyed id); `mapping`; `scrub` (policy, its
        fingerprint, detector, key id, code version); `decisions` on that resource (path, offsets, category,
        recognizer, score, action); `run`, `steps`, `gates` and `snapshots`: the ledger's records of the run. Of the
        others: `records` of the ledger, `counts`, `sources`, `scrubs`, `runs`, and `lines`, at most `limit` of them.

    Raises:
        StoreError: The name is malformed, or nothing here has it, or a file cannot be read, or the subject of the
            event has withdrawn, or the kept list of what a prediction saw was changed.
    """
    if _EVENT_ID.fullmatch(name):
        return _event(snapshot, ledger, name)
    if _SUBJECT.fullmatch(name) and int(name) <= _MOST[1]:
        return _subject(snapshot, ledger, int(name), limit)
    if _RUN_OF_TOKENS.fullmatch(name):
        of = _prediction if name.startswith("P-") else _read
        return of(snapshot.parent, ledger, name, limit)
    raise StoreError(
        "this is no event id, subject, lineage id or prediction id",
        hint="an event id reads source_table.source_row.source_item, like 3.1520.0; others begin with L- or P-",
    )


# ── an event ──────────────────────────────────────────────────────────────────────────────────────────────────


def _event(snapshot: Path, ledger: Path, event_id: str) -> Json:
    table, row, item = _parse(event_id)
    here = {"source_table": table, "source_row": row}
    resource, name = None, None
    for path in search.files(snapshot, "lineage/resources"):
        rows = search.plain(search.found(path, here))
        if rows:
            resource, name = rows[0], path.name
            break
    # a subject's events lie in the file of the same name as its resources
    files = sorted(search.files(snapshot, "data"), key=lambda path: path.name != name)
    event = None
    for path in files:
        rows = search.plain(search.found(path, {**here, "source_item": item}))
        if rows:
            event = rows[0]
            break
    if event is None:
        if not files:
            raise StoreError("a file of the snapshot is missing or unreadable", hint="run mayo-data validate")
        raise StoreError("this snapshot has no such event", hint="event ids are in column event_id of view event")
    if event["subject_id"] in withdrawals.withdrawn(ledger):
        raise StoreError("the subject of this event has withdrawn", hint="trace the subject: it says what is on record")
    source = next(iter(search.plain(search.found(_sources(snapshot), {"source_table": table}))), None)
    scrub = next(iter(search.plain(search.found(_scrubs(snapshot), {"scrub_ref": event["scrub_ref"]}))), None)
    decisions = [
        one for path in search.files(snapshot, "lineage/decisions") for one in search.plain(search.found(path, here))
    ]
    run_id = (source or scrub or {}).get("run_id")  # a delta is scrubbed under the rules of its base
    records = _of_run(ledger, run_id)
    return {
        "kind": "event",
        "event_id": event_id,
        "snapshot": snapshot.name,
        "event": event,
        "source": {**source, "row": row} if source else None,
        "resource": resource,
        "mapping": _mapping(snapshot, source, resource),
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


def _mapping(snapshot: Path, source: Json | None, resource: Json | None) -> Json | None:
    """By which mapping a resource became events: its name, its section, its fingerprint."""
    if resource is None:
        return None
    name = "omop" if source and str(source["format"]).startswith("omop") else "fhir"
    made = manifest(snapshot).get("fingerprints", {})
    return {"name": name, "section": resource["resource_type"], "fingerprint": made.get("normalize")}


# ── a subject, a read, a prediction ───────────────────────────────────────────────────────────────────────────


def _subject(snapshot: Path, ledger: Path, subject_id: int, limit: int) -> Json:
    resources = search.of_subject(snapshot, "lineage/resources", subject_id)
    splits = search.found(snapshot / "metadata" / "subject_splits.parquet", {"subject_id": subject_id})
    said = [
        one
        for one in search.records(ledger, f'"subject_id":{subject_id}', kinds=())
        if one["kind"] in ("withdrawal", "erasure") and one["body"].get("subject_id") == subject_id
    ]
    if not resources.num_rows and not splits.num_rows and not said:
        raise StoreError("no such subject in this snapshot", hint="view subject lists them")
    refs = search.of_subject(snapshot, "data", subject_id, ["subject_id", "scrub_ref"])
    lines = search.plain(resources.slice(0, limit))
    return {
        "kind": "subject",
        "subject_id": subject_id,
        "snapshot": snapshot.name,
        "split": splits.column("split")[0].as_py() if splits.num_rows else None,
        "records": said,
        "counts": _counts(snapshot, subject_id, refs.num_rows, resources),
        **_origin(snapshot, ledger, resources, refs),
        "lines": lines,
    }


def _read(snapshots: Path, ledger: Path, name: str, limit: int) -> Json:
    told = list(search.records(ledger, f'"{name}"'))
    record = next((one for one in told if one["body"].get("lineage_id") == name and one["kind"] != "inference"), None)
    if record is None:
        raise StoreError("the ledger knows no such lineage id", hint="a reader and a context say theirs")
    body = record["body"]
    trained = [one for one in told if one["kind"] == "training" and name in one["body"].get("lineage_ids", ())]
    predicted = [one for one in told if one["kind"] == "inference"]
    found: Json = {
        "kind": record["kind"],
        "lineage_id": name,
        "snapshot": body["snapshot"],
        "records": [record, *trained, *predicted[:limit]],
        "trainings": [one["body"] for one in trained],
        "predictions": [one["body"]["prediction_id"] for one in predicted[:limit]],
    }
    folder = snapshots / body["snapshot"]
    if record["kind"] == "context":
        return found | _inputs(folder, ledger, body, limit)
    counts = {"subjects": body.get("subjects"), "trainings": len(trained), "predictions": len(predicted)}
    return found | {"counts": counts, **_whole(folder, ledger), "lines": []}


def _prediction(snapshots: Path, ledger: Path, name: str, limit: int) -> Json:
    told = list(search.records(ledger, f'"{name}"'))
    record = next((one for one in told if one["kind"] == "inference"), None)
    if record is None:
        raise StoreError("the ledger knows no such prediction", hint="the log of inferences says its ids")
    body = record["body"]
    lineage = body.get("lineage_id", "")
    context = [one for one in search.records(ledger, f'"{lineage}"') if one["kind"] == "context"] if lineage else []
    trained = [
        one
        for one in search.records(ledger, f'"{body.get("model_digest")}"')
        if one["kind"] == "training" and one["body"].get("model_digest") == body.get("model_digest")
    ]
    return {
        "kind": "prediction",
        "prediction_id": name,
        "snapshot": body["snapshot"],
        "records": [record, *context, *trained, *(one for one in told if one["kind"] == "feedback")],
        "prediction": body,
        "trainings": [one["body"] for one in trained],
        **_inputs(snapshots / body["snapshot"], ledger, body, limit),
    }


def _inputs(snapshot: Path, ledger: Path, body: Json, limit: int) -> Json:
    """The events that a context held, with the lines they came from."""
    subject, wanted = int(body["subject_id"]), inputs_of(ledger, body.get("inputs"))
    nothing: Json = {"subject_id": subject, "sources": [], "scrubs": [], "runs": [], "lines": []}
    counts = {"events": body.get("events"), "found": 0}
    if wanted is None or not snapshot.is_dir():
        return nothing | {"counts": counts}
    columns = ["subject_id", "code", "time", *_PLACE, "scrub_ref"]
    events = search.of_subject(snapshot, "data", subject, columns)
    events = events.filter(pa.array(np.isin(_keys(events), _keys(wanted)))) if events.num_rows else events
    resources = search.of_subject(snapshot, "lineage/resources", subject)
    if not events.num_rows:
        return nothing | {"counts": counts}
    lines = np.isin(_rows(resources), _rows(events))
    used = resources.filter(pa.array(lines))
    kinds = {(one["source_table"], one["source_row"]): one for one in used.to_pylist()}
    files = {one["source_table"]: one["sha256"] for one in search.plain(search.found(_sources(snapshot), {}))}
    listed = []
    for one in search.plain(events.slice(0, limit)):
        resource = kinds.get((one["source_table"], one["source_row"]), {})
        listed.append(
            {
                "event_id": ".".join(str(one[name]) for name in _PLACE), "code": one["code"], "time": one["time"],
                "source_table": one["source_table"], "source_row": one["source_row"],
                "sha256": files.get(one["source_table"]), "resource_type": resource.get("resource_type"),
                "resource_key": resource.get("resource_key"),
            }
        )  # fmt: skip
    return {
        "subject_id": subject,
        "counts": {**_counts(snapshot, subject, events.num_rows, used), **counts, "found": events.num_rows},
        **_origin(snapshot, ledger, used, events),
        "lines": listed,
    }


def inputs_of(ledger: Path, sha256: str | None) -> pa.Table | None:
    """Return the event ids that a record of the ledger names by their digest, or None where they are not kept.

    Raises:
        StoreError: The list is not the one that was written.

    >>> inputs_of(Path("no/ledger.jsonl"), None) is None
    True
    """
    if not sha256 or not re.fullmatch(r"[0-9a-f]{64}", sha256):
        return None
    path = ledger.parent / "inputs" / sha256[:2] / f"{sha256}.arrow"
    return inputs.read(ledger.parent, sha256) if path.exists() else None


def _counts(snapshot: Path, subject_id: int, events: int, resources: pa.Table) -> Json:
    rows = resources.column("resource_type").value_counts().to_pylist() if resources.num_rows else []
    decided = search.of_subject(snapshot, "lineage/decisions", subject_id)
    if decided.num_rows and resources.num_rows:
        decided = decided.filter(pa.array(np.isin(_rows(decided), _rows(resources))))
    categories = decided.column("category").to_pylist() if decided.num_rows else []
    return {
        "events": events,
        "lines": resources.num_rows,
        "types": {
            one["values"]: one["counts"] for one in sorted(rows, key=lambda one: (-one["counts"], one["values"]))
        },
        "decisions": dict(sorted(Counter(categories).items())),
    }


def _origin(snapshot: Path, ledger: Path, resources: pa.Table, events: pa.Table) -> Json:
    """Which files the resources came from, under which rules they were scrubbed, in which runs."""
    lines = Counter(resources.column("source_table").to_pylist()) if resources.num_rows else Counter[int]()
    refs = set(pc.unique(events.column("scrub_ref")).to_pylist()) if events.num_rows else set[int]()
    sources = [
        {**one, "lines": lines[one["source_table"]]}
        for one in search.plain(search.found(_sources(snapshot), {}))
        if one["source_table"] in lines
    ]
    scrubs = [one for one in search.plain(search.found(_scrubs(snapshot), {})) if one["scrub_ref"] in refs]
    return {"sources": sources, "scrubs": scrubs, "runs": _runs(ledger, [*sources, *scrubs])}


def _whole(snapshot: Path, ledger: Path) -> Json:
    """The same of a whole snapshot; nothing where it was pruned."""
    if not snapshot.is_dir():
        return {"sources": [], "scrubs": [], "runs": []}
    sources = search.plain(search.found(_sources(snapshot), {}))
    scrubs = search.plain(search.found(_scrubs(snapshot), {}))
    return {"sources": sources, "scrubs": scrubs, "runs": _runs(ledger, [*sources, *scrubs])}


def _runs(ledger: Path, rows: Sequence[Json]) -> list[Json]:
    names = sorted({str(row["run_id"]) for row in rows})
    made = [one for one in search.of_kind(ledger, "run") if one["body"].get("run_id") in names]
    keep = ("run_id", "pipeline", "code_version", "policy", "policy_fingerprint", "mode", "base")
    return [{"at": one["at"], **{name: one["body"].get(name) for name in keep}} for one in made]


def manifest(snapshot: Path) -> Json:
    """Return the manifest of a snapshot as it is written; empty where there is none.

    >>> manifest(Path("no/snapshot"))
    {}
    """
    try:
        found: Json = orjson.loads((snapshot / "manifest.json").read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return found


def _sources(snapshot: Path) -> Path:
    return snapshot / "lineage" / "sources.parquet"


def _scrubs(snapshot: Path) -> Path:
    return snapshot / "lineage" / "scrubs.parquet"


def _rows(table: pa.Table) -> search.Places:
    return search.places(table, _PLACE[:2])


def _keys(table: pa.Table) -> search.Places:
    return search.places(table, _PLACE)


def _of_run(ledger: Path, run_id: str | None) -> list[Json]:
    if run_id is None:
        return []
    needle = f'"run_id":{orjson.dumps(run_id).decode()}'
    return [record for record in search.records(ledger, needle) if record["body"].get("run_id") == run_id]
