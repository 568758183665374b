"""Fetches the tables of an OMOP CDM from a PostgreSQL server, over ADBC, as Arrow, into Parquet files in the PHI zone.

The driver is an extra: `pip install mayo-data[postgresql]`. Nothing else here reaches a network, and this only the
server that the input names.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from mayo_data.errors import ConfigError, SourceError
from mayo_data.sources.omop import OmopExport, Part, from_relations

if TYPE_CHECKING:
    from types import ModuleType

_VISIBLE = """
SELECT n.nspname, c.relname FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
"""


def fetch(url: str, folder: Path, known: Collection[str]) -> OmopExport:
    """Copy the tables of a CDM, in one transaction that sees one state of the server.

    Args:
        url: `postgresql://user@host/database`, with `?options=-csearch_path%3Dcdm` where there are several schemas.
        folder: Where the files go; what lies there is replaced. PHI zone.
        known: Names of the tables of the CDM.

    Raises:
        ConfigError: The driver is not installed.
        SourceError: The server does not answer, or a table cannot be read.
    """
    dbapi = _driver()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    try:
        with closing(dbapi.connect(url)) as db, closing(db.cursor()) as cursor:
            # An error of the driver says the URL, which may hold a password: only its kind leaves.
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor.execute(_VISIBLE)
            relations = [(str(row[0]), str(row[1])) for row in cursor.fetchall()]
            found = from_relations(folder, url, relations, known)
            parts = [_copy(cursor, part, folder) for part in found.parts]
    except (dbapi.Error, pa.ArrowInvalid, OSError) as error:
        raise SourceError(
            f"the server cannot be read ({type(error).__name__})", hint="check host, database, user and rights"
        ) from None
    return OmopExport(tuple(parts), url)


def _driver() -> ModuleType:
    try:
        from adbc_driver_postgresql import dbapi
    except ImportError as error:
        raise ConfigError(
            "the PostgreSQL driver is not installed", hint="pip install 'mayo-data[postgresql]'"
        ) from error
    found: ModuleType = dbapi
    return found


def _copy(cursor: Any, part: Part, folder: Path) -> Part:
    schema, relation = (name.replace('"', '""') for name in part.relation)
    # Ordered by all of the row, so that the same content gives the same file.
    cursor.execute(f'SELECT * FROM "{schema}"."{relation}" AS t ORDER BY t')
    reader = cursor.fetch_record_batch()
    path = folder / f"{part.table}.parquet"
    with pq.ParquetWriter(path, _plain(reader.schema), compression="zstd") as out:
        for batch in reader:
            out.write_batch(batch.cast(_plain(batch.schema)))
    return Part(part.table, path, "parquet")


def _plain(schema: pa.Schema) -> pa.Schema:
    """Numeric columns come as an extension type over text, which Parquet readers do not know."""
    fields = [
        pa.field(one.name, one.type.storage_type if isinstance(one.type, pa.BaseExtensionType) else one.type)
        for one in schema
    ]
    return pa.schema(fields)
