"""SQL that reads a table of an export, whatever it is written in, as the standard types it.

Every row of the source comes out once: alive, or with a `fate` that says why not. What a cell says must be what its
field can hold; an id may be written `6.0`, because exports that went through a data frame have it so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mayo_data.omop.model import Field, Table
from mayo_data.sql import literal, name, text
from mayo_data.stage import fate

_LONGEST_LINE = 8 << 20  # bytes of one CSV row; DuckDB reads in buffers of several such
_WHOLE = r"[+-]?\d{1,19}(\.0*)?"
_FLOATS = ("DOUBLE", "FLOAT", "DECIMAL", "REAL")
_WHOLES = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")


class Given(NamedTuple):
    """A column of the source.

    Attributes:
        name: Its name there, in its own case.
        type: Its DuckDB type there.
    """

    name: str
    type: str


def columns(table: Table, given: Sequence[Given]) -> tuple[dict[str, Given], int]:
    """Match the columns of a source with the fields of a table, whatever their case and version.

    Args:
        table: The table.
        given: The columns of the source.

    Returns:
        Field to column, and how many columns the standard does not know.

    >>> from mayo_data.omop.model import tables
    >>> columns(tables()["death"], [Given("PERSON_ID", "VARCHAR"), Given("X", "VARCHAR")])
    ({'person_id': Given(name='PERSON_ID', type='VARCHAR')}, 1)
    """
    found: dict[str, Given] = {}
    unknown = 0
    for column in given:
        plain = column.name.strip().strip('"').casefold()
        field = plain if plain in table.fields else table.renamed.get(plain)
        if field is None or field in found:
            unknown += 1
        else:
            found[field] = column
    return {field: found[field] for field in table.fields if field in found}, unknown


def missing(table: Table, found: Mapping[str, Given]) -> list[str]:
    """Return the fields without which the rows of a table say nothing: its key, its person."""
    return [one for one in (table.key, "person_id" if table.personal else None) if one and one not in found]


def csv(path: Path, header: Sequence[str], delimiter: str, quoted: bool) -> str:
    """Return the relation that reads a CSV file as text, row by row; a row that is none goes to the rejects.

    Args:
        path: The file, plain, `.gz` or `.zst`.
        header: Its columns.
        delimiter: What stands between cells.
        quoted: Whether cells may be quoted; the vocabulary files of Athena are not.
    """
    named = ", ".join(f"{text(column)}: 'VARCHAR'" for column in header)
    mark = "'\"'" if quoted else "''"
    return (
        f"read_csv({text(literal(path))}, auto_detect = false, header = true, columns = {{{named}}}, "
        f"delim = {text(delimiter)}, quote = {mark}, escape = {mark}, store_rejects = true, rejects_limit = 0, "
        f"max_line_size = {_LONGEST_LINE}, null_padding = false, nullstr = ['', '\\N'], "
        f"compression = {text(_compression(path))})"
    )


def _compression(path: Path) -> str:
    return {".gz": "gzip", ".zst": "zstd"}.get(path.suffix.casefold(), "none")


def parquet(path: Path) -> str:
    """Return the relation that reads a Parquet file."""
    return f"read_parquet({text(literal(path))}, hive_partitioning = false)"


def typed(table: Table, found: Mapping[str, Given], relation: str, source_table: int) -> str:
    """Return a query with the rows of a source: place, fate, and every field that the source has, typed.

    Args:
        table: The table.
        found: Its fields in the source.
        relation: A DuckDB table with the source's columns, whose `rowid` is the place of a row.
        source_table: Number of the source.
    """
    cells = [f"{_cell(table.fields[field], given)} AS {name(field)}" for field, given in found.items()]
    bad = [
        (field, f"{name(field)} IS NULL AND {_filled(given)}")
        for field, given in found.items()
        if table.fields[field].kind != "text"
    ]
    needed = [
        (field, fate("scrub", "missing_subject" if field == "person_id" and field != table.key else "missing_id"))
        for field in missing(table, {})
    ]
    ends = "".join(f" WHEN {wrong} THEN {text(fate('read', 'wrong_type'))}" for _, wrong in bad)
    ends += "".join(f" WHEN {name(field)} IS NULL THEN {text(ending)}" for field, ending in needed)
    paths = "".join(f" WHEN {wrong} THEN {text(f'{table.name}.{field}')}" for field, wrong in bad)
    paths += "".join(f" WHEN {name(field)} IS NULL THEN {text(f'{table.name}.{field}')}" for field, _ in needed)
    raws = ", ".join(f"raw.{name(given.name)} AS {name('raw ' + given.name)}" for given in found.values())
    kept = ", ".join(name(field) for field in found)
    return (
        f"SELECT {source_table}::INTEGER AS source_table, place AS source_row, 0::BIGINT AS twin, "
        f"CASE{ends} END::VARCHAR AS fate, CASE{paths} END::VARCHAR AS fate_path, {kept} "
        f"FROM (SELECT rowid + 1 AS place, {', '.join(cells)}, {raws} FROM {relation} AS raw)"
        if ends
        else f"SELECT {source_table}::INTEGER AS source_table, rowid + 1 AS source_row, 0::BIGINT AS twin, "
        f"NULL::VARCHAR AS fate, "
        f"NULL::VARCHAR AS fate_path, {', '.join(cells)} FROM {relation} AS raw"
    )


def clean(table: Table, found: Mapping[str, Given], relation: str) -> str:
    """Return a query with the typed rows of a source and, in `wrong`, whether there is anything to say of a row.

    One pass and no copy of the text, for the many sources without a fault. Where a row is wrong, `typed` says what is.

    Args:
        table: The table.
        found: Its fields in the source.
        relation: What reads the source.
    """
    cells = [f"{_lean(table.fields[field], given)} AS {name(field)}" for field, given in found.items()]
    raws = ", ".join(f"raw.{name(given.name)} AS {name('raw ' + given.name)}" for given in found.values())
    wrong = [
        f"({name(field)} IS NULL AND {name('raw ' + given.name)} IS NOT NULL)"
        for field, given in found.items()
        if table.fields[field].kind != "text" and given.type not in ("BIGINT", "DOUBLE")
    ]
    wrong += [
        f"NOT isfinite({name(field)})"
        for field, given in found.items()
        if table.fields[field].kind == "float" and given.type == "VARCHAR"
    ]
    wrong += [f"{name(field)} IS NULL" for field in missing(table, {})]
    kept = ", ".join(name(field) for field in found)
    inner = f"SELECT {', '.join(cells)}, {raws} FROM {relation} AS raw"
    return f"SELECT {kept}, {' OR '.join(wrong) or 'false'} AS wrong FROM ({inner})"


def placed(found: Mapping[str, Given], relation: str, source_table: int) -> str:
    """Return the query that gives the rows of `clean` the form of those of `typed`.

    Args:
        found: Fields of the table in the source.
        relation: A DuckDB table made of `clean`, with nothing wrong in it; its `rowid` is the place of a row.
        source_table: Number of the source.
    """
    kept = ", ".join(name(field) for field in found)
    return (
        f"SELECT {source_table}::INTEGER AS source_table, rowid + 1 AS source_row, 0::BIGINT AS twin, "
        f"NULL::VARCHAR AS fate, NULL::VARCHAR AS fate_path, {kept} FROM {relation}"
    )


def _lean(field: Field, given: Given) -> str:
    raw = f"raw.{name(given.name)}"
    if given.type != "VARCHAR" or field.kind in ("text", "date", "datetime"):
        return _cell(field, given)
    if field.kind == "float":
        return f"TRY_CAST({raw} AS DOUBLE)"
    return f"CASE WHEN NOT contains({raw}, '.') THEN TRY_CAST({raw} AS BIGINT) ELSE {_cell(field, given)} END"


def _filled(given: Given) -> str:
    raw = name("raw " + given.name)
    if given.type == "VARCHAR":
        return f"trim({raw}) NOT IN ('', '\\N')"
    return f"isfinite({raw})" if given.type.startswith(("DOUBLE", "FLOAT")) else f"{raw} IS NOT NULL"


def _cell(field: Field, given: Given) -> str:
    raw = f"raw.{name(given.name)}"
    kind = given.type
    if field.kind == "text":
        plain = raw if kind == "VARCHAR" else f"CAST({raw} AS VARCHAR)"
        return f"CASE WHEN {plain} NOT IN ('', '\\N') THEN {plain} END"
    if field.kind in ("date", "datetime"):
        return _moment(raw, kind)
    if field.kind == "float":
        number = f"TRY_CAST({raw} AS DOUBLE)"
        return f"CASE WHEN isfinite({number}) THEN {number} END"
    if kind.startswith(_WHOLES):
        return f"TRY_CAST({raw} AS BIGINT)"
    if kind.startswith(_FLOATS):
        return f"CASE WHEN {raw} = trunc({raw}) THEN TRY_CAST({raw} AS BIGINT) END"
    plain = f"trim(CAST({raw} AS VARCHAR))"
    return (
        f"CASE WHEN NOT contains({plain}, '.') THEN TRY_CAST({plain} AS BIGINT) "
        f"WHEN regexp_full_match({plain}, '{_WHOLE}') THEN TRY_CAST(split_part({plain}, '.', 1) AS BIGINT) END"
    )


def _moment(raw: str, kind: str) -> str:
    if kind.startswith(("DATE", "TIMESTAMP")):
        return f"CASE WHEN isfinite({raw}) THEN TRY_CAST({raw} AS TIMESTAMP) END"
    plain = f"trim(CAST({raw} AS VARCHAR))"
    compact = f"try_strptime({plain}, '%Y%m%d')"
    return f"CASE WHEN length({plain}) = 8 THEN {compact} ELSE TRY_CAST({plain} AS TIMESTAMP) END"


def told_apart(table: Table, fields: Sequence[str], relation: str) -> str:
    """Return a query for a table in which a key stands twice.

    A row that is there twice is dropped the second time. Another row under the same key is another fact (the public
    sample of OHDSI has thousands): it is kept, and `twin` counts up. A person cannot be two: there the second ends.

    Args:
        table: A table with a key.
        fields: The fields that the export has.
        relation: Its typed rows.
    """
    key = name(table.key or "")
    order = "ORDER BY source_table, source_row"
    all_of_it = ", ".join(name(field) for field in fields)
    again = f"fate IS NULL AND row_number() OVER (PARTITION BY fate, {all_of_it} {order}) > 1"
    ends = f"WHEN {again} THEN {text(fate('read', 'duplicate_row'))}"
    if table.key == "person_id":
        same = f"fate IS NULL AND row_number() OVER (PARTITION BY fate, {key} {order}) > 1"
        ends += f" WHEN {same} THEN {text(fate('read', 'duplicate_key'))}"
    ended = f"SELECT * REPLACE (CASE {ends} ELSE fate END AS fate) FROM {relation}"
    path = f"CASE WHEN starts_with(fate, 'read/duplicate') THEN {text(f'{table.name}.{table.key}')} ELSE fate_path END"
    twin = f"CASE WHEN fate IS NULL THEN row_number() OVER (PARTITION BY fate, {key} {order}) - 1 ELSE 0 END"
    return f"SELECT * REPLACE ({path} AS fate_path, {twin} AS twin) FROM ({ended})"
