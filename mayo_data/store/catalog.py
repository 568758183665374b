"""The analyst's door: `catalog.duckdb`, made once a snapshot, read-only, with documented views and macros.

What they are is data: `schemas/analyst`. They read the snapshot's Parquet files by relative path, so a store can be
moved or copied. All paths are patterns (`codes*.parquet`) on purpose: DuckDB looks for a plain name in the working
directory first, and would read another data set's file if the notebook happens to lie beside one.
"""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mayo_data import sql
from mayo_data.errors import StoreError
from mayo_data.store import analyst, scratch
from mayo_data.store.layout import Store

if TYPE_CHECKING:
    import duckdb

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


def build_catalog(snapshot: Path) -> None:
    """Make `catalog.duckdb` in a draft whose Parquet files are all there.

    Args:
        snapshot: Folder of the draft; an older catalog in it is replaced.

    Raises:
        StoreError: A table of the snapshot is missing or cannot be read.
    """
    import duckdb

    path = snapshot / NAME
    path.unlink(missing_ok=True)
    try:
        with scratch.connection(snapshot / scratch.SPILL) as db:
            db.execute(f"ATTACH {sql.text(str(path))} AS catalog (STORAGE_VERSION '{_STORAGE}')")
            db.execute("USE catalog")
            db.execute(f"SET file_search_path = {sql.text(str(snapshot.absolute()))}")
            analyst.make(db, FILES, sorted(snapshot.absolute().glob(FILES["events"])))
            db.execute("USE memory")
            db.execute("DETACH catalog")
    except duckdb.Error as error:
        raise StoreError("a table of the snapshot is missing or unreadable", hint="run mayo-data validate") from error


def connect(store: Path | str, snapshot: str | None = None) -> duckdb.DuckDBPyConnection:
    """Open a snapshot for SQL: `connect(store).sql("SELECT * FROM timeline(42)")`.

    Nothing can be written to the snapshot, and DuckDB loads no extension from the network. `SHOW TABLES`
    lists what is there; every column has a comment.

    Args:
        store: Folder of the store.
        snapshot: Name of a snapshot. Default: the current one.

    Returns:
        A DuckDB connection; close it, or use it in a `with` block.

    Raises:
        StoreError: There is no such store or snapshot, or its catalog cannot be opened.
    """
    import duckdb

    opened = Store.open(Path(store))
    folder = (opened.snapshot(snapshot) if snapshot else opened.current()).absolute()
    if "," in str(folder):
        raise StoreError(
            "a store cannot be read under a path with a comma",
            hint="move it: DuckDB splits its search path there",
        )
    try:
        db = duckdb.connect(str(folder / NAME), read_only=True, config=dict(scratch.OFFLINE))
        db.execute(f"SET GLOBAL file_search_path = {sql.text(str(folder))}")
        db.execute("SET GLOBAL TimeZone = 'UTC'")
        db.execute("SET GLOBAL parquet_metadata_cache = true")  # the files never change
        # Without this DuckDB would spill into the snapshot's own folder.
        spill = Path(tempfile.gettempdir()) / f"mayo-data-{secrets.token_hex(8)}"
        db.execute(f"SET GLOBAL temp_directory = {sql.text(str(spill))}")
    except duckdb.Error as error:
        raise StoreError("the catalog cannot be opened", hint="run mayo-data validate") from error
    return db
