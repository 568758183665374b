"""Makes labels: a task becomes one SQL statement over the events of a snapshot, and its answers a MEDS label table."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mayo_data import sql
from mayo_data.dataset.cutting import DAYS, known_sql
from mayo_data.dataset.label_tables import Labels
from mayo_data.dataset.opening import Dataset
from mayo_data.dataset.tasks import Condition, Task, read, span
from mayo_data.dataset.trust import trust
from mayo_data.errors import ConfigError

_LEAK = "the outcome could be known when it is predicted"
# How the value of a task is made of the facts in its window, and in which column of MEDS it goes.
_VALUES = {
    "occurs": ("boolean_value", "count(o.time) > 0"),
    "count": ("integer_value", "count(o.time)"),
    "number": ("float_value", "arg_min(o.numeric_value, (o.time, o.place)) FILTER (o.numeric_value IS NOT NULL)"),
    "code": ("categorical_value", "arg_min(o.code, (o.time, o.place))"),
}


def label(
    store: Path | str | Dataset,
    task: Task | Mapping[str, Any] | Path | str,
    *,
    snapshot: str | None = None,
    override: str | None = None,
) -> Labels:
    """Make the labels of a task: `md.label`.

    A prediction stands at its index event, or later where the event became known later. The outcome is looked for
    strictly after it, by `time`; what decides whether there is a prediction at all was known by then
    (`mayo_data.dataset.cutting.known`). A task whose outcome was on record at the time of a prediction is refused.

    Args:
        store: Folder of the store, or an open `Dataset`.
        task: A mapping, the path of a TOML file, or the name of a shipped task; see `mayo_data.dataset.tasks`.
        snapshot: Name of a snapshot; the newest by default.
        override: Why to go on where the snapshot is not the one of the ledger; see `Dataset.reader`.

    Returns:
        The labels, with how many index events gave none and why: `outcome_known`, `excluded`, `not_included`,
        `not_first`, `unknown_then`, `not_observed`, `no_value`.

    Raises:
        ConfigError: The task makes no sense, or its outcome could be known when it is predicted.
        StoreError: There is no such store or snapshot, or it may not be read.
    """
    from mayo_data.store import asking

    asked = read(task)
    dataset = store if isinstance(store, Dataset) else Dataset(store, snapshot)
    trusted = trust(dataset.store, dataset.path, consumer="label", override=override)
    files = sorted((trusted.path / "data").glob("*.parquet"))
    found = asking.ask(files, statement(asked, trusted.withdrawn))
    undated = int(pc.sum(found.column("undated")).as_py() or 0)
    if undated:
        raise ConfigError(
            f"{_LEAK}: {undated} facts of the outcome have no time, so they are known at any",
            hint="name codes that happen at a time",
        )
    rows = found.filter(pc.is_valid(found.column("why")))
    reasons = {row["values"]: row["counts"] for row in pc.value_counts(rows.column("why")).to_pylist()}
    early = reasons.pop("refused", 0)
    if early:
        raise ConfigError(
            f"{_LEAK}: {early} predictions have an outcome that was on record by then",
            hint='use codes of what happens, not of what is planned; or say outcome.known = "leave_out"',
        )
    kept = reasons.pop("kept", 0)
    table = rows.filter(pc.equal(rows.column("why"), "kept"))
    column = _VALUES[asked.outcome.value][0]
    made = pa.table(
        [table.column("subject_id"), table.column("prediction_time"), table.column("value")],
        names=["subject_id", "prediction_time", column],
    )
    assert made.num_rows == kept
    return Labels.made(asked.name, made, dict(sorted(reasons.items())))


def statement(task: Task, withdrawn: frozenset[int] = frozenset()) -> str:
    """Return the SQL of a task, over a view `events`: one row an index event, with why it is no label, or `kept`.

    Args:
        task: The task.
        withdrawn: Subjects who must not be in it.

    >>> "known <= i.prediction_time" in statement(read("readmission_30d"))
    True
    """
    index, outcome = task.index, task.outcome
    moment = "time" if index.at == "start" else "end_time"
    window = f"i.prediction_time + {_interval(outcome.gap)}"
    until = f"{window} + {_interval(outcome.window)}"
    gone = f"WHERE subject_id NOT IN ({', '.join(map(str, sorted(withdrawn)))})" if withdrawn else ""
    conditions = [*_flags("excluded", task.exclusion), *_flags("included", task.inclusion)]
    excluded = " OR ".join(f"excluded{number}" for number in range(len(task.exclusion))) or "false"
    included = " AND ".join(f"included{number}" for number in range(len(task.inclusion))) or "true"
    moved = "true" if index.unknown == "move" else "knowledge <= predicted"
    first = "row_number() OVER (PARTITION BY subject_id, sieve ORDER BY prediction_time)"
    on_record = "refused" if outcome.known == "refuse" else "outcome_known"
    ends = " OR ".join(f"regexp_full_match(code, {sql.text(code)})" for code in task.censoring.ends) or "false"
    observed = "true" if task.censoring.until == "none" else "last_time >= window_end OR ended"
    return f"""
    WITH e AS (
      SELECT subject_id, time, end_time, code, numeric_value, {known_sql()} AS known, time_precision,
             (source_table, source_row, source_item) AS place
      FROM events {gone}
    ), candidates AS (
      -- An end that is exact to the day alone is known when the day is over.
      SELECT subject_id, {moment} + {_interval(index.offset)} AS predicted,
             greatest(known, {moment} + {_late(moment)}) AS knowledge
      FROM e WHERE {_matches(index.codes)} AND {moment} IS NOT NULL
    ), index_events AS (
      SELECT subject_id, greatest(predicted, knowledge) AS prediction_time, bool_or({moved}) AS in_time
      FROM candidates GROUP BY ALL
    ), facts AS (
      SELECT * FROM e WHERE {_matches(outcome.codes)}
    ), answered AS (
      SELECT i.subject_id, i.prediction_time, i.in_time, {until} AS window_end, count(o.time) AS facts,
             coalesce(bool_or(o.known <= i.prediction_time), false) AS on_record,
             {_VALUES[outcome.value][1]} AS value
      FROM index_events i
      LEFT JOIN facts o ON o.subject_id = i.subject_id AND o.time > {window} AND o.time <= {until}
      GROUP BY i.subject_id, i.prediction_time, i.in_time
    ), followed AS (
      SELECT subject_id, max(time) AS last_time, bool_or({ends}) AS ended FROM e GROUP BY subject_id
    ), judged AS (
      SELECT i.subject_id, i.prediction_time, i.in_time, i.on_record, i.value, i.facts,
             {"".join(f"{condition}, " for condition in conditions)}
             coalesce({observed}, false) AS observed
      FROM answered i JOIN followed USING (subject_id)
    ), sifted AS (
      SELECT *, CASE WHEN NOT in_time THEN 'unknown_then' WHEN {excluded} THEN 'excluded'
                     WHEN NOT ({included}) THEN 'not_included' END AS sieve
      FROM judged
    ), ranked AS (
      SELECT *, {first if index.which == "first" else "1"} AS turn FROM sifted
    )
    SELECT subject_id, prediction_time, value, 0::BIGINT AS undated,
           CASE WHEN sieve IS NOT NULL THEN sieve WHEN turn > 1 THEN 'not_first' WHEN on_record THEN '{on_record}'
                WHEN facts = 0 AND NOT observed THEN 'not_observed' WHEN value IS NULL THEN 'no_value'
                ELSE 'kept' END AS why
    FROM ranked
    UNION ALL BY NAME SELECT count(*) AS undated FROM facts WHERE time IS NULL
    """


def _matches(codes: list[str]) -> str:
    """Whether a code is meant: each of the few codes is compared once, not each of the many events."""
    patterns = " OR ".join(f"regexp_full_match(code, {sql.text(code)})" for code in codes)
    return f"code IN (SELECT code FROM (SELECT DISTINCT code FROM events) WHERE {patterns})"


def _flags(name: str, conditions: list[Condition]) -> list[str]:
    """One column a condition: whether a fact of it was known by the time of the prediction."""
    found = []
    for number, condition in enumerate(conditions):
        back = (
            f"AND (e.time IS NULL OR e.time > i.prediction_time - {_interval(condition.before)})"
            if condition.before
            else ""
        )
        found.append(
            f"EXISTS (SELECT 1 FROM e WHERE e.subject_id = i.subject_id AND {_matches(condition.codes)} AND "
            f"(e.known <= i.prediction_time AND e.time <= i.prediction_time OR e.time IS NULL AND e.known IS NULL) "
            f"{back}) AS {name}{number}"
        )
    return found


def _interval(text: str) -> str:
    return f"to_microseconds({span(text, 'span') // timedelta(microseconds=1)}::BIGINT)"


def _late(moment: str) -> str:
    if moment == "time":
        return "to_microseconds(0::BIGINT)"
    day = timedelta(days=1) // timedelta(microseconds=1)
    spans = " ".join(f"WHEN '{name}' THEN {days * day - 1}" for name, days in DAYS.items())
    return f"to_microseconds(CASE time_precision {spans} ELSE 0 END::BIGINT)"
