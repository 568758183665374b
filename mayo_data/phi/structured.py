"""The scrub stage: resources with PHI in, de-identified resources out, by a policy.

One walk over each resource. The policy's element tree is compiled once a process into nested functions over the
parts of an object, each still as it is written; what the tree does not name is never even parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from mayo_data import assets, schema
from mayo_data.keys import Secret, fingerprint
from mayo_data.phi import ages, fhir_dates, masks, rules
from mayo_data.phi.actions import Actions, Memo, Raw, Value, encode, parse, parts
from mayo_data.phi.elements import CHOICES, EXPORTED, by_type, elements, required_codes
from mayo_data.phi.exported import Exported
from mayo_data.phi.lines import opened, reference, string, version
from mayo_data.phi.policy import PhiPolicy
from mayo_data.phi.pseudonyms import Pseudonyms
from mayo_data.phi.subject import Reject, Subject
from mayo_data.phi.text import Gazetteer, Known, TextScrubber, TextSettings
from mayo_data.phi.time_limit import TimeLimit, TooSlow
from mayo_data.phi.vault import Person, Vault
from mayo_data.stage import fate, tally
from mayo_data.types import Json

_VERSION = "3"
_DEEPEST = 16  # levels of nested elements
_PEOPLE = 2_000  # subjects kept ready to scrub with, a process
_BEARING = frozenset(["text", "attachment", "annotation", "dosage", "items"])  # actions that may touch free text

Walk = Callable[[dict[str, msgspec.Raw]], Any]
Element = tuple[Memo | None, Raw, Raw]  # what is remembered of an element, its action on one value, and on a list

_AGED = frozenset(["Observation", "Observation.component"])  # whose value may be an age
_EXTENSION = {"url": "drop"}

_LIST = ord("[")
_objects = msgspec.json.Decoder(list[dict[str, msgspec.Raw] | None]).decode
_pieces = msgspec.json.Decoder(list[msgspec.Raw]).decode


def text_scrubber(policy: PhiPolicy, secret: Secret, vault: Vault | None) -> TextScrubber:
    """Return the free-text scrubber of a policy, with the site's directory from the vault."""
    kept = frozenset({"YEAR", "STATE", "COUNTRY"}) | (frozenset({"DATE"}) if policy.dates == "keep" else frozenset())
    settings = TextSettings(
        replace=policy.replace,
        dates="year" if policy.dates == "year" else "shift",
        keep=kept,
    )
    model = None if policy.model == "none" else policy.model
    return TextScrubber(settings, secret, Gazetteer(vault.directory() if vault else []), model=model)


def detector(stage: Scrub) -> str:
    """Return the fingerprint of the text detector that a scrub uses; whom the vault knows is no part of it."""
    return text_scrubber(stage.policy, stage.secret, None).fingerprint


def try_out(stage: Scrub) -> None:
    """Read an invented sentence: what cannot be loaded ends a process here, where nobody takes it for a row's fault.

    Args:
        stage: The scrub whose models are tried.
    """
    text_scrubber(stage.policy, stage.secret, None).find("Seen by Dr. Ilse Brandt on 5 May 2020.", Known((), 0, 0))


@dataclass(frozen=True)
class Scrub:
    """De-identifies FHIR resources: structured elements by allow-list, free text by detection.

    Attributes:
        policy: The PHI policy.
        secret: Key of pseudonyms, offsets and surrogates.
        vault_secret: Key of the vault; differs from `secret` in a Safe Harbor run only.
        vault: The vault's file.
        as_of: ISO date at which ages over the top age are judged, for whoever is alive.
        whole: For FHIR out: every resource type and element, not only those of which events are made.
        seconds: Processor seconds that one resource may take, for each MiB of it that is begun; 0 for no limit.
    """

    policy: PhiPolicy
    secret: Secret
    vault_secret: Secret
    vault: Path
    as_of: str
    whole: bool = False
    seconds: int = 120
    name: str = field(default="scrub", init=False)
    reads: str = field(default="raw", init=False)
    writes: str = field(default="scrubbed", init=False)

    @property
    def fingerprint(self) -> str:
        """Digest of version, policy, key id and reference date."""
        parts = (self.policy.fingerprint, self.secret.key_id, self.as_of, str(self.whole))
        return fingerprint(self.name, _VERSION, *parts)

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Turn `raw` batches into `scrubbed` batches; each ends with one tally row."""
        scrubber = _Scrubber.of(self)
        for batch in batches:
            with TimeLimit(self.seconds) as limit:
                done = scrubber.batch(batch, limit)
            yield done


class _Scrubber:
    """A compiled scrub, kept for the life of the process."""

    _kept: tuple[tuple[str, str, int], _Scrubber] | None = None

    def __init__(self, stage: Scrub) -> None:
        self._policy = stage.policy
        self._secret = stage.secret
        self._as_of = stage.as_of
        self._vault = Vault(stage.vault, stage.vault_secret, readonly=True)
        scrubber = text_scrubber(stage.policy, stage.secret, self._vault)
        self._actions = Actions(stage.policy, stage.secret, scrubber, self._vault)
        self._names = Pseudonyms(stage.secret, self._vault, self._actions.systems, stage.policy.bases)
        self._exported = Exported(self._actions, self._names, stage.policy.extensions)
        self._whole = stage.whole
        self._rules = rules.applier(stage.policy.rules, stage.secret) if stage.policy.rules else None
        listed = assets.toml("schemas", "fhir", "resource_types.toml")
        self._types = {b'"%s"' % name.encode(): name for name in listed["types"]}
        self._directory = frozenset(listed["directory"])
        self._named = {name: spec for name, spec in stage.policy.elements.items() if name in listed["types"]}
        self._trees: dict[str, Walk] = {}
        if not self._whole:
            self._trees = {name: self._tree(spec, name, name) for name, spec in self._named.items()}
        subjects = stage.policy.elements["by_type"]["subject"]
        self._encounters = tuple(subjects["encounters"])
        self._subject_names = {
            name: tuple(key for key, action in self._named.get(name, {}).items() if action == "subject")
            or tuple(key for key in subjects["elements"] if name not in self._directory and key in elements(name))
            for name in listed["types"]
        }
        self._people: dict[str, Subject | None] = {}
        self._references: dict[bytes, str | None] = {}

    @classmethod
    def of(cls, stage: Scrub) -> _Scrubber:
        # A later run of the same process may have put more people into the vault.
        key = (stage.fingerprint, str(stage.vault), stage.vault.stat().st_mtime_ns)
        if cls._kept is None or cls._kept[0] != key:
            if cls._kept is not None:
                cls._kept[1].close()
            cls._kept = (key, cls(stage))
        return cls._kept[1]

    def close(self) -> None:
        self._vault.close()

    def batch(self, batch: pa.RecordBatch, limit: TimeLimit) -> pa.RecordBatch:
        rows = batch.num_rows
        types: list[str | None] = [None] * rows
        keys: list[int | None] = [None] * rows
        subjects: list[int | None] = [None] * rows
        versions: list[int | None] = [None] * rows
        decisions: list[list[dict[str, Any]] | None] = [None] * rows
        fates: list[str | None] = batch.column("fate").to_pylist()
        paths: list[str | None] = (
            batch.column("fate_path").to_pylist() if "fate_path" in batch.schema.names else [None] * rows
        )
        bodies: list[bytes | None] = batch.column("body").to_pylist()
        actions = self._actions
        for row, body in enumerate(bodies):
            if fates[row] is not None:
                continue
            try:
                with limit.of(len(body or b"")):
                    resource = opened(body or b"")
                    kind = self._kind(resource)
                    types[row] = kind
                    actions.decisions = []
                    clean, keys[row], subjects[row] = self._one(resource, kind)
                    bodies[row] = encode(clean)
                    if "meta" in resource:
                        versions[row] = version(resource["meta"])
                    if actions.decisions:
                        decisions[row] = actions.decisions
            except Reject as verdict:
                keys[row] = subjects[row] = None
                fates[row] = fate("scrub", verdict.reason)
                paths[row] = verdict.path or None
            except TooSlow:
                keys[row] = subjects[row] = decisions[row] = None
                bodies[row], fates[row] = body, fate("scrub", "too_slow")
        out = schema.table("scrubbed")
        arrays = [
            batch.column("source_table"), batch.column("source_row"), pa.array(types, pa.string()),
            pa.array(keys, pa.int64()), pa.array(subjects, pa.int64()), pa.array(versions, pa.int64()),
            pa.array(bodies, pa.large_binary()), _sparse(decisions, out.field("decisions").type),
            pa.array(fates, pa.string()), pa.array(paths, pa.string()),
        ]  # fmt: skip
        done = pa.RecordBatch.from_arrays(arrays, schema=out)
        counts = actions.take() + self._names.counts
        self._names.counts.clear()
        return pa.concat_batches([done, tally(out, counts)]) if counts else done

    def _kind(self, resource: dict[str, msgspec.Raw]) -> str:
        raw = bytes(resource.get("resourceType", b""))
        kind: str | None = self._types.get(raw if b"\\" not in raw else encode(parse(raw)))
        if kind is None:
            raise Reject("unknown_type" if raw[:1] == b'"' else "missing_type")
        return kind

    def _one(self, resource: dict[str, msgspec.Raw], kind: str) -> tuple[Json, int, int | None]:
        walk = self._walk(kind)
        if walk is None:
            raise Reject("not_about_a_patient" if kind in self._directory else "type_not_in_policy")
        ident = string(resource["id"]) if "id" in resource else None
        if not ident:
            raise Reject("missing_id", kind + ".id")
        actions = self._actions
        key = actions.key(kind, ident)
        actions.subject = subject = self._subject(resource, kind, ident, key)
        actions.contained = bytes(resource["contained"]) if "contained" in resource else b""
        try:
            if self._rules is not None:
                resource = parts(encode(self._rules(parse(encode(resource)), subject.offset)))
            clean = self._exported.binary(resource) if kind == "Binary" else walk(resource) or {}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError) as error:
            raise Reject("wrong_shape", kind) from error
        if "medicationReference" in clean and "reference" not in clean["medicationReference"]:
            clean["medicationCodeableConcept"] = clean.pop("medicationReference")  # resolved
        if kind == "Patient" and self._whole:
            self._speak(clean, subject, ident, key)
        else:
            clean["id"] = f"{key:016x}"
        return {"resourceType": kind, **clean}, key, None if subject.nobody else subject.subject_id

    def _walk(self, kind: str) -> Walk | None:
        """The compiled policy of a resource type, or None where it has none."""
        if kind not in self._trees and self._whole and elements(kind):
            self._trees[kind] = self._tree(self._named.get(kind, {}), kind, kind)
        return self._trees.get(kind)

    def _speak(self, clean: Json, subject: Subject, ident: str, key: int) -> None:
        """Give a Patient the id to which references lead; another Patient of the same person refers to it."""
        if subject.ref == "Patient/" + ident:
            clean["id"] = str(subject.subject_id)
        else:
            clean["id"] = f"{key:016x}"
            clean["link"] = [{"other": subject.reference, "type": "refer"}]

    # ── whose it is ───────────────────────────────────────────────────────────────────────────────

    def _subject(self, resource: dict[str, msgspec.Raw], kind: str, ident: str, key: int) -> Subject:
        ref = "Patient/" + ident if kind == "Patient" else self._owner(resource, kind, ident)
        if ref is None or not ref.startswith(("Patient/", "identifier:")):
            if not self._whole and (ref is not None or kind == "Device"):
                raise Reject("not_about_a_patient", kind)
            if not self._whole:
                raise Reject("missing_subject", kind)
            offset = self._secret.offset_days(key, most=self._policy.max_days) if self._policy.dates == "shift" else 0
            return Subject(key, offset, Known((), key, offset), None, nobody=True)
        if ref not in self._people:
            person = self._vault.person(ref)
            _roomy(self._people)[ref] = self._ready(person) if person is not None and person.known else None
        subject = self._people[ref]
        if subject is None:
            raise Reject("unknown_subject", kind)
        return subject

    def _owner(self, resource: dict[str, msgspec.Raw], kind: str, ident: str) -> str | None:
        """Key of the patient whom a resource names, or whose encounter it names; else of what else it is about."""
        ref = None
        for name in self._subject_names[kind]:
            if name in resource and (elements(kind)[name].repeats or bytes(resource[name])[:1] != b"["):
                ref = self._key(bytes(resource[name]), "Patient")
                if ref is not None and ref.startswith(("Patient/", "identifier:")):
                    return ref
        if kind == "Binary":
            return self._vault.owner(f"Binary/{ident}") or ref
        if kind not in self._directory:
            for name in self._encounters:
                if name in resource and (stay := self._key(bytes(resource[name]), "Encounter")) is not None:
                    return self._vault.owner(stay) or ref
        return ref

    def _key(self, raw: bytes, hint: str) -> str | None:
        if raw not in self._references:
            _roomy(self._references)[raw] = reference(raw, hint)
        return self._references[raw]

    def _ready(self, person: Person) -> Subject:
        subject_id = self._secret.subject_id(person.ref)
        offset = (
            self._secret.offset_days(subject_id, most=self._policy.max_days) if self._policy.dates == "shift" else 0
        )
        known = Known(person.identifiers, subject_id, offset, person.sex)
        return Subject(subject_id, offset, known, self._group_birth(person, offset), ref=person.ref)

    def _group_birth(self, person: Person, offset: int) -> str | None:
        """The birth year that stands for everyone over the top age (45 CFR 164.514(b)(2)(i)(C))."""
        top = self._policy.top_age
        if not top or not person.birth:
            return None
        at = min(person.death[:10], self._as_of) if person.death else self._as_of
        age = fhir_dates.age_at(person.birth, at)
        if age is None or age <= top:
            return None
        return fhir_dates.shift(f"{int(at[:4]) - top - 1:04d}", offset)

    # ── the policy, compiled ──────────────────────────────────────────────────────────────────────

    def _tree(self, spec: dict[str, Any], path: str, shape: str) -> Walk:
        """Compile an element tree into a walk over the parts of an object.

        Args:
            spec: Element to action or tree.
            path: Where it stands.
            shape: FHIR type of the object; empty where FHIR R4 has no such element.
        """
        fhir = elements(shape)
        refused = self._refused("modifier_extension", path + ".modifierExtension")
        known: dict[str, Element] = {"modifierExtension": refused}
        if "." not in path:
            known["implicitRules"] = self._refused("implicit_rules", path + ".implicitRules")
        for name, action in (by_type(self._policy.elements, shape, spec) if self._whole else spec).items():
            if name in known or action == "drop" or (name == "id" and action != "id"):
                continue
            if name.endswith("[x]"):
                for suffix, choice in CHOICES.items():
                    known[name[:-3] + suffix] = self._element(choice, f"{path}.{name[:-3]}{suffix}", shape)
            else:
                known[name] = self._element(action, f"{path}.{name}", shape)
        if self._whole and "contained" in fhir:
            known["contained"] = self._contained(path + ".contained")
        required = masks.required(shape) if self._whole else {}
        actions = self._actions

        def walk(found: dict[str, msgspec.Raw]) -> Any:
            out = {}
            unnamed = 0
            tokens = actions.subject.known.tokens
            for name, inner in found.items():
                element = known.get(name)
                if element is None:
                    unnamed += 1
                    continue
                memo, one, many = element
                raw = bytes(inner)
                if memo is not None:
                    learned = memo.get(raw)
                    if learned is not None and learned[1].isdisjoint(tokens):
                        if learned[0] is not None:
                            out[name] = learned[0]
                        for what, count in learned[2]:
                            actions.counts[what] += count
                        continue
                if raw == b"null":
                    continue
                clean = one(raw) if raw[0] != _LIST else many(raw)
                if clean is not None:
                    out[name] = clean
            actions.unnamed += unnamed
            for name, mask in required.items():
                if name not in out and (name in found or "_" + name in found):
                    out.update(mask)
                    actions.counts["elements/masked"] += 1
            return out or None

        if path in _AGED:
            return lambda found: self._grouped(walk(found), found)
        return walk

    def _grouped(self, clean: Any, found: dict[str, msgspec.Raw]) -> Any:
        code = found.get("code")
        if clean is None or code is None:
            return clean
        return ages.grouped(clean, bytes(code), self._actions, self._policy.top_age)

    def _later(self, spec: dict[str, Any], path: str, shape: str) -> Walk:
        """A walk that is compiled when it is first needed: FHIR types nest, some in themselves."""
        made: list[Walk] = []

        def walk(found: dict[str, msgspec.Raw]) -> Any:
            if not made:
                if path.count(".") > _DEEPEST:
                    raise Reject("wrong_shape", path)
                made.append(self._tree(spec, path, shape))
            return made[0](found)

        return walk

    def _contained(self, path: str) -> Element:
        """Contained resources: each by its own type, for the same subject."""

        def one(raw: bytes) -> Any:
            found = parts(raw)
            kind = self._types.get(bytes(found.get("resourceType", b"")))
            walk = self._walk(kind) if kind is not None else None
            if walk is None or kind is None:
                self._actions.counts["elements/contained"] += 1
                return None
            clean = {"resourceType": kind, **(walk(found) or {})}
            ident = string(found["id"]) if "id" in found else None
            if ident:
                clean["id"] = self._names.local(ident)
            return clean

        return None, one, self._many(one)

    def _dropped(self, what: str) -> Element:
        """An element that is dropped and counted by its category."""
        actions = self._actions

        def drop(raw: bytes) -> None:
            actions.counts[what] += 1

        return None, drop, drop

    def _refused(self, reason: str, path: str) -> Element:
        """A modifierExtension, or implicitRules: it changes the meaning of all around it, and nobody here knows how."""

        def refuse(raw: bytes) -> None:
            raise Reject(reason, path)

        return None, refuse, refuse

    def _element(self, spec: Any, path: str, parent: str) -> Element:
        """Compile what stands behind an element's name: a tree, a datatype, or an action."""
        actions = self._actions
        name = path.rpartition(".")[2]
        found = elements(parent).get(name)
        shape = found.type if found is not None else ""
        tree = spec if isinstance(spec, dict) else self._policy.elements["datatypes"].get(spec)
        if tree is not None:
            walk = self._later(tree, path, shape) if self._whole else self._tree(tree, path, shape)
            return self._objects(walk, path, indexed=self._whole or _bears_text(tree))
        verb, _, category = spec.partition(" ")
        if verb == "drop" or (verb in EXPORTED and not self._whole):
            return self._dropped(f"phi/{category}/drop")
        if spec == "id":  # set from the key, once the resource is done
            return None, lambda raw: None, lambda raw: None
        if spec == "items":
            return self._items(path, shape)
        if self._whole and (made := self._export(verb, category, path, shape)) is not None:
            return made
        if spec == "code":
            memo, action = actions.remembered(_each(actions.code(path, required_codes(parent, name))))
            return memo, action, action
        make = getattr(actions, "subject_reference" if spec == "subject" else spec)(path)
        if spec in Actions.RAW:
            return None, make, self._many(make)
        if spec in Actions.REMEMBERED:
            memo, action = actions.remembered(_each(make))
            return memo, action, action
        return None, lambda raw: make(parse(raw)), self._many(lambda raw: make(parse(raw)), path)

    def _export(self, verb: str, category: str, path: str, shape: str) -> Element | None:
        """Compile an action of which only FHIR out has a use, or which does more there; None for any other."""
        made, actions = self._exported, self._actions
        value: Value | None = None
        if verb == "part":
            return self._objects(self._later({}, path, shape), path, indexed=True)
        if verb == "subject":
            other = made.reference("OTHERID")
            return self._raw(lambda raw: other(raw) if actions.subject.nobody else actions.subject.reference)
        if verb == "medication":
            named, concept = made.reference("OTHERID", "Medication"), actions.medication(path)
            return self._raw(lambda raw: named(raw) or concept(parse(raw)))
        if verb == "reference":
            return self._raw(made.reference(category))
        if verb == "extensions":
            _, known = actions.remembered(actions.extensions(path))
            return self._raw(made.extension(known, lambda: self._later(_EXTENSION, path, "Extension")))
        if verb == "date" and shape == "instant" and self._policy.dates == "year":
            year = actions.date(path)
            return self._raw(lambda raw: f"{year(raw)}-01-01T00:00:00Z")
        if verb == "identifier":
            value = made.identifier(category)
        elif verb in ("narrative", "attachment"):
            value = getattr(made, verb)(path)
        if value is None:
            return None
        return None, lambda raw: value(parse(raw)), self._many(lambda raw: value(parse(raw)), path)

    def _raw(self, action: Raw) -> Element:
        return None, action, self._many(action)

    def _items(self, path: str, shape: str) -> Element:
        """QuestionnaireResponse.item, which nests in itself and in its answers: compiled as deep as it is met."""
        spec = {"linkId": "label", "text": "label", "item": "items", "answer": {"value[x]": "any", "item": "items"}}
        compiled: list[Element] = []

        def action(raw: bytes) -> Any:
            if not compiled:
                if path.count(".") > _DEEPEST:
                    raise Reject("wrong_shape", path)
                compiled.append(self._objects(self._tree(spec, path, shape), path, indexed=True))
            _, one, many = compiled[0]
            return one(raw) if raw[0] != _LIST else many(raw)

        return None, action, action

    # ── lists: every action works on one value or on many ─────────────────────────────────────────

    def _objects(self, walk: Walk, path: str, *, indexed: bool) -> Element:
        indices = self._actions.indices

        def one(raw: bytes) -> Any:
            indices.pop(path, None)
            try:
                return walk(parts(raw))
            except msgspec.DecodeError:
                raise Reject("wrong_shape", path) from None

        def many(raw: bytes) -> Any:
            try:
                objects = _objects(raw)
            except msgspec.DecodeError:
                raise Reject("wrong_shape", path) from None
            out = []
            for index, inner in enumerate(objects):
                if indexed:
                    indices[path] = index
                if inner is not None and (clean := walk(inner)) is not None:
                    out.append(clean)
            return out or None

        return None, one, many

    def _many(self, action: Raw, path: str = "") -> Raw:
        """Let an action work on the pieces of a list; with a path, its decisions say which piece."""
        indices = self._actions.indices

        def many(raw: bytes) -> Any:
            out = []
            for index, piece in enumerate(_pieces(raw)):
                if path:
                    indices[path] = index
                inner = bytes(piece)
                if inner != b"null" and (clean := action(inner)) is not None:
                    out.append(clean)
            if path:
                indices.pop(path, None)
            return out or None

        return many


def _sparse(values: list[Any], kind: pa.DataType) -> pa.Array:
    """An Arrow array of nested values, of which most batches have none."""
    return pa.array(values, kind) if any(values) else pa.nulls(len(values), kind)


def _each(action: Value) -> Value:
    def each(value: Any) -> Any:
        if type(value) is not list:
            return action(value)
        return [clean for inner in value if inner is not None and (clean := action(inner)) is not None] or None

    return each


def _roomy(cache: dict[Any, Any]) -> dict[Any, Any]:
    if len(cache) >= _PEOPLE:
        del cache[next(iter(cache))]
    return cache


def _bears_text(spec: dict[str, Any]) -> bool:
    return any(_bears_text(inner) if isinstance(inner, dict) else inner in _BEARING for inner in spec.values())
