"""The analyst's views and macros: `schemas/analyst/*.toml`, made in a catalog.

A subject is in exactly one file. Where the files are the shards of a run (subject modulo their number), the macro
`timeline` says so to DuckDB, which then opens that file alone, in a store of any size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mayo_data import assets, schema, sql

if TYPE_CHECKING:
    import duckdb

_MACROS = "macro"  # the table that explains the macros
_SHARED = {  # columns of several views that no table of the schemas has
    "vocabulary": "Vocabulary of the code: SNOMED, LOINC, RXNORM, ICD10CM, ...",
    "concept_code": "The code in its vocabulary.",
    "description": "What the code means, as the source displays it, after the scrub.",
    "stated_by": "The exports that state the fact: fhir, omop, or 'fhir, omop'.",
    "event_id": "Names the event in this snapshot; md.trace takes it.",
}


class Macro(NamedTuple):
    """A macro that `md.connect` offers.

    Attributes:
        name: Its name.
        parameters: As SQL takes them: `pattern, gap := 30`.
        gives: `table` (it stands after FROM) or `value`.
        doc: What it gives.
        example: A query that works on the store of the demo.
    """

    name: str
    parameters: str
    gives: str
    doc: str
    example: str

    @property
    def call(self) -> str:
        """How it is written: `era(pattern, gap := 30)`."""
        return f"{self.name}({self.parameters})"


@cache
def views() -> dict[str, str]:
    """Return the names of all views, each with what one row of it is.

    >>> views()["event"]
    'An event of a timeline: a MEDS row and more.'
    """
    found = sorted(assets.toml("schemas", "analyst", "views.toml").items(), key=lambda one: one[1].get("behind", False))
    return {**{name: str(spec["doc"]) for name, spec in found}, _MACROS: "A macro of this catalog, with an example."}


@cache
def macros() -> tuple[Macro, ...]:
    """Return all macros.

    >>> [macro.call for macro in macros()][0]
    'timeline(subject)'
    """
    found = assets.toml("schemas", "analyst", "macros.toml").items()
    return tuple(
        Macro(name, spec["parameters"], "table" if spec.get("table") else "value", spec["doc"], spec["example"].strip())
        for name, spec in found
    )


def make(db: duckdb.DuckDBPyConnection, files: Mapping[str, str], events: Sequence[Path]) -> None:
    """Make all views and macros in the catalog that the connection uses.

    Args:
        db: A connection, at a catalog that is empty, with `file_search_path` at the snapshot.
        files: Table of `schemas/tables` to the pattern of its files.
        events: The files of events.
    """
    _count(db, events)
    scans: dict[str, str] = {}
    for table, path in files.items():
        scan = f"read_parquet({sql.text(path)}, hive_partitioning = false, filename = true)"
        if table == "same_facts" and not db.execute(f"SELECT 1 FROM {scan} LIMIT 1").fetchall():
            scan = _nothing(db, scan)  # one source: no query need open those files
        scans |= {f"{table}_with_file": scan, table: f"(SELECT * EXCLUDE (filename) FROM {scan})"}
    for name, spec in assets.toml("schemas", "analyst", "views.toml").items():
        kind = "TABLE" if spec.get("table") else "VIEW"
        db.execute(f"CREATE {kind} {name} AS {spec['sql'].format(**scans)}")
        _comment(db, kind, name, spec)
    scans["shard"] = _sharded(db, scans["events_with_file"], len(events))
    kinds = db.execute("SELECT DISTINCT if(starts_with(format, 'omop'), 'omop', 'fhir') FROM source").fetchall()
    scans |= {"stated_by": sql.text(kinds[0][0] if kinds else "fhir"), "beside": ""}
    for name, spec in assets.toml("schemas", "analyst", "macros.toml").items():
        kind = "TABLE " if spec.get("table") else ""
        more = spec.get("two_sources", {}) if len(kinds) > 1 else {}
        parts = scans | {key: text.format(**scans) for key, text in more.items()}
        db.execute(f"CREATE MACRO {name}({spec['parameters']}) AS {kind}{spec['sql'].format(**parts)}")
        db.execute(f"COMMENT ON MACRO {kind}{name} IS {sql.text(spec['doc'])}")
    _explain(db)


def _count(db: duckdb.DuckDBPyConnection, events: Sequence[Path]) -> None:
    """Count events and subjects of each code: file by file, since a subject is in one alone; so it fits into memory."""
    db.execute("CREATE TEMP TABLE counted (code VARCHAR, n_events BIGINT, n_subjects BIGINT)")
    for path in events:
        pairs = "SELECT code, subject_id, count(*) AS n FROM read_parquet(?) GROUP BY code, subject_id"
        counts = f"SELECT code, sum(n), count(*) FROM ({pairs}) GROUP BY code"
        db.execute(f"INSERT INTO counted {counts}", [sql.literal(path)])


def _nothing(db: duckdb.DuckDBPyConnection, scan: str) -> str:
    """No rows with the columns of a scan."""
    columns = db.execute(f"DESCRIBE FROM {scan}").fetchall()
    return f"(SELECT {', '.join(f'NULL::{kind} AS {sql.name(name)}' for name, kind, *_ in columns)} WHERE false)"


def _sharded(db: duckdb.DuckDBPyConnection, scan: str, shards: int) -> str:
    """What the name of the one file that can hold a subject ends in, where the files are the shards of a run."""
    ends = "ends_with({file}, printf('/%04d.parquet', {subject}::BIGINT % {shards}))"
    every = ends.format(file="filename", subject="subject_id", shards=max(shards, 1))
    holds = db.execute(f"SELECT coalesce(bool_and({every}), false) FROM {scan}").fetchall()[0][0]
    return " AND " + ends.format(file="_file", subject="subject", shards=shards) if holds else ""


def _comment(db: duckdb.DuckDBPyConnection, kind: str, name: str, spec: Mapping[str, Any]) -> None:
    tables = ("events", spec["file"]) if "file" in spec else ("events",)
    docs = {field.name: schema.doc(field) for table in tables for field in schema.table(table)}
    docs |= _SHARED | spec.get("columns", {})
    db.execute(f"COMMENT ON {kind} {name} IS {sql.text(spec['doc'])}")
    for column, *_ in db.execute(f"DESCRIBE {name}").fetchall():
        db.execute(f"COMMENT ON COLUMN {name}.{sql.name(column)} IS {sql.text(docs[column])}")


def _explain(db: duckdb.DuckDBPyConnection) -> None:
    columns = {
        "name": "Its name.",
        "parameters": "As SQL takes them; := is a default.",
        "gives": "table: it stands after FROM; value: it stands where a column may stand.",
        "doc": "What it gives.",
        "example": "A query that works on the store of mayo-data demo.",
    }
    db.execute(f"CREATE TABLE {_MACROS} ({', '.join(f'{column} VARCHAR' for column in columns)})")
    db.executemany(f"INSERT INTO {_MACROS} VALUES (?, ?, ?, ?, ?)", [tuple(macro) for macro in macros()])
    db.execute(f"COMMENT ON TABLE {_MACROS} IS {sql.text(views()[_MACROS])}")
    for column, doc in columns.items():
        db.execute(f"COMMENT ON COLUMN {_MACROS}.{column} IS {sql.text(doc)}")
