"""What the catalog counts: events and subjects of each code, the life and the demography of each subject.

Of a whole snapshot it is read from all events. A delta brings the events of those of whom it speaks, as they were and
as they are, and the catalog of the snapshot before knows the others: the same sums, row by row, for what they touch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mayo_data import assets, sql

if TYPE_CHECKING:
    import duckdb

BASE = "base"  # name under which the catalog of the snapshot before is attached
IS_NEW = "is_new"
_LABELS = "SELECT code, description FROM {} WHERE kind IN ('SEX', 'GENDER', 'RACE', 'ETHNICITY', 'ZIP3')"


def before_and_after(was: pa.Table, now: pa.Table) -> pa.Table:
    """Return all rows of some subjects as they were and as they are: what sums and digests must know of a delta.

    Args:
        was: Their rows in the snapshot before.
        now: Their rows in the new snapshot.

    >>> before_and_after(pa.table({"a": [1]}), pa.table({"a": [2]})).to_pylist()
    [{'a': 1, 'is_new': False}, {'a': 2, 'is_new': True}]
    """
    is_new = np.repeat([False, True], [was.num_rows, now.num_rows])
    return pa.concat_tables([was, now]).append_column(IS_NEW, pa.array(is_new))


def whole(db: duckdb.DuckDBPyConnection, events: Sequence[Path]) -> bool:
    """Sum up all events, and tell whether the files are the shards of a run: subject modulo their number.

    Args:
        db: A connection; it gets the temporary tables of `schemas/analyst/sums.toml`.
        events: The files of events, in order.
    """
    _tables(db)
    shards = all(path.name == f"{number:04d}.parquet" for number, path in enumerate(events))
    for number, path in enumerate(events):
        _add(db, f"read_parquet({sql.text(sql.literal(path))}, hive_partitioning = false)")
        elsewhere = f"SELECT 1 FROM pair WHERE subject_id % {len(events)} <> {number} LIMIT 1"
        shards = shards and not db.execute(elsewhere).fetchall()
    return shards


def merged(db: duckdb.DuckDBPyConnection, changed: pa.Table) -> None:
    """Sum up the events of the subjects of whom a delta speaks, beside what the catalog before has of all codes.

    Args:
        db: A connection with that catalog attached as `base`; it gets the temporary tables of `whole`, and `touched`.
        changed: What `before_and_after` returned of the events of all shards.
    """
    _tables(db)
    db.execute(f"INSERT INTO counted SELECT code, n_events, n_subjects FROM {BASE}.code")
    db.execute("CREATE OR REPLACE TEMP TABLE touched (subject_id BIGINT)")
    db.register("changed", changed)
    db.execute("INSERT INTO touched SELECT DISTINCT subject_id FROM changed")
    _pair(db, "(FROM changed WHERE NOT is_new)")
    db.execute(f"INSERT INTO counted SELECT code, -n_events, -n_subjects FROM ({_sums()['counted']['sql']})")
    _add(db, "(FROM changed WHERE is_new)")
    db.unregister("changed")


def same_labels(db: duckdb.DuckDBPyConnection, codes: str) -> bool:
    """Whether the codes of sex, race, … mean what they meant: if not, subjects of whom no delta speaks change too.

    Args:
        db: A connection with the catalog of the snapshot before attached as `base`.
        codes: SQL that reads table `codes` of the new snapshot.
    """
    now = f"(SELECT code, description, split_part(code, '//', 1) AS kind FROM {codes})"
    return not db.execute(f"{_LABELS.format(BASE + '.code')} EXCEPT {_LABELS.format(now)} LIMIT 1").fetchall()


def _sums() -> dict[str, Any]:
    return assets.toml("schemas", "analyst", "sums.toml")


def _tables(db: duckdb.DuckDBPyConnection) -> None:
    for name, spec in _sums().items():
        db.execute(f"CREATE OR REPLACE TEMP TABLE {name} ({spec['columns']})")


def _pair(db: duckdb.DuckDBPyConnection, events: str) -> None:
    db.execute("TRUNCATE pair")
    db.execute(f"INSERT INTO pair {_sums()['pair']['sql'].format(events=events)}")


def _add(db: duckdb.DuckDBPyConnection, events: str) -> None:
    _pair(db, events)
    for name, spec in _sums().items():
        if name != "pair":
            db.execute(f"INSERT INTO {name} {spec['sql'].format(events=events)}")
