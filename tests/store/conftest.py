from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mayo_data import schema
from mayo_data.store import snapshot, write
from mayo_data.store.layout import Store

BIG = 2**62 + 12345


class Made:
    """Makes drafts and stores out of a few events, through the same calls as a run."""

    key_id = "0123456789ab"
    subjects = (7, 42, BIG)

    def event(self, subject: int, time: datetime | None, code: str, item: int = 0, **more: Any) -> dict[str, Any]:
        lineage = {"source_table": 1, "source_row": subject % 1000, "source_item": item, "scrub_ref": 1}
        return {"subject_id": subject, "time": time, "code": code, **lineage, **more}

    def events(self, subject: int) -> list[dict[str, Any]]:
        day = datetime(2020, 3, 1, 8, 30, 0, 123456)
        return [
            self.event(subject, None, "SEX//female", 0),
            self.event(subject, None, "RACE//CDCREC//2106-3", 1),
            self.event(subject, None, "ZIP3//021", 2),
            self.event(subject, datetime(1950, 1, 2), "MEDS_BIRTH", 3),
            self.event(subject, day, "ENCOUNTER//ACT_CODE//AMB", 4, encounter_id=9, status="finished"),
            self.event(
                subject,
                day,
                "OBSERVATION//LOINC//2160-0",
                5,
                numeric_value=1.1,
                value_text="1.10",
                unit="mg/dL",
            ),
            self.event(subject, day, "NOTE//LOINC//11506-3", 6, text_value="Seen in clinic.", utc_offset=-300),
            self.event(subject, datetime(2021, 5, 5), "MEDS_DEATH", 7),
        ]

    def table(self, name: str, rows: list[dict[str, Any]]) -> pa.Table:
        wanted = schema.table(name)
        return pa.Table.from_pylist(
            [{column: row.get(column) for column in wanted.names} for row in rows], schema=wanted
        )

    def draft(self, folder: Path, subjects: tuple[int, ...] = subjects) -> list[write.FileReceipt]:
        parts = [
            [row for s in subjects[:2] for row in self.events(s)],
            [row for s in subjects[2:] for row in self.events(s)],
        ]
        codes = [{"code": code} for code in sorted({row["code"] for part in parts for row in part})]
        for row in codes:
            row["description"] = {"RACE//CDCREC//2106-3": "White"}.get(row["code"])
        splits = [{"subject_id": s, "split": "train"} for s in subjects]
        sources = [
            {
                "source_table": 1,
                "name_key": "ab",
                "sha256": "cd",
                "bytes": 1,
                "rows": 9,
                "format": "ndjson",
                "run_id": "r1",
            }
        ]
        scrubs = [
            {"scrub_ref": 1, "policy": "p", "policy_fingerprint": "f", "detector": "d", "key_id": self.key_id}
            | {"run_id": "r1", "code_version": "0"}
        ]
        tables = {
            **{f"data/{n:04d}.parquet": ("events", part) for n, part in enumerate(parts)},
            "metadata/codes.parquet": ("codes", codes),
            "metadata/subject_splits.parquet": ("subject_splits", splits),
            "lineage/sources.parquet": ("sources", sources),
            "lineage/scrubs.parquet": ("scrubs", scrubs),
        }
        return [
            write.write_table(self.table(name, rows), folder / path, schema_name=name, root=folder)
            for path, (name, rows) in tables.items()
        ]

    def seal(self, folder: Path, previous: str | None = None, **more: Any) -> snapshot.Manifest:
        about = {
            "run_id": "r1",
            "code_version": "0",
            "policy": "p",
            "policy_fingerprint": "f",
            "key_id": self.key_id,
        }
        stamp = "2024-01-01T00:00:00+00:00"
        return snapshot.seal(folder, created_at=stamp, previous=previous, **about, **more)

    def store(self, root: Path) -> Store:
        store = Store.create(root, self.key_id)
        draft = store.staging("run-1")
        self.seal(draft, receipts=self.draft(draft))
        with store.lock():
            store.commit(draft)
        return store


@pytest.fixture(scope="session")
def made() -> Made:
    return Made()


@pytest.fixture
def store(tmp_path: Path, made: Made) -> Store:
    return made.store(tmp_path / "store")
