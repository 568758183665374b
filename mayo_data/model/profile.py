"""How data look, as counts without small cells: what a model was trained on, and what it sees today.

A profile holds the mix of codes, one value a subject and code (its median) in bins of enough subjects, and the mix of
groups. It leads back to nobody, so it can leave with the model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mayo_data.model.groups import ATTRIBUTES, BANDS, UNKNOWN
from mayo_data.types import Json

if TYPE_CHECKING:
    from datetime import datetime

    import duckdb  # noqa: TID251 - for the type of a connection that the dataset room has opened

    from mayo_data.dataset import Dataset

OTHERS = "others"  # what is too rare to be named
_BINS = 10
_SEEN = """
CREATE OR REPLACE TEMP TABLE seen AS SELECT subject_id, code, unit, numeric_value FROM event
WHERE time IS NOT NULL AND (?::TIMESTAMP IS NULL OR time >= ?::TIMESTAMP)
"""
_PEOPLE = """
CREATE OR REPLACE TEMP TABLE people AS
SELECT subject_id, coalesce(sex, 'unknown') AS sex, coalesce(race, 'unknown') AS race,
       coalesce(ethnicity, 'unknown') AS ethnicity,
       date_diff('day', birth_time, last_time) / 365.25 AS age
FROM subject WHERE subject_id IN (SELECT DISTINCT subject_id FROM seen)
"""
_MIX = "SELECT code, count(*), count(DISTINCT subject_id) FROM seen GROUP BY code ORDER BY code"
_ONE_A_SUBJECT = """
CREATE OR REPLACE TEMP TABLE typical AS
SELECT code, coalesce(unit, '') AS unit, subject_id, median(numeric_value)::DOUBLE AS value
FROM seen WHERE isfinite(numeric_value) GROUP BY ALL
"""
_SIZES = "SELECT code, unit, count(*) FROM typical GROUP BY ALL HAVING count(*) >= ? ORDER BY ALL"


def of_snapshot(data: Dataset, smallest: int, *, since: datetime | None = None, edges: Json | None = None) -> Json:
    """Return the profile of all subjects of a snapshot, or of what happened since a time.

    Args:
        data: The snapshot.
        smallest: Subjects in the smallest cell.
        since: Only events from then on.
        edges: `values` of the profile that this one is compared with: the same bins are used.

    Raises:
        StoreError: The snapshot cannot be read.
    """
    with data.connect() as db:
        db.execute(_SEEN, [since, since])
        return measure(db, smallest, edges)


def measure(db: duckdb.DuckDBPyConnection, smallest: int, edges: Json | None = None) -> Json:
    """Return the profile of table `seen` (subject_id, code, unit, numeric_value) of a connection.

    Returns:
        `subjects` and `events`; `codes`: code to its events; `values`: `CODE|UNIT` to `edges`, the bins' `counts` of
        subjects; `groups`: attribute to group to subjects. What is too rare is pooled under `others`. None of it where
        there are too few subjects at all.
    """
    db.execute(_PEOPLE)
    subjects = db.execute("SELECT count(*) FROM people").fetchall()[0][0]
    if subjects < smallest:
        return {"subjects": None, "events": None, "codes": {}, "values": {}, "groups": {}}
    codes: dict[str, int] = {}
    events = 0
    for code, number, people in db.execute(_MIX).fetchall():
        name = code if people >= smallest else OTHERS
        codes[name] = codes.get(name, 0) + number
        events += number
    return {
        "subjects": subjects, "events": events, "codes": codes, "values": _values(db, smallest, edges),
        "groups": _groups(db, smallest),
    }  # fmt: skip


def _values(db: duckdb.DuckDBPyConnection, smallest: int, edges: Json | None) -> Json:
    """Bins of equal numbers of subjects, as many as leave no bin small; or the bins of another profile."""
    db.execute(_ONE_A_SUBJECT)
    found: Json = {}
    for code, unit, people in db.execute(_SIZES, [smallest]).fetchall():
        key = f"{code}|{unit}"
        given = edges.get(key) if edges is not None else None
        values = db.execute("SELECT value FROM typical WHERE code = ? AND unit = ?", [code, unit]).fetchnumpy()["value"]
        limits = given["edges"] if given else _edges(values, people // smallest, smallest)
        found[key] = {"edges": limits, "counts": _counts(values, limits)}
    return found


def _edges(values: Any, bins: int, smallest: int) -> list[float]:
    """Edges of at most ten equal bins; three digits, for an edge is no measurement of anybody."""
    import numpy as np

    bins = min(bins, _BINS)
    cuts = np.quantile(values, np.arange(1, bins) / bins) if bins > 1 else []
    edges = sorted({float(f"{cut:.3g}") for cut in cuts})
    while edges and min(counts := _counts(values, edges)) < smallest:  # equal values do not part
        place = counts.index(min(counts))
        del edges[max(place - 1, 0)]
    return edges


def _counts(values: Any, edges: list[float]) -> list[int]:
    import numpy as np

    found: list[int] = np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1).tolist()
    return found


def _groups(db: duckdb.DuckDBPyConnection, smallest: int) -> Json:
    cases = " ".join(f"WHEN age < {limit} THEN '{name}'" for limit, name in BANDS[:-1])
    band = f"CASE WHEN age IS NULL THEN '{UNKNOWN}' {cases} ELSE '{BANDS[-1][1]}' END"
    found: Json = {}
    for name, column in (("age", band), *((name, name) for name in ATTRIBUTES)):
        rows = db.execute(f"SELECT {column} AS label, count(*) FROM people GROUP BY ALL ORDER BY ALL").fetchall()
        found[name] = _pooled(dict(rows), smallest)
    return found


def _pooled(sizes: dict[str, int], smallest: int) -> dict[str, int]:
    """Pool small groups, and the next smallest while the pool itself is small: the total is known."""
    small = [name for name, size in sizes.items() if size < smallest]
    rest = sorted((size, name) for name, size in sizes.items() if size >= smallest)
    while small and rest and sum(sizes[name] for name in small) < smallest:
        small.append(rest.pop(0)[1])
    found = {name: size for name, size in sorted(sizes.items()) if name not in small}
    return {**found, OTHERS: sum(sizes[name] for name in small)} if small else found
