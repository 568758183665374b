"""Folders of OMOP tables, as people have them: CSV or Parquet, plain or gzipped, any letter case, tab or comma."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

from mayo_data import sql
from mayo_data.errors import SourceError

_NAME = re.compile(r"([A-Za-z_]+)\.(csv|tsv|txt|parquet)(\.gz)?", re.IGNORECASE)
_HEAD = 65_536
_LONGEST = 8 << 20  # bytes of a row; DuckDB sets sixteen times as much aside


def listing(folder: Path) -> dict[str, Path]:
    """Return the files of a folder by table name, in lower case.

    Args:
        folder: A folder with one file a table; `CONCEPT.csv`, `person.parquet`, `death.csv.gz`.

    Raises:
        SourceError: There is no such folder, or two files are the same table.
    """
    if not folder.is_dir():
        raise SourceError("the folder of OMOP tables is not there", hint="give a folder with one file a table")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        match = _NAME.fullmatch(path.name)
        if match is None or not path.is_file():
            continue
        if found.setdefault(match[1].lower(), path) != path:
            raise SourceError(f"two files are the table {match[1].lower()}", hint="leave one of them in the folder")
    return found


def scan(path: Path) -> str:
    """Return the SQL that reads a file: every column of a CSV as text, those of Parquet as they are.

    Athena writes tabs and never quotes, so a quote there is a character like any other.

    Raises:
        SourceError: The file cannot be read as text.
    """
    where = sql.text(sql.literal(path))
    if path.name.lower().endswith(".parquet"):
        return f"read_parquet({where})"
    try:
        with gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb") as file:
            head = file.readline(_HEAD).decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise SourceError(f"{path.stem.lower()}: the file cannot be read", hint="is it a table in UTF-8?") from error
    tab = "\t" in head
    if tab:
        options = "delim = '\t', quote = '', escape = '', null_padding = true, strict_mode = false"
    else:  # a note has lines of its own, between quotes: such a file is read by one thread
        options = f"delim = ',', quote = '\"', escape = '\"', parallel = false, max_line_size = {_LONGEST}"
    return f"read_csv({where}, header = true, all_varchar = true, {options})"
