from __future__ import annotations

from pathlib import Path
from unittest import mock

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mayo_data.engine import exchange
from mayo_data.engine.exchange import ExchangeWriter, by_lane, gather, regroup, width

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
    assert len(every) == 0 or set(by_lane([(path, parcels)])) == {key % shards for key, _ in every}
    for shard in range(shards):
        found = gather(by_lane([(path, parcels)]).get(shard, []), SCHEMA)
        got = list(zip(found["key"].to_pylist(), found["text"].to_pylist(), strict=True))
        assert got == [row for row in every if row[0] % shards == shard]
        assert found.schema == SCHEMA


@given(st.lists(st.integers(0, 2**63 - 1), max_size=60), st.lists(st.integers(1, 9), min_size=1), st.integers(1, 25))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_however_rows_come_in_batches_the_file_is_the_same(
    tmp_path: Path, keys: list[int], cuts: list[int], held: int
) -> None:
    """A task that is done again, closely, leaves the very file that its receipt speaks of."""
    every = table([(key, str(number)) for number, key in enumerate(keys)]).combine_chunks()
    with mock.patch.object(exchange, "_ROWS", held):
        left = []
        for name, sizes in (("at_once", [len(keys) or 1]), ("cut", cuts)):
            writer, at = ExchangeWriter(tmp_path / name, SCHEMA, "key", 4), 0
            while at < len(keys):
                size = sizes[at % len(sizes)]
                for batch in every.slice(at, size).to_batches():
                    writer.write(batch)
                at += size
            left.append((writer.close(), (tmp_path / name).read_bytes()))
    assert left[0][0] == left[1][0]
    assert left[0][1] == left[1][1]


def test_several_files_are_gathered(tmp_path: Path) -> None:
    files = []
    for number in range(3):
        writer = ExchangeWriter(tmp_path / f"{number}.arrow", SCHEMA, "key", 2)
        writer.write(table([(number, "a"), (number + 1, "b")]).to_batches()[0])
        files.append((tmp_path / f"{number}.arrow", writer.close()))
    assert sorted(gather(by_lane(files)[0], SCHEMA)["key"].to_pylist()) == [0, 2, 2]
    assert gather([], SCHEMA).num_rows == 0


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
    assert {parcel.lane for parcel in parcels} == {2}


@pytest.mark.parametrize("shards", [1, 1000])
def test_more_shards_than_rows(tmp_path: Path, shards: int) -> None:
    writer = ExchangeWriter(tmp_path / "0.arrow", SCHEMA, "key", shards)
    assert writer.close() == []
    assert by_lane([(tmp_path / "0.arrow", [])]) == {}


@given(
    st.lists(st.lists(st.integers(0, 2**63 - 1), max_size=30), min_size=1, max_size=4),
    st.integers(1, 40),
    st.integers(1, 7),
    st.integers(1, 25),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_lanes_are_taken_apart_into_shards(
    tmp_path: Path, files: list[list[int]], shards: int, lanes: int, held: int
) -> None:
    left, every = [], []
    with mock.patch.object(exchange, "_ROWS", held), mock.patch.object(exchange, "LANES", lanes):
        for number, keys in enumerate(files):
            rows = [(key, f"{number}.{place}") for place, key in enumerate(keys)]
            writer = ExchangeWriter(tmp_path / f"{number}.arrow", SCHEMA, "key", shards)
            for batch in table(rows).to_batches():
                writer.write(batch)
            left.append((tmp_path / f"{number}.arrow", writer.close()))
            every += rows
        found = by_lane(left)
        assert len(found) <= lanes
        assert set(found) == {key % shards // width(shards) for key, _ in every}
        seen = []
        for lane, batches in found.items():
            path = tmp_path / f"lane-{lane}.arrow"
            for shard, mine in by_lane([(path, regroup(batches, path, SCHEMA, "key", shards))]).items():
                got = gather(mine, SCHEMA)
                rows = list(zip(got["key"].to_pylist(), got["text"].to_pylist(), strict=True))
                assert rows == [row for row in every if row[0] % shards == shard]
                seen += rows
    assert sorted(seen) == sorted(every)
