"""Lineage is true: the line that a trace leads to, normalised again, gives the very same event."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mayo_data as md
from mayo_data import keys, schema
from mayo_data.events.normalize import Normalize
from mayo_data.lineage.ledger import Ledger
from mayo_data.phi import policy as policies
from mayo_data.phi.structured import Scrub
from mayo_data.store.layout import Store

# The build dates these where only an encounter does; what was known when follows from it.
DATED = ("time", "available_time", "time_precision")
Rows = dict[tuple[int, int, int], dict[str, object]]


@pytest.fixture(scope="module")
def scrub(synthetic_run: Path) -> Scrub:
    secret = keys.load(synthetic_run / "site.key")
    run = next(Ledger(Store.open(synthetic_run / "store").ledger).records("run"))
    policy = policies.load("expert_determination")
    return Scrub(policy, secret, secret, synthetic_run / "store.phi" / "vault.sqlite", run["body"]["as_of"])


def again(scrub: Scrub, lines: list[tuple[int, int, bytes]]) -> Rows:
    """The events of some lines of the source, made anew: scrub and normalize, nothing else."""
    rows = [{"source_table": table, "source_row": row, "body": body} for table, row, body in lines]
    wanted = schema.table("raw")
    for row in rows:
        row |= {name: None for name in wanted.names if name not in row}
    batch = pa.RecordBatch.from_pylist(rows, schema=wanted)
    found: Rows = {}
    for made in Normalize("fhir", 0)(scrub(iter([batch]))):
        for event in made.to_pylist():
            if event["fate"] is None:
                found[event["source_table"], event["source_row"], event["source_item"]] = event
    return found


def files_of(export: Path) -> dict[str, list[bytes]]:
    return {hashlib.sha256(path.read_bytes()).hexdigest(): path.read_bytes().splitlines() for path in export.iterdir()}


def agree(event: dict[str, object], made: dict[str, object]) -> None:
    dated = event["time_precision"] == "encounter"
    for name in schema.table("events").names:
        if dated and name in DATED:
            continue
        assert made[name] == event[name], name


def test_every_event_of_a_store_is_made_again_by_its_line(
    synthetic_run: Path, synthetic_export: Path, scrub: Scrub
) -> None:
    snapshot = Store.open(synthetic_run / "store").current()
    files = files_of(synthetic_export / "fhir")
    sources = ds.dataset(snapshot / "lineage" / "sources.parquet").to_table().to_pylist()
    lines = [
        (one["source_table"], number, body) for one in sources for number, body in enumerate(files[one["sha256"]], 1)
    ]
    made = again(scrub, lines)
    events = ds.dataset(snapshot / "data", format="parquet").to_table().to_pylist()
    assert events
    for event in events:
        agree(event, made[event["source_table"], event["source_row"], event["source_item"]])


def test_a_trace_leads_to_the_line_that_gives_the_event(
    synthetic_run: Path, synthetic_export: Path, scrub: Scrub
) -> None:
    store = synthetic_run / "store"
    columns = ["source_table", "source_row", "source_item"]
    rows = ds.dataset(Store.open(store).current() / "data", format="parquet").to_table(columns=columns).to_pylist()
    files = files_of(synthetic_export / "fhir")

    @settings(max_examples=40, deadline=None)
    @given(place=st.sampled_from(rows))
    def same(place: dict[str, int]) -> None:
        event_id = ".".join(str(place[name]) for name in columns)
        found = md.trace(store, event_id)
        line = files[found["source"]["sha256"]][found["source"]["row"] - 1]
        made = again(scrub, [(place["source_table"], found["source"]["row"], line)])
        event = made[place["source_table"], place["source_row"], place["source_item"]]
        assert event["code"] == found["event"]["code"]
        assert event["subject_id"] == found["event"]["subject_id"] == found["resource"]["subject_id"]
        assert event["value_text"] == found["event"]["value_text"]
        assert event["resource_key"] == found["resource"]["resource_key"]
        assert event["text_value"] == found["event"]["text_value"]

    same()
