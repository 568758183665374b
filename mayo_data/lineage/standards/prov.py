"""W3C PROV as PROV-JSON: run → snapshot → reads → trainings → inferences, and what was taken back."""

from __future__ import annotations

import hashlib
from typing import Any

from mayo_data.lineage.standards.account import PROJECT, Account, Attempt
from mayo_data.lineage.standards.writing import line
from mayo_data.types import Json

NAMESPACE = f"{PROJECT}/ns#"
_KINDS = (
    "entity", "activity", "agent", "used", "wasGeneratedBy", "wasDerivedFrom", "wasAssociatedWith", "wasAttributedTo",
    "wasInformedBy", "wasInvalidatedBy", "specializationOf",
)  # fmt: skip


def document(account: Account, *, inferences: bool = True) -> Json:
    """Return the provenance of a store as a PROV-JSON document (W3C member submission of 24 April 2013).

    Args:
        account: The store's account.
        inferences: Whether single contexts and inferences are in it; a busy model makes thousands a day.

    Returns:
        JSON-able document. Identifiers are made of ids and digests; names that people chose are labels.
    """
    made = _Graph(account)
    for attempt in account.attempts():
        made.run(attempt)
    for record in account.without_run():
        made.taken_over(record)
    for record in account.of("read"):
        made.read(record)
    if inferences:
        for record in account.of("context"):
            made.context(record)
    for record in account.of("training"):
        made.training(record)
    if inferences:
        for record in account.of("inference"):
            made.inference(record)
        for record in account.of("feedback"):
            made.feedback(record)
    for kind in ("withdrawal", "erasure"):
        for record in account.of(kind):
            made.taken_back(record)
    return made.parts()


class _Graph:
    def __init__(self, account: Account) -> None:
        self.known: dict[str, dict[str, Any]] = {kind: {} for kind in _KINDS}
        self.seen: set[str] = set()
        self.snapshots = {one["body"]["snapshot"]: one for one in account.of("snapshot")}

    def parts(self) -> Json:
        prefix = {"mayo": NAMESPACE, "prov": "http://www.w3.org/ns/prov#", "xsd": "http://www.w3.org/2001/XMLSchema#"}
        return {"prefix": prefix, **{kind: found for kind, found in self.known.items() if found}}

    def run(self, attempt: Attempt) -> None:
        body, record = attempt.body, attempt.record
        me = f"mayo:run-{record['digest'][:32]}"
        rules = {
            f"mayo:{key}": line(body[key])
            for key in ("run_id", "pipeline", "policy", "policy_fingerprint", "key_id", "as_of", "mode")
            if body.get(key) is not None
        }
        self._add("activity", me, {
            "prov:startTime": record["at"], **({"prov:endTime": attempt.ended} if attempt.ended else {}),
            "prov:type": _name("mayo:Run"), "mayo:state": attempt.state, **rules,
        })  # fmt: skip
        self._link("wasAssociatedWith", activity=me, agent=self._software(body.get("code_version")))
        for one in body.get("inputs", []):
            source = f"mayo:source-{one['sha256']}"
            self._add("entity", source, {
                "prov:type": _name("mayo:SourceFile"), "mayo:sha256": one["sha256"], "mayo:bytes": one["bytes"],
            })  # fmt: skip
            self._link("used", activity=me, entity=source)
        base = body.get("base")
        if base:
            self._link("used", activity=me, entity=self._snapshot(base))
        if attempt.end and attempt.end["kind"] == "snapshot":
            made = self._snapshot(attempt.end["body"]["snapshot"])
            self._link("wasGeneratedBy", entity=made, activity=me, time=attempt.end["at"])
            for one in body.get("inputs", []):
                self._derived(made, f"mayo:source-{one['sha256']}")
            if base:
                self._derived(made, self._snapshot(base), "prov:Revision")

    def taken_over(self, record: Json) -> None:
        body = record["body"]
        me = f"mayo:snapshot-made-{record['digest'][:32]}"
        made = self._snapshot(body["snapshot"])
        self._add("activity", me, {
            "prov:startTime": record["at"], "prov:endTime": record["at"], "prov:type": _name("mayo:SnapshotMade"),
            "mayo:mode": line(body.get("mode", "")),
        })  # fmt: skip
        self._link("wasGeneratedBy", entity=made, activity=me, time=record["at"])
        if body.get("restores"):
            self._link("used", activity=me, entity=self._snapshot(body["restores"]))
            self._derived(made, self._snapshot(body["restores"]), "prov:Revision")

    def read(self, record: Json) -> None:
        body = record["body"]
        me = f"mayo:read-{body['lineage_id']}"
        said = {
            f"mayo:{key}": body[key]
            for key in ("split", "seed", "rank", "world", "subjects", "subjects_sha256")
            if body.get(key) is not None
        }
        labels = body.get("labels")
        self._add("activity", me, {
            "prov:startTime": record["at"], "prov:type": _name("mayo:Read"), "mayo:lineage_id": body["lineage_id"],
            "mayo:purpose": line(body.get("purpose") or ""), **said,
            **({"mayo:labels": line(labels["name"]), "mayo:labels_digest": labels["digest"]} if labels else {}),
            **({"mayo:override": line(body["override"])} if body.get("override") else {}),
        })  # fmt: skip
        self._consumed(me, body, record["at"])

    def context(self, record: Json) -> None:
        body = record["body"]
        me = f"mayo:context-{body['lineage_id']}"
        self._add("activity", me, {
            "prov:startTime": record["at"], "prov:type": _name("mayo:Context"), "mayo:lineage_id": body["lineage_id"],
            "mayo:subject_id": str(body["subject_id"]), "mayo:at": line(body["at"]), "mayo:inputs": body["inputs"],
        })  # fmt: skip
        self._consumed(me, body, record["at"])

    def training(self, record: Json) -> None:
        body = record["body"]
        me = f"mayo:training-{body['training_id']}"
        model = self._model(body["model_digest"])
        metrics = {f"mayo:metric-{line(key, 40)}": value for key, value in (body.get("metrics") or {}).items()}
        self._add("activity", me, {
            "prov:endTime": record["at"], "prov:type": _name("mayo:Training"), "prov:label": line(body["name"]),
            "mayo:training_id": body["training_id"], "mayo:config_sha256": line(body.get("config_sha256") or ""),
        })  # fmt: skip
        self.known["entity"][model] |= {
            "prov:label": line(body["name"]),
            **{key: value for key, value in metrics.items() if _is_name(key) and isinstance(value, int | float)},
        }
        self._link("wasAssociatedWith", activity=me, agent=self._software(body.get("code_version")))
        self._link("used", activity=me, entity=self._snapshot(body["snapshot"]))
        self._link("wasGeneratedBy", entity=model, activity=me, time=record["at"])
        self._derived(model, self._snapshot(body["snapshot"]))
        for lineage_id in body.get("lineage_ids", []):
            if f"mayo:read-{lineage_id}" in self.known["activity"]:
                self._link("wasInformedBy", informed=me, informant=f"mayo:read-{lineage_id}")
        for one in body.get("files", []):
            part = f"mayo:file-{one['sha256']}"
            self._add("entity", part, {
                "prov:type": _name("mayo:ModelFile"), "prov:label": line(one["name"]), "mayo:bytes": one["bytes"],
            })  # fmt: skip
            self._link("wasGeneratedBy", entity=part, activity=me, time=record["at"])

    def inference(self, record: Json) -> None:
        body = record["body"]
        me, made = f"mayo:inference-{body['prediction_id']}", f"mayo:prediction-{body['prediction_id']}"
        model = self._model(body["model_digest"])
        self._add("activity", me, {
            "prov:endTime": record["at"], "prov:type": _name("mayo:Inference"), "mayo:at": line(body["at"]),
            "mayo:subject_id": str(body["subject_id"]),
        })  # fmt: skip
        self._add("entity", made, {
            "prov:type": _name("mayo:Prediction"), "mayo:prediction_id": body["prediction_id"],
            "mayo:output_sha256": body["output_sha256"], "mayo:inputs": body["inputs"],
        })  # fmt: skip
        self._link("used", activity=me, entity=model)
        self._link("used", activity=me, entity=self._snapshot(body["snapshot"]))
        self._link("wasGeneratedBy", entity=made, activity=me, time=record["at"])
        self._derived(made, model)
        context = f"mayo:context-{body['lineage_id']}"
        if context in self.known["activity"]:
            self._link("wasInformedBy", informed=me, informant=context)

    def feedback(self, record: Json) -> None:
        body = record["body"]
        prediction = f"mayo:prediction-{body['prediction_id']}"
        if prediction not in self.known["entity"]:
            return
        said = f"mayo:feedback-{record['digest'][:32]}"
        self._add("entity", said, {
            "prov:type": _name("mayo:Feedback"), "mayo:feedback": line(body["feedback"]),
            "mayo:at": record["at"],
        })  # fmt: skip
        self._derived(said, prediction)

    def taken_back(self, record: Json) -> None:
        body = record["body"]
        me = f"mayo:{record['kind']}-{record['digest'][:32]}"
        self._add("activity", me, {
            "prov:startTime": record["at"], "prov:type": _name(f"mayo:{record['kind'].capitalize()}"),
            "mayo:subject_id": str(body["subject_id"]),
            **({"mayo:reason": line(body["reason"])} if body.get("reason") else {}),
        })  # fmt: skip
        gone = body.get("snapshots_blocked") or list(body.get("snapshots") or [])
        for name in gone:
            self._link("wasInvalidatedBy", entity=self._snapshot(name), activity=me, time=record["at"])
        new = body.get("snapshot")
        if new and new not in gone:
            self._link("used", activity=me, entity=self._snapshot(new))

    # ── what they have in common ──────────────────────────────────────────────────────────────────

    def _consumed(self, me: str, body: Json, at: str) -> None:
        self._link("used", activity=me, entity=self._snapshot(body["snapshot"]), time=at)
        consumer = line(body.get("consumer") or "unknown")
        agent = f"mayo:consumer-{_digest(consumer)}"
        self._add("agent", agent, {"prov:label": consumer, "prov:type": _name("mayo:Consumer")})
        self._link("wasAssociatedWith", activity=me, agent=agent)

    def _software(self, version: object) -> str:
        name = f"mayo:software-{_digest(line(version or 'unknown'))}"
        self._add("agent", name, {
            "prov:label": f"mayo_data {line(version or 'unknown')}", "prov:type": _name("prov:SoftwareAgent"),
        })  # fmt: skip
        return name

    def _snapshot(self, name: str) -> str:
        record = self.snapshots.get(name)
        said: dict[str, Any] = {"prov:type": _name("mayo:Snapshot"), "prov:label": f"snapshot {line(name)}"}
        if record is not None:
            for key in ("manifest_sha256", "logical_digest", "events", "subjects"):
                said[f"mayo:{key}"] = record["body"][key]
        me = f"mayo:snapshot-{_digest(name)}" if not name.isalnum() else f"mayo:snapshot-{name}"
        self._add("entity", me, said)
        return me

    def _model(self, digest: str) -> str:
        me = f"mayo:model-{digest}"
        self._add("entity", me, {"prov:type": _name("mayo:Model"), "mayo:model_digest": digest})
        return me

    def _add(self, kind: str, name: str, said: dict[str, Any]) -> None:
        self.known[kind].setdefault(name, said)

    def _derived(self, made: str, source: str, how: str | None = None) -> None:
        more = {"prov:type": _name(how)} if how else {}
        self._relation("wasDerivedFrom", {"prov:generatedEntity": made, "prov:usedEntity": source, **more})

    def _link(self, kind: str, **ends: str) -> None:
        self._relation(kind, {f"prov:{key}": value for key, value in ends.items()})

    def _relation(self, kind: str, body: dict[str, Any]) -> None:
        found = self.known[kind]
        seen = f"{kind} {body}"
        if seen not in self.seen:
            self.seen.add(seen)
            found[f"_:{kind}{len(found) + 1}"] = body


def _name(value: str) -> Json:
    return {"$": value, "type": "prov:QUALIFIED_NAME"}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_name(key: str) -> bool:
    return key.removeprefix("mayo:").replace("-", "").replace("_", "").isalnum() and key.isascii()
