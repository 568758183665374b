"""What makes rows a CDM: every key once, every reference answered, numbers of 32 bits. SQL text; nothing runs here.

The maps name rows by 63 bits of a digest, which any of them can compute alone. The CDM's own schema has 32-bit
integers, so the last step numbers the rows of each table in the order of those digests: one export, one numbering.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mayo_data.mapping import cdm

NUMBERED = ("person", "provider", "care_site", "location", "visit_occurrence")
"""Tables that others point to."""


class Step(NamedTuple):
    """One change of the drafted tables.

    Attributes:
        kind: `dropped` (rows go), `orphans` (references are emptied) or `dated` (days are filled in).
        name: Table, or table.column.
        reason: Why; a key of `[reasons]` in `from_fhir.toml`.
        counts: SQL that counts what will change.
        change: SQL that changes it.
    """

    kind: str
    name: str
    reason: str
    counts: str
    change: str


def create(table: str) -> str:
    """Return the SQL that makes an empty table.

    >>> create("death").split("(")[0]
    'CREATE TABLE "death" '
    """
    sql = {"key": "BIGINT", "id": "BIGINT", "concept": "INTEGER", "int": "INTEGER", "float": "DOUBLE", "date": "DATE",
           "datetime": "TIMESTAMP", "text": "VARCHAR"}  # fmt: skip
    return f'CREATE TABLE "{table}" ({", ".join(f"{one.name} {sql[one.kind]}" for one in cdm.fields(table))})'


def steps() -> Iterator[Step]:
    """Yield the changes in their order: twins, then undated visits, then orphans.

    >>> [step.name for step in steps() if step.reason == "no_visit_date"]
    ['visit_occurrence']
    """
    for table in cdm.MADE:
        yield _removal(table, "same_key", f"rowid NOT IN (SELECT min(rowid) FROM {table} GROUP BY {own_key(table)})")
    undated = "visit_start_date IS NULL OR visit_end_date IS NULL"
    yield Step(
        "dated", "visit_occurrence", "", f"SELECT count(*) FROM visit_occurrence WHERE {undated}",
        "UPDATE visit_occurrence SET visit_start_date = d.low, visit_end_date = d.high FROM"
        f" (SELECT visit_occurrence_id, min(day) AS low, max(day) AS high FROM ({' UNION ALL '.join(_events())})"
        f" GROUP BY ALL) d WHERE d.visit_occurrence_id = visit_occurrence.visit_occurrence_id AND ({undated})",
    )  # fmt: skip
    yield _removal("visit_occurrence", "no_visit_date", undated)
    for table in cdm.MADE:
        yield from _dated(table)
    for table in cdm.MADE:
        if table != "person" and any(one.target == "person" or one.name == "person_id" for one in cdm.fields(table)):
            yield _removal(table, "orphan", "person_id NOT IN (SELECT person_id FROM person)")
    for table in cdm.MADE:
        for name, _, required, target, _ in cdm.fields(table):
            if target and not required:
                lost = f"{name} IS NOT NULL"
                if target in cdm.MADE:
                    lost += f" AND {name} NOT IN (SELECT {own_key(target)} FROM {target})"
                yield Step(
                    "orphans", f"{table}.{name}", "", f"SELECT count(*) FROM {table} WHERE {lost}",
                    f"UPDATE {table} SET {name} = NULL WHERE {lost}",
                )  # fmt: skip


def _dated(table: str) -> Iterator[Step]:
    """Date the undated by the end of their visit: earlier would tell a diagnosis before it was made."""
    late = [name for name, *_ in cdm.fields(table) if cdm.is_late(table, name)]
    needed = [one.name for one in cdm.fields(table) if one.name in late and one.required]
    if table == "visit_occurrence" or not needed:
        return
    empty = f"{needed[0]} IS NULL"
    filled = [f"{name} = v.visit_end_date, {name}time = v.visit_end_datetime" for name in needed]
    yield Step(
        "dated", table, "", f"SELECT count(*) FROM {table} WHERE {empty}",
        f"UPDATE {table} SET {', '.join(filled)} FROM visit_occurrence AS v"
        f" WHERE v.visit_occurrence_id = {table}.visit_occurrence_id AND {empty}",
    )  # fmt: skip
    yield _removal(table, "no_date", empty)


def periods(kind: int) -> str:
    """Return the SQL that fills observation_period: a person's first to last day of which anything is known.

    Source: CDM 5.4, OBSERVATION_PERIOD, ETL conventions for EHR data.

    Args:
        kind: `period_type_concept_id`.
    """
    parts = [
        f"SELECT person_id, {name} AS day FROM {table} WHERE {name} IS NOT NULL"
        for table in cdm.MADE
        for name in cdm.days(table)
    ]
    return (
        f"INSERT INTO observation_period SELECT person_id, person_id, min(day), max(day), {kind}"
        f" FROM ({' UNION ALL '.join(parts)}) GROUP BY person_id"
    )


def own_key(table: str) -> str:
    """Return the primary key of a table; of `death` it is the person."""
    return next((one.name for one in cdm.fields(table) if one.kind == "key"), "person_id")


def numbers(table: str) -> str:
    """Return the SQL that gives the rows of a table their numbers: `numbers_TABLE(old, new)`."""
    key = own_key(table)
    return (
        f"CREATE TABLE numbers_{table} AS SELECT {key} AS old, row_number() OVER (ORDER BY {key}) AS new FROM {table}"
    )


def sealed(table: str) -> str:
    """Return the query of a table as it is written: numbered, in the order of its numbers.

    >>> "LEFT JOIN numbers_person" in sealed("death")
    True
    """
    columns, joins = [], []
    for name, kind, _, target, _ in cdm.fields(table):
        points = target or ("person" if table == "death" and name == "person_id" else "")
        if kind == "key":
            columns.append(f"CAST(row_number() OVER (ORDER BY t.{name}) AS INTEGER) AS {name}")
        elif points in NUMBERED:
            joins.append(f"LEFT JOIN numbers_{points} AS m_{name} ON m_{name}.old = t.{name}")
            columns.append(f"CAST(m_{name}.new AS INTEGER) AS {name}")
        elif kind == "id":
            columns.append(f"CAST(NULL AS INTEGER) AS {name}")
        else:
            columns.append(f"t.{name}")
    return f"SELECT {', '.join(columns)} FROM {table} AS t {' '.join(joins)} ORDER BY t.{own_key(table)}"


def _removal(table: str, reason: str, where: str) -> Step:
    return Step(
        "dropped", table, reason, f"SELECT count(*) FROM {table} WHERE {where}", f"DELETE FROM {table} WHERE {where}"
    )


def _events() -> Iterator[str]:
    for table in cdm.MADE:
        names = [one.name for one in cdm.fields(table)]
        if "visit_occurrence_id" not in names or table == "visit_occurrence":
            continue
        day = next(one.name for one in cdm.fields(table) if one.kind == "date" and one.required)
        yield f"SELECT visit_occurrence_id, {day} AS day FROM {table} WHERE visit_occurrence_id IS NOT NULL"
