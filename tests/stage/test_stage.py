from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path

import orjson
import pyarrow as pa
import pytest

from mayo_data import assets, schema
from mayo_data.events.normalize import Normalize
from mayo_data.keys import Secret
from mayo_data.phi import policy
from mayo_data.phi.structured import Scrub
from mayo_data.stage import TALLY, Stage, alive, fate, fates, tally

STAGES = [
    Scrub(policy.load("safe_harbor"), Secret(bytes(32)), Secret(bytes(32)), Path("vault.sqlite"), "2024-01-01"),
    Normalize(),
]


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_stage_keeps_the_contract(stage: Stage) -> None:
    assert isinstance(stage, Stage)
    assert pickle.loads(pickle.dumps(stage)).fingerprint == stage.fingerprint
    for name in (stage.reads, stage.writes):
        assert {"body", "fate"} <= set(schema.table(name).names)
    assert stage.name in assets.toml("schemas", "reasons.toml")


@pytest.mark.parametrize("name", ["raw", "scrubbed", "staged"])
def test_tallies_ride_along_and_are_no_rows(name: str) -> None:
    table = schema.table(name)
    batch = tally(table, Counter({"phi/DATE/shift": 3}))
    assert batch.schema == table
    assert orjson.loads(batch.column("body")[0].as_py()) == {"phi/DATE/shift": 3}
    assert fates(batch) == Counter()
    assert alive(batch).num_rows == 0
    assert batch.column("fate")[0].as_py() == TALLY


def test_fates_are_counted() -> None:
    column = pa.array([None, fate("scrub", "bad_json"), fate("scrub", "bad_json"), TALLY])
    batch = pa.RecordBatch.from_arrays([column], names=["fate"])
    assert fates(batch) == Counter({"scrub/bad_json": 2})
    assert alive(batch).num_rows == 1


def test_every_reason_has_a_hint_and_says_whether_it_is_quarantined() -> None:
    for arrow in assets.toml("schemas", "reasons.toml").values():
        for reason in arrow.values():
            assert set(reason) == {"quarantine", "hint"}
            assert isinstance(reason["quarantine"], bool)
            assert len(reason["hint"]) > 10
