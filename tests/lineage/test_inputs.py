from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mayo_data.errors import StoreError
from mayo_data.lineage import inputs

ids = st.lists(st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1), st.integers(0, 2**31 - 1)), max_size=30)


def table(rows: list[tuple[int, int, int]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, inputs.SCHEMA, strict=True)],
        schema=inputs.SCHEMA,
    )


@given(ids)
def test_the_same_ids_are_the_same_bytes_however_they_lie(rows: list[tuple[int, int, int]]) -> None:
    whole = table(rows)
    half = len(rows) // 2
    parts = pa.concat_tables([whole.slice(0, half), whole.slice(half)])
    assert inputs.encode(parts) == inputs.encode(whole)
    assert inputs.encode(whole.append_column("more", pa.nulls(len(rows)))) == inputs.encode(whole)


def test_a_list_is_kept_once_under_its_digest(tmp_path: Path) -> None:
    one, two = table([(0, 1, 0), (0, 2, 0)]), table([(0, 2, 0), (0, 1, 0)])
    names = {inputs.write(tmp_path, found) for found in (one, one, two)}
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert files == sorted(f"inputs/{name[:2]}/{name}.arrow" for name in names)
    assert len(names) == 2, "order counts: a model saw them in order"
    assert inputs.read(tmp_path, inputs.write(tmp_path, two)).equals(two)


def test_a_list_that_was_changed_is_refused(tmp_path: Path) -> None:
    name = inputs.write(tmp_path, table([(0, 1, 0)]))
    path = tmp_path / "inputs" / name[:2] / f"{name}.arrow"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError, match="was changed"):
        inputs.read(tmp_path, name)


@pytest.mark.parametrize("name", ["", "ab", "../../etc/passwd", "A" * 64, "a" * 65])
def test_what_names_no_list_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match="names no list"):
        inputs.read(tmp_path, name)
