"""What the engine's processes execute on an OMOP export: load a table, get people ready, map rows to events.

As in `tasks`: a finished task writes a receipt, last and all at once; a task that finds its receipt has nothing to do.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mayo_data import schema
from mayo_data.config import GatesConfig
from mayo_data.engine.exchange import ExchangeWriter
from mayo_data.engine.relational import Session, checked
from mayo_data.errors import SourceError
from mayo_data.keys import Secret
from mayo_data.omop import load
from mayo_data.omop.events import Compiled, Judged, Relations
from mayo_data.omop.model import mapping, tables
from mayo_data.phi import omop_people
from mayo_data.phi.labels import Labels, birth_of, known_of, offset_of
from mayo_data.phi.structured import Scrub, text_scrubber
from mayo_data.phi.vault import Vault
from mayo_data.pipeline.place import private
from mayo_data.pipeline.tasks import MapReceipt, is_quarantined
from mayo_data.quality import gates
from mayo_data.sources import omop as source
from mayo_data.sql import name, text
from mayo_data.stage import fate
from mayo_data.store import write

_QUARANTINED = 100_000  # bad rows of a task that are kept with their body; all are counted


@dataclass(frozen=True)
class LoadTask:
    """Read one table, all of its parts, into typed Parquet in the PHI zone."""

    table: str
    parts: tuple[tuple[int, source.Part], ...]
    folder: Path
    quarantine: Path
    threads: int
    sessions: int


class LoadReceipt(msgspec.Struct, frozen=True):
    """What a loaded table is: its fields, the rows of each part, those that were no rows, and shared keys."""

    table: str
    have: list[str]
    rows: dict[int, int]
    rejected: dict[int, int]
    unknown: int
    twins: int

    def path(self, folder: Path) -> Path:
        """Where the typed rows lie."""
        return folder / f"{self.table}.parquet"


def digest(path: Path) -> str:
    """Return the sha256 of a file, lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_table(task: LoadTask) -> LoadReceipt:
    """Type the rows of a table; what is no row, or says what its type cannot hold, is set aside and counted."""
    receipt = task.folder / f"{task.table}.load.json"
    if receipt.exists():
        return msgspec.json.decode(receipt.read_bytes(), type=LoadReceipt)
    table = tables()[task.table]
    doing = f"table {task.table} cannot be read"
    rows: dict[int, int] = {}
    rejected: dict[int, int] = {}
    have: dict[str, None] = {}
    unknown = 0
    queries = []
    out = task.folder / f"{task.table}.parquet"
    with Session(task.folder / f"{task.table}.spill", threads=task.threads, sessions=task.sessions) as db:
        with private(task.quarantine / f"omop-{task.table}.ndjson") as aside:
            for number, part in task.parts:
                relation = _relation(db, part, doing)
                given = [load.Given(*column) for column in db.columns(relation, doing)]
                found, more = load.columns(table, given)
                lacking = load.missing(table, found)
                if lacking:
                    raise SourceError(
                        f"table {task.table} has no column {lacking[0]}", hint="it names the row or its person: add it"
                    )
                unknown += more
                have |= dict.fromkeys(found)
                raw = f"raw_{number}"
                db.run(f"CREATE TABLE {raw} AS SELECT * FROM {relation}", doing)
                rows[number] = int(db.one(f"SELECT count(*) FROM {raw}", doing))
                rejected[number] = _rejected(db, part, aside) if part.form == "csv" else 0
                typed = load.typed(table, found, raw, number)
                queries.append((number, part, raw, typed))
            union = " UNION ALL BY NAME ".join(query for *_, query in queries)
            db.run(f"CREATE VIEW typed AS {union}", doing)
            settled = "typed"
            if table.key and int(
                db.one(f"SELECT count({name(table.key)}) - count(DISTINCT {name(table.key)}) FROM typed")
            ):
                settled = f"({load.told_apart(table, list(have), 'typed')})"
            temporary = out.with_suffix(".writing")
            db.run(f"COPY (SELECT * FROM {settled}) TO {text(str(temporary))} (FORMAT parquet, COMPRESSION lz4)", doing)
            temporary.replace(out)
            _set_aside(db, out, queries, aside)
        twins = int(db.one(f"SELECT count(*) FROM {load.parquet(out)} WHERE twin > 0"))
    _unless_empty(task.quarantine / f"omop-{task.table}.ndjson")
    done = LoadReceipt(task.table, list(have), rows, rejected, unknown, twins)
    write.write_bytes(msgspec.json.encode(done), receipt)
    return done


def _unless_empty(path: Path) -> None:
    if path.stat().st_size == 0:
        path.unlink()


def _relation(db: Session, part: source.Part, doing: str) -> str:
    if part.form == "parquet":
        return load.parquet(part.path)
    if part.form == "csv":
        header, delimiter = source.header(part.path)
        quoted = not (delimiter == "\t" and tables()[part.table].of == "vocabulary")
        return load.csv(part.path, header, delimiter, quoted)
    db.run(f"ATTACH IF NOT EXISTS {text(str(part.path))} AS given (READ_ONLY)", doing)
    return f"given.{name(part.relation[0])}.{name(part.relation[1])}"


def _rejected(db: Session, part: source.Part, aside: Any) -> int:
    found = db.rows(
        "SELECT line, min(error_type::VARCHAR), any_value(csv_line) FROM reject_errors GROUP BY line ORDER BY line"
    )
    for line, kind, body in found[:_QUARANTINED]:
        aside.write(_quarantined(part, line, fate("read", "bad_row"), f"{part.table} ({kind})", body))
    db.run("TRUNCATE reject_errors")
    db.run("TRUNCATE reject_scans")
    return len(found)


def _quarantined(part: source.Part, row: int, ending: str, path: str | None, body: str | None) -> bytes:
    arrow, reason = ending.split("/", 1)
    line = {
        "file": part.path.name, "line": row, "arrow": arrow, "reason": reason, "path": path,
        "body": (body or "")[: 1 << 20],
    }  # fmt: skip
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def _set_aside(db: Session, out: Path, queries: Sequence[tuple[int, source.Part, str, str]], aside: Any) -> None:
    for number, part, raw, _ in queries:
        found = db.rows(
            f"SELECT t.source_row, t.fate, t.fate_path, to_json(r)::VARCHAR FROM {load.parquet(out)} AS t "
            f"JOIN {raw} AS r ON r.rowid = t.source_row - 1 WHERE t.source_table = {number} AND t.fate IS NOT NULL "
            f"ORDER BY t.source_row LIMIT {_QUARANTINED}"
        )
        for row, ending, path, body in found:
            if is_quarantined(ending):
                aside.write(_quarantined(part, row, ending, path, body))


# ── people ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class PeopleTask:
    """Get some people ready: pseudonym, offset, birth, home, and the words that could name them."""

    number: int
    people: tuple[tuple[int, str | None, str | None], ...]  # person_id, ZIP code, state
    scrub: Scrub
    folder: Path


def people_ready(task: PeopleTask) -> int:
    """Write what the rows of some people are joined with: `people` and `words`."""
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
                }
            )  # fmt: skip
    finally:
        vault.close()
    fields = {
        "person_id": pa.int64(), "subject_id": pa.int64(), "days": pa.int32(), "birth": pa.timestamp("us"),
        "birth_precision": pa.string(), "zip3": pa.string(), "state": pa.string(),
    }  # fmt: skip
    columns = {column: pa.array([row[column] for row in rows], kind) for column, kind in fields.items()}
    pq.write_table(pa.table(columns), task.folder / f"people-{task.number:06d}.parquet", compression="lz4")
    found = pa.table({"subject_id": pa.array(subjects, pa.int64()), "word": pa.array(words, pa.string())})
    pq.write_table(found, task.folder / f"words-{task.number:06d}.parquet", compression="lz4")
    return len(rows)


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


def map_rows(task: OmopMapTask) -> MapReceipt:
    """Take some typed rows to staged events, ordered by shard."""
    receipt = task.work / f"{task.name}.json"
    if receipt.exists():
        return msgspec.json.decode(receipt.read_bytes(), type=MapReceipt)
    table, policy = tables()[task.table], task.scrub.policy
    compiled = Compiled(table, task.have, policy.dates, policy.top_age)
    checks: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    with Session(task.work / f"{task.name}.spill", threads=task.threads, sessions=task.sessions) as db:
        for relation in ("people", "words", "concepts", "anchors"):
            files = sorted(task.folder.glob(f"{relation}*.parquet"))
            if files:
                listed = ", ".join(text(str(file)) for file in files)
                db.run(f"CREATE VIEW {relation} AS SELECT * FROM read_parquet([{listed}])")
        where = f"t.source_table = {task.source_table} AND t.source_row BETWEEN {task.first} AND {task.last}"
        loaded = load.parquet(task.folder / f"{task.table}.parquet")
        db.run(f"CREATE TABLE read AS {compiled.rows(Relations(loaded), where)}")
        ended = Counter(dict(db.rows("SELECT fate, count(*) FROM read WHERE fate IS NOT NULL GROUP BY fate")))
        total = int(db.one("SELECT count(*) FROM read"))
        _orphans(db, task)
        db.run("CREATE VIEW live AS SELECT * FROM read WHERE fate IS NULL")
        labels = labels_of(task.scrub)
        labels.counts.clear()
        labels.public = frozenset()
        cleaned, decided = clean_texts(db, compiled.judged, labels)
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
        tallies = labels.counts + _tallies(db, compiled, loaded, where, policy.dates)
    done = MapReceipt(task.name, task.source_table, parcels, dict(rows), dict(ended), dict(tallies), dict(checks))
    write.write_bytes(msgspec.json.encode(done), receipt)
    return done


def _orphans(db: Session, task: OmopMapTask) -> None:
    """Set aside rows of persons who are not there; what else is bad was set aside when it was loaded."""
    orphan = fate("scrub", "unknown_subject")
    found = db.rows(
        f"SELECT t.source_row, to_json(t)::VARCHAR FROM {load.parquet(task.folder / f'{task.table}.parquet')} AS t "
        f"JOIN read AS r USING (source_table, source_row) WHERE r.fate = {text(orphan)} "
        f"ORDER BY t.source_row LIMIT {_QUARANTINED}"
    )
    if found:
        with private(task.quarantine / f"{task.name}.ndjson") as aside:
            for row, body in found:
                aside.write(_quarantined(task.part, row, orphan, task.table, body))


_kept: tuple[tuple[str, int], Labels] | None = None


def labels_of(scrub: Scrub) -> Labels:
    """The scrubber of texts, once a process."""
    global _kept  # noqa: PLW0603 - one a process, as its vault and its detector are
    key = (scrub.fingerprint, scrub.vault.stat().st_mtime_ns)
    if _kept is None or _kept[0] != key:
        vault = Vault(scrub.vault, scrub.vault_secret, readonly=True)
        scrubber = text_scrubber(scrub.policy, scrub.secret, vault)
        _kept = (key, Labels(scrub.policy, scrub.secret, scrubber, vault, scrub.as_of))
    return _kept[1]


def clean_texts(db: Session, judged: Sequence[Judged], labels: Labels) -> tuple[list[str], bool]:
    """Scrub the texts of the live rows: which columns were touched, and whether there are decisions.

    Every distinct value is judged once. Read for a subject is only what holds PHI by itself, or a word of theirs.
    """
    cleaned: list[str] = []
    places: list[tuple[int, int]] = []
    decisions: list[dict[str, Any]] = []
    for one in judged:
        column = name(one.column)
        values = [row[0] for row in db.rows(f"SELECT DISTINCT {column} FROM live WHERE {column} IS NOT NULL")]
        everyone: list[str] = []
        pairs: list[tuple[str, str]] = []
        for value in values:
            words = labels.words(value, one.action)
            if words is None:
                everyone.append(value)
            else:
                pairs += [(value, word) for word in words]
        touched = _touched(db, column, everyone, pairs)
        fresh: list[tuple[int, int, str | None]] = []
        for table, row, subject, value in touched:
            done = labels.scrub(value, one.action, subject)
            if done.text != value:
                fresh.append((table, row, done.text))
            if done.decisions or done.text != value:
                labels.count(done)
            for decision in done.decisions:
                places.append((table, row))
                decisions.append({"path": one.path, **decision})
        if fresh:
            cleaned.append(one.column)
            db.give("clean_" + one.column, _clean_table(fresh))
    if decisions:
        _give_decisions(db, places, decisions)
    return cleaned, bool(decisions)


def _touched(
    db: Session, column: str, everyone: list[str], pairs: list[tuple[str, str]]
) -> Iterator[tuple[int, int, int, str]]:
    """Yield place, subject and value of every text that must be read for its subject."""
    if not everyone and not pairs:
        return
    db.give("everyone", pa.table({"value": pa.array(everyone, pa.string())}))
    given = {"value": [value for value, _ in pairs], "word": [word for _, word in pairs]}
    db.give("spelled", pa.table(given, schema=pa.schema([("value", pa.string()), ("word", pa.string())])))
    query = (
        f"WITH hit AS (SELECT DISTINCT s.value, w.subject_id FROM spelled AS s JOIN words AS w USING (word)) "
        f"SELECT source_table, source_row, subject_id, {column} FROM live "
        f"WHERE {column} IN (SELECT value FROM everyone) "
        f"OR ({column}, subject_id) IN (SELECT (value, subject_id) FROM hit)"
    )
    for batch in checked(db.batches(query)):
        yield from zip(*(batch.column(index).to_pylist() for index in range(4)), strict=True)


def _clean_table(rows: Sequence[tuple[int, int, str | None]]) -> pa.Table:
    return pa.table(
        {
            "source_table": pa.array([row[0] for row in rows], pa.int32()),
            "source_row": pa.array([row[1] for row in rows], pa.int64()),
            "clean": pa.array([row[2] for row in rows], pa.large_string()),
            "hit": pa.array([True] * len(rows)),
        }
    )


def _give_decisions(db: Session, places: Sequence[tuple[int, int]], decisions: Sequence[dict[str, Any]]) -> None:
    grouped: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for place, decision in zip(places, decisions, strict=True):
        grouped.setdefault(place, []).append(decision)
    kind = schema.table("staged").field("decisions").type
    db.give(
        "decided",
        pa.table(
            {
                "source_table": pa.array([place[0] for place in grouped], pa.int32()),
                "source_row": pa.array([place[1] for place in grouped], pa.int64()),
                "decisions": pa.array(list(grouped.values()), kind),
            }
        ),
    )


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
