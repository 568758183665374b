"""FHIR R4: Provenance of snapshots and resources, AuditEvents of use, and models as the AI Transparency guide has them.

Profiles of HL7's AI Transparency on FHIR (http://hl7.org/fhir/uv/aitransparency), by the codes of its build
1.0.0-current, which renamed some of 1.0.0-ballot: AI-Device for a model, AI-ModelCard for its card, AI-Provenance for
what it said. What a model said carries the security label AIAST (Artificial Intelligence asserted). Subjects are named
by keyed pseudonyms alone.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from mayo_data.lineage.standards.account import PROJECT, Account, Attempt, identity
from mayo_data.lineage.standards.writing import line
from mayo_data.types import Json

GUIDE = "http://hl7.org/fhir/uv/aitransparency"
_TERMS = "http://terminology.hl7.org/CodeSystem"
AIAST: Json = {
    "system": f"{_TERMS}/v3-ObservationValue", "code": "AIAST", "display": "Artificial Intelligence asserted",
}  # fmt: skip
_IS_AI: Json = {"coding": [{"system": f"{GUIDE}/CodeSystem/AIdeviceTypeCS", "code": "Artificial-Intelligence"}]}
_ENTITY_TYPES = {"subject": ("1", "Person"), "object": ("2", "System Object")}
_ROLES = {"subject": ("1", "Patient"), "object": ("4", "Domain Resource"), "report": ("3", "Report")}
# Of the ISO 21089 record lifecycle events, which FHIR's audit-event-type value set contains.
_LIFECYCLE = {
    "read": ("access", "Access/View Record Lifecycle Event", "R"),
    "context": ("access", "Access/View Record Lifecycle Event", "R"),
    "inference": ("originate", "Originate/Retain Record Lifecycle Event", "E"),
    "withdrawal": ("deprecate", "Deprecate Record Lifecycle Event", "U"),
    "erasure": ("destroy", "Destroy/Delete Record Lifecycle Event", "D"),
    "reidentification": ("reidentify", "Re-identify Record Lifecycle Event", "R"),
}


def bundle(account: Account, *, inferences: bool = True, cards: Mapping[str, str] | None = None) -> Json:
    """Return everything that the ledger says as one FHIR Bundle of type collection.

    Args:
        account: The store's account.
        inferences: Whether single inferences and contexts are in it.
        cards: Training id to its model card in Markdown, to be attached to the Device.

    Returns:
        A Bundle: Device of the software and of every model, DocumentReference of a card, Provenance of every
        snapshot and training and, of what a model said, RiskAssessment with its Provenance; AuditEvent of every
        read, context, inference, withdrawal, erasure and re-identification.
    """
    made = _Maker(account, cards or {})
    resources = [made.software()]
    for attempt in account.attempts():
        if attempt.end and attempt.end["kind"] == "snapshot":
            resources.append(made.snapshot(attempt.end, attempt))
    resources += [made.snapshot(record, None) for record in account.without_run()]
    for record in account.of("training"):
        resources += made.model(record)
    kinds = [kind for kind in _LIFECYCLE if inferences or kind not in ("inference", "context")]
    for kind in kinds:
        for record in account.of(kind):
            resources.append(made.audit(record))
            if kind == "inference":
                resources += made.said(record)
    return collection(resources, account.records[-1]["at"] if account.records else None)


def of_resource(found: Json) -> Json:
    """Return the Provenance of one source resource, from what `trace` found of an event of it.

    Args:
        found: What `mayo_data.lineage.trace.trace` returns.

    Returns:
        A Bundle with one Provenance and the Device of the software: which file and line, under which policy, and how
        many PHI decisions of which kind. Never a text.
    """
    resource, source, scrub = found["resource"] or {}, found["source"] or {}, found["scrub"] or {}
    run = found["run"] or {"at": None, "body": {}}
    at = run["at"] or next((one["at"] for one in found["snapshots"]), None) or "1970-01-01T00:00:00+00:00"
    counts = Counter(f"{one['category']} {one['action']}" for one in found["decisions"])
    decisions = ", ".join(f"{name}: {count}" for name, count in sorted(counts.items())) or "no decision on its text"
    kind = str(resource.get("resource_type", ""))
    target: Json = {"identifier": _identifier("resource", resource.get("resource_key", "unknown"))}
    if kind[:1].isupper():
        target["type"] = kind
    me = _software(str(scrub.get("code_version") or run["body"].get("code_version") or "unknown"))
    made = {
        "resourceType": "Provenance", "id": _id("provenance", found["event_id"]), "target": [target],
        "recorded": _instant(at), "policy": [_urn("policy", scrub.get("policy_fingerprint") or "unknown")],
        "activity": _deidentified(line(decisions, 500)),
        "agent": [{"type": _participant("assembler", "Assembler"), "who": _to(me)}],
        "entity": [
            {
                "role": "source",
                "what": {
                    "identifier": _identifier("sha256", source.get("sha256", "unknown")),
                    "display": f"source file {source.get('source_table', '?')}, line {source.get('row', '?')}",
                },
            }
        ],
    }  # fmt: skip
    return collection([me, made], at)


def collection(resources: Sequence[Json], at: str | None) -> Json:
    """Return resources as a Bundle of type collection; each is called by a UUID made of its type and id.

    >>> collection([{"resourceType": "Device", "id": "a"}], None)["entry"][0]["fullUrl"][:9]
    'urn:uuid:'
    """
    unique = {(one["resourceType"], one["id"]): one for one in resources}
    made: Json = {"resourceType": "Bundle", "type": "collection"}
    if at:
        made["timestamp"] = _instant(at)
    made["entry"] = [{"fullUrl": _url(one), "resource": one} for one in unique.values()]
    return made


class _Maker:
    def __init__(self, account: Account, cards: Mapping[str, str]) -> None:
        self.account = account
        self.cards = cards
        self.models = {one["body"]["model_digest"]: one for one in account.of("training")}
        self.made_of = {one["body"]["snapshot"]: one["body"] for one in account.of("snapshot")}

        self.devices: dict[str, Json] = {}
        self.mine = _software(str(account.manifest.get("code_version", "unknown")))

    def software(self) -> Json:
        return self.mine

    def snapshot(self, record: Json, attempt: Attempt | None) -> Json:
        """Provenance of a snapshot: from source files, or from the snapshot that it takes over."""
        body = record["body"]
        entities = []
        policy = []
        if attempt is not None:
            policy = [_urn("policy", attempt.body.get("policy_fingerprint") or "unknown")]
            entities = [
                {"role": "source", "what": {"identifier": _identifier("sha256", one["sha256"])}}
                for one in attempt.body.get("inputs", [])
            ]
        before = body.get("restores") or (attempt.body.get("base") if attempt else None)
        if before:
            entities.append({"role": "revision", "what": self._at(before)})
        made: Json = {
            "resourceType": "Provenance", "id": _id("snapshot", record["digest"]),
            "target": [self._at(body["snapshot"])], "recorded": _instant(record["at"]),
            "activity": _deidentified(line(body.get("mode") or "full")),
            "agent": [{"type": _participant("assembler", "Assembler"), "who": _to(self.software())}],
        }  # fmt: skip
        if attempt is not None:
            made["occurredPeriod"] = {"start": _instant(attempt.record["at"]), "end": _instant(record["at"])}
        if policy:
            made["policy"] = policy
        if entities:
            made["entity"] = entities
        return made

    def model(self, record: Json) -> list[Json]:
        """Device of a model, DocumentReference of its card, Provenance of its training."""
        body = record["body"]
        device = self._device(body["model_digest"])
        made: list[Json] = [device]
        text = self.cards.get(body["training_id"])
        if text is not None:
            made.append(_card(body, record["at"], text))
        trained = {
            "resourceType": "Provenance", "id": _id("training", body["training_id"]), "target": [_to(device)],
            "recorded": _instant(record["at"]), "activity": {"text": "training of a model"},
            "agent": [{"type": _participant("assembler", "Assembler"), "who": _to(self.software())}],
            "entity": [
                {"role": "source", "what": self._at(body["snapshot"])},
                *(
                    {"role": "source", "what": {"identifier": _identifier("lineage-id", one)}}
                    for one in body.get("lineage_ids", [])
                ),
            ],
        }  # fmt: skip
        made.append(trained)
        return made

    def said(self, record: Json) -> list[Json]:
        """What a model said, as RiskAssessment with the label AIAST, and its AI-Provenance."""
        body = record["body"]
        device = self._device(body["model_digest"])
        risk: Json = {
            "resourceType": "RiskAssessment", "id": _id("said", body["prediction_id"]), "meta": {"security": [AIAST]},
            "identifier": [_identifier("prediction", body["prediction_id"])], "status": "final",
            "subject": _subject(body["subject_id"]), "occurrenceDateTime": _instant(record["at"]),
            "performer": _to(device),
            "basis": [{"identifier": _identifier("lineage-id", body["lineage_id"])}],
        }  # fmt: skip
        output = body.get("output")
        if output is not None:
            risk["prediction"] = [{"rationale": f"output: {line(output)}"}]
        else:
            risk["note"] = [{"text": f"The output is not kept; its sha256 is {body['output_sha256']}."}]
        provenance = {
            "resourceType": "Provenance", "id": _id("prediction", body["prediction_id"]),
            "meta": {"profile": [f"{GUIDE}/StructureDefinition/AI-Provenance"]},
            "target": [_to(risk)], "occurredDateTime": _instant(record["at"]), "recorded": _instant(record["at"]),
            "reason": [{"coding": [AIAST]}],
            "agent": [{"type": _participant("author", "Author"), "role": [_IS_AI], "who": _to(device)}],
            "entity": [
                {"role": "source", "what": self._at(body["snapshot"])},
                {"role": "source", "what": {"identifier": _identifier("sha256", body["inputs"])}},
                *self._card_of(body["model_digest"]),
            ],
        }  # fmt: skip
        return [device, risk, provenance]

    def audit(self, record: Json) -> Json:
        """AuditEvent of one record: who used what, of whom."""
        body, kind = record["body"], record["kind"]
        code, display, action = _LIFECYCLE[kind]
        made: Json = {
            "resourceType": "AuditEvent", "id": _id(kind, record["digest"]),
            "type": {"system": f"{_TERMS}/iso-21089-lifecycle", "code": code, "display": display},
            "subtype": [{"system": "urn:mayo-data:ledger", "code": kind}], "action": action,
            "recorded": _instant(record["at"]), "outcome": "0", "agent": [self._agent(record)],
            "source": {
                "observer": _to(self.software()),
                "type": [{"system": f"{_TERMS}/security-source-type", "code": "4", "display": "Application Server"}],
            },
            "entity": self._entities(record),
        }  # fmt: skip
        words = [line(body[key]) for key in ("purpose", "reason", "override") if body.get(key)]
        if words := [one for one in words if one]:
            made["purposeOfEvent"] = [{"text": one} for one in words]
        return made

    def _agent(self, record: Json) -> Json:
        body = record["body"]
        if record["kind"] == "inference":
            return {"type": _application(), "who": _to(self._device(body["model_digest"])), "requestor": True}
        name = line(body.get("consumer") or body.get("by") or "") or "unknown"
        return {"type": _application(), "who": {"display": name}, "requestor": True}

    def _entities(self, record: Json) -> list[Json]:
        body, found = record["body"], []
        if body.get("subject_id") is not None:
            found.append(_entity("subject", "subject", _subject(body["subject_id"])))
        names = [body["snapshot"]] if isinstance(body.get("snapshot"), str) else []
        names += list(body.get("snapshots_blocked") or [])
        names += [name for name in (body.get("snapshots") or {}) if isinstance(name, str)]
        found += [_entity("object", "object", self._at(name)) for name in dict.fromkeys(names)]
        if body.get("lineage_id"):
            one = _entity("object", "object", {"identifier": _identifier("lineage-id", body["lineage_id"])})
            counts = {"subjects": body.get("subjects"), "subjects_sha256": body.get("subjects_sha256")}
            counts |= {"split": body.get("split"), "events": body.get("events"), "inputs": body.get("inputs")}
            detail = [{"type": key, "valueString": line(value)} for key, value in counts.items() if value is not None]
            found.append({**one, **({"detail": detail} if detail else {})})
        if record["kind"] == "inference":
            what = {"identifier": _identifier("prediction", body["prediction_id"]), "type": "RiskAssessment"}
            found.append({**_entity("object", "report", what), "securityLabel": [AIAST]})
        for one in body.get("models") or []:
            found.append(_entity("object", "object", {"identifier": _identifier("training", one), "type": "Device"}))
        return found

    def _device(self, digest: str) -> Json:
        """AI-Device of a model; of one that no training here made, only its digest is known."""
        if digest not in self.devices:
            self.devices[digest] = self._new_device(digest)
        return self.devices[digest]

    def _new_device(self, digest: str) -> Json:
        training = self.models.get(digest)
        made: Json = {
            "resourceType": "Device", "id": _id("model", digest),
            "meta": {"profile": [f"{GUIDE}/StructureDefinition/AI-Device"]},
            "identifier": [_identifier("model", digest)], "type": _IS_AI, "version": [{"value": digest}],
        }  # fmt: skip
        if training is not None:
            body = training["body"]
            made["identifier"].append(_identifier("training", body["training_id"]))
            made["deviceName"] = [{"name": line(body["name"]) or "unknown", "type": "model-name"}]
            made["manufactureDate"] = _instant(training["at"])
            if body["training_id"] in self.cards:
                made["extension"] = [
                    {
                        "url": f"{GUIDE}/StructureDefinition/aitransparency.modelCardDescription",
                        "valueReference": _to(_card(body, training["at"], "")),
                    }
                ]
        return made

    def _card_of(self, digest: str) -> list[Json]:
        training = self.models.get(digest)
        if training is None or training["body"]["training_id"] not in self.cards:
            return []
        return [{"role": "derivation", "what": _to(_card(training["body"], training["at"], ""))}]

    def _at(self, name: str) -> Json:
        """A snapshot, by the digest of its manifest where the ledger knows it."""
        body = self.made_of.get(name)
        value = body["manifest_sha256"] if body else f"{self.account.store}/{line(name)}"
        return {"identifier": _identifier("snapshot", value), "display": f"snapshot {line(name)}"}


def _card(body: Json, at: str, text: str) -> Json:
    """AI-ModelCard: a card in Markdown."""
    codes = f"{GUIDE}/CodeSystem/AIinputsCS"
    return {
        "resourceType": "DocumentReference", "id": _id("card", body["training_id"]),
        "meta": {"profile": [f"{GUIDE}/StructureDefinition/AI-ModelCard"]},
        "identifier": [_identifier("model-card", body["training_id"])], "status": "current",
        "type": {"coding": [{"system": codes, "code": "AIModelCard", "display": "AI Model-Card"}]},
        "category": [
            {"coding": [{"system": codes, "code": "AIModelCardMarkdownFormat", "display": "Markdown Format"}]}
        ],
        "date": _instant(at),
        "content": [
            {"attachment": {"contentType": "text/markdown", "data": base64.b64encode(text.encode()).decode() or "IA=="}}
        ],
    }  # fmt: skip


def _software(version: str) -> Json:
    return {
        "resourceType": "Device", "id": _id("software", version), "identifier": [_identifier("software", version)],
        "deviceName": [{"name": "mayo_data", "type": "model-name"}], "version": [{"value": line(version)}],
        "url": PROJECT,
    }  # fmt: skip


def _entity(kind: str, role: str, what: Json) -> Json:
    (kind_code, kind_name), (role_code, role_name) = _ENTITY_TYPES[kind], _ROLES[role]
    return {
        "what": what,
        "type": {"system": f"{_TERMS}/audit-entity-type", "code": kind_code, "display": kind_name},
        "role": {"system": f"{_TERMS}/object-role", "code": role_code, "display": role_name},
    }


def _deidentified(how: str) -> Json:
    coding = {"system": f"{_TERMS}/v3-ActCode", "code": "DEID", "display": "deidentify"}
    return {"coding": [coding], **({"text": how} if how else {})}


def _application() -> Json:
    return {
        "coding": [
            {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "110150", "display": "Application"}
        ]
    }


def _participant(code: str, display: str) -> Json:
    return {"coding": [{"system": f"{_TERMS}/provenance-participant-type", "code": code, "display": display}]}


def _subject(subject_id: object) -> Json:
    return {"type": "Patient", "identifier": _identifier("subject", subject_id)}


def _identifier(what: str, value: object) -> Json:
    return {"system": f"urn:mayo-data:{what}", "value": line(value) or "unknown"}


def _urn(what: str, value: object) -> str:
    return f"urn:mayo-data:{what}:{''.join(char for char in line(value) if char.isalnum() or char in '-._')}"


def _id(*parts: str) -> str:
    return identity("fhir", *parts)


def _url(resource: Json) -> str:
    return _uuid(resource["resourceType"], resource["id"])


@lru_cache(maxsize=1024)  # the same model and software are referred to again and again
def _uuid(kind: str, name: str) -> str:
    return f"urn:uuid:{identity('url', kind, name)}"


def _to(resource: Json) -> Json:
    return {"reference": _url(resource), "type": resource["resourceType"]}


def _instant(at: str) -> str:
    """A time of the ledger as a FHIR instant, to the millisecond."""
    moment: Any = datetime.fromisoformat(at)
    return str(moment.isoformat(timespec="milliseconds"))
