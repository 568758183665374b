"""Great Expectations itself, on the DuckDB file that a run or `inspect` has made: verdicts and Data Docs, no values.

It is slow to load, so only `mayo-data quality --engine gx`, the Data Docs and a test come here.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mayo_data.errors import ConfigError
from mayo_data.quality.suites import Suite

_SITE = "mayo_data"
_ONLY = {"result_format": "BOOLEAN_ONLY"}  # other formats carry values of the data
# Its pages fetch a picture with a time stamp, which tells its makers who reads them. Scripts and styles they need.
_UNCOUNTED = """<meta http-equiv="Content-Security-Policy" content="img-src data:; form-action 'none'">"""


class _Dialect(str):
    """DuckDB for Great Expectations: a connection that is kept, or results are gone when it is given back."""

    __slots__ = ()

    @property
    def value(self) -> str:
        """The name, as an enum has it."""
        return str(self)


def judged(
    database: Path, suites: Sequence[Suite], data_docs: Path | None, folder: Path
) -> tuple[dict[tuple[str, str], bool], Path | None]:
    """Run suites with Great Expectations.

    Args:
        database: DuckDB file with the tables.
        suites: What to run.
        data_docs: Folder for the Data Docs, or None.
        folder: A temporary folder.

    Returns:
        Gate and check to verdict, and the first page of the Data Docs.

    Raises:
        ConfigError: Great Expectations or its DuckDB driver is not installed, or cannot run an expectation.
    """
    gx = _loaded()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    for name in list(context.get_site_names()):
        context.delete_data_docs_site(name)
    if data_docs is not None:
        context.add_data_docs_site(site_name=_SITE, site_config=_site(data_docs))
    source = context.data_sources.add_sql("store", connection_string=f"duckdb:///{database}")
    found: dict[tuple[str, str], bool] = {}
    try:
        for suite in suites:
            for table in dict.fromkeys(one.meta.table for one in suite.expectations):
                mine = [one for one in suite.expectations if one.meta.table == table]
                found |= _validated(gx, context, source, suite, table, mine)
        page = _built(context, data_docs)
    finally:
        engine = source.get_execution_engine()
        engine.close()
        engine.engine.dispose()
    return found, page


def _loaded() -> Any:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # it reports on its use over the network otherwise
    # It looks for Spark Connect, and PySpark ends the whole process where gRPC is missing: so it is not there to find.
    hidden = [name for name in ("pyspark.sql.connect",) if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import duckdb_engine  # noqa: F401 - SQLAlchemy's driver
            import great_expectations as gx
            from great_expectations.execution_engine import sqlalchemy_execution_engine as engine
    except ImportError as error:
        raise ConfigError(
            "Great Expectations cannot reach DuckDB", hint="pip install 'mayo-data[quality]', or use --engine sql"
        ) from error
    finally:
        for name in hidden:
            del sys.modules[name]
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)  # its lines name folders
    kept = engine._PERSISTED_CONNECTION_DIALECTS  # noqa: SLF001 - there is no public way to add one
    if "duckdb" not in kept:
        engine._PERSISTED_CONNECTION_DIALECTS = (*kept, _Dialect("duckdb"))  # noqa: SLF001
    return gx


def _validated(
    gx: Any, context: Any, source: Any, suite: Suite, table: str, mine: Sequence[Any]
) -> dict[tuple[str, str], bool]:
    name = f"{suite.gate} {suite.name} {table}"
    asset = source.add_table_asset(name, table_name=table)
    batch = asset.add_batch_definition_whole_table("all")
    listed = [
        {"type": one.type, "kwargs": one.kwargs, "meta": {"check": one.meta.check, "notes": one.meta.says}}
        for one in mine
    ]
    made = context.suites.add(gx.ExpectationSuite(name=name, expectations=listed))
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=made))
    said = definition.run(result_format=_ONLY)
    found: dict[tuple[str, str], bool] = {}
    for one in said.results:
        check = one.expectation_config.meta["check"]
        if _raised(one.exception_info):
            raise ConfigError(f"{check}: Great Expectations cannot run it", hint="use --engine sql")
        found[suite.gate, check] = bool(one.success)
    return found


def _raised(info: Any) -> bool:
    """Whether an expectation could not be evaluated; its message is not passed on, for it could hold a value."""
    if "raised_exception" in info:
        return bool(info["raised_exception"])
    return any(one.get("raised_exception") for one in info.values() if isinstance(one, dict))


def _site(folder: Path) -> dict[str, Any]:
    return {
        "class_name": "SiteBuilder",
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder.absolute())},
        "show_how_to_buttons": False,
    }


def _built(context: Any, folder: Path | None) -> Path | None:
    if folder is None:
        return None
    context.build_data_docs(site_names=[_SITE])
    for page in folder.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        if _UNCOUNTED not in text:
            page.write_text(text.replace("<head>", f"<head>{_UNCOUNTED}", 1), encoding="utf-8")
    return folder / "index.html"
