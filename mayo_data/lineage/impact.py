"""The way forward: what a subject, a resource, a source file or a policy has gone into.

Events and snapshots, the training reads over them, the models of these reads, and the predictions made. It reads the
ledger and a few columns of the snapshots that are kept; of one that was pruned it knows what the ledger says.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mayo_data.errors import ConfigError, StoreError
from mayo_data.lineage import consumption, search, trace
from mayo_data.types import Json

Ints = npt.NDArray[np.int64]
LIMIT = 1000  # entries that a list of the answer holds; all of them are counted
_HEX = re.compile(r"[0-9a-f]{8,64}")


@dataclass
class Reach:
    """What of a snapshot is meant.

    Attributes:
        subjects: Whose it is, ascending; None for everybody.
        events: How many events.
        tables: Source files; empty where all are meant.
        rows: Places `(file, row)`; empty where all rows are meant.
    """

    subjects: Ints | None
    events: int
    tables: set[int] = field(default_factory=set)
    rows: set[tuple[int, int]] = field(default_factory=set)


def impact(
    snapshots: Path,
    ledger: Path,
    *,
    subject: int | None = None,
    resource: int | None = None,
    file: str | None = None,
    policy: str | None = None,
    limit: int = LIMIT,
) -> Json:
    """Return everything that came of one subject, resource, source file or policy. JSON-able, keyed ids only.

    Args:
        snapshots: Folder `STORE/snapshots`.
        ledger: Path of the store's ledger.
        subject: A `subject_id`.
        resource: A `resource_key`.
        file: sha256 of a source file, or its first 8 digits or more; or its number, `source_table`.
        policy: Name or fingerprint of a PHI policy.
        limit: How many reads, trainings and inferences are listed; all of them are counted.

    Returns:
        `of`: what was asked; `snapshots` (name, events, subjects); `reads` (with `certain`: False where the snapshot is
        gone, or only some of its subjects were read and the record cannot say whom); `trainings`, `inferences` about
        the subjects; `counts` of all of these, and of the predictions by the models that were trained (`by_models`).

    Raises:
        ConfigError: Not one thing was named, or a digest is none.
        StoreError: Nothing of the kind is in the store or its ledger.
    """
    given = {"subject": subject, "resource": resource, "file": file, "policy": policy}
    named = {name: value for name, value in given.items() if value is not None}
    if len(named) != 1:
        raise ConfigError("impact is of one thing", hint="name one of subject, resource, file, policy")
    ((kind, value),) = named.items()
    reached: dict[str, Reach] = {}
    for folder in search.snapshots(snapshots):
        reach = _REACH[kind](folder, value)
        if reach is not None:
            reached[folder.name] = reach
    gone = _gone(ledger, subject) if subject is not None else set()
    if not reached and not gone:
        raise StoreError(f"no kept snapshot has this {kind}", hint="ids of the store are keyed: see view lineage")
    reads = _reads(snapshots, ledger, reached, gone)
    ids = {one["lineage_id"] for one in reads}
    trainings = [one for one in search.of_kind(ledger, "training") if ids.intersection(one["body"]["lineage_ids"])]
    certain = {one["lineage_id"] for one in reads if one["certain"]}
    models = [_training(one, certain) for one in trainings]
    inferences, contexts = _served(ledger, reached, gone, subject)
    digests = {one["model_digest"] for one in models if one["model_digest"]}
    counts = {
        "snapshots": len(reached),
        "reads": len(reads),
        "trainings": len(models),
        "contexts": len(contexts),
        "inferences": len(inferences),
        "by_models": _predicted(ledger, digests),
    }
    found = [
        {"snapshot": name, "events": one.events, "subjects": None if one.subjects is None else len(one.subjects)}
        for name, one in reached.items()
    ]
    return {
        "kind": "impact", "of": {kind: value}, "counts": counts, "snapshots": found,
        "gone": sorted(gone - set(reached)),
        "reads": reads[:limit], "trainings": models[:limit], "contexts": contexts[:limit],
        "inferences": inferences[:limit],
    }  # fmt: skip


def models_of(snapshots: Path, ledger: Path, subject: int) -> list[str]:
    """Return the `training_id` of every model whose training read a subject, or may have.

    Args:
        snapshots: Folder `STORE/snapshots`.
        ledger: Path of the ledger.
        subject: A `subject_id`.

    Raises:
        StoreError: A file cannot be read: then nobody can say which models are meant.
    """
    reached = {folder.name: reach for folder in search.snapshots(snapshots) if (reach := _of_subject(folder, subject))}
    gone = _gone(ledger, subject)
    if not reached and not gone:
        return []
    ids = {one["lineage_id"] for one in _reads(snapshots, ledger, reached, gone)}
    trained = (one["body"] for one in search.of_kind(ledger, "training"))
    return [str(body["training_id"]) for body in trained if ids.intersection(body["lineage_ids"])]


# ── what of a snapshot is meant ───────────────────────────────────────────────────────────────────────────────


def _of_subject(snapshot: Path, subject: int) -> Reach | None:
    splits = search.found(_splits(snapshot), {"subject_id": subject}, ["subject_id"])
    if not splits.num_rows:
        return None
    events = search.of_subject(snapshot, "data", subject, ["subject_id"]).num_rows
    return Reach(np.array([subject], np.int64), events)


def _of_resource(snapshot: Path, key: int) -> Reach | None:
    for path in search.files(snapshot, "lineage/resources"):
        rows = search.found(path, {"resource_key": key}).to_pylist()
        if rows:
            places = {(one["source_table"], one["source_row"]) for one in rows}
            subjects = np.unique(np.array([one["subject_id"] for one in rows], np.int64))
            return Reach(subjects, sum(one["events"] for one in rows), rows=places)
    return None


def _of_file(snapshot: Path, name: str) -> Reach | None:
    sources = search.found(snapshot / "lineage" / "sources.parquet", {}).to_pylist()
    if len(name) < 8 and name.isascii() and name.isdigit():
        tables = {one["source_table"] for one in sources if one["source_table"] == int(name)}
    elif _HEX.fullmatch(name):
        tables = {one["source_table"] for one in sources if one["sha256"].startswith(name)}
    else:
        raise ConfigError("this names no source file", hint="its sha256, 8 digits of it or more, or its number")
    if not tables:
        return None
    people, events = [np.empty(0, np.int64)], 0
    for path in search.files(snapshot, "lineage/resources"):
        for table in tables:
            rows = search.found(path, {"source_table": table}, ["subject_id", "events"])
            people.append(_ints(rows, "subject_id"))
            events += int(pc.sum(rows.column("events")).as_py() or 0)
    return Reach(np.unique(np.concatenate(people)), events, tables=tables)


def _of_policy(snapshot: Path, name: str) -> Reach | None:
    scrubs = search.found(snapshot / "lineage" / "scrubs.parquet", {}).to_pylist()
    refs = {one["scrub_ref"] for one in scrubs if name in (one["policy"], one["policy_fingerprint"])}
    if not refs:
        return None
    if len(refs) == len(scrubs):
        return Reach(None, int(trace.manifest(snapshot).get("tables", {}).get("events", {}).get("rows", 0)))
    people, events = [np.empty(0, np.int64)], 0
    for path in search.files(snapshot, "data"):
        for ref in refs:
            rows = search.found(path, {"scrub_ref": ref}, ["subject_id"])
            people.append(np.unique(_ints(rows, "subject_id")))
            events += rows.num_rows
    return Reach(np.unique(np.concatenate(people)), events)


_REACH: dict[str, Any] = {"subject": _of_subject, "resource": _of_resource, "file": _of_file, "policy": _of_policy}


def _gone(ledger: Path, subject: int) -> set[str]:
    """Snapshots that once held a subject, as withdrawals and erasures of it say."""
    names: set[str] = set()
    for record in search.of_kind(ledger, "withdrawal", "erasure"):
        if record["body"].get("subject_id") == subject:
            names.update(record["body"].get("snapshots_blocked", ()), record["body"].get("snapshots", ()))
    return names


# ── who has read it ───────────────────────────────────────────────────────────────────────────────────────────


def _reads(snapshots: Path, ledger: Path, reached: dict[str, Reach], gone: set[str]) -> list[Json]:
    known: dict[str, pa.Table] = {}
    found = []
    for record in search.of_kind(ledger, "read"):
        body = record["body"]
        name, split = body["snapshot"], body.get("split")
        if name in reached:
            if name not in known:
                known[name] = pq.read_table(_splits(snapshots / name))
            verdict = _was_read(known[name], reached[name].subjects, body)
        elif name in gone or not (snapshots / name).is_dir():
            verdict = False  # the snapshot cannot be asked any more
        else:
            verdict = None
        if verdict is not None:
            found.append(
                {
                    "lineage_id": body["lineage_id"], "at": record["at"], "snapshot": name, "split": split,
                    "consumer": body.get("consumer"), "purpose": body.get("purpose"),
                    "subjects": body.get("subjects"), "certain": verdict,
                }
            )  # fmt: skip
    return found


def _was_read(splits: pa.Table, subjects: Ints | None, body: Json) -> bool | None:
    """Whether a read was of some subjects: True, False for perhaps, None for no."""
    split = body.get("split") if body.get("by_time") is None else None  # a split by time is not one of the store
    table = splits if split is None else splits.filter(pc.equal(splits.column("split"), split))
    members = np.sort(_ints(table, "subject_id"))
    if subjects is not None and not np.isin(subjects, members, assume_unique=True).any():
        return None
    return consumption.subjects_digest(members) == body.get("subjects_sha256")


def _training(record: Json, certain: set[str]) -> Json:
    body = record["body"]
    keep = ("training_id", "name", "model_digest", "snapshot", "split", "code_version", "lineage_ids")
    known = bool(certain.intersection(body["lineage_ids"]))
    return {"at": record["at"], **{name: body.get(name) for name in keep}, "certain": known}


# ── who was told of it ────────────────────────────────────────────────────────────────────────────────────────


def _served(
    ledger: Path, reached: dict[str, Reach], gone: set[str], subject: int | None
) -> tuple[list[Json], list[Json]]:
    needles = [f'"subject_id":{subject}'] if subject is not None else []
    kinds = () if needles else ("inference", "context")
    inferences: list[Json] = []
    contexts: list[Json] = []
    for record in search.records(ledger, *needles, kinds=kinds):
        body = record["body"]
        if record["kind"] not in ("inference", "context") or not _touched(ledger, reached, gone, body, subject):
            continue
        keep = ("prediction_id", "lineage_id", "model_digest", "snapshot", "subject_id", "events")
        row = {"recorded": record["at"], **{name: body[name] for name in keep if name in body}}
        (inferences if record["kind"] == "inference" else contexts).append(row)
    return inferences, contexts


def _touched(ledger: Path, reached: dict[str, Reach], gone: set[str], body: Json, subject: int | None) -> bool:
    if subject is not None:
        return bool(body.get("subject_id") == subject)
    reach = reached.get(body["snapshot"])
    if reach is None:
        return False
    if reach.subjects is not None and not _within(reach.subjects, int(body["subject_id"])):
        return False
    if not reach.tables and not reach.rows:
        return True
    ids = trace.inputs_of(ledger, body.get("inputs"))
    if ids is None:
        return True  # what it saw is not kept, so nothing rules it out
    tables = ids.column("source_table").to_pylist()
    if reach.tables:
        return bool(reach.tables.intersection(tables))
    return bool(reach.rows.intersection(zip(tables, ids.column("source_row").to_pylist(), strict=True)))


def _within(ordered: Ints, value: int) -> bool:
    place = int(np.searchsorted(ordered, value))
    return place < len(ordered) and int(ordered[place]) == value


def _predicted(ledger: Path, digests: Sequence[str] | set[str]) -> int:
    needles = [f'"model_digest":"{digest}"' for digest in sorted(digests)]
    if not needles:
        return 0
    return sum(record["kind"] == "inference" for record in search.records(ledger, *needles))


def _splits(snapshot: Path) -> Path:
    return snapshot / "metadata" / "subject_splits.parquet"


def _ints(table: pa.Table, name: str) -> Ints:
    found: Ints = np.asarray(table.column(name)).astype(np.int64, copy=False)
    return found
