r"""SQL that reads resources from FHIR ndjson, with the digits of every number.

DuckDB reads a JSON number as floating point: 1.10 becomes 1.1. So every number of a line that has a decimal is first
made a string, a mark and its digits: `"value":1.10` becomes `"value":"\u00011.10"`. The control character U+0001 does
not occur in FHIR. The expression walks over strings as a whole, so nothing within a text is taken for a number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mayo_data.views import sql

LONGEST = 64 << 20  # bytes of the longest line
_DECIMAL = (
    r"[:\[,]\s*(?:-?[0-9]+[.eE]|-0|-?[0-9]{18})"  # also true of some texts; then the line is rewritten for nothing
)
_NUMBER = r"""((?:[^"0-9-]|"(?:[^"\\]|\\.)*")*)(-?[0-9][0-9.eE+-]*|$)"""
_MARKED = r'\1"\\u0001\2"'
_ODD = '"\\u01'  # the characters of the mark at the end of the line, which ends in a brace


def read(files: Sequence[str], resource: str) -> str:
    """Return a SELECT of the resources of one type, in the column `resource`.

    Args:
        files: Paths of ndjson files, plain, `.gz` or `.zst`; empty for no rows.
        resource: The resource type.

    >>> print(read(["a/Patient.ndjson"], "Patient").splitlines()[0])
    SELECT CAST(CASE WHEN regexp_matches(...
    """
    if not files:
        return "SELECT CAST(NULL AS JSON) AS resource WHERE false"
    names = ", ".join(sql.text(re.sub(r"([*?\[])", r"[\1]", name)) for name in files)  # a name is no pattern
    line = "CAST(json AS VARCHAR)"
    # The last match is the end of the line, which gets a mark of its own: off again with it.
    marked = f"rtrim(regexp_replace({line}, {sql.text(_NUMBER)}, {sql.text(_MARKED)}, 'g'), {sql.text(_ODD)})"
    return (
        f"SELECT CAST(CASE WHEN regexp_matches({line}, {sql.text(_DECIMAL)}) THEN {marked} ELSE {line} END AS JSON)"
        " AS resource\n"
        f"FROM read_json_objects([{names}], format = 'newline_delimited', maximum_object_size = {LONGEST})\n"
        f"WHERE contains({line}, {sql.text(chr(34) + resource + chr(34))})"
        f" AND json_extract_string(json, '$.resourceType') = {sql.text(resource)}"
    )
