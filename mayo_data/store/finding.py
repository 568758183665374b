"""What a check of a dataset found, and the column rules that several checks share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One rule that a dataset breaks: where and how often, never a value.

    Attributes:
        rule: Name of the rule.
        severity: `error`: not a valid MEDS dataset. `warning`: valid, but a tool may stumble.
        file: Path relative to the dataset, or empty for the whole of it.
        count: How many rows, subjects, codes or files break it.
        hint: What it means and what to do.

    >>> Finding("code_null", "error", "data/0.parquet", 2, "every event needs a code").count
    2
    """

    rule: str
    severity: Severity
    file: str
    count: int
    hint: str


def columns(
    found: pa.Schema, required: Mapping[str, pa.DataType], optional: Mapping[str, pa.DataType], file: str
) -> list[Finding]:
    """Compare the columns of a file with what MEDS demands: exact types, nothing cast.

    Args:
        found: Schema of the file.
        required: Columns that must be there.
        optional: Columns that may be there, and then have this type.
        file: Name for the finding.

    >>> [f.rule for f in columns(pa.schema([("a", pa.int32())]), {"a": pa.int64(), "b": pa.int64()}, {}, "f")]
    ['column_type', 'column_missing']
    """
    findings = []
    for name, wanted in {**required, **optional}.items():
        places = found.get_all_field_indices(name)
        if len(places) > 1:
            findings.append(Finding("column_twice", "error", file, len(places), f"{name} is there more than once"))
        elif not places and name in required:
            findings.append(Finding("column_missing", "error", file, 1, f"{name} ({wanted}) is not there"))
        elif places and found.field(name).type != wanted:
            kind = found.field(name).type
            findings.append(Finding("column_type", "error", file, 1, f"{name} is {kind}; MEDS asks for {wanted}"))
    return findings


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds text, with offsets of either width.

    >>> is_text(pa.large_string())
    True
    """
    return kind in {pa.string(), pa.large_string()}
