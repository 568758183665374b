"""Runs the checks of the Data Quality Dashboard on a folder of OMOP tables, in DuckDB."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import duckdb

from mayo_data import sql
from mayo_data.errors import SourceError
from mayo_data.store import scratch, tables

_CASTS = {
    "integer": "BIGINT", "bigint": "BIGINT", "float": "DOUBLE", "date": "TIMESTAMP", "datetime": "TIMESTAMP",
}  # fmt: skip
_VOCABULARY = ("concept", "concept_ancestor", "concept_relationship", "concept_class", "domain", "vocabulary",
               "relationship", "drug_strength", "source_to_concept_map", "concept_synonym")  # fmt: skip


WRONG = "_is_wrong"  # ending of the column that says where an integer is none


class _Check(Protocol):
    """What is run: see `mayo_data.quality.dqd.Check`."""

    @property
    def name(self) -> str: ...
    @property
    def level(self) -> str: ...
    @property
    def category(self) -> str: ...
    @property
    def context(self) -> str: ...
    @property
    def table(self) -> str: ...
    @property
    def field(self) -> str: ...
    @property
    def concept(self) -> str: ...
    @property
    def threshold(self) -> float: ...
    @property
    def sql(self) -> str: ...
    @property
    def needs(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Result:
    """What a check found: counts, never a value.

    Attributes:
        check: The Dashboard's name of it.
        level: `table`, `field` or `concept`.
        category: Conformance, Completeness or Plausibility.
        context: Verification or Validation.
        table: Table.
        field: Field, or empty.
        concept: Concept number, or empty.
        violated: Rows that violate it.
        rows: Rows that could.
        threshold: Percent that may.
        status: `passed`, `failed`, or `not applicable`: no such table or field, or nothing in it.
    """

    check: str
    level: str
    category: str
    context: str
    table: str
    field: str
    concept: str
    violated: int
    rows: int
    threshold: float
    status: str


def rules(path: Path) -> list[dict[str, str]]:
    """Read a threshold file of the Data Quality Dashboard.

    Args:
        path: For example `OMOP_CDMv5.4_Field_Level.csv`.

    Raises:
        SourceError: It is not there, or no such file.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            found = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(
            f"the threshold file {path.name} cannot be read", hint="give the Dashboard's folder"
        ) from error
    if found and "cdmTableName" not in found[0]:
        raise SourceError(f"{path.name} has no column cdmTableName", hint="is it a file of the Dashboard?")
    return found


def run(
    folder: Path, checks: Sequence[_Check], types: Iterable[Mapping[str, str]], vocabulary: Path | None = None
) -> list[Result]:
    """Run checks on a folder of OMOP tables.

    A check whose table or field is missing, or empty, is not applicable, as in the Dashboard: the missing table is
    counted once, by `cdmTable`.

    Args:
        folder: One file a table, CSV or Parquet.
        checks: What to run.
        types: Field rules: they say of what type a column is to be read.
        vocabulary: Folder with the vocabulary tables, if they are not in the first.

    Raises:
        SourceError: A folder or file cannot be read.
    """
    files = tables.listing(folder)
    if vocabulary is not None:
        files = {**{name: path for name, path in tables.listing(vocabulary).items() if name in _VOCABULARY}, **files}
    wanted: dict[str, dict[str, str]] = {}
    for rule in types:
        kind = (rule.get("cdmDatatype") or "").strip().lower()
        if kind:
            wanted.setdefault(rule["cdmTableName"].lower(), {})[rule["cdmFieldName"].lower()] = kind
    with tempfile.TemporaryDirectory(prefix="dqd") as place:
        config = {**scratch.OFFLINE, "threads": 2, "memory_limit": "1GB", "temp_directory": place}
        db = duckdb.connect(str(Path(place) / "dqd.duckdb"), config=config)
        try:
            db.execute("SET TimeZone = 'UTC'")
            read = {need.partition(".")[0] for check in checks for need in (check.table, *check.needs)}
            known = {name: _load(db, name, path, wanted.get(name, {})) for name, path in files.items() if name in read}
            return [_result(db, check, known, bool(vocabulary)) for check in checks]
        finally:
            db.close()


def _load(db: duckdb.DuckDBPyConnection, name: str, path: Path, kinds: Mapping[str, str]) -> dict[str, int]:
    """Make a typed table of a file; return its columns, each with the number of its values."""
    scan = tables.scan(path)
    try:
        columns = [str(row[0]) for row in db.execute(f"DESCRIBE SELECT * FROM {scan}").fetchall()]
        lowered: dict[str, str] = {}
        for column in columns:
            lowered.setdefault(column.lower(), column)
        typed = []
        for column, written in lowered.items():
            kind = kinds.get(column, "integer" if name in _VOCABULARY and column.endswith("concept_id") else "")
            text = f"nullif(CAST({sql.name(written)} AS VARCHAR), '')"
            as_type = _CASTS.get(kind, "VARCHAR")
            value = f"try_cast({text} AS {as_type})"
            if as_type == "BIGINT":  # `6.0` is an integer, `6.5` and `six` are none
                value = f"coalesce({value}, try_cast(try_cast({text} AS DOUBLE) AS BIGINT))"
                whole = f"try_cast({text} AS DOUBLE) = floor(try_cast({text} AS DOUBLE))"
                typed.append(f"{text} IS NOT NULL AND NOT coalesce({whole}, false) AS {sql.name(column + WRONG)}")
            typed.append(f"{value} AS {sql.name(column)}")
        table = sql.name(name)
        db.execute(f"CREATE TABLE {table} AS SELECT {', '.join(typed)} FROM {scan}")
        counts = db.execute(f"SELECT {', '.join(f'count({sql.name(one)})' for one in lowered)} FROM {table}")
        return dict(zip(lowered, (int(one) for one in counts.fetchall()[0]), strict=True))
    except duckdb.Error as error:
        raise SourceError(f"the table {name} cannot be read", hint="is it CSV or Parquet, with a header?") from error


def _result(db: duckdb.DuckDBPyConnection, check: _Check, known: Mapping[str, dict[str, int]], apart: bool) -> Result:
    violated, rows, status = 0, 1, ""
    if check.name == "cdmTable":
        violated = int(check.table not in known)
        if violated and check.table in _VOCABULARY and not apart:
            status = "not applicable"  # no vocabulary was given
    elif check.name == "cdmField":
        violated = int(check.field not in known.get(check.table, {}))
        status = "" if check.table in known else "not applicable"
    elif not _applies(check, known):
        status, rows = "not applicable", 0
    else:
        try:
            found = db.execute(check.sql).fetchall()[0]
            violated, rows = int(found[0] or 0), int(found[1] or 0)
        except duckdb.BinderException:  # a column of another table is missing: cdmField tells of that
            rows = 0
        except duckdb.Error as error:
            raise SourceError(
                f"{check.name} of {check.table}.{check.field} cannot be run", hint="is a column of another type?"
            ) from error
        status = "" if rows else "not applicable"
    if not status:
        share = 100 * violated / rows
        status = "failed" if violated and share > check.threshold else "passed"
    return Result(
        check.name, check.level, check.category, check.context, check.table, check.field, check.concept,
        violated, rows, check.threshold, status,
    )  # fmt: skip


def _applies(check: _Check, known: Mapping[str, dict[str, int]]) -> bool:
    own = known.get(check.table)
    if own is None:
        return False
    for need in check.needs:
        table, _, field = need.partition(".")
        if table not in known or (field and field not in known[table]):
            return False
    if check.level == "table":
        return True
    if check.field not in own:
        return False
    return check.name in ("isRequired", "measureValueCompleteness") or own[check.field] > 0
