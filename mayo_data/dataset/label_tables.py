"""Labels as MEDS has them: who, when, and the value to be predicted; made by a task or brought along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mayo_data.errors import ConfigError
from mayo_data.lineage import consumption
from mayo_data.store import write

if TYPE_CHECKING:
    import pandas as pd

# The LabelSchema of MEDS 0.4.
SCHEMA = pa.schema(
    [
        pa.field("subject_id", pa.int64(), nullable=False),
        pa.field("prediction_time", pa.timestamp("us"), nullable=False),
        pa.field("boolean_value", pa.bool_()),
        pa.field("integer_value", pa.int64()),
        pa.field("float_value", pa.float32()),
        pa.field("categorical_value", pa.string()),
    ]
)
VALUES: tuple[str, ...] = tuple(SCHEMA.names[2:])


@dataclass(frozen=True)
class Labels:
    """A label table with its name and digest.

    Attributes:
        name: What the labels are called in the ledger.
        table: The rows, in the LabelSchema of MEDS 0.4, by subject and time. A value column that is used nowhere is not
            there, as that schema wants it.
        digest: Digest of the rows, whatever their order.
        left_out: Of a task, how many index events gave no label, by reason.

    >>> from datetime import datetime
    >>> rows = pa.table({"subject_id": [1], "prediction_time": [datetime(2020, 1, 1)], "boolean_value": [True]})
    >>> Labels.of(rows, name="mine").value
    'boolean_value'
    """

    name: str
    table: pa.Table = field(repr=False)
    digest: str
    left_out: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, source: Labels | pa.Table | pd.DataFrame | Path | str, name: str | None = None) -> Labels:
        """Return labels from what people have: a MEDS label table as Arrow, pandas or a Parquet file.

        Columns that MEDS does not know are left out; missing value columns are null.

        Args:
            source: The labels.
            name: What they are called in the ledger; by default `labels`, or the name of the file.

        Raises:
            ConfigError: There is no `subject_id` or `prediction_time`, or a column has another type, or the file
                cannot be read, or one subject has two labels at one time.
        """
        if isinstance(source, Labels):
            return source
        if isinstance(source, Path | str):
            try:
                table = pq.read_table(source)
            except (OSError, ValueError) as error:
                raise ConfigError("the labels cannot be read", hint="give a Parquet file in the MEDS format") from error
            name = name or Path(source).stem
        elif isinstance(source, pa.Table):
            table = source
        else:
            try:
                table = pa.Table.from_pandas(source, preserve_index=False)
            except (pa.ArrowException, AttributeError, TypeError):
                hint = "give Arrow, pandas or Parquet in the MEDS format, one type a column"
                raise ConfigError("the labels are no table", hint=hint) from None  # the cause quotes a cell
        return cls.made(name or "labels", table)

    @classmethod
    def made(cls, name: str, table: pa.Table, left_out: Mapping[str, int] | None = None) -> Labels:
        """Return labels from an Arrow table with the columns of MEDS; see `of`."""
        from mayo_data.store import digest

        fitted = _fit(table)
        return cls(
            consumption.named("the name of labels", name), fitted, digest.total_of(fitted).digest, left_out or {}
        )

    @property
    def value(self) -> str:
        """The column that holds the value; `boolean_value` where there are no rows.

        Raises:
            ConfigError: A row has no value, or the values are in several columns.
        """
        used: list[str] = self.table.column_names[2:]
        if not self.table.num_rows:
            return used[0]
        if len(used) != 1 or self.table.column(used[0]).null_count:
            raise ConfigError("labels need one value a row, all in one column", hint=f"one of {', '.join(VALUES)}")
        return used[0]

    def write(self, path: Path | str) -> None:
        """Write the labels as Parquet, for any MEDS tool."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(target.name + write.TEMPORARY)
        pq.write_table(self.table, temporary)
        temporary.replace(target)

    def about(self) -> dict[str, Any]:
        """Return what the ledger keeps of them."""
        return {"name": self.name, "digest": self.digest, "rows": self.table.num_rows}


def _fit(table: pa.Table) -> pa.Table:
    lacking = [name for name in SCHEMA.names[:2] if name not in table.column_names]
    if lacking:
        raise ConfigError(f"labels lack the column {lacking[0]}", hint="see LabelSchema of MEDS 0.4")
    columns = []
    for wanted in SCHEMA:
        if wanted.name not in table.column_names:
            columns.append(pa.nulls(table.num_rows, wanted.type))
            continue
        try:
            columns.append(table.column(wanted.name).cast(wanted.type))
        except (pa.ArrowException, TypeError):
            hint = "see LabelSchema of MEDS 0.4"
            raise ConfigError(f"labels: {wanted.name} is no {wanted.type}", hint=hint) from None  # it quotes a cell
    fitted = pa.table(columns, names=SCHEMA.names)
    if any(fitted.column(name).null_count for name in SCHEMA.names[:2]):
        raise ConfigError("a label needs a subject and a time", hint="leave out rows without them")
    fitted = fitted.sort_by([("subject_id", "ascending"), ("prediction_time", "ascending")])
    if fitted.group_by(["subject_id", "prediction_time"]).aggregate([]).num_rows < fitted.num_rows:
        raise ConfigError("one subject has two labels at one time", hint="keep one of them")
    if fitted.num_rows:
        used = [name for name in VALUES if fitted.column(name).null_count < fitted.num_rows]
    else:
        used = [name for name in VALUES if name in table.column_names] or [VALUES[0]]
    return fitted.cast(SCHEMA).select([*SCHEMA.names[:2], *used]).combine_chunks()


def of_subjects(table: pa.Table, subjects: pa.Array) -> pa.Table:
    """Return the labels of some subjects.

    >>> of_subjects(SCHEMA.empty_table(), pa.array([1])).num_rows
    0
    """
    return table.filter(pc.is_in(table.column("subject_id"), value_set=subjects))
