"""Walks over a real store, both ways: every step is held against the files themselves."""

from __future__ import annotations

import shutil
from pathlib import Path

import orjson
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from served import Served

import mayo_data as md
from mayo_data.lineage.ledger import Ledger
from mayo_data.store.layout import Store


def events_of(store: Path, subject: int) -> int:
    table = ds.dataset(Store.open(store).current() / "data", format="parquet")
    return table.count_rows(filter=ds.field("subject_id") == subject)


def test_a_prediction_leads_to_the_lines_of_the_source(served: Served, synthetic_export: Path) -> None:
    found = md.trace(served.store, served.prediction, limit=7)
    assert found["kind"] == "prediction"
    assert found["subject_id"] == served.subject
    assert found["trainings"][0]["training_id"] == served.training
    assert [one["kind"] for one in found["records"]] == ["inference", "context", "training"]
    counts = found["counts"]
    assert counts["found"] == counts["events"] == events_of(served.store, served.subject)
    assert sum(one["lines"] for one in found["sources"]) == counts["lines"] > len(found["lines"]) == 7
    names = {one["sha256"]: one for one in found["sources"]}
    raw = {digest(path): path for path in (synthetic_export / "fhir").iterdir()}
    for line in found["lines"]:
        path = raw[line["sha256"]]
        assert names[line["sha256"]]["source_table"] == line["source_table"]
        body = orjson.loads(path.read_bytes().splitlines()[line["source_row"] - 1])
        assert body["resourceType"] == line["resource_type"]
    assert orjson.loads(orjson.dumps(found)) == found


def digest(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_context_and_a_read_lead_both_ways(served: Served) -> None:
    context = md.trace(served.store, served.context)
    assert (context["kind"], context["subject_id"]) == ("context", served.subject)
    assert context["predictions"] == [served.prediction]
    read = md.trace(served.store, served.read)
    assert read["kind"] == "read"
    assert [one["training_id"] for one in read["trainings"]] == [served.training]
    assert read["counts"]["subjects"] == len(md.open(served.store).subjects("train"))
    manifest = orjson.loads((Store.open(served.store).current() / "manifest.json").read_bytes())
    assert len(read["sources"]) == manifest["tables"]["sources"]["rows"]


def test_a_subject_is_told_with_all_of_its_lines(served: Served) -> None:
    found = md.trace(served.store, str(served.subject), limit=1 << 20)
    assert found["counts"]["events"] == events_of(served.store, served.subject)
    assert found["counts"]["lines"] == len(found["lines"]) == sum(found["counts"]["types"].values())
    decided = ds.dataset(Store.open(served.store).current() / "lineage" / "decisions", format="parquet")
    wanted = decided.count_rows(filter=ds.field("subject_id") == served.subject)
    assert sum(found["counts"]["decisions"].values()) == wanted
    assert found["split"] == "train"


def test_a_trace_names_policy_mapping_and_code(served: Served) -> None:
    found = md.trace(served.store, md.trace(served.store, served.prediction)["lines"][0]["event_id"])
    manifest = orjson.loads((Store.open(served.store).current() / "manifest.json").read_bytes())
    assert found["mapping"]["fingerprint"] == manifest["fingerprints"]["normalize"]
    assert found["scrub"]["policy_fingerprint"] == manifest["policy_fingerprint"]
    assert found["scrub"]["code_version"] == md.__version__
    assert found["run"]["body"]["run_id"] == manifest["run_id"]


@pytest.mark.parametrize("name", ["L-" + "0" * 32, "P-" + "0" * 32, "123", "9" * 25, "L-xyz", "P-123", "../ledger"])
def test_what_is_not_there_is_an_error_that_repeats_nothing(served: Served, name: str) -> None:
    with pytest.raises(md.StoreError) as caught:
        md.trace(served.store, name)
    assert name not in str(caught.value) + caught.value.hint


def test_the_impact_of_a_subject_is_all_that_was_made_of_it(served: Served) -> None:
    found = md.impact(served.store, subject=served.subject)
    assert found["snapshots"] == [
        {"snapshot": "000001", "events": events_of(served.store, served.subject), "subjects": 1}
    ]
    assert [(one["lineage_id"], one["certain"]) for one in found["reads"]] == [(served.read, True)]
    assert [(one["training_id"], one["certain"]) for one in found["trainings"]] == [(served.training, True)]
    assert [one["prediction_id"] for one in found["inferences"]] == [served.prediction]
    assert [one["lineage_id"] for one in found["contexts"]] == [served.context]
    assert found["counts"]["by_models"] == 1


def test_whoever_was_in_another_split_was_not_read(served: Served) -> None:
    splits = md.open(served.store).splits()
    others = splits[splits["split"] != "train"]["subject_id"].tolist()
    train = md.open(served.store).subjects("train")
    assert served.subject in train
    for subject in others:
        found = md.impact(served.store, subject=subject)
        assert found["counts"]["reads"] == found["counts"]["trainings"] == found["counts"]["inferences"] == 0


def test_a_read_that_cannot_say_whom_is_counted_as_perhaps(served: Served) -> None:
    book = Ledger(Store.open(served.store).ledger)
    record = next(book.records("read"))
    book.append("read", {**record["body"], "lineage_id": "L-" + "1" * 32, "subjects_sha256": "0" * 64})
    book.append("read", {**record["body"], "lineage_id": "L-" + "2" * 32, "snapshot": "000099"})
    found = md.impact(served.store, subject=served.subject)
    assert {one["lineage_id"]: one["certain"] for one in found["reads"]} == {
        served.read: True, "L-" + "1" * 32: False, "L-" + "2" * 32: False,
    }  # fmt: skip


def test_the_impact_of_a_file_and_of_a_resource(served: Served) -> None:
    line = md.trace(served.store, served.prediction)["lines"][0]
    by_file = md.impact(served.store, file=line["sha256"])
    assert by_file["counts"]["inferences"] == 1
    assert md.impact(served.store, file=line["sha256"][:8])["snapshots"] == by_file["snapshots"]
    assert md.impact(served.store, file=str(line["source_table"]))["snapshots"] == by_file["snapshots"]
    resources = ds.dataset(Store.open(served.store).current() / "lineage" / "resources", format="parquet").to_table()
    rows = [one for one in resources.to_pylist() if one["source_table"] == line["source_table"]]
    assert by_file["snapshots"][0]["events"] == sum(one["events"] for one in rows)
    assert by_file["snapshots"][0]["subjects"] == len({one["subject_id"] for one in rows})
    by_key = md.impact(served.store, resource=line["resource_key"])
    assert (by_key["counts"]["inferences"], by_key["snapshots"][0]["subjects"]) == (1, 1)
    other = next(one for one in resources.to_pylist() if one["subject_id"] != served.subject)
    assert md.impact(served.store, resource=other["resource_key"])["counts"]["inferences"] == 0


def test_the_impact_of_a_policy_is_the_whole_snapshot(served: Served) -> None:
    manifest = orjson.loads((Store.open(served.store).current() / "manifest.json").read_bytes())
    for name in (manifest["policy"], manifest["policy_fingerprint"]):
        found = md.impact(served.store, policy=name)
        assert found["snapshots"][0]["events"] == manifest["tables"]["events"]["rows"]
        assert found["counts"]["reads"] == found["counts"]["inferences"] == 1
    with pytest.raises(md.StoreError, match="no kept snapshot"):
        md.impact(served.store, policy="no_such_policy")


def test_impact_is_of_one_thing(served: Served) -> None:
    for given in ({}, {"subject": 1, "file": "0"}):
        with pytest.raises(md.ConfigError, match="one thing"):
            md.impact(served.store, **given)  # type: ignore[arg-type]
    for name in ("Patient.ndjson", "²"):
        with pytest.raises(md.ConfigError, match="no source file"):
            md.impact(served.store, file=name)
    with pytest.raises(md.StoreError):
        md.impact(served.store, subject=5)


def test_without_kept_inputs_a_prediction_still_names_its_model(served: Served) -> None:
    shutil.rmtree(Store.open(served.store).ledger.parent / "inputs")
    found = md.trace(served.store, served.prediction)
    assert (found["counts"]["found"], found["lines"]) == (0, [])
    assert found["trainings"][0]["training_id"] == served.training


def test_a_changed_list_of_inputs_leads_nowhere(served: Served) -> None:
    for file in (Store.open(served.store).ledger.parent / "inputs").rglob("*.arrow"):
        body = bytearray(file.read_bytes())
        body[len(body) // 2] ^= 1
        file.write_bytes(body)
    with pytest.raises(md.StoreError, match="was changed"):
        md.trace(served.store, served.prediction)


def test_no_real_id_is_in_any_answer(served: Served, synthetic_export: Path) -> None:
    ids = {
        orjson.loads(line)["id"]
        for path in (synthetic_export / "fhir").iterdir()
        for line in path.read_bytes().splitlines()
    }
    answers = [md.trace(served.store, name) for name in (served.prediction, served.read, str(served.subject))]
    answers.append(md.impact(served.store, subject=served.subject))
    text = orjson.dumps(answers).decode()
    assert not [one for one in ids if len(one) > 8 and one in text]
    assert pq.read_table(Store.open(served.store).current() / "lineage" / "sources.parquet").num_rows
