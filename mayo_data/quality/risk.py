"""How easily somebody could be singled out in a table of subjects: k-anonymity and what follows from it.

Everything is a GROUP BY in DuckDB: the cost grows with the rows, not with the classes. A class is the set of rows that
share all quasi-identifiers; a missing value counts as a value.

Sources: Sweeney 2002 (k-anonymity), Machanavajjhala 2007 (l-diversity), Li 2007 (t-closeness), Brickell 2008
(delta-disclosure), El Emam 2013 (prosecutor, journalist, marketer), Benedetti and Franconi 1998 (risk in a population),
Hoshino 2001 (population uniques).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from mayo_data import sql
from mayo_data.errors import ConfigError

if TYPE_CHECKING:
    import duckdb

_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
            "FLOAT", "DOUBLE", "DECIMAL")  # fmt: skip
_SIZES = (1, 2, 4, 10, 20, 50, 100)  # upper ends of the groups of class sizes that are shown; 5 and 11 begin one


@dataclass(frozen=True)
class Diversity:
    """How much a class tells of one sensitive attribute; the worst class decides.

    Attributes:
        attribute: The sensitive attribute.
        distinct: Values in the poorest class: distinct l-diversity.
        entropy: Exponential of the lowest entropy of a class: entropy l-diversity.
        largest_share: Largest share that one value has in a class: the alpha of (alpha, k)-anonymity.
        t: Largest distance between a class and the whole table, 0 to 1: t-closeness; ordered distance for numbers,
            equal distance for all else.
        delta: Largest absolute log ratio of a value's share in a class and in the table.
        beta: Largest relative gain of a value's share in a class.
    """

    attribute: str
    distinct: int
    entropy: float
    largest_share: float
    t: float
    delta: float
    beta: float


@dataclass(frozen=True)
class Risk:
    """What the classes of a table say.

    Attributes:
        rows: Rows, one a subject.
        classes: Classes.
        k: Size of the smallest class.
        unique: Rows that are alone in their class.
        threshold: Class size below which a row is at risk.
        at_risk: Rows in classes below the threshold.
        prosecutor_highest: Chance to find the right row for somebody known to be in the table, worst class.
        prosecutor_average: The same, mean over the rows.
        population: People that the table is a sample of, where given.
        journalist_highest: As prosecutor, for somebody known to be in the population.
        journalist_average: The same, mean over the rows.
        marketer: Share of the rows that somebody gets right who links all of them to the population.
        population_unique: Expected rows that are alone of their kind in the population.
        sizes: Rows by size of their class: upper end of the group to rows; 0 for what is larger.
        diversity: For each sensitive attribute.
    """

    rows: int
    classes: int
    k: int
    unique: int
    threshold: int
    at_risk: int
    prosecutor_highest: float
    prosecutor_average: float
    population: int | None = None
    journalist_highest: float | None = None
    journalist_average: float | None = None
    marketer: float | None = None
    population_unique: float | None = None
    sizes: Mapping[int, int] = field(default_factory=dict)
    diversity: tuple[Diversity, ...] = ()

    def dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {**asdict(self), "sizes": {str(size): rows for size, rows in self.sizes.items()}}


def assess(
    db: duckdb.DuckDBPyConnection,
    table: str,
    quasi: Sequence[str],
    sensitive: Sequence[str] = (),
    *,
    threshold: int = 11,
    population: int | None = None,
) -> Risk:
    """Measure the risk that quasi-identifiers single out a row.

    Args:
        db: A DuckDB connection.
        table: A table or view of it with one row a subject.
        quasi: Columns that an attacker may know.
        sensitive: Columns that an attacker wants to know.
        threshold: Class size below which a row is at risk. 11 is the smallest cell that the Centers for Medicare &
            Medicaid Services publish.
        population: People that the table is a sample of; without it nothing is said of journalist and marketer.

    Raises:
        ConfigError: No such column, no row, or the population is smaller than the table.

    >>> import duckdb
    >>> db = duckdb.connect()
    >>> rows = "('F', 30, 'flu'), ('F', 30, 'hiv'), ('M', 40, 'flu')"
    >>> _ = db.execute(f"create table t as from (values {rows}) as v(sex, age, dx)")
    >>> risk = assess(db, "t", ["sex", "age"], ["dx"])
    >>> risk.k, risk.unique, risk.diversity[0].distinct
    (1, 1, 1)
    """
    kinds = {name: str(kind) for name, kind, *_ in db.execute(f"DESCRIBE SELECT * FROM {sql.name(table)}").fetchall()}
    if missing := [column for column in (*quasi, *sensitive) if column not in kinds]:
        raise ConfigError(f"no column {missing[0][:40]!r}", hint=f"choose of {', '.join(kinds)}")
    if not quasi:
        raise ConfigError("no quasi-identifier is named", hint=f"choose of {', '.join(kinds)}")
    keys = ", ".join(map(sql.name, quasi))
    counts = db.execute(
        f"SELECT n, count(*) FROM (SELECT count(*) AS n FROM {sql.name(table)} GROUP BY {keys}) GROUP BY n ORDER BY n"
    ).fetchall()
    if not counts:
        raise ConfigError("the table has no row")
    found = _risk(counts, threshold, population)
    diversity = tuple(_diversity(db, table, keys, name, kinds[name].startswith(_NUMBERS)) for name in sensitive)
    return Risk(**{**found, "diversity": diversity})


def _risk(counts: Sequence[tuple[int, int]], threshold: int, population: int | None) -> dict[str, Any]:
    """What follows from the number of classes of each size."""
    rows = sum(n * classes for n, classes in counts)
    classes = sum(classes for _, classes in counts)
    sizes = dict.fromkeys((*_SIZES, 0), 0)
    for n, many in counts:
        sizes[next((size for size in _SIZES if n <= size), 0)] += n * many
    smallest, lonely = counts[0]
    unique = lonely if smallest == 1 else 0
    found: dict[str, Any] = {
        "rows": rows, "classes": classes, "k": smallest, "unique": unique, "threshold": threshold,
        "at_risk": sum(n * many for n, many in counts if n < threshold),
        "prosecutor_highest": 1 / smallest, "prosecutor_average": classes / rows, "sizes": sizes,
    }  # fmt: skip
    if population is None:
        return found
    if population < rows:
        raise ConfigError("the population is smaller than the table", hint="count everybody the table was drawn from")
    share = rows / population
    chances = {n: _chance(n, share) for n, _ in counts}
    average = sum(n * many * chances[n] for n, many in counts) / rows
    return found | {
        "population": population, "journalist_highest": max(chances.values()), "journalist_average": average,
        "marketer": average, "population_unique": _population_unique(dict(counts), rows, classes, population),
    }  # fmt: skip


def _chance(size: int, share: float) -> float:
    """Expected 1/F for a class of which the sample holds `size` rows; F is its size in the population.

    Benedetti and Franconi: F given f is negative binomial, which gives (p/f) 2F1(1, 1; f+1; 1-p).

    >>> round(_chance(1, 0.1), 4), _chance(5, 1.0)
    (0.2558, 0.2)
    """
    rest = 1 - share
    if rest < 1e-9:
        return 1 / size
    if size == 1:
        return share * -math.log(share) / rest
    if size == 2:
        return share / rest**2 * (share * math.log(share) + rest)
    total = term = 1.0
    for step in range(1, 100_000):
        term *= step / (size + step) * rest
        total += term
        if term < 1e-12:
            break
    return share / size * total


def _population_unique(counts: Mapping[int, int], rows: int, classes: int, population: int) -> float:
    """Expected rows that are alone in the population: Pitman's model as Hoshino fits it, else the sampling share.

    The model needs classes of one and of two rows; its first, closed estimate is taken.
    """
    ones, twos = counts.get(1, 0), counts.get(2, 0)
    if ones == 0:
        return 0.0
    if population == rows:
        return float(ones)
    bound = min(float(ones), float(ones) * rows / population)  # every sampled single, kept with the sampling share
    if twos == 0 or ones < 2:
        return bound
    c = ones * (ones - 1) / twos
    under = 2 * ones * classes + ones * c - rows * c
    if under == 0:
        return bound
    theta = (rows * classes * c - ones * (rows - 1) * (2 * classes + c)) / under
    alpha = (theta * (ones - rows) + (rows - 1) * ones) / (rows * classes)
    if not (0 < alpha < 1 and theta > -alpha):
        return bound
    whole = math.exp(math.lgamma(theta + 1) - math.lgamma(theta + alpha) + alpha * math.log(population))
    # Of all that are alone in the population, the sample holds its share.
    return min(float(ones), whole * rows / population)


def _diversity(db: duckdb.DuckDBPyConnection, table: str, keys: str, attribute: str, number: bool) -> Diversity:
    column = sql.name(attribute)
    cells = f"""
        WITH cell AS (
            SELECT {keys}, {column} AS value, count(*) AS c FROM {sql.name(table)} GROUP BY ALL
        ), named AS (
            SELECT *, sum(c) OVER (PARTITION BY {keys}) AS n, dense_rank() OVER (ORDER BY {keys}) AS class FROM cell
        ), whole AS (
            SELECT value, sum(c) / sum(sum(c)) OVER () AS p, row_number() OVER (ORDER BY value NULLS LAST) - 1 AS i
            FROM cell GROUP BY value
        ), share AS (
            SELECT class, i, p, c / n AS q FROM named JOIN whole ON named.value IS NOT DISTINCT FROM whole.value
        )"""
    worst = db.execute(
        f"""{cells}
        SELECT min(l), exp(min(h)), max(a), max(t), max(d), max(b) FROM (
            SELECT count(*) AS l, -sum(q * ln(q)) AS h, max(q) AS a,
                   (sum(abs(q - p)) + greatest(1 - sum(p), 0)) / 2 AS t,
                   max(abs(ln(q / p))) AS d, max(q / p) - 1 AS b
            FROM share GROUP BY class
        )"""
    ).fetchall()[0]
    t = _ordered(db, cells) if number else worst[3]
    distinct, entropy, largest, _, delta, beta = worst
    return Diversity(attribute, int(distinct), float(entropy), float(largest), float(t), float(delta), float(beta))


def _ordered(db: duckdb.DuckDBPyConnection, cells: str) -> float:
    """Largest earth mover's distance of a class from the table, values ordered and one step apart.

    Between two values of a class its own cumulative share stands still, so the sum of differences over such a stretch
    follows from running sums of the table's: no class is spread over all values.
    """
    found = db.execute(
        f"""{cells}, curve AS (
            SELECT i, sum(p) OVER (ORDER BY i) AS high FROM whole
        ), summed AS (
            SELECT i, high, coalesce(sum(high) OVER (ORDER BY i ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)
                   AS below FROM curve
        ), ends AS (SELECT count(*) AS m, sum(high) AS everything FROM curve
        ), stretch AS (
            SELECT class, i AS u, coalesce(lead(i) OVER here, (SELECT m FROM ends)) AS v,
                   least(sum(q) OVER here, 1.0) AS a
            FROM share WINDOW here AS (PARTITION BY class ORDER BY i)
            UNION ALL SELECT class, 0, min(i), 0.0 FROM share GROUP BY class
        ), placed AS (
            SELECT s.class, s.u, s.v, s.a, least(greatest(coalesce(c.i + 1, 0), s.u), s.v) AS x
            FROM stretch s ASOF LEFT JOIN summed c ON s.a >= c.high
        ), measured AS (
            SELECT class, a * (x - u) - (bx.b - bu.b) + (bv.b - bx.b) - a * (v - x) AS d
            FROM placed
            JOIN (SELECT i, below AS b FROM summed UNION ALL SELECT m, everything FROM ends) bu ON bu.i = u
            JOIN (SELECT i, below AS b FROM summed UNION ALL SELECT m, everything FROM ends) bv ON bv.i = v
            JOIN (SELECT i, below AS b FROM summed UNION ALL SELECT m, everything FROM ends) bx ON bx.i = x
        )
        SELECT max(d) / greatest((SELECT m FROM ends) - 1, 1) FROM (SELECT sum(d) AS d FROM measured GROUP BY class)"""
    ).fetchall()
    return max(0.0, float(found[0][0] or 0.0))
