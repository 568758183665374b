"""The analyst's door: `catalog.duckdb`, made once a snapshot, read-only, with documented tables.

Its views read the snapshot's Parquet files by relative path, so a store can be moved or copied. All paths are
patterns (`codes*.parquet`) on purpose: DuckDB looks for a plain name in the working directory first, and
would read another data set's file if the notebook happens to lie beside one.
"""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mayo_data import schema, sql
from mayo_data.errors import StoreError
from mayo_data.store import scratch
from mayo_data.store.layout import Store

if TYPE_CHECKING:
    import duckdb

NAME = "catalog.duckdb"
FILES = {
    "events": "data/*.parquet",
    "codes": "metadata/codes*.parquet",
    "subject_splits": "metadata/subject_splits*.parquet",
    "sources": "lineage/sources*.parquet",
    "scrubs": "lineage/scrubs*.parquet",
    "resources": "lineage/resources/*.parquet",
    "decisions": "lineage/decisions/*.parquet",
    "same_facts": "lineage/same_facts/*.parquet",
}
_STORAGE = "v1.4.0"  # the oldest DuckDB that may open a catalog

_EVENT_ID = "concat(source_table, '.', source_row, '.', source_item)"
_BASE = {  # columns that a view adds to its table
    "events": (
        f", {_EVENT_ID} AS event_id",
        {"event_id": "Names the event in this snapshot; md.trace takes it."},
    ),
}

# What a static fact says: the text where there is one, else what its code means, else the code's last part.
_SUBJECTS = """
CREATE TABLE subjects AS
WITH fact AS (
  SELECT subject_id, split_part(e.code, '//', 1) AS kind,
         coalesce(text_value, description, split_part(e.code, '//', -1)) AS label
  FROM (SELECT subject_id, code, text_value FROM events
        WHERE split_part(code, '//', 1) IN ('SEX', 'GENDER', 'RACE', 'ETHNICITY', 'ZIP3')) e
  LEFT JOIN codes USING (code)
), demography AS (
  SELECT subject_id,
         string_agg(DISTINCT label, '; ' ORDER BY label) FILTER (kind IN ('SEX', 'GENDER')) AS sex,
         string_agg(DISTINCT label, '; ' ORDER BY label) FILTER (kind = 'RACE') AS race,
         string_agg(DISTINCT label, '; ' ORDER BY label) FILTER (kind = 'ETHNICITY') AS ethnicity,
         string_agg(DISTINCT label, '; ' ORDER BY label) FILTER (kind = 'ZIP3') AS zip3
  FROM fact GROUP BY subject_id
), life AS (
  SELECT subject_id,
         min(time) FILTER (starts_with(code, 'MEDS_BIRTH')) AS birth_time,
         max(time) FILTER (starts_with(code, 'MEDS_DEATH')) AS death_time,
         bool_or(starts_with(code, 'MEDS_DEATH') OR starts_with(code, 'DEATH//')) AS deceased,
         min(time) FILTER (NOT starts_with(code, 'MEDS_BIRTH')) AS first_time,
         max(time) FILTER (NOT starts_with(code, 'MEDS_BIRTH')) AS last_time,
         count(*) AS n_events
  FROM events GROUP BY subject_id
)
SELECT subject_id, split, birth_time, death_time, deceased, sex, race, ethnicity, zip3,
       first_time, last_time, n_events
FROM life LEFT JOIN demography USING (subject_id) LEFT JOIN subject_splits USING (subject_id)
ORDER BY subject_id
"""
_ENCOUNTERS = """
CREATE VIEW encounters AS
SELECT encounter_id, subject_id, min(time) AS start_time, max(end_time) AS end_time,
       max(status) AS status, list(DISTINCT code ORDER BY code) AS codes
FROM events
WHERE encounter_id IS NOT NULL AND (
  starts_with(code, 'ENCOUNTER') OR starts_with(code, 'VISIT')
  OR starts_with(code, 'ADMIT_SOURCE') OR starts_with(code, 'DISCHARGE_DISPOSITION')
)
GROUP BY encounter_id, subject_id
"""
_NOTES = """
CREATE VIEW notes AS
SELECT subject_id, time, code, description, text_value AS text, encounter_id, available_time, event_id
FROM events LEFT JOIN codes USING (code)
WHERE split_part(code, '//', 1) IN ('NOTE', 'DIAGNOSTIC_REPORT_NOTE') AND text_value IS NOT NULL
"""
_FACTS = """
CREATE VIEW facts AS
SELECT e.*, CASE WHEN starts_with(s.format, 'omop') THEN 'omop' ELSE 'fhir' END AS source,
       coalesce(f.same_as, e.event_id) AS same_as, coalesce(f.same_as = e.event_id, true) AS stated_first
FROM events e JOIN sources s USING (source_table)
LEFT JOIN same_facts f USING (source_table, source_row, source_item)
"""
_TIMELINE = """
CREATE MACRO timeline(subject) AS TABLE
SELECT time, code, description, numeric_value, unit, text_value, end_time, status, encounter_id,
       available_time, event_id
FROM (SELECT * FROM events WHERE subject_id = subject) LEFT JOIN codes USING (code)
ORDER BY time NULLS FIRST, source_table, source_row, source_item
"""
_MADE = {
    "subjects": (
        _SUBJECTS,
        "One row a subject: who is in this snapshot.",
        {
            "subject_id": "Keyed 63-bit pseudonym of the patient.",
            "split": "train, tuning or held_out.",
            "birth_time": "Birth, moved by the date rule of the policy.",
            "death_time": "Death, where its time is known.",
            "deceased": "Whether a death is recorded, with or without its time.",
            "sex": "Sex as recorded; several values are joined by semicolons.",
            "race": "Race as recorded.",
            "ethnicity": "Ethnicity as recorded.",
            "zip3": "First three digits of the postal code, where the policy keeps them.",
            "first_time": "Time of the first event after birth.",
            "last_time": "Time of the last event.",
            "n_events": "How many events, static facts included.",
        },
    ),
    "encounters": (
        _ENCOUNTERS,
        "One row an encounter: stay, visit, call.",
        {
            "encounter_id": "Keyed 63-bit pseudonym of the encounter; events carry it.",
            "subject_id": "The subject.",
            "start_time": "When it began.",
            "end_time": "When it ended.",
            "status": "finished, in-progress, ...",
            "codes": "Class, types, reasons, admission and discharge, as codes.",
        },
    ),
    "notes": (
        _NOTES,
        "Clinical documents and reports after the scrub, one row an attachment.",
        {
            "subject_id": "The subject.",
            "time": "When it was written.",
            "code": "Type of note.",
            "description": "What the type means.",
            "text": "The note; names, dates and numbers in it are surrogates.",
            "encounter_id": "The encounter it belongs to.",
            "available_time": "When it became known.",
            "event_id": "Names the event; md.trace takes it.",
        },
    ),
    "facts": (
        _FACTS,
        "Events with where they come from: WHERE stated_first shows what FHIR and OMOP both state only once.",
        {
            "source": "fhir or omop.",
            "same_as": "Names the fact: the event id, or of a fact that both state the event id in FHIR.",
            "stated_first": "False where FHIR states the same fact.",
        },
    ),
}


def build_catalog(snapshot: Path) -> None:
    """Make `catalog.duckdb` in a draft whose Parquet files are all there.

    Args:
        snapshot: Folder of the draft; an older catalog in it is replaced.

    Raises:
        StoreError: A table of the snapshot is missing or cannot be read.
    """
    import duckdb

    path = snapshot / NAME
    path.unlink(missing_ok=True)
    try:
        with scratch.connection(snapshot / scratch.SPILL) as db:
            db.execute(f"ATTACH {sql.text(str(path))} AS catalog (STORAGE_VERSION '{_STORAGE}')")
            db.execute("USE catalog")
            db.execute(f"SET file_search_path = {sql.text(str(snapshot.absolute()))}")
            for table, files in FILES.items():
                more, docs = _BASE.get(table, ("", {}))
                source = f"read_parquet({sql.text(files)}, hive_partitioning = false)"
                db.execute(f"CREATE VIEW {table} AS SELECT *{more} FROM {source}")
                fields = schema.table(table)
                docs = {field.name: schema.doc(field) for field in fields} | docs
                _comment(db, "VIEW", table, fields.metadata[b"doc"].decode(), docs)
            for table, (statement, text, docs) in _MADE.items():
                db.execute(statement)
                if table == "facts":  # the columns of events, and its own
                    docs = (
                        {field.name: schema.doc(field) for field in schema.table("events")} | _BASE["events"][1] | docs
                    )
                _comment(db, "TABLE" if table == "subjects" else "VIEW", table, text, docs)
            db.execute(_TIMELINE)
            db.execute("USE memory")
            db.execute("DETACH catalog")
    except duckdb.Error as error:
        raise StoreError("a table of the snapshot is missing or unreadable", hint="run mayo-data validate") from error


def _comment(db: duckdb.DuckDBPyConnection, kind: str, table: str, text: str, docs: dict[str, str]) -> None:
    db.execute(f"COMMENT ON {kind} {table} IS {sql.text(text)}")
    for column, doc in docs.items():
        db.execute(f"COMMENT ON COLUMN {table}.{sql.name(column)} IS {sql.text(doc)}")


def connect(store: Path | str, snapshot: str | None = None) -> duckdb.DuckDBPyConnection:
    """Open a snapshot for SQL: `connect(store).sql("SELECT * FROM timeline(42)")`.

    Nothing can be written to the snapshot, and DuckDB loads no extension from the network. `SHOW TABLES`
    lists what is there; every column has a comment.

    Args:
        store: Folder of the store.
        snapshot: Name of a snapshot. Default: the current one.

    Returns:
        A DuckDB connection; close it, or use it in a `with` block.

    Raises:
        StoreError: There is no such store or snapshot, or its catalog cannot be opened.
    """
    import duckdb

    opened = Store.open(Path(store))
    folder = (opened.snapshot(snapshot) if snapshot else opened.current()).absolute()
    if "," in str(folder):
        raise StoreError(
            "a store cannot be read under a path with a comma",
            hint="move it: DuckDB splits its search path there",
        )
    try:
        db = duckdb.connect(str(folder / NAME), read_only=True, config=dict(scratch.OFFLINE))
        db.execute(f"SET GLOBAL file_search_path = {sql.text(str(folder))}")
        db.execute("SET GLOBAL TimeZone = 'UTC'")
        db.execute("SET GLOBAL parquet_metadata_cache = true")  # the files never change
        # Without this DuckDB would spill into the snapshot's own folder.
        spill = Path(tempfile.gettempdir()) / f"mayo-data-{secrets.token_hex(8)}"
        db.execute(f"SET GLOBAL temp_directory = {sql.text(str(spill))}")
    except duckdb.Error as error:
        raise StoreError("the catalog cannot be opened", hint="run mayo-data validate") from error
    return db
