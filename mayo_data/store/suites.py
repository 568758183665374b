"""Puts a draft or a snapshot into DuckDB as the tables that expectations look at, and asks its questions there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import pyarrow as pa

from mayo_data import schema, sql
from mayo_data.store.scratch import OFFLINE, SPILL

Lent: TypeAlias = duckdb.DuckDBPyConnection  # what `opened` lends
_FOLDERS = {"events": "data", "resources": "lineage/resources", "sources": "lineage", "splits": "metadata"}
_FILES = {"events": "*", "resources": "*", "sources": "sources", "splits": "subject_splits"}
_SCHEMAS = {"events": "events", "resources": "resources", "sources": "sources", "splits": "subject_splits"}


@contextmanager
def opened(
    snapshot: Path,
    before: Path | None,
    beside: Mapping[str, pa.Table],
    views: Mapping[str, tuple[str, bool]],
    folder: Path,
    *,
    changed: Mapping[str, pa.Table] | None = None,
    threads: int = 2,
    memory: str = "1GB",
) -> Iterator[Lent]:
    """Lend a DuckDB with a draft or a snapshot, the snapshot before, what is handed in, and tables made of them.

    Args:
        snapshot: Folder of the draft or the snapshot.
        before: Folder of the snapshot before, or None.
        beside: Further tables, by name.
        views: Tables made of these: name to SQL and whether it is made once, in order.
        folder: A folder for the database `quality.duckdb`, where Great Expectations finds it too, and for spilling.
        changed: Of a delta, what `sums.before_and_after` returned, by table: then events and resources are those of the
            subjects of whom it speaks, and nothing is compared with the snapshot before, of which they are a few.
        threads: Threads it may use.
        memory: Memory it may use before it spills, as DuckDB writes it.
    """
    config = {**OFFLINE, "threads": threads, "memory_limit": memory, "temp_directory": str(folder / SPILL)}
    lent = duckdb.connect(str(folder / "quality.duckdb"), config=config)
    try:
        lent.execute("SET TimeZone = 'UTC'")
        lent.execute("SET preserve_insertion_order = false")
        for name, inner in _FOLDERS.items():
            where = sql.text(f"{sql.literal(snapshot / inner)}/{_FILES[name]}.parquet")
            if changed is not None and name in changed:
                lent.register("_changed", changed[name])
                lent.execute(f"CREATE TABLE {name} AS SELECT * EXCLUDE (is_new) FROM _changed WHERE is_new")
                lent.unregister("_changed")
            else:
                lent.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet({where})")
            compared = before if changed is None else None
            old = f"{sql.literal(compared / inner)}/{_FILES[name]}.parquet" if compared else ""
            if old:
                lent.execute(f"CREATE VIEW {name}_before AS SELECT * FROM read_parquet({sql.text(old)})")
            else:
                lent.register("_empty", schema.table(_SCHEMAS[name]).empty_table())
                lent.execute(f"CREATE TABLE {name}_before AS SELECT * FROM _empty")
                lent.unregister("_empty")
        where = sql.text(f"{sql.literal(snapshot / 'data')}/*.parquet")
        lent.execute(
            "CREATE VIEW homes AS SELECT DISTINCT subject_id, parse_filename(filename, true) AS shard "
            f"FROM read_parquet({where}, filename = true)"
        )
        for name, table in beside.items():
            lent.register("_given", table)
            lent.execute(f"CREATE TABLE {sql.name(name)} AS SELECT * FROM _given")
            lent.unregister("_given")
        for name, (text, stays) in views.items():
            lent.execute(f"CREATE {'TABLE' if stays else 'VIEW'} {sql.name(name)} AS {text}")
        # From here on a site's own conditions are run: they read these snapshots, and no other file.
        # A pattern is compared with the folder before it is resolved, a file after: so both spellings are allowed.
        folders = [path for one in (snapshot, before) if one for path in (one, one.absolute())]
        roots = ", ".join(sql.text(f"{root}/") for path in folders for root in (str(path), sql.literal(path)))
        lent.execute(f"SET allowed_directories = [{roots}]")
        lent.execute("SET enable_external_access = false")
        lent.execute("SET lock_configuration = true")
        yield lent
    finally:
        lent.close()


def counted(lent: Lent, query: str) -> tuple[int, int]:
    """Return the two numbers that a query selects.

    Args:
        lent: What `opened` lends.
        query: Selects rows that are not as expected, and rows.

    Raises:
        ValueError: The query cannot be run on these tables: a site's suite names what is not there.
    """
    try:
        first, second = lent.execute(query).fetchall()[0]
    except duckdb.Error:  # its message could repeat a value
        raise ValueError("the query cannot be run on these tables") from None
    return int(first), int(second)


def tally(lent: Lent, table: str, column: str, bad: str, most: int = 5) -> dict[str, int]:
    """Count rows that meet a condition by a column of names that are our own, the most frequent first.

    Args:
        lent: What `opened` lends.
        table: A table.
        column: A column that holds no value of the data.
        bad: The condition.
        most: How many names at most.

    Raises:
        ValueError: The table has no such column.
    """
    try:
        found = lent.execute(
            f"SELECT {sql.name(column)}, count(*) AS n FROM {sql.name(table)} WHERE {bad} GROUP BY 1 "
            f"ORDER BY n DESC, 1 LIMIT {int(most)}"
        ).fetchall()
    except duckdb.Error:  # its message could repeat a value
        raise ValueError("the table has no such column") from None
    return {str(name): int(n) for name, n in found}


def places(lent: Lent, table: str, bad: str, most: int) -> list[tuple[int, int]]:
    """Return source file and line of rows that meet a condition, each once, in order.

    Args:
        lent: What `opened` lends.
        table: A table; without `source_table` and `source_row` nothing is returned.
        bad: The condition.
        most: How many at most.
    """
    columns = {row[0] for row in lent.execute(f"DESCRIBE SELECT * FROM {sql.name(table)}").fetchall()}
    if not {"source_table", "source_row"} <= columns:
        return []
    found: Sequence[tuple[Any, ...]] = lent.execute(
        f"SELECT DISTINCT source_table, source_row FROM {sql.name(table)} WHERE {bad} ORDER BY ALL LIMIT {int(most)}"
    ).fetchall()
    return [(int(file), int(row)) for file, row in found]
