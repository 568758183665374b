"""FHIR exports, judged by fhir.resources (R4B), by our own conformance room, and by the rules of the AI guide."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class

import mayo_data as md
from mayo_data.conformance.validate import fault
from mayo_data.dataset import standards
from mayo_data.lineage.standards import fhir, writing

AIAST = ("http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "AIAST")
IS_AI = ("http://hl7.org/fhir/uv/aitransparency/CodeSystem/AIdeviceTypeCS", "Artificial-Intelligence")


@pytest.fixture(scope="module")
def bundle(story: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(standards.export(story.store, "fhir"))
    return found


def of(bundle: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [one["resource"] for one in bundle["entry"] if one["resource"]["resourceType"] == kind]


def codes(concept: dict[str, Any]) -> set[tuple[str, str]]:
    return {(one["system"], one["code"]) for one in concept.get("coding", [])}


def references(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "reference" in value:
            yield value
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_it_is_fhir(bundle: dict[str, Any]) -> None:
    get_fhir_model_class("Bundle").model_validate(bundle)
    assert fault(json.dumps(bundle).encode()) is None
    for one in bundle["entry"]:
        resource = one["resource"]
        get_fhir_model_class(resource["resourceType"]).model_validate(resource)
        assert fault(json.dumps(resource).encode()) is None, resource


def test_the_judges_can_say_no(bundle: dict[str, Any]) -> None:
    one = json.loads(json.dumps(of(bundle, "AuditEvent")[0]))
    del one["source"]
    assert fault(json.dumps(one).encode()) is not None


def test_every_reference_leads_to_an_entry(bundle: dict[str, Any]) -> None:
    known = {one["fullUrl"]: one["resource"]["resourceType"] for one in bundle["entry"]}
    assert len(known) == len(bundle["entry"])
    found = list(references(bundle))
    assert len(found) > 10
    assert all(known[one["reference"]] == one["type"] for one in found)


def test_a_model_is_an_ai_device(bundle: dict[str, Any], story: Any) -> None:
    """Profile AI-Device: type exactly one, Artificial-Intelligence."""
    models = [one for one in of(bundle, "Device") if "meta" in one]
    assert {one["version"][0]["value"] for one in models} == set(story.models)
    for one in models:
        assert one["meta"]["profile"] == ["http://hl7.org/fhir/uv/aitransparency/StructureDefinition/AI-Device"]
        assert codes(one["type"]) == {IS_AI}
        assert one["identifier"]


def test_its_card_is_attached(bundle: dict[str, Any], story: Any) -> None:
    """Profile AI-ModelCard: type AIModelCard, category of its format, content in Markdown."""
    (card,) = of(bundle, "DocumentReference")
    system = "http://hl7.org/fhir/uv/aitransparency/CodeSystem/AIinputsCS"
    assert codes(card["type"]) == {(system, "AIModelCard")}
    assert codes(card["category"][0]) == {(system, "AIModelCardMarkdownFormat")}
    attachment = card["content"][0]["attachment"]
    assert attachment["contentType"] == "text/markdown"
    assert base64.b64decode(attachment["data"]).decode() == standards.export(story.store, "model-card")
    (device,) = [one for one in of(bundle, "Device") if "extension" in one]
    assert device["extension"][0]["url"].endswith("aitransparency.modelCardDescription")
    assert device["extension"][0]["valueReference"]["type"] == "DocumentReference"


def test_what_a_model_said_is_labelled(bundle: dict[str, Any]) -> None:
    """Profile AI-Provenance: reason AIAST, an agent of type author and role AI that is an AI-Device."""
    devices = {one["fullUrl"] for one in bundle["entry"] if one["resource"].get("type") == {"coding": [dict(zip(("system", "code"), IS_AI, strict=True))]}}  # fmt: skip
    said = of(bundle, "RiskAssessment")
    made = [one for one in of(bundle, "Provenance") if "AI-Provenance" in str(one.get("meta"))]
    assert len(said) == len(made) == 2
    for one in said:
        assert {(label["system"], label["code"]) for label in one["meta"]["security"]} == {AIAST}
    for one in made:
        assert AIAST in {code for reason in one["reason"] for code in codes(reason)}
        (agent,) = one["agent"]
        assert agent["who"]["reference"] in devices
        assert codes(agent["type"])
        assert [codes(role) for role in agent["role"]] == [{IS_AI}]
    kept = {bool(one.get("prediction")) for one in said}
    assert kept == {True, False}, "an output that is not kept is named by its digest alone"


def test_every_use_is_an_audit_event(bundle: dict[str, Any], story: Any) -> None:
    events = of(bundle, "AuditEvent")
    kinds = sorted(one["subtype"][0]["code"] for one in events)
    assert kinds == ["context", "erasure", "inference", "inference", "read", "reidentification", "withdrawal"]
    by_kind = {one["subtype"][0]["code"]: one for one in events}
    assert [by_kind[kind]["action"] for kind in ("read", "inference", "withdrawal", "erasure")] == ["R", "E", "U", "D"]
    subject = by_kind["inference"]["entity"][0]["what"]["identifier"]
    assert subject == {"system": "urn:mayo-data:subject", "value": "42"}
    named = {one["what"]["identifier"]["value"] for one in by_kind["withdrawal"]["entity"]}
    assert story.training in named


def test_a_snapshot_comes_from_its_files(bundle: dict[str, Any], story: Any) -> None:
    (attempt,) = story.account.attempts()
    made = next(one for one in of(bundle, "Provenance") if "occurredPeriod" in one)
    assert made["target"][0]["identifier"]["value"] == story.account.manifest_sha256
    found = {one["what"]["identifier"]["value"] for one in made["entity"]}
    assert found == {one["sha256"] for one in attempt.body["inputs"]}


def test_a_resource_leads_to_its_line_and_its_decisions(synthetic_store: Any) -> None:
    with md.connect(synthetic_store) as db:
        event_id = db.sql("select event_id from note order by event_id limit 1").fetchall()[0][0]
    found = md.trace(synthetic_store, event_id)
    made = json.loads(standards.export(synthetic_store, "fhir", event_id=event_id))
    assert fault(json.dumps(made).encode()) is None
    (one,) = of(made, "Provenance")
    assert one["target"][0]["identifier"]["value"] == str(found["resource"]["resource_key"])
    what = one["entity"][0]["what"]
    assert what["identifier"]["value"] == found["source"]["sha256"]
    assert what["display"].endswith(f"line {found['source']['row']}")
    assert found["decisions"]
    assert found["decisions"][0]["category"] in one["activity"]["text"]


def test_inferences_can_be_left_out(story: Any) -> None:
    made = fhir.bundle(story.account, inferences=False)
    assert {one["subtype"][0]["code"] for one in of(made, "AuditEvent")} == {
        "read", "withdrawal", "erasure", "reidentification",
    }  # fmt: skip
    assert of(made, "RiskAssessment") == []


def test_names_that_people_chose_are_on_one_line(bundle: dict[str, Any]) -> None:
    def texts(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            for key, inner in value.items():
                yield from () if key == "data" else texts(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from texts(inner)
        elif isinstance(value, str):
            yield value

    found = [text for text in texts(bundle) if "script" in text]
    assert len(found) >= 4
    assert not any(char in text for text in found for char in "\r\n\x00\u202e")


def test_the_same_ledger_gives_the_same_bytes(story: Any) -> None:
    assert writing.encoded(fhir.bundle(story.account)) == writing.encoded(fhir.bundle(story.account))
