"""Finds the tables of an OMOP CDM export: CSV or Parquet files in a folder, a DuckDB file, a PostgreSQL server."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal, cast

import zstandard

from mayo_data.errors import SourceError
from mayo_data.sources.location import stays_inside

_FILE = re.compile(r"(?P<table>[a-z_]+?)(?:[._-]?\d+)?\.(?P<kind>csv|tsv|txt|parquet)(?P<packed>\.gz|\.zst)?")
_DATABASES = (".duckdb", ".ddb", ".db")
_POSTGRES = ("postgresql://", "postgres://")
_HEADER = 1 << 20  # bytes in which the first line of a file must end

Form = Literal["csv", "parquet", "duckdb", "postgresql"]


@dataclass(frozen=True)
class Part:
    """A file or relation with rows of one table.

    Attributes:
        table: Name of the table in the CDM.
        path: The file; of a server, nothing.
        form: What it is written in.
        relation: Of a database, schema and name of the relation.
    """

    table: str
    path: Path
    form: Form
    relation: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class OmopExport:
    """What was found.

    Attributes:
        parts: The parts, by table and name.
        url: Of a server, how to reach it. PHI zone: it may hold a password.
        unread: Names of files that belong to no table. PHI zone.
    """

    parts: tuple[Part, ...]
    url: str = ""
    unread: tuple[str, ...] = ()
    endings: dict[str, int] = field(default_factory=dict)


def is_omop(source: Path | str) -> bool:
    """Return whether an input is an OMOP export: a PostgreSQL URL, a DuckDB file, a folder with table `person`.

    >>> is_omop("postgresql://reader@localhost/cdm")
    True
    """
    if str(source).startswith(_POSTGRES):
        return True
    path = Path(source)
    if path.is_file():
        return path.suffix.casefold() in _DATABASES
    if not path.is_dir():
        return False
    return any(_named(entry) == "person" for entry in path.iterdir())


def is_server(source: Path | str) -> bool:
    """Return whether an input is the URL of a PostgreSQL server."""
    return str(source).startswith(_POSTGRES)


def is_database(source: Path | str) -> bool:
    """Return whether an input is a DuckDB file."""
    return not is_server(source) and Path(source).suffix.casefold() in _DATABASES and Path(source).is_file()


def _named(entry: Path) -> str:
    """The table that a file or folder holds, by its name."""
    plain = entry.name.casefold()
    match = _FILE.fullmatch(plain)
    if match is None:
        return plain if entry.is_dir() else ""
    return match["table"]


def discover(source: Path, known: Collection[str]) -> OmopExport:
    """Find the tables in a folder: `measurement.csv`, `MEASUREMENT.csv.gz`, `measurement_01.parquet`, `measurement/…`.

    Args:
        source: The folder.
        known: Names of the tables of the CDM.

    Raises:
        SourceError: There is no such folder, no table in it, or a link leads out of it.
    """
    if not source.is_dir():
        raise SourceError("the input does not exist", hint="give the folder of the OMOP tables, or a DuckDB file")
    parts: list[Part] = []
    unread: list[str] = []
    whole = source.resolve()
    for entry in sorted(source.iterdir()):
        stays_inside(entry, whole)
        table = _named(entry)
        inner = sorted(entry.iterdir()) if entry.is_dir() else [entry]
        for path in inner:
            stays_inside(path, whole)
            match = _FILE.fullmatch(path.name.casefold()) or re.fullmatch(
                r".*\.(?P<kind>csv|tsv|txt|parquet)(?P<packed>\.gz|\.zst)?", path.name.casefold()
            )
            if table not in known or match is None or not path.is_file():
                if path.is_file() and not path.name.startswith((".", "_")):
                    unread.append(path.relative_to(source).as_posix())
                continue
            form: Form = "parquet" if match["kind"] == "parquet" else "csv"
            parts.append(Part(table, path, form))
    return OmopExport(tuple(parts), "", tuple(unread), dict(Counter(Path(name).suffix for name in unread)))


def from_relations(path: Path, url: str, relations: Collection[tuple[str, str]], known: Collection[str]) -> OmopExport:
    """Find the tables among the relations of a database.

    Args:
        path: The DuckDB file, or the current folder for a server.
        url: URL of the server, else empty.
        relations: Schema and name of every relation.
        known: Names of the tables of the CDM.

    Raises:
        SourceError: A table is there twice, in two schemas.
    """
    form: Form = "postgresql" if url else "duckdb"
    found = [Part(name.casefold(), path, form, (schema, name)) for schema, name in sorted(relations)]
    parts = [part for part in found if part.table in known]
    seen = Counter(part.table for part in parts)
    schemas = sorted({part.relation[0] for part in parts if part.table == "person"})
    if len(schemas) > 1:
        raise SourceError("the database holds several CDMs", hint="leave one schema in it, or one on the search path")
    if schemas:  # vocabularies may lie in a schema of their own
        parts = [part for part in parts if seen[part.table] == 1 or part.relation[0] == schemas[0]]
    return OmopExport(tuple(parts), url)


def header(path: Path) -> tuple[list[str], str]:
    """Return the columns of a CSV file and what stands between them: tab, comma, semicolon or bar.

    Raises:
        SourceError: The file is empty, or its first line is no header.
    """
    try:
        with _opened(path) as file:
            first = file.read(_HEADER).splitlines()[:1]
    except (OSError, EOFError, zstandard.ZstdError) as error:
        raise SourceError("a file of the input is damaged", hint="ask for it again") from error
    if not first or not first[0].strip():
        raise SourceError("a CSV file has no header line", hint="the first line must name the columns")
    line = first[0].removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")
    delimiter = max("\t,;|", key=line.count)
    names = next(csv.reader(io.StringIO(line), delimiter=delimiter))
    # A column that is there twice, or has no name, gets one that no field has: DuckDB wants them different.
    seen: Counter[str] = Counter()
    for index, column in enumerate(names):
        plain = column.strip().casefold()
        seen[plain] += 1
        if not plain or seen[plain] > 1:
            names[index] = f"{column.strip()} {index}"
    return names, delimiter


def _opened(path: Path) -> BinaryIO:
    ending = path.suffix.casefold()
    if ending == ".gz":
        return cast(BinaryIO, gzip.open(path))
    if ending == ".zst":
        return cast(BinaryIO, zstandard.open(path))
    return path.open("rb")
