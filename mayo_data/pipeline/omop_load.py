"""Reads the tables of an OMOP export into DuckDB: typed rows, each with its place, and its fate where it ends here."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import orjson

from mayo_data.engine.relational import Session
from mayo_data.errors import SourceError
from mayo_data.omop import load
from mayo_data.omop.model import Table, tables
from mayo_data.pipeline.place import private
from mayo_data.pipeline.tasks import is_quarantined
from mayo_data.sources import omop as source
from mayo_data.sql import name
from mayo_data.stage import fate

QUARANTINED = 100_000  # bad rows of a task that are kept with their body; all are counted


@dataclass(frozen=True)
class LoadTask:
    """Read one table, all of its parts."""

    table: str
    parts: tuple[tuple[int, source.Part], ...]
    quarantine: Path


class Loaded(msgspec.Struct, frozen=True):
    """What a loaded table is: its fields, the rows of each part, those that were no rows, and shared keys."""

    table: str
    have: list[str]
    rows: dict[int, int]
    rejected: dict[int, int]
    unknown: int
    twins: int


class _Source(NamedTuple):
    """A part of a table on its way in."""

    number: int
    part: source.Part
    relation: str
    found: dict[str, load.Given]


def digest(path: Path) -> str:
    """Return the sha256 of a file, lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def relation(table: str) -> str:
    """Return under which name a loaded table is read.

    >>> relation("person")
    'loaded_person'
    """
    return f"loaded_{table}"


def load_table(db: Session, task: LoadTask) -> Loaded:
    """Type the rows of a table; what is no row, or says what its type cannot hold, is set aside and counted.

    The rows are then read as `relation(table)`. Most tables have no fault: they are typed in one pass. Where a row is
    wrong, or a key stands twice, the table is looked at again more closely.

    Args:
        db: A session; the table is made in the memory that it shares with its branches.
        task: What to read.

    Raises:
        SourceError: A table cannot be read, or lacks the column that names a row or its person.
    """
    table = tables()[task.table]
    doing = f"table {task.table} cannot be read"
    rows: dict[int, int] = {}
    rejected: dict[int, int] = {}
    have: dict[str, None] = {}
    unknown = 0
    queries: list[str] = []
    sources: list[_Source] = []
    faulty = False
    with private(task.quarantine / f"omop-{task.table}.ndjson") as aside:
        for number, part in task.parts:
            one, more = _source(db, number, part, doing)
            unknown += more
            have |= dict.fromkeys(one.found)
            sources.append(one)
            made = f"part_{number}"
            db.run(f"CREATE TABLE {made} AS {load.clean(table, one.found, one.relation)}", doing)
            count, wrong = db.rows(f"SELECT count(*), count(*) FILTER (wrong) FROM {made}", doing)[0]
            rows[number] = int(count)
            rejected[number] = _rejected(db, part, aside) if part.form == "csv" else 0
            if wrong:
                faulty = True
                db.run(f"DROP TABLE {made}")
                _raw(db, one, doing)
                queries.append(load.typed(table, one.found, f"raw_{number}", number))
            else:
                queries.append(load.placed(one.found, made, number))
        twins = _settled(db, table, list(have), queries, faulty, doing)
        _set_aside(db, task.table, sources, aside, doing)
    for one in sources:
        db.run(f"DROP TABLE IF EXISTS raw_{one.number}")
    _unless_empty(task.quarantine / f"omop-{task.table}.ndjson")
    return Loaded(task.table, list(have), rows, rejected, unknown, twins)


def _settled(db: Session, table: Table, have: list[str], queries: list[str], faulty: bool, doing: str) -> int:
    """Make the relation that is read from now on; return the rows under a key of another row."""
    union = " UNION ALL BY NAME ".join(queries)
    here = relation(table.name)
    shared = 0
    if table.key:
        key = name(table.key)
        db.run(f"CREATE VIEW typed_{table.name} AS {union}", doing)
        shared = int(db.one(f"SELECT count({key}) - count(DISTINCT {key}) FROM typed_{table.name}", doing))
    if shared:
        db.run(f"CREATE TABLE {here} AS {load.told_apart(table, have, f'typed_{table.name}')}", doing)
        return int(db.one(f"SELECT count(*) FROM {here} WHERE twin > 0"))
    db.run(f"CREATE {'TABLE' if faulty else 'VIEW'} {here} AS {union}", doing)
    return 0


def _source(db: Session, number: int, part: source.Part, doing: str) -> tuple[_Source, int]:
    table = tables()[part.table]
    if part.form == "csv":
        header, delimiter = source.header(part.path)
        quoted = not (delimiter == "\t" and table.of == "vocabulary")
        read = load.csv(part.path, header, delimiter, quoted)
        given = [load.Given(column, "VARCHAR") for column in header]
    else:
        read = load.parquet(part.path)
        if part.form != "parquet":
            read = f"given.{name(part.relation[0])}.{name(part.relation[1])}"
        given = [load.Given(*column) for column in db.columns(read, doing)]
    found, unknown = load.columns(table, given)
    lacking = load.missing(table, found)
    if lacking:
        raise SourceError(
            f"table {part.table} has no column {lacking[0]}", hint="it names the row or its person: add it"
        )
    return _Source(number, part, read, found), unknown


def _raw(db: Session, one: _Source, doing: str) -> None:
    """Read a part as it stands, for what must be said of its rows; its broken lines are counted already."""
    if db.has(f"raw_{one.number}"):
        return
    db.run(f"CREATE TABLE raw_{one.number} AS SELECT * FROM {one.relation}", doing)
    if one.part.form == "csv":
        _forget_rejects(db)


def _rejected(db: Session, part: source.Part, aside: Any) -> int:
    found = db.rows(
        "SELECT line, min(error_type::VARCHAR), any_value(csv_line) FROM reject_errors GROUP BY line ORDER BY line"
    )
    for line, kind, body in found[:QUARANTINED]:
        aside.write(quarantined(part, line, fate("read", "bad_row"), f"{part.table} ({kind})", body))
    _forget_rejects(db)
    return len(found)


def _forget_rejects(db: Session) -> None:
    db.run("TRUNCATE reject_errors")
    db.run("TRUNCATE reject_scans")


def quarantined(part: source.Part, row: int, ending: str, path: str | None, body: str | None) -> bytes:
    """Return the line of the quarantine for a row: file, line, reason, body."""
    arrow, reason = ending.split("/", 1)
    line = {
        "file": part.path.name, "line": row, "arrow": arrow, "reason": reason, "path": path,
        "body": (body or "")[: 1 << 20],
    }  # fmt: skip
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def _set_aside(db: Session, table: str, sources: Sequence[_Source], aside: Any, doing: str) -> None:
    ended = db.rows(f"SELECT source_table, fate, count(*) FROM {relation(table)} WHERE fate IS NOT NULL GROUP BY ALL")
    bad = {number for number, ending, _ in ended if is_quarantined(ending)}
    for one in sources:
        if one.number not in bad:
            continue
        _raw(db, one, doing)
        found = db.rows(
            f"SELECT t.source_row, t.fate, t.fate_path, to_json(r)::VARCHAR FROM {relation(table)} AS t "
            f"JOIN raw_{one.number} AS r ON r.rowid = t.source_row - 1 WHERE t.source_table = {one.number} "
            f"AND t.fate IS NOT NULL ORDER BY t.source_row LIMIT {QUARANTINED}"
        )
        for row, ending, path, body in found:
            if is_quarantined(ending):
                aside.write(quarantined(one.part, row, ending, path, body))


def _unless_empty(path: Path) -> None:
    if path.stat().st_size == 0:
        path.unlink()
