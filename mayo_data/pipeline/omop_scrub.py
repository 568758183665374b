"""An OMOP CDM in, a de-identified OMOP CDM out: the same tables, types and keys, every reference still leading home.

    load ─→ people ─→ scrub ─→ leak audit ─→ write ─→ rename

One Parquet file a table, or one CSV file where the input is CSV. Ids become keyed 63-bit numbers, the same number
wherever the same row is named, and a person's is the `subject_id` that a store under the same key uses.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq

import mayo_data
from mayo_data import keys
from mayo_data.config import PipelineConfig
from mayo_data.engine import Engine
from mayo_data.engine.relational import Session, checked
from mayo_data.errors import LeakError
from mayo_data.keys import Secret
from mayo_data.omop import load
from mayo_data.omop.model import concepts, tables
from mayo_data.omop.scrubbed import Scrubbed
from mayo_data.phi import policy as policies
from mayo_data.phi.audit import Audit
from mayo_data.phi.policy import SMALL_ZIP3
from mayo_data.phi.structured import Scrub
from mayo_data.phi.vault import Vault
from mayo_data.pipeline.crashes import MARK, emptied, survived
from mayo_data.pipeline.omop import OmopSide
from mayo_data.pipeline.omop_load import quarantined, relation
from mayo_data.pipeline.omop_tasks import UNREAD, unread
from mayo_data.pipeline.omop_texts import Reader, clean_texts, labels_of
from mayo_data.pipeline.place import Place, private
from mayo_data.pipeline.report import ScrubReport, Watcher
from mayo_data.pipeline.tasks import told
from mayo_data.quality import gates
from mayo_data.sources.omop import Part
from mayo_data.sql import name
from mayo_data.types import Step


@dataclass(frozen=True)
class OutTask:
    """Scrub one table."""

    table: str
    have: tuple[str, ...]
    form: str  # csv or parquet
    scrub: Scrub
    folder: Path  # of the loaded tables
    draft: Path
    kept: frozenset[str]
    threads: int
    sessions: int
    quarantine: Path
    parts: dict[int, Part]
    crashed: frozenset[int] = frozenset()  # texts that are left alone
    place: Path | None = None

    def closely(self, crashed: frozenset[int], near: frozenset[int], place: Path) -> OutTask:
        """Return a task that leaves texts alone, and tells which one it reads: see `crashes`."""
        return replace(self, crashed=self.crashed | crashed, place=place)


class OutReceipt(msgspec.Struct, frozen=True):
    """What a scrubbed table is: its rows, those that ended, what was decided, and what the leak audit found."""

    table: str
    rows: int
    written: int
    fates: dict[str, int]
    tallies: dict[str, int]
    leaks: list[tuple[str, str]]


def scrub_tables(
    config: PipelineConfig, source: Path | str, place: Place, secret: Secret, engine: Engine, tell: Watcher
) -> ScrubReport:
    """Write a de-identified copy of an OMOP CDM: all of it, or nothing.

    Args:
        config: The pipeline file: policy, join.
        source: Folder, DuckDB file, or URL of a PostgreSQL server. PHI zone.
        place: Output folder and PHI zone.
        secret: The site's key.
        engine: Where tasks run.
        tell: Who is told how far it is.

    Raises:
        SourceError: Nothing to read, or a table that cannot be read.
        LeakError: The leak audit found an identifier. Nothing was written.
    """
    began = time.monotonic()
    policy = policies.load(config.phi.policy, admit=config.phi.admit, model=config.phi.model)
    as_of = config.phi.as_of or f"{datetime.now(UTC).year}-12-31"
    side = OmopSide(source, 0, place.phi_zone / "server", whole=True)
    place.phi_zone.mkdir(parents=True, exist_ok=True, mode=0o700)
    side.discover(engine)
    run_id = keys.fingerprint(
        "scrub", mayo_data.__version__, policy.fingerprint, secret.key_id, as_of, *(one.sha256 for one in side.surveys)
    )
    work, quarantine = place.work(run_id), place.quarantine(run_id)
    draft = place.store.with_name(f".{place.store.name}.{run_id}.draft")
    emptied(work)
    for folder in (quarantine, draft):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
    try:
        side.load(engine, work, quarantine, tell)
        names = secret if policy.ids == "keyed" else Secret(secrets.token_bytes(32))
        vault = Vault(place.vault, secret)
        try:
            side.enroll(vault, config.phi.join)
            vault.index(names)
        finally:
            vault.close()
        stage = Scrub(policy, names, secret, place.vault, as_of, seconds=config.phi.seconds)
        side.ready(engine, stage)
        side.hand_over_all()
        receipts = _written(side, stage, draft, quarantine, engine, tell)
        place.sweep()
        made = _report(side, receipts, place, run_id, began)
        _tell(draft, made, {"policy": policy.name, "legal": policy.legal, "key_id": secret.key_id, "run_id": run_id})
        if place.store.exists():
            place.store.rmdir()  # an empty one; a rename onto it would fail
        draft.chmod(0o755)
        os.replace(draft, place.store)
        return made
    finally:
        side.close()
        shutil.rmtree(place.phi_zone / "server", ignore_errors=True)
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(draft, ignore_errors=True)


def _written(
    side: OmopSide, stage: Scrub, draft: Path, quarantine: Path, engine: Engine, tell: Watcher
) -> list[OutReceipt]:
    policy = stage.policy
    kept = frozenset(
        ({"DATE"} if policy.dates == "keep" else set()) | ({"ZIP"} if policy.zip_method == "keep" else set())
    )
    form = "csv" if all(part.form == "csv" for _, part in side.parts) else "parquet"
    tasks = [
        OutTask(
            one.table, tuple(one.have), form, stage, side.loaded, draft, kept, side.threads, engine.workers, quarantine,
            {number: part for number, part in side.parts if part.table == one.table},
        )
        for one in sorted(side.receipts, key=lambda one: -sum(one.rows.values()))
    ]  # fmt: skip
    tell("map", done=0, total=len(tasks))
    receipts = []
    for done, receipt in enumerate(engine.map(scrub_table, tasks), 1):
        receipts.append(receipt)
        tell("map", done=done, total=len(tasks))
    leaks = [leak for receipt in receipts for leak in receipt.leaks]
    if leaks:
        where = ", ".join(f"{path} ({category})" for path, category in sorted(set(leaks))[:5])
        raise LeakError(
            f"{len(leaks)} identifiers of a subject in that subject's output: {where}. Nothing was written",
            hint="tell the maintainers which field and category leak",
        )
    return sorted(receipts, key=lambda receipt: receipt.table)


def _report(side: OmopSide, receipts: Sequence[OutReceipt], place: Place, run_id: str, began: float) -> ScrubReport:
    steps = [Step(one.table, one.rows, one.written, one.fates) for one in receipts]
    tallies: Counter[str] = side.notes()
    for receipt in receipts:
        tallies.update(receipt.tallies)
    verdicts = (gates.table_verdict(steps), gates.leak_verdict(0))
    return ScrubReport(
        place.store, run_id, tuple(steps),
        {what[4:]: count for what, count in sorted(tallies.items()) if what.startswith("phi/")},
        {what: count for what, count in sorted(tallies.items()) if not what.startswith("phi/")},
        verdicts, {one.table: one.written for one in receipts}, sum(one.file.size for one in side.surveys),
        time.monotonic() - began, place.phi_zone,
    )  # fmt: skip


def _tell(draft: Path, made: ScrubReport, said: dict[str, Any]) -> None:
    body = {**said, "code_version": mayo_data.__version__, "tables": [asdict(step) for step in made.steps]}
    body |= {"phi": made.phi, "notes": made.notes, "gates": [asdict(verdict) for verdict in made.verdicts]}
    (draft / "loss.json").write_bytes(orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


# ── one table ─────────────────────────────────────────────────────────────────────────────────────


def scrub_table(task: OutTask) -> OutReceipt:
    """Take one table from typed rows to de-identified ones, and search them for what may not be there."""
    return survived(_scrub, task, task.folder.with_name(task.table + MARK))


def _scrub(task: OutTask) -> OutReceipt:
    table, policy = tables()[task.table], task.scrub.policy
    query = Scrubbed(table, task.have, policy.dates, SMALL_ZIP3, policy.zip_method == "keep")
    labels = labels_of(task.scrub)
    labels.counts.clear()
    labels.public = _public(task.folder / "concepts.parquet")
    with Session(task.folder / f"{task.table}.out.spill", threads=task.threads, sessions=task.sessions) as db:
        for one in ("people", "words", "anchors"):
            if (file := task.folder / f"{one}.parquet").exists():
                db.run(f"CREATE VIEW {one} AS SELECT * FROM {load.parquet(file)}")
        db.run(f"CREATE TABLE read AS {query.rows(load.parquet(task.folder / f'{relation(task.table)}.parquet'))}")
        rows = int(db.one("SELECT count(*) FROM read"))
        db.run("CREATE VIEW live AS SELECT * FROM read WHERE fate IS NULL")
        reader = Reader(labels, task.scrub.seconds, task.crashed, told(task.scrub, task.place))
        cleaned, _ = clean_texts(db, query.judged, reader)
        fates = dict(db.rows("SELECT fate, count(*) FROM read WHERE fate IS NOT NULL GROUP BY fate"))
        if any(one in fates for one in UNREAD):
            _set_aside(db, task)
        tallies = labels.counts.copy()
        for field in query.fields:
            if field.action.startswith("drop "):
                tallies[f"phi/{field.action[5:]}/drop"] += int(db.one(f"SELECT count({name(field.name)}) FROM live"))
        said = [one.column for one in query.judged] if table.of == "subject" else []
        leaks: list[tuple[str, str]] = []
        auditor = _Auditor(task, labels.public)
        out: Any = None
        path = task.draft / f"{task.table}.{task.form}"
        written = query.out("live", cleaned, task.scrub.secret.derive(f"turn/{task.table}").hex())
        try:
            for batch in checked(db.batches(written)):
                leaks += auditor.leaks(batch, said)
                done = _named(batch, query, task.scrub.secret)
                out = out or _writer(path, done.schema, task.form)
                out.write_batch(done)
            if out is None:
                empty = _named(_empty(db, written), query, task.scrub.secret)
                out = _writer(path, empty.schema, task.form)
        finally:
            auditor.close()
            if out is not None:
                out.close()
    return OutReceipt(task.table, rows, rows - sum(fates.values()), fates, dict(+tallies), leaks)


def _set_aside(db: Session, task: OutTask) -> None:
    """Write the rows with a text that was not read to its end to the quarantine."""
    loaded = load.parquet(task.folder / f"{relation(task.table)}.parquet")
    with private(task.quarantine / f"omop-{task.table}-texts.ndjson") as aside:
        for number, row, ending, path, body in unread(db, loaded, UNREAD):
            aside.write(quarantined(task.parts[number], row, ending, path, body))


def _empty(db: Session, query: str) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=db.batches(query).schema)


def _writer(path: Path, schema: pa.Schema, form: str) -> Any:
    if form == "csv":
        return csv.CSVWriter(str(path), schema)
    return pq.ParquetWriter(path, schema, compression="zstd")


def _named(batch: pa.RecordBatch, query: Scrubbed, secret: Secret) -> pa.RecordBatch:
    """Put pseudonyms in place of ids, and take away what only helped."""
    columns: dict[str, pa.Array] = {field.name: batch.column(field.name) for field in query.fields}
    table = query.table.name
    for column, target in query.links.items():
        # Of two rows under one key the second gets a key of its own; whoever named it meant the first.
        own = batch.column("twin") if target == table and column == query.table.key else None
        columns[column] = _keyed(columns[column], target, secret, own)
    if "person_id" in columns:
        columns["person_id"] = batch.column("subject_id")
    for column, by in query.open_links.items():
        columns[column] = _by_table(columns[column], columns.get(by), secret)
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _keyed(ids: pa.Array, target: str, secret: Secret, twin: pa.Array | None = None) -> pa.Array:
    plain = np.asarray(pc.fill_null(ids, 0)).astype(np.int64, copy=False)
    more = np.asarray(twin) if twin is not None else None
    # 0 is how many exports write that there is none.
    nothing = np.asarray(pc.is_null(ids)) | (plain == 0) if twin is None else np.asarray(pc.is_null(ids))
    return pa.array(secret.integers(f"omop:{target}", plain, more), mask=nothing)


def _by_table(ids: pa.Array, named: pa.Array | None, secret: Secret) -> pa.Array:
    """Pseudonyms of rows whose table stands beside the id: as a domain, or as the concept of a field."""
    out = np.zeros(len(ids), dtype=np.int64)
    nothing = np.ones(len(ids), dtype=bool)
    if named is not None:
        told = concepts()
        words = named.cast(pa.string())
        for word, target in {**told["domains"], **told["row_fields"]}.items():
            here = np.asarray(pc.fill_null(pc.and_(pc.equal(words, word), pc.is_valid(ids)), False))
            if here.any():
                plain = np.asarray(pc.fill_null(ids, 0)).astype(np.int64)[here]
                out[here] = secret.integers(f"omop:{target}", plain)
                nothing[here] = False
    return pa.array(out, mask=nothing)


def _public(path: Path) -> frozenset[str]:
    """Codes of public vocabularies that the export uses: nine digits of SNOMED are no social security number."""
    found = pq.read_table(path, columns=["code", "tail"])
    kept = found.filter(pc.invert(pc.starts_with(found["tail"], "MASKED//")))
    return frozenset(pc.drop_null(kept["code"]).to_pylist())


class _Auditor:
    """Searches the texts of rows for the identifiers of their subject."""

    def __init__(self, task: OutTask, public: frozenset[str]) -> None:
        self._task = task
        self._public = public
        self._vault = Vault(task.scrub.vault, task.scrub.vault_secret, readonly=True)
        self._audits: dict[int, Audit | None] = {}

    def close(self) -> None:
        self._vault.close()

    def leaks(self, batch: pa.RecordBatch, columns: Sequence[str]) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        for column in columns:
            pairs = pa.table({"subject": batch.column("subject_id"), "text": batch.column(column)})
            pairs = pairs.group_by(["subject", "text"]).aggregate([]).drop_null()
            texts: dict[int, list[str]] = {}
            for subject, said in zip(pairs["subject"].to_pylist(), pairs["text"].to_pylist(), strict=True):
                if said not in self._public:
                    texts.setdefault(subject, []).append(said)
            for subject, strings in texts.items():
                audit = self._audit(subject)
                if audit is not None:
                    path = f"{self._task.table}.{column}"
                    found += [(path, category) for _, category in audit.leaks(strings)]
        return found

    def _audit(self, subject: int) -> Audit | None:
        if subject not in self._audits:
            person = self._vault.subject(subject)
            hidden = [one for one in person.identifiers if one.category not in self._task.kept] if person else []
            self._audits[subject] = Audit(hidden) if hidden else None
        return self._audits[subject]
