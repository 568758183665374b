"""What is executed on a loaded OMOP export: get people ready, map rows to events, in threads or in processes.

As in `tasks`: a finished task writes a receipt, last and all at once; a task that finds its receipt has nothing to do.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mayo_data import schema
from mayo_data.config import GatesConfig
from mayo_data.engine.exchange import ExchangeWriter
from mayo_data.engine.local import in_front
from mayo_data.engine.relational import Session, checked
from mayo_data.keys import Secret
from mayo_data.omop import load
from mayo_data.omop.events import Compiled, Relations
from mayo_data.omop.model import mapping, tables
from mayo_data.phi import omop_people
from mayo_data.phi.labels import birth_of, known_of, offset_of
from mayo_data.phi.structured import Scrub
from mayo_data.phi.vault import Vault
from mayo_data.pipeline import omop_load
from mayo_data.pipeline.crashes import MARK, marked, survived
from mayo_data.pipeline.omop_texts import Reader, clean_texts, labels_of
from mayo_data.pipeline.place import private
from mayo_data.pipeline.tasks import MapReceipt, told
from mayo_data.quality import gates
from mayo_data.sources import omop as source
from mayo_data.sql import name, text
from mayo_data.stage import fate
from mayo_data.store import write

_ORPHAN = fate("scrub", "unknown_subject")
UNREAD = (fate("scrub", "too_slow"), fate("scrub", "crashed"))

# ── people ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class PeopleTask:
    """Get some people ready: pseudonym, offset, birth, home, and the words that could name them."""

    people: tuple[tuple[int, str | None, str | None], ...]  # person_id, ZIP code, state
    scrub: Scrub


def people_ready(task: PeopleTask) -> tuple[pa.Table, pa.Table]:
    """Return what the rows of some people are joined with: `people` and `words`."""
    scrub, policy = task.scrub, task.scrub.policy
    vault = Vault(scrub.vault, scrub.vault_secret, readonly=True)
    rows: list[dict[str, Any]] = []
    subjects: list[int] = []
    words: list[str] = []
    try:
        for person_id, zip_code, state in task.people:
            person = vault.person(omop_people.reference(person_id))
            if person is None:
                continue
            subject_id = scrub.secret.subject_id(person.ref)
            days = offset_of(subject_id, scrub.secret, policy)
            known = known_of(person, scrub.secret, policy)
            birth = birth_of(person, days, policy, scrub.as_of)
            tokens = sorted(known.tokens)
            subjects += [subject_id] * len(tokens)
            words += tokens
            rows.append(
                {
                    "person_id": person_id, "subject_id": subject_id, "days": days,
                    "birth": np.datetime64(birth, "us") if birth else None,
                    "birth_precision": {4: "year", 7: "month", 10: "day"}[len(birth)] if birth else None,
                    "zip3": omop_people.zip_code(zip_code, policy), "state": omop_people.state(state, known),
                    "named": any(one.category == "PATIENT" for one in person.identifiers),
                }
            )  # fmt: skip
    finally:
        vault.close()
    fields = {
        "person_id": pa.int64(), "subject_id": pa.int64(), "days": pa.int32(), "birth": pa.timestamp("us"),
        "birth_precision": pa.string(), "zip3": pa.string(), "state": pa.string(), "named": pa.bool_(),
    }  # fmt: skip
    columns = {column: pa.array([row[column] for row in rows], kind) for column, kind in fields.items()}
    found = pa.table({"subject_id": pa.array(subjects, pa.int64()), "word": pa.array(words, pa.string())})
    return pa.table(columns), found


# ── map ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class OmopMapTask:
    """Scrub and normalise some rows of a table."""

    name: str
    table: str
    have: tuple[str, ...]
    source_table: int
    part: source.Part
    first: int
    last: int
    scrub: Scrub
    rules: GatesConfig
    shards: int
    work: Path
    folder: Path  # of the loaded tables
    quarantine: Path
    threads: int
    sessions: int
    zone: str = ""  # in which the clock of the source runs
    crashed: frozenset[int] = frozenset()  # texts that are left alone
    place: Path | None = None

    def closely(self, crashed: frozenset[int], near: frozenset[int], place: Path) -> OmopMapTask:
        """Return a task that leaves texts alone, and tells which one it reads: see `crashes`."""
        return replace(self, crashed=self.crashed | crashed, place=place)

    @property
    def mark(self) -> Path:
        """The file that is there while it is worked on."""
        return self.work / f"{self.name}{MARK}"


def map_rows(task: OmopMapTask) -> MapReceipt:
    """Take some typed rows to staged events, in a session of its own: what a worker process does."""
    return finished(task) or _receipted(survived(_map, task, task.mark), task)


def _map(task: OmopMapTask) -> MapReceipt:
    spill = task.work / f"{task.name}.{secrets.token_hex(4)}.spill"  # two attempts at one task do not meet
    with Session(spill, threads=task.threads, sessions=task.sessions) as db:
        for relation in ("people", "words", "concepts", "anchors", omop_load.relation(task.table)):
            if (file := task.folder / f"{relation}.parquet").exists():
                db.run(f"CREATE VIEW {relation} AS SELECT * FROM {load.parquet(file)}")
        return _mapped(db, task)


def finished(task: OmopMapTask) -> MapReceipt | None:
    """Return the receipt of a task that was done before this run was killed."""
    receipt = task.work / f"{task.name}.json"
    return msgspec.json.decode(receipt.read_bytes(), type=MapReceipt) if receipt.exists() else None


def map_here(db: Session, task: OmopMapTask) -> MapReceipt:
    """Take some typed rows to staged events, ordered by shard, in a thread of the process that loaded them.

    Args:
        db: A branch of its own of the session with the loaded table, `people`, `words`, `concepts` and `anchors`.
        task: Which rows.
    """
    with marked(task.mark):
        done = _mapped(db, task)
    return _receipted(done, task)


def _receipted(done: MapReceipt, task: OmopMapTask) -> MapReceipt:
    """Write the receipt, last: an attempt may be made again."""
    write.write_bytes(msgspec.json.encode(done), task.work / f"{task.name}.json")
    return done


def _mapped(db: Session, task: OmopMapTask) -> MapReceipt:
    table, policy = tables()[task.table], task.scrub.policy
    compiled = Compiled(table, task.have, policy.dates, policy.top_age, task.zone)
    checks: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    where = f"t.source_table = {task.source_table} AND t.source_row BETWEEN {task.first} AND {task.last}"
    loaded = omop_load.relation(task.table)
    db.run(f"CREATE OR REPLACE TEMP TABLE read AS {compiled.rows(Relations(loaded), where)}")
    total = int(db.one("SELECT count(*) FROM read"))
    db.run("CREATE OR REPLACE TEMP VIEW live AS SELECT * FROM read WHERE fate IS NULL")
    # One text at a time, where the limit of time is kept: the scrubber is one a process, as Python's lock is.
    cleaned, decided, tallies = in_front(lambda: _texts(db, task, compiled))
    ended = Counter(dict(db.rows("SELECT fate, count(*) FROM read WHERE fate IS NOT NULL GROUP BY fate")))
    if any(ended[one] for one in (_ORPHAN, *UNREAD)):
        _set_aside(db, task)
    rows["read_in"] = total
    rows["read"] = total - sum(count for ending, count in ended.items() if ending.startswith("read/"))
    rows["validate"] = rows["read"]
    rows["scrub"] = rows["read"] - sum(count for ending, count in ended.items() if ending.startswith("scrub/"))
    writer = ExchangeWriter(task.work / f"{task.name}.arrow", schema.table("staged"), "subject_id", task.shards)
    try:
        for batch in checked(db.batches(compiled.events("live", cleaned, decided))):
            staged = _staged(batch, task.table, task.scrub.secret)
            rows["normalize"] += pc.sum(pc.cast(pc.equal(staged.column("source_item"), 0), pa.int64())).as_py() or 0
            rows["events"] += staged.num_rows
            checks += gates.events(staged, task.rules)
            writer.write(staged)
        parcels = writer.close()
    except BaseException:
        writer.abandon()
        raise
    tallies += _tallies(db, compiled, loaded, where, policy.dates)
    db.run("DROP VIEW live")
    db.run("DROP TABLE read")
    return MapReceipt(task.name, task.source_table, parcels, dict(rows), dict(ended), dict(tallies), dict(checks))


def _texts(db: Session, task: OmopMapTask, compiled: Compiled) -> tuple[list[str], bool, Counter[str]]:
    labels = labels_of(task.scrub)
    labels.counts.clear()
    labels.public = frozenset()
    reader = Reader(labels, task.scrub.seconds, task.crashed, told(task.scrub, task.place))
    found = clean_texts(db, compiled.judged, reader)
    return *found, labels.counts.copy()


def _set_aside(db: Session, task: OmopMapTask) -> None:
    """Set aside rows of persons who are not there, and rows with a text that was not read to its end.

    What else is bad was set aside when it was loaded.
    """
    with private(task.quarantine / f"{task.name}.ndjson") as aside:
        for _, row, ending, path, body in unread(db, omop_load.relation(task.table), (_ORPHAN, *UNREAD)):
            aside.write(omop_load.quarantined(task.part, row, ending, path or task.table, body))


def unread(db: Session, loaded: str, fates: Sequence[str]) -> list[tuple[int, int, str, str | None, str]]:
    """Return number of the part, row, fate, field and body of the rows that ended when their texts were read.

    Args:
        db: A session with `read`, and `held`, which `clean_texts` made.
        loaded: Relation of the rows as they were loaded.
        fates: Which of them.
    """
    wanted = ", ".join(text(one) for one in fates)
    return [
        (row[0], row[1], row[2], row[3], row[4])
        for row in db.rows(
            f"SELECT source_table, source_row, r.fate, any_value(h.path), any_value(to_json(t)::VARCHAR) "
            f"FROM {loaded} AS t JOIN read AS r USING (source_table, source_row) "
            f"LEFT JOIN held AS h USING (source_table, source_row) WHERE r.fate IN ({wanted}) "
            f"GROUP BY ALL ORDER BY source_table, source_row LIMIT {omop_load.QUARANTINED}"
        )
    ]


def _staged(batch: pa.RecordBatch, table: str, secret: Secret) -> pa.RecordBatch:
    """Put the pseudonyms of row and visit in place of their ids, and the rest under the schema."""
    out = schema.table("staged")
    rows = batch.num_rows
    columns: list[pa.Array] = []
    for field in out:
        if field.name == "resource_type":
            columns.append(pa.array([table] * rows, pa.string()))
        elif field.name == "resource_key":
            ids = pc.coalesce(batch.column("row_id"), batch.column("source_row"))
            columns.append(_keyed(ids, secret, f"omop:{table}", batch.column("twin")))
        elif field.name == "encounter_id":
            columns.append(_keyed(batch.column("visit_id"), secret, "omop:visit_occurrence"))
        elif field.name == "scrub_ref":
            columns.append(pa.array(np.zeros(rows, dtype=np.int32)))
        elif field.name in batch.schema.names:
            columns.append(batch.column(field.name).cast(field.type))
        else:
            columns.append(pa.nulls(rows, field.type))
    return pa.RecordBatch.from_arrays(columns, schema=out)


def _keyed(ids: pa.Array, secret: Secret, domain: str, twins: pa.Array | None = None) -> pa.Array:
    plain = np.asarray(pc.fill_null(ids, 0)).astype(np.int64, copy=False)
    more = None if twins is None else np.asarray(twins)
    return pa.array(secret.integers(domain, plain, more), mask=np.asarray(pc.is_null(ids)))


def _tallies(db: Session, compiled: Compiled, loaded: str, where: str, dates: str) -> Counter[str]:
    """Count what the scrub did to whole columns: dates moved, identifiers dropped."""
    counts: Counter[str] = Counter()
    action = {"shift": "shift", "year": "generalise", "keep": "keep"}[dates]
    counts[f"phi/DATE/{action}"] = int(db.one("SELECT count(time) + count(end_time) FROM live"))
    dropped = compiled.dropped
    if dropped:
        columns = ", ".join(f"count({name(field)})" for field in dropped)
        found = db.rows(f"SELECT {columns} FROM {loaded} AS t WHERE fate IS NULL AND {where}")[0]
        for category, count in zip(dropped.values(), found, strict=True):
            counts[f"phi/{category}/drop"] += int(count)
    return +counts


def unmapped(table: str) -> bool:
    """Whether rows of a table have no event mapping."""
    return table not in mapping()
