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
from mayo_data.store import sums

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_MACROS = "macro"  # the table that explains the macros
_ENDS = " AND ends_with(_file, printf('/%04d.parquet', subject::BIGINT % {shards}))"  # the file that can hold a subject
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


def make(
    db: duckdb.DuckDBPyConnection,
    files: Mapping[str, str],
    events: Sequence[Path],
    changed: pa.Table | None = None,
) -> int:
    """Make all views and macros in the catalog that the connection uses, and return the number of subjects.

    Args:
        db: A connection, at a catalog that is empty, with `file_search_path` at the snapshot.
        files: Table of `schemas/tables` to the pattern of its files.
        events: The files of events.
        changed: Of a delta, what `sums.before_and_after` returned of its events; the catalog of the snapshot before
            is then attached as `base`, and the files are shards as they were before.
    """
    scans: dict[str, str] = {}
    for table, path in files.items():
        scan = f"read_parquet({sql.text(path)}, hive_partitioning = false, filename = true)"
        if table == "same_facts" and not db.execute(f"SELECT 1 FROM {scan} LIMIT 1").fetchall():
            scan = _nothing(db, scan)  # one source: no query need open those files
        scans |= {f"{table}_with_file": scan, table: f"(SELECT * EXCLUDE (filename) FROM {scan})"}
    shards, scans["others"] = True, ""
    if changed is not None and sums.same_labels(db, scans["codes"]):
        sums.merged(db, changed)
        scans["others"] = f"UNION ALL FROM {sums.BASE}.subject ANTI JOIN touched USING (subject_id)"
    else:
        shards = sums.whole(db, events)
    _views(db, scans)
    scans["shard"] = _ENDS.format(shards=len(events)) if shards else ""
    _macros(db, scans)
    _explain(db)
    return int(db.execute("SELECT count(*) FROM subject").fetchall()[0][0])


def _views(db: duckdb.DuckDBPyConnection, scans: Mapping[str, str]) -> None:
    made = assets.toml("schemas", "analyst", "views.toml")
    for name, spec in made.items():
        db.execute(f"CREATE {_kind(spec)} {name} AS {spec['sql'].format(**scans)}")
    columns = db.execute("SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = 'catalog'")
    for name, column in columns.fetchall():
        spec = made[name]
        tables = ("events", spec["file"]) if "file" in spec else ("events",)
        docs = {field.name: schema.doc(field) for table in tables for field in schema.table(table)}
        docs |= _SHARED | spec.get("columns", {})
        db.execute(f"COMMENT ON COLUMN {name}.{sql.name(column)} IS {sql.text(docs[column])}")
    for name, spec in made.items():
        db.execute(f"COMMENT ON {_kind(spec)} {name} IS {sql.text(spec['doc'])}")


def _kind(spec: Mapping[str, Any]) -> str:
    return "TABLE" if spec.get("table") else "VIEW"


def _macros(db: duckdb.DuckDBPyConnection, scans: Mapping[str, str]) -> None:
    kinds = db.execute("SELECT DISTINCT if(starts_with(format, 'omop'), 'omop', 'fhir') FROM source").fetchall()
    one = {**scans, "stated_by": sql.text(kinds[0][0] if kinds else "fhir"), "beside": ""}
    for name, spec in assets.toml("schemas", "analyst", "macros.toml").items():
        kind = "TABLE " if spec.get("table") else ""
        more = spec.get("two_sources", {}) if len(kinds) > 1 else {}
        parts = one | {key: text.format(**one) for key, text in more.items()}
        db.execute(f"CREATE MACRO {name}({spec['parameters']}) AS {kind}{spec['sql'].format(**parts)}")
        db.execute(f"COMMENT ON MACRO {kind}{name} IS {sql.text(spec['doc'])}")


def _nothing(db: duckdb.DuckDBPyConnection, scan: str) -> str:
    """No rows with the columns of a scan."""
    columns = db.execute(f"DESCRIBE FROM {scan}").fetchall()
    return f"(SELECT {', '.join(f'NULL::{kind} AS {sql.name(name)}' for name, kind, *_ in columns)} WHERE false)"


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
