"""One row a subject for the risk assessment: what others may know of a subject, and ways to say it less exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mayo_data import sql
from mayo_data.errors import ConfigError

if TYPE_CHECKING:
    import duckdb

QUASI = ("age_band", "sex", "race", "ethnicity", "zip3", "admission_year")
MORE = ("rarest_code", "sequence")
SENSITIVE = ("condition",)
TABLE = "risk_profile"
_RARE = 20  # a code that fewer subjects have may single one out
_KINDS = "('CONDITION', 'PROCEDURE', 'MEDICATION', 'IMMUNIZATION', 'ALLERGY')"

_PROFILE = f"""
CREATE OR REPLACE TEMP TABLE {TABLE} AS
WITH coded AS (
    SELECT subject_id, code, min(time) AS time, count(*) AS n FROM event
    WHERE split_part(code, '//', 1) IN {_KINDS} GROUP BY ALL
), held AS (
    SELECT code, count(*) AS subjects FROM coded GROUP BY code
), rarest AS (
    SELECT subject_id, arg_min(code, (subjects, code)) AS rarest_code
    FROM coded JOIN held USING (code) WHERE subjects < {_RARE} GROUP BY subject_id
), condition AS (
    SELECT subject_id, arg_max(code, (n, code)) AS condition, list(code ORDER BY time, code)[:3] AS firsts
    FROM coded WHERE starts_with(code, 'CONDITION//') GROUP BY subject_id
), visit AS (
    SELECT subject_id, min(year(start_time)) AS admission_year FROM encounter GROUP BY subject_id
)
SELECT subject_id, n_events AS events, coalesce(sex, '') AS sex, coalesce(race, '') AS race,
       coalesce(ethnicity, '') AS ethnicity, coalesce(zip3, '') AS zip3,
       least(date_diff('year', birth_time, coalesce(last_time, birth_time)), 90) // 5 * 5 AS age_band,
       admission_year, coalesce(rarest_code, '') AS rarest_code, coalesce(condition, '') AS condition,
       coalesce(array_to_string(firsts, ' '), '') AS sequence
FROM subject LEFT JOIN rarest USING (subject_id) LEFT JOIN condition USING (subject_id)
LEFT JOIN visit USING (subject_id)
"""

# Coarser forms of a quasi-identifier, the finest first; what is not listed can only be left out.
_LEFT_OUT = ("left out", "NULL")
_COARSER: Mapping[str, tuple[tuple[str, str], ...]] = {
    "age_band": (("10 years", "age_band // 10 * 10"), ("20 years", "age_band // 20 * 20"), _LEFT_OUT),
    "zip3": (("first digit", "left(zip3, 1)"), _LEFT_OUT),
    "admission_year": (("5 years", "admission_year // 5 * 5"), _LEFT_OUT),
}


@dataclass(frozen=True)
class Option:
    """One way to lower the risk, and what it costs.

    Attributes:
        changes: Quasi-identifier to how it is given; what is not named stays as it is.
        k: Size of the smallest class then.
        at_risk: Subjects that are still in classes below the threshold: leave them out, and nobody is.
        events: Events that go with them.
        share: Their share of all events, 0 to 1.
    """

    changes: Mapping[str, str]
    k: int
    at_risk: int
    events: int
    share: float


def make(db: duckdb.DuckDBPyConnection) -> str:
    """Make the profile of a store's subjects as a temporary table, and return its name.

    Args:
        db: What `md.connect` returns.
    """
    db.execute(_PROFILE)
    return TABLE


def options(
    db: duckdb.DuckDBPyConnection, table: str, quasi: Sequence[str], threshold: int, weight: str = "events"
) -> list[Option]:
    """Return what leaving out the subjects at risk would cost, and how coarser quasi-identifiers lower that.

    Each option makes one quasi-identifier coarser than the one before: the one that spares most events.

    Args:
        db: A DuckDB connection.
        table: One row a subject; see `make`.
        quasi: The quasi-identifiers.
        threshold: Class size below which a row is at risk.
        weight: Column with the events of the row.

    Raises:
        ConfigError: No such column.
    """
    columns = {name for name, *_ in db.execute(f"DESCRIBE SELECT * FROM {sql.name(table)}").fetchall()}
    if missing := [column for column in (*quasi, weight) if column not in columns]:
        raise ConfigError(f"no column {missing[0][:40]!r}")
    names = ", ".join(map(sql.name, quasi))
    db.execute(
        f"CREATE OR REPLACE TEMP TABLE risk_classes AS SELECT {names}, count(*) AS _n, sum({sql.name(weight)}) AS _w "
        f"FROM {sql.name(table)} GROUP BY {names}"
    )

    def cost(levels: Mapping[str, int]) -> Option:
        keys = ", ".join(_expression(column, levels.get(column, 0)) for column in quasi)
        k, at_risk, events, share = db.execute(
            f"SELECT min(n), sum(n) FILTER (n < {threshold}), sum(w) FILTER (n < {threshold}), "
            f"sum(w) FILTER (n < {threshold}) / sum(w) FROM "
            f"(SELECT {', '.join(f'k{at}' for at in range(len(quasi)))}, sum(_n) AS n, sum(_w) AS w FROM "
            f"(SELECT {keys}, _n, _w FROM risk_classes) AS t({', '.join(f'k{at}' for at in range(len(quasi)))}, _n, _w)"
            " GROUP BY ALL)"
        ).fetchall()[0]
        changes = {column: _levels(column)[level - 1][0] for column, level in levels.items() if level}
        return Option(changes, int(k), int(at_risk or 0), int(events or 0), float(share or 0.0))

    levels: dict[str, int] = {}
    found = [cost(levels)]
    while found[-1].at_risk:
        tried = {
            column: cost(levels | {column: levels.get(column, 0) + 1})
            for column in quasi
            if levels.get(column, 0) < len(_levels(column))
        }
        if not tried:
            break
        best = min(tried, key=lambda column: (tried[column].events, column))
        levels[best] = levels.get(best, 0) + 1
        found.append(tried[best])
    return found


def _levels(column: str) -> tuple[tuple[str, str], ...]:
    return _COARSER.get(column, (_LEFT_OUT,))


def _expression(column: str, level: int) -> str:
    return _levels(column)[level - 1][1] if level else sql.name(column)
