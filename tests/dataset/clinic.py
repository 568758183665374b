"""Stores made of a few handwritten events, through the same calls as a run."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from mayo_data import schema
from mayo_data.lineage.ledger import Ledger
from mayo_data.pipeline.snapshots import recorded
from mayo_data.store import snapshot, write
from mayo_data.store.layout import Store

KEY = "0123456789ab"
DAY = datetime(2020, 1, 1)
SPLITS = ("train", "train", "train", "tuning", "held_out")
Row = dict[str, Any]


def row(subject: int, time: datetime | None, code: str, *, known: datetime | None = None, **more: Any) -> Row:
    """An event; known at its time, unless said otherwise."""
    return {"subject_id": subject, "time": time, "code": code, "available_time": known or time, **more}


def split(subject: int) -> str:
    return SPLITS[subject % len(SPLITS)]


def commit(store: Store, rows: Iterable[Row], *, shards: int = 3) -> str:
    """Commit a snapshot of these events, and say so in the ledger as a run does."""

    def table(name: str, some: list[Row]) -> pa.Table:
        wanted = schema.table(name)
        return pa.Table.from_pylist([{one: it.get(one) for one in wanted.names} for it in some], schema=wanted)

    first = datetime(1900, 1, 1)
    ordered = sorted(rows, key=lambda it: (it["subject_id"], it["time"] or first))
    for number, it in enumerate(ordered):
        it.update(source_table=1, source_row=number + 1, source_item=0, scrub_ref=1)
    names = store.snapshots()
    draft = store.staging(f"run-{len(names)}")
    scrub = {"scrub_ref": 1, "policy": "p", "policy_fingerprint": "f", "detector": "d", "key_id": KEY, "run_id": "r1"}
    subjects = sorted({it["subject_id"] for it in ordered})
    tables = {
        **{
            f"data/{n:04d}.parquet": ("events", [it for it in ordered if it["subject_id"] % shards == n])
            for n in range(shards)
        },
        "metadata/codes.parquet": ("codes", [{"code": code} for code in sorted({it["code"] for it in ordered})]),
        "metadata/subject_splits.parquet": (
            "subject_splits",
            [{"subject_id": subject, "split": split(subject)} for subject in subjects],
        ),
        "lineage/scrubs.parquet": ("scrubs", [{**scrub, "code_version": "0"}]),
    }
    receipts = [
        write.write_table(table(name, some), draft / path, schema_name=name, root=draft)
        for path, (name, some) in tables.items()
    ]
    about = {"run_id": "r1", "code_version": "0", "policy": "p", "policy_fingerprint": "f", "key_id": KEY}
    stamp = "2024-01-01T00:00:00+00:00"
    previous = names[-1] if names else None
    manifest = snapshot.seal(draft, created_at=stamp, previous=previous, receipts=receipts, **about)
    with store.lock():
        target = store.commit(draft)
    recorded(Ledger(store.ledger), target.name, manifest)
    return target.name


def hospital(subjects: int = 23) -> list[Row]:
    """Subjects with some stays each; laboratory results that are known two days after they were taken."""
    found: list[Row] = []
    for subject in range(1, subjects + 1):
        found += [row(subject, None, "SEX//female"), row(subject, datetime(1950, 1, 2), "MEDS_BIRTH")]
        for stay in range(subject % 4 + 1):
            start = DAY + timedelta(days=40 * stay + subject)
            end = start + timedelta(days=3)
            found += [
                row(subject, start, "ENCOUNTER//ACT//IMP", end_time=end, status="finished", encounter_id=stay),
                row(subject, end, "DISCHARGE_DISPOSITION//X//home", encounter_id=stay),
                row(
                    subject,
                    start + timedelta(hours=5),
                    "OBSERVATION//LOINC//2160-0",
                    known=start + timedelta(days=2),
                    numeric_value=1.0 + subject / 8,
                    unit="mg/dL",
                    status="final",
                ),
            ]
    return found
