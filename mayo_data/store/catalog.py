"""The analyst's door: `catalog.duckdb`, made once a snapshot, read-only, with documented views and macros.

What they are is data: `schemas/analyst`. They read the snapshot's Parquet files by relative path, so a store can be
moved or copied. All paths are patterns (`codes*.parquet`) on purpose: DuckDB looks for a plain name in the working
directory first, and would read another data set's file if the notebook happens to lie beside one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mayo_data import sql
from mayo_data.errors import StoreError
from mayo_data.store import analyst, scratch, sums
from mayo_data.store.layout import Store

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

NAME = "catalog.duckdb"
FILES = {
    "events": "data/*.parquet",
    "codes": "metadata/codes*.parquet",
    "subject_splits": "metadata/subject_splits*.parquet",
    "sources": "lineage/sources*.parquet",
    "scrubs": "lineage/scrubs*.parquet",
    "arrivals": "lineage/arrivals*.parquet",
    "resources": "lineage/resources/*.parquet",
    "decisions": "lineage/decisions/*.parquet",
    "same_facts": "lineage/same_facts/*.parquet",
}
_STORAGE = "v1.4.0"  # the oldest DuckDB that may open a catalog


def build_catalog(snapshot: Path, base: Path | None = None, changed: pa.Table | None = None) -> int:
    """Make `catalog.duckdb` in a draft whose Parquet files are all there, and return the number of subjects.

    Args:
        snapshot: Folder of the draft; an older catalog in it is replaced.
        base: Of a delta, the snapshot before: what the delta does not touch is taken from its catalog.
        changed: Of a delta, what `sums.before_and_after` returned of its events.

    Raises:
        StoreError: A table of the snapshot is missing or cannot be read.
    """
    import duckdb

    path = snapshot / NAME
    path.unlink(missing_ok=True)
    try:
        with scratch.connection(snapshot / scratch.SPILL) as db:
            db.execute(f"ATTACH {sql.text(str(path))} AS catalog (STORAGE_VERSION '{_STORAGE}')")
            if base is None or not _attached(db, base / NAME):
                changed = None
            db.execute("USE catalog")
            db.execute(f"SET file_search_path = {sql.text(str(snapshot.absolute()))}")
            db.execute("SET parquet_metadata_cache = true")
            db.execute("BEGIN")  # one transaction, not one for each of the comments
            events = sorted(snapshot.absolute().glob(FILES["events"]))
            subjects = analyst.make(db, FILES, events, changed)
            db.execute("COMMIT")
            db.execute("USE memory")
            db.execute("DETACH catalog")
            return subjects
    except duckdb.Error as error:
        raise StoreError("a table of the snapshot is missing or unreadable", hint="run mayo-data validate") from error


def _attached(db: duckdb.DuckDBPyConnection, before: Path) -> bool:
    """Attach the catalog of the snapshot before; where it cannot be read, everything is summed up anew."""
    import duckdb

    try:
        db.execute(f"ATTACH {sql.text(str(before))} AS {sums.BASE} (READ_ONLY)")
    except duckdb.Error:
        return False
    return True


def connect(store: Path | str, snapshot: str | None = None, *, confined: bool = True) -> duckdb.DuckDBPyConnection:
    """Open a snapshot for SQL: `connect(store).sql("SELECT * FROM timeline(42)")`.

    Nothing can be written to the snapshot, and DuckDB loads no extension from the network. `SHOW TABLES`
    lists what is there; every column has a comment.

    A confined connection reads the files of this snapshot and no other, writes none, and its settings are locked:
    SQL of others may be run on it. It belongs to the working directory in which it was opened. A frame is joined
    after `db.register("name", frame)`.

    Args:
        store: Folder of the store.
        snapshot: Name of a snapshot. Default: the current one.
        confined: False lets SQL reach whatever its user may reach: `COPY`, `read_csv`, frames by their variable.

    Returns:
        A DuckDB connection; close it, or use it in a `with` block.

    Raises:
        StoreError: There is no such store or snapshot, its catalog cannot be opened, or it is open in this program
            with the other `confined`.
    """
    import duckdb

    opened = Store.open(Path(store))
    folder = (opened.snapshot(snapshot) if snapshot else opened.current()).absolute()
    if "," in str(folder):
        raise StoreError(
            "a store cannot be read under a path with a comma",
            hint="move it: DuckDB splits its search path there",
        )
    # DuckDB shares one instance, and its settings, among all connections of a program to a file. The name keeps
    # confined ones apart from free ones: where both are asked for, DuckDB refuses.
    agent = "mayo-data confined" if confined else "mayo-data free"
    try:
        db = duckdb.connect(str(folder / NAME), read_only=True, config={**scratch.OFFLINE, "custom_user_agent": agent})
        if not db.execute("SELECT current_setting('lock_configuration')").fetchall()[0][0]:
            _settle(db, folder)
            if confined:
                _confine(db, folder)
    except duckdb.ConnectionException as error:
        raise StoreError(
            "this snapshot is open already, confined otherwise", hint="close that connection first"
        ) from error
    except duckdb.Error as error:
        raise StoreError("the catalog cannot be opened", hint="run mayo-data validate") from error
    return db


def _settle(db: duckdb.DuckDBPyConnection, folder: Path) -> None:
    db.execute(f"SET GLOBAL file_search_path = {sql.text(str(folder))}")
    db.execute("SET GLOBAL TimeZone = 'UTC'")
    db.execute("SET GLOBAL parquet_metadata_cache = true")  # the files never change
    # Without this DuckDB would spill into the snapshot's own folder.
    db.execute(f"SET GLOBAL temp_directory = {sql.text(str(scratch.aside()))}")


def _confine(db: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Leave a connection the files of one snapshot; single files, since a folder could be written to."""
    files = [str(path) for pattern in FILES.values() for path in folder.glob(pattern)]
    allowed = ", ".join(sql.text(path) for path in (*FILES.values(), *files))
    db.execute(f"SET GLOBAL allowed_paths = [{allowed}]")
    db.execute("SET GLOBAL enable_external_access = false")
    db.execute("SET GLOBAL lock_configuration = true")
