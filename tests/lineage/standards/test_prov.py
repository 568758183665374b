"""PROV-JSON, read by the `prov` package: it goes in and out unchanged, and its graph leads from end to end."""

from __future__ import annotations

import json
from typing import Any

import networkx as nx
import pytest
from prov.graph import prov_to_graph
from prov.model import ProvDocument

from mayo_data.lineage.standards import prov, writing
from mayo_data.lineage.standards.account import Account


@pytest.fixture(scope="module")
def text(story: Any) -> str:
    return writing.encoded(prov.document(story.account))


@pytest.fixture(scope="module")
def document(text: str) -> ProvDocument:
    return ProvDocument.deserialize(content=text, format="json")


def graph(document: ProvDocument) -> nx.DiGraph:
    found = prov_to_graph(document)
    return nx.relabel_nodes(nx.DiGraph(found), {node: str(node.identifier) for node in found})


def test_it_goes_in_and_out_unchanged(document: ProvDocument) -> None:
    assert ProvDocument.deserialize(content=document.serialize(format="json"), format="json") == document
    assert "wasGeneratedBy(mayo:snapshot-000001" in document.get_provn()


def test_every_end_of_every_relation_is_declared(text: str) -> None:
    body = json.loads(text)
    known = {name for kind in ("entity", "activity", "agent") for name in body[kind]}
    relations = [one for kind, found in body.items() if kind not in ("prefix", "entity", "activity", "agent") for one in found.values()]  # fmt: skip
    assert len(relations) > 10
    ends = {"prov:entity", "prov:activity", "prov:agent", "prov:generatedEntity", "prov:usedEntity", "prov:informed", "prov:informant"}  # fmt: skip
    for one in relations:
        assert {one[key] for key in ends & set(one)} <= known


def test_a_prediction_leads_back_to_the_source_files(document: ProvDocument, story: Any) -> None:
    found = graph(document)
    prediction = f"mayo:prediction-{story.predictions[0]}"
    reached = nx.descendants(found, prediction)
    assert f"mayo:model-{story.models[0]}" in reached
    assert f"mayo:training-{story.training}" in reached
    assert f"mayo:read-{story.read}" in reached
    assert f"mayo:context-{story.context}" in reached
    assert "mayo:snapshot-000001" in reached
    (attempt,) = story.account.attempts()
    assert {f"mayo:source-{one['sha256']}" for one in attempt.body["inputs"]} <= reached
    assert f"mayo:model-{story.models[1]}" not in reached


def test_nothing_leads_back_to_itself(document: ProvDocument) -> None:
    derived = nx.DiGraph()
    for record in document.get_records():
        body = {str(key): str(value) for key, value in record.formal_attributes if value is not None}
        if "prov:generatedEntity" in body:
            derived.add_edge(body["prov:generatedEntity"], body["prov:usedEntity"])
    assert derived.number_of_edges() > 3
    assert nx.is_directed_acyclic_graph(derived)


def test_a_withdrawal_invalidates_the_snapshot(text: str) -> None:
    gone = json.loads(text)["wasInvalidatedBy"].values()
    assert {one["prov:entity"] for one in gone} == {"mayo:snapshot-000001"}
    assert {one["prov:activity"].split("-")[0] for one in gone} == {"mayo:withdrawal", "mayo:erasure"}


def test_inferences_can_be_left_out(story: Any) -> None:
    body = prov.document(story.account, inferences=False)
    assert not [name for name in (*body["entity"], *body["activity"]) if "prediction" in name or "context" in name]
    assert f"mayo:training-{story.training}" in body["activity"]


def test_names_that_people_chose_are_labels_on_one_line(document: ProvDocument, story: Any) -> None:
    labels = [str(label) for record in document.get_records() for label in record.get_attribute("prov:label")]
    mine = [label for label in labels if "script" in label]
    assert len(mine) >= 3
    assert not any(char in label for label in mine for char in "\r\n\x00\u202e")
    for record in document.get_records():
        assert "script" not in str(record.identifier)


def test_a_store_without_a_ledger_has_an_empty_document() -> None:
    manifest = {"run_id": "r", "logical_digest": "d"}
    assert set(prov.document(Account((), "000001", manifest, "x"))) == {"prefix"}


def test_a_rollback_is_a_revision(story: Any) -> None:
    last = story.account.of("snapshot")[-1]
    body = {**last["body"], "snapshot": "000002", "mode": "rollback", "restores": "000001"}
    record = {**last, "body": body, "digest": "9" * 64}
    account = Account((*story.account.records, record), "000002", story.account.manifest, "x")
    made = prov.document(account)
    assert {
        "prov:generatedEntity": "mayo:snapshot-000002",
        "prov:usedEntity": "mayo:snapshot-000001",
        "prov:type": {"$": "prov:Revision", "type": "prov:QUALIFIED_NAME"},
    } in made["wasDerivedFrom"].values()
