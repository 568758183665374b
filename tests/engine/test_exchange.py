from __future__ import annotations

from pathlib import Path
from unittest import mock

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mayo_data.engine import exchange
from mayo_data.engine.exchange import ExchangeWriter, gather

SCHEMA = pa.schema([("key", pa.int64()), ("text", pa.string())])


def table(rows: list[tuple[int, str]]) -> pa.Table:
    return pa.table({"key": [key for key, _ in rows], "text": [text for _, text in rows]}, schema=SCHEMA)


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 2**63 - 1), st.text(max_size=5)), max_size=20), max_size=8),
    st.integers(1, 9),
    st.integers(1, 25),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_every_row_comes_out_in_its_shard_in_order(
    tmp_path: Path, batches: list[list[tuple[int, str]]], shards: int, held: int
) -> None:
    path = tmp_path / "0.arrow"
    with mock.patch.object(exchange, "_ROWS", held):
        writer = ExchangeWriter(path, SCHEMA, "key", shards)
        for rows in batches:
            for batch in table(rows).to_batches():
                writer.write(batch)
        parcels = writer.close()
    every = [row for rows in batches for row in rows]
    assert sum(parcel.rows for parcel in parcels) == len(every)
    for shard in range(shards):
        found = gather([(path, parcels)], shard, SCHEMA)
        got = list(zip(found["key"].to_pylist(), found["text"].to_pylist(), strict=True))
        assert got == [row for row in every if row[0] % shards == shard]
        assert found.schema == SCHEMA


def test_several_files_are_gathered(tmp_path: Path) -> None:
    files = []
    for number in range(3):
        writer = ExchangeWriter(tmp_path / f"{number}.arrow", SCHEMA, "key", 2)
        writer.write(table([(number, "a"), (number + 1, "b")]).to_batches()[0])
        files.append((tmp_path / f"{number}.arrow", writer.close()))
    assert sorted(gather(files, 0, SCHEMA)["key"].to_pylist()) == [0, 2, 2]
    assert gather([], 0, SCHEMA).num_rows == 0


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "0.arrow"
    writer = ExchangeWriter(path, SCHEMA, "key", 2)
    writer.write(table([(1, "a")]).to_batches()[0])
    assert not path.exists()
    writer.abandon()
    assert list(tmp_path.iterdir()) == []


def test_a_negative_key_has_a_shard_too(tmp_path: Path) -> None:
    writer = ExchangeWriter(tmp_path / "0.arrow", SCHEMA, "key", 3)
    writer.write(table([(-1, "a"), (5, "b")]).to_batches()[0])
    parcels = writer.close()
    assert {parcel.shard for parcel in parcels} == {2}


@pytest.mark.parametrize("shards", [1, 1000])
def test_more_shards_than_rows(tmp_path: Path, shards: int) -> None:
    writer = ExchangeWriter(tmp_path / "0.arrow", SCHEMA, "key", shards)
    assert writer.close() == []
    assert gather([(tmp_path / "0.arrow", [])], 0, SCHEMA).num_rows == 0
