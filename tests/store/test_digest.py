from __future__ import annotations

import hashlib
import math
import random
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mayo_data.errors import StoreError
from mayo_data.store import digest, scratch

SCHEMA = pa.schema(
    [
        ("number", pa.int64()),
        ("real", pa.float32()),
        ("text", pa.string()),
        ("more", pa.large_string()),
        ("time", pa.timestamp("us")),
        ("names", pa.list_(pa.string())),
    ]
)
# texts that look like our own separators and lengths
text = st.one_of(st.none(), st.text(alphabet="01:|-é", max_size=4), st.text(max_size=5))
row = st.fixed_dictionaries(
    {
        "number": st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
        "real": st.one_of(st.none(), st.floats(width=32, allow_nan=False)),
        "text": text,
        "more": text,
        "time": st.one_of(st.none(), st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1))),
        "names": st.one_of(st.none(), st.lists(st.text(max_size=3), max_size=2)),
    }
)
few = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def written(folder: Path, rows: list[dict[str, Any]], name: str = "t", **options: Any) -> Path:
    path = folder / f"{name}.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path, **options)
    return path


@few
@given(rows=st.lists(row, min_size=1, max_size=6), seed=st.integers(0, 9))
def test_it_does_not_depend_on_how_the_rows_lie(tmp_path: Path, rows: list[dict[str, Any]], seed: int) -> None:
    whole = digest.logical_digest([written(tmp_path, rows)])
    mixed = random.Random(seed).sample(rows, len(rows))
    cut = seed % (len(rows) + 1)
    parts = [
        written(tmp_path, mixed[:cut], "a", compression="gzip", row_group_size=1),
        written(tmp_path, mixed[cut:], "b", compression="none", use_dictionary=False),
    ]
    assert digest.logical_digest(parts) == whole
    assert digest.logical_digest(parts[::-1]) == whole


@few
@given(rows=st.lists(row, min_size=1, max_size=4), other=row, data=st.data())
def test_any_changed_cell_changes_it(
    tmp_path: Path, rows: list[dict[str, Any]], other: dict[str, Any], data: Any
) -> None:
    before = digest.logical_digest([written(tmp_path, rows)])
    at = data.draw(st.integers(0, len(rows) - 1))
    column = data.draw(st.sampled_from(SCHEMA.names))
    old, new = rows[at][column], other[column]
    if old == new and not (column == "real" and old == 0 and math.copysign(1, old) != math.copysign(1, new)):
        return
    changed = [*rows[:at], {**rows[at], column: new}, *rows[at + 1 :]]
    assert digest.logical_digest([written(tmp_path, changed)]) != before


def test_a_lost_doubled_or_added_row_changes_it(tmp_path: Path) -> None:
    one = {"number": 1, "text": "a"}
    sums = {digest.logical_digest([written(tmp_path, [one] * n)]) for n in range(4)}
    assert len(sums) == 4


def test_fields_cannot_run_into_each_other(tmp_path: Path) -> None:
    pairs = [
        ("a", ""),
        ("", "a"),
        ("a", None),
        (None, "a"),
        ("1:", "a"),
        ("1", ":a"),
        ("|", ""),
        ("", "|"),
        (None, None),
    ]
    sums = {digest.logical_digest([written(tmp_path, [{"text": a, "more": b}])]) for a, b in pairs}
    assert len(sums) == len(pairs)


def test_values_may_not_swap_between_rows(tmp_path: Path) -> None:
    straight = [{"number": 1, "text": "a"}, {"number": 2, "text": "b"}]
    crossed = [{"number": 1, "text": "b"}, {"number": 2, "text": "a"}]
    assert digest.logical_digest([written(tmp_path, straight)]) != digest.logical_digest([written(tmp_path, crossed)])


def test_it_is_what_its_definition_says_on_every_machine_and_version(tmp_path: Path) -> None:
    rows = [{"number": 1, "real": 0.1, "text": "é", "time": datetime(1969, 12, 31), "names": ["a", 'b"']}, {}]
    spelled = [':11:["a","b\\""]1|0.100000001|2:é-86400000000|', "::||:|"]
    total = sum(int.from_bytes(hashlib.md5(row.encode()).digest(), "little") for row in spelled) % 2**128
    layout = "more:VARCHAR,names:VARCHAR[],number:BIGINT,real:FLOAT,text:VARCHAR,time:TIMESTAMP"
    known = hashlib.sha256(f"1|{layout}|2|{total:032x}".encode()).hexdigest()
    assert digest.logical_digest([written(tmp_path, rows)]) == known


def test_columns_can_be_left_out(tmp_path: Path) -> None:
    one, two = written(tmp_path, [{"number": 1}], "a"), written(tmp_path, [{"number": 2}], "b")
    assert digest.logical_digest([one], leave_out=["number"]) == digest.logical_digest([two], leave_out=["number"])


def test_files_of_two_tables_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"x": [1]}), other)
    with pytest.raises(StoreError, match="different columns"):
        digest.logical_digest([written(tmp_path, [{}]), other])
    other.write_bytes(b"no parquet")
    with pytest.raises(StoreError, match="cannot be read"):
        digest.logical_digest([other])
    with pytest.raises(StoreError, match="at least one"):
        digest.logical_digest([])


def test_a_folder_may_have_a_name_that_looks_like_a_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "we[i]rd*"
    folder.mkdir()
    assert digest.logical_digest([written(folder, [{}])]) == digest.logical_digest([written(tmp_path, [{}])])


def test_totals_of_parts_add_up(tmp_path: Path) -> None:
    """What a delta does: rows of a table in memory are taken from the total of files, and others added."""
    rows = [
        {"subject_id": n, "time": None, "code": f"C{n}", "numeric_value": n / 3, "text_value": None} for n in range(9)
    ]
    kinds = pa.schema(
        [("subject_id", pa.int64()), ("time", pa.timestamp("us")), ("code", pa.string()),
         ("numeric_value", pa.float32()), ("text_value", pa.large_string())]
    )  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=kinds)
    pq.write_table(table.slice(0, 7), tmp_path / "old.parquet")
    pq.write_table(pa.concat_tables([table.slice(2, 5), table.slice(7)]), tmp_path / "new.parquet")
    with scratch.connection(tmp_path / "spill") as db:
        old, new = (digest.totalled(db, [tmp_path / f"{name}.parquet"]) for name in ("old", "new"))
    gone, come = digest.total_of(table.slice(0, 2)), digest.total_of(table.slice(7))
    assert old.plus(-gone.rows, -gone.sum).plus(come.rows, come.sum) == new
    assert new.digest == digest.logical_digest([tmp_path / "new.parquet"])
