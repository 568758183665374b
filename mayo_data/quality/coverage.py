"""Who is in a store, and who has less in it than others: events, notes, what is missing and how long, by group.

A model learns little about whom it sees little of. Groups are those of sex, age, race, ethnicity, language and ZIP3;
small cells are withheld (`mayo_data.quality.cells`).

Sources: OMB Statistical Policy Directive 15 (race and ethnicity, in the codes of CDCREC); the FHIR profile of vital
signs, whose LOINC codes tell a vital sign from another measurement.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mayo_data.quality import cells

if TYPE_CHECKING:
    import duckdb

DIMENSIONS = ("sex", "age_band", "race", "ethnicity", "language", "zip3")
MISSING = ("encounter", "vital", "lab", "medication", "condition", "note", "race")
UNKNOWN = "not known"

_VITALS = (
    "85353-1",
    "9279-1",
    "8867-4",
    "2708-6",
    "59408-5",
    "8310-5",
    "8302-2",
    "9843-4",
    "29463-7",
    "39156-5",
    "85354-9",
    "8480-6",
    "8462-4",
)
_CDCREC = {
    "1002-5": "American Indian or Alaska Native",
    "2028-9": "Asian",
    "2054-5": "Black or African American",
    "2076-8": "Native Hawaiian or Other Pacific Islander",
    "2106-3": "White",
    "2131-1": "Other",
    "2135-2": "Hispanic or Latino",
    "2186-5": "Not Hispanic or Latino",
}

# One row a subject. Views that say what took place are asked, not kinds of codes: an order is no measurement.
_SUBJECTS = f"""
CREATE OR REPLACE TEMP TABLE covered AS
WITH named(concept_code, name) AS (VALUES {", ".join(f"('{code}', '{name}')" for code, name in _CDCREC.items())}),
marked AS (
    SELECT c.code, c.kind, n.name, coalesce(c.description, c.concept_code) AS words,
           c.vocabulary = 'LOINC' AND c.concept_code IN {_VITALS!r} AS is_vital
    FROM code c LEFT JOIN named n ON c.vocabulary = 'CDCREC' AND n.concept_code = c.concept_code
), said AS (
    SELECT subject_id, string_agg(DISTINCT label, '; ' ORDER BY label) FILTER (kind = 'RACE') AS race,
           string_agg(DISTINCT label, '; ' ORDER BY label) FILTER (kind = 'ETHNICITY') AS ethnicity,
           min(label) FILTER (kind = 'LANGUAGE') AS language
    FROM (
        SELECT subject_id, kind, coalesce(name, text_value, words) AS label FROM event JOIN marked USING (code)
        WHERE kind IN ('RACE', 'ETHNICITY', 'LANGUAGE')
    ) GROUP BY subject_id
), measured AS (
    SELECT subject_id, bool_or(is_vital) AS vital, bool_or(NOT is_vital AND value IS NOT NULL) AS lab
    FROM measurement JOIN marked USING (code) GROUP BY subject_id
), noted AS (SELECT subject_id, count(*) AS notes FROM note GROUP BY subject_id)
SELECT s.subject_id, s.n_events AS events, coalesce(notes, 0) AS notes,
       s.sex, said.race, said.ethnicity, said.language, s.zip3,
       CASE WHEN age >= 90 THEN '90 and over' ELSE concat(age // 10 * 10, '–', age // 10 * 10 + 9) END AS age_band,
       s.subject_id IN (SELECT subject_id FROM encounter) AS encounter, coalesce(vital, false) AS vital,
       coalesce(lab, false) AS lab, s.subject_id IN (SELECT subject_id FROM medication) AS medication,
       s.subject_id IN (SELECT subject_id FROM condition) AS condition, notes IS NOT NULL AS note,
       date_diff('day', first_time, last_time) / 365.25 AS years
FROM (SELECT *, date_sub('year', birth_time, coalesce(last_time, birth_time)) AS age FROM subject) s
LEFT JOIN said USING (subject_id) LEFT JOIN measured USING (subject_id) LEFT JOIN noted USING (subject_id)
"""
_GROUPS = """
SELECT coalesce(nullif({dimension}, ''), '{unknown}') AS name, count(*) AS subjects, sum(events)::BIGINT AS events,
       sum(notes)::BIGINT AS notes, {missing}, quantile_cont(years, [0.25, 0.5, 0.75]) AS years
FROM covered GROUP BY name ORDER BY {order}
"""
_BY_SIZE = f"name = '{UNKNOWN}', count(*) DESC, name"
_BY_AGE = f"name = '{UNKNOWN}', min(TRY_CAST(split_part(replace(name, ' ', '–'), '–', 1) AS INT)), name"


def measure(db: duckdb.DuckDBPyConnection, *, smallest: int = cells.SMALLEST) -> dict[str, Any]:
    """Count what a store holds by group, small cells withheld.

    Args:
        db: What `md.connect` returns.
        smallest: People in the smallest cell that is shown.

    Returns:
        `smallest`; `whole`, the row of all subjects; `dimensions`: name to its groups, rows of `name`, `subjects`,
        `events`, `notes`, `missing` (what to how many subjects have none) and `years` (quartiles of the time from a
        subject's first event to its last). What is withheld is None.
    """
    db.execute(_SUBJECTS)
    whole = _rows(db, "''", "name")
    everybody = whole[0] if whole else _nobody()
    everybody["name"] = "all"
    shown_total = {
        what: not cells.small(everybody["missing"][what], everybody["subjects"], smallest) for what in MISSING
    }
    few = cells.small(everybody["subjects"], None, smallest)
    dimensions = {}
    for dimension in DIMENSIONS:
        groups = _rows(db, dimension, _BY_AGE if dimension == "age_band" else _BY_SIZE)
        made = _withhold(groups, shown_total, not few, smallest)
        if dimension != "age_band":  # an order by size would tell something of what is withheld
            made.sort(key=lambda group: (group["subjects"] is None, group["name"] if group["subjects"] is None else ""))
        dimensions[dimension] = made
    everybody["missing"] = {
        what: n if shown_total[what] and not few else None for what, n in everybody["missing"].items()
    }
    if few:
        everybody |= dict.fromkeys(("subjects", "events", "notes", "years"))
    return {"smallest": smallest, "whole": everybody, "dimensions": dimensions}


def _rows(db: duckdb.DuckDBPyConnection, dimension: str, order: str) -> list[dict[str, Any]]:
    missing = ", ".join(f"count(*) FILTER (NOT {_has(what)})" for what in MISSING)
    query = _GROUPS.format(dimension=dimension, unknown=UNKNOWN, missing=missing, order=order)
    return [
        {
            "name": str(name),
            "subjects": subjects,
            "events": events,
            "notes": notes,
            "missing": dict(zip(MISSING, counts, strict=True)),
            "years": None if years is None else [round(float(year), 2) for year in years],
        }
        for name, subjects, events, notes, *counts, years in db.execute(query).fetchall()
    ]


def _has(what: str) -> str:
    return "race IS NOT NULL" if what == "race" else what


def _nobody() -> dict[str, Any]:
    return {"subjects": 0, "events": 0, "notes": 0, "missing": dict.fromkeys(MISSING, 0), "years": None}


def _withhold(
    groups: Sequence[dict[str, Any]], shown_total: dict[str, bool], total: bool, smallest: int
) -> list[dict[str, Any]]:
    subjects = [group["subjects"] for group in groups]
    gone = cells.withheld(subjects, total_shown=total, smallest=smallest)
    hidden = {
        what: cells.withheld(
            [group["missing"][what] for group in groups],
            subjects,
            already=gone,
            total_shown=shown_total[what] and total,
            smallest=smallest,
        )
        for what in MISSING
    }
    made = []
    for at, group in enumerate(groups):
        row = dict(group)
        if gone[at]:
            row |= dict.fromkeys(("subjects", "events", "notes", "years"))
        row["missing"] = {what: None if hidden[what][at] else n for what, n in group["missing"].items()}
        made.append(row)
    return made
