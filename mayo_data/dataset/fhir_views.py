"""Views of SQL on FHIR v2 over de-identified FHIR."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mayo_data.errors import ConfigError, SourceError

if TYPE_CHECKING:
    import duckdb  # noqa: TID251 - for the type of a connection

    from mayo_data.store.views import ViewTable

_NDJSON = re.compile(r"\.(?:ndjson|jsonl)(?:\.(?:gz|zst))?$", re.IGNORECASE)
_LARGEST_VIEW = 4 << 20  # bytes of a ViewDefinition


def view(
    view: Mapping[str, Any] | Path | str,
    fhir: Path | str,
    *,
    db: duckdb.DuckDBPyConnection | None = None,
) -> ViewTable:
    """Return a view of SQL on FHIR v2 over de-identified FHIR, as a table.

    The view becomes one SQL statement for DuckDB, which reads the files. Nothing is computed before it is asked for:
    `md.view(view, fhir).df()`, `.arrow()`, `.pl()`, `.relation` for more SQL, `.write("out.parquet")`.

    Args:
        view: A ViewDefinition: a mapping, or the path of a JSON file.
        fhir: Folder with `.ndjson` files (also `.jsonl`, `.gz`, `.zst`, at any depth), or one such file.
        db: DuckDB connection to run on, so that the result can be joined: of
            `connect(store, confined=False)`, for a confined one reads the files of its snapshot only.

    Raises:
        ConfigError: The view is wrong, with the place in it; or the place of the files is a URL.
        SourceError: There is no such folder, or no ndjson in it.
    """
    from mayo_data.store.views import ViewTable
    from mayo_data.views import compile as views
    from mayo_data.views import source

    body = view if isinstance(view, Mapping) else _view_file(Path(view))
    plain = views.compile_view(body)
    written = views.compile_view(body, written=True)
    select = source.read(_ndjson(fhir), plain.resource)
    columns = [(field.name, field.sql) for field in written.fields]
    return ViewTable(plain.sql(select), written.sql(select), columns, name=plain.name, notes=plain.notes, db=db)


def _view_file(path: Path) -> Any:
    import msgspec

    try:
        if path.stat().st_size > _LARGEST_VIEW:
            raise ConfigError("the view is too large", hint="a ViewDefinition has some kilobytes")
        return msgspec.json.Decoder(float_hook=Decimal).decode(path.read_bytes())
    except OSError as error:
        raise ConfigError("the view cannot be read", hint="check its path") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError("the view is no JSON", hint="check it with a JSON editor") from error


def _ndjson(fhir: Path | str) -> list[str]:
    """The files in order of their path; names that begin with a dot are somebody's drafts."""
    from mayo_data.sources import location

    if location.is_url(fhir):
        raise ConfigError("a view reads local files only", hint="copy the folder to this machine")
    files = [
        str(found.path)
        for found in location.listing(fhir)
        if found.regular and _NDJSON.search(found.parts[-1]) and not any(part.startswith(".") for part in found.parts)
    ]
    if not files:
        raise SourceError("there is no FHIR ndjson here", hint="give the folder that mayo-data scrub wrote")
    return files
