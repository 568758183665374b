"""Nightly rows of an OMOP CDM: all rows of some persons, which replace those that the store has of them."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.dataset as ds
import pytest
from hospital import KEY
from test_omop import SYSTEMS, Rows, omop, small, write

import mayo_data as md
from mayo_data.errors import ConfigError
from mayo_data.keys import Secret
from mayo_data.lineage import steps as accounts
from mayo_data.pipeline import RunReport, run
from mayo_data.store.digest import logical_digest
from mayo_data.store.layout import Store

LINEAGE = ("source_table", "source_row")


def go(source: Any, store: Path, *, delta: bool = False, **phi: Any) -> RunReport:
    config = omop(model="none", **phi)
    config = msgspec.structs.replace(config, store=msgspec.structs.replace(config.store, shards=4), validate="off")
    report = run(config, source, store, Secret(KEY), workers=1, delta=delta)
    assert accounts.check(report.steps) == []
    assert md.validate(store) == []
    return report


def said(store: Path) -> list[str]:
    """What a store says, wherever it was read."""
    path = md.open(store).path
    events = ds.dataset(path / "data").to_table()
    rows = sorted(str(row) for row in events.drop_columns([*LINEAGE]).to_pylist())
    return rows + [logical_digest([path / "metadata" / f"{name}.parquet"]) for name in ("codes", "subject_splits")]


def of_person(rows: Rows, person: str) -> Rows:
    """The nightly rows: those of a person, and the vocabulary."""
    found = {
        table: [line for line in lines if line.get("person_id", person) == person] for table, lines in rows.items()
    }
    return {table: lines for table, lines in found.items() if lines}


def changed() -> Rows:
    rows = copy.deepcopy(small())
    del rows["condition_occurrence"][0]  # gone
    rows["measurement"][0]["value_as_number"] = "9.9"  # another value
    more = {
        **rows["measurement"][0],
        "measurement_id": "77",
        "measurement_date": "2020-02-02",
        "measurement_datetime": "",
    }
    rows["measurement"].append(more)
    return rows


def test_the_rows_of_a_person_replace_those_of_before(tmp_path: Path) -> None:
    go(write(tmp_path / "base", small()), tmp_path / "store")
    report = go(write(tmp_path / "night", of_person(changed(), "1")), tmp_path / "store", delta=True)
    go(write(tmp_path / "whole", changed()), tmp_path / "rebuilt")
    assert said(tmp_path / "store") == said(tmp_path / "rebuilt")
    assert report.steps[-1].dropped == {"replaced": 5}
    assert (report.mode, report.subjects) == ("delta", 2)
    again = go(tmp_path / "night", tmp_path / "store", delta=True)
    assert again.repeated
    # Other bytes of the same rows are another lineage, and nothing else.
    packed = write(tmp_path / "packed", of_person(changed(), "1"), packed=True)
    go(packed, tmp_path / "store", delta=True)
    assert said(tmp_path / "store") == said(tmp_path / "rebuilt")
    assert md.diff(tmp_path / "store", "2", "3").events == {"added": 0, "removed": 0, "changed": 0}


def test_without_the_vocabulary_a_delta_would_have_other_codes(tmp_path: Path) -> None:
    go(write(tmp_path / "base", small()), tmp_path / "store")
    night = of_person(changed(), "1")
    del night["concept"]
    with pytest.raises(ConfigError, match="no table concept"):
        go(write(tmp_path / "night", night), tmp_path / "store", delta=True)
    assert Store.open(tmp_path / "store").snapshots() == ["000001"]


@pytest.mark.slow
def test_fhir_and_omop_in_one_store(synthetic_export: Path, tmp_path: Path) -> None:
    """The CDM comes first, FHIR the night after, then the same persons of the CDM again: as if all came at once."""
    cdm, fhir = synthetic_export / "omop_parquet", synthetic_export / "fhir"
    shutil.copytree(synthetic_export / "omop_csv", tmp_path / "night")
    both = go([fhir, cdm], tmp_path / "rebuilt", join=SYSTEMS)
    shutil.copytree(tmp_path / "rebuilt.phi", tmp_path / "store.phi")
    config = omop(model="none", join=SYSTEMS)
    config = msgspec.structs.replace(
        config, store=msgspec.structs.replace(config.store, shards=4), validate="off",
        source=msgspec.structs.replace(config.source, format="fhir"),
    )  # fmt: skip
    run(config, fhir, tmp_path / "store", Secret(KEY), workers=1)
    config = msgspec.structs.replace(config, source=msgspec.structs.replace(config.source, format="omop"))
    night = run(config, cdm, tmp_path / "store", Secret(KEY), workers=1, delta=True)
    assert night.logical_digest == both.logical_digest
    facts = [
        ds.dataset(md.open(tmp_path / name).path / "lineage" / "same_facts").to_table().num_rows
        for name in ("store", "rebuilt")
    ]
    assert facts[0] == facts[1] > 0
    before = said(tmp_path / "store")
    third = run(config, tmp_path / "night", tmp_path / "store", Secret(KEY), workers=1, delta=True)
    assert third.steps[-1].dropped["replaced"] > 0
    assert said(tmp_path / "store") == before
