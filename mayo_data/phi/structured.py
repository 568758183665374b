"""The scrub stage: resources with PHI in, de-identified resources out, by a policy.

One walk over each resource. The policy's element tree is compiled once a process into nested functions over the
parts of an object, each still as it is written; what the tree does not name is never even parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from mayo_data import assets, schema
from mayo_data.keys import Secret, fingerprint
from mayo_data.phi import fhir_dates
from mayo_data.phi.actions import CHOICES, Actions, Memo, Raw, Reject, Subject, Value, encode, parse, parts
from mayo_data.phi.identifiers import reference_key
from mayo_data.phi.policy import PhiPolicy
from mayo_data.phi.text import Gazetteer, Known, TextScrubber, TextSettings
from mayo_data.phi.vault import Person, Vault
from mayo_data.stage import fate, tally
from mayo_data.types import Json

_VERSION = "1"
_DEEPEST = 16  # levels of nested questionnaire items
_PEOPLE = 2_000  # subjects kept ready to scrub with, a process
_BEARING = frozenset(["text", "attachment", "annotation", "dosage", "items"])  # actions that may touch free text

Walk = Callable[[dict[str, msgspec.Raw]], Any]
Element = tuple[Memo | None, Raw, Raw]  # what is remembered of an element, its action on one value, and on a list

_LIST = ord("[")
_objects = msgspec.json.Decoder(list[dict[str, msgspec.Raw] | None]).decode
_pieces = msgspec.json.Decoder(list[msgspec.Raw]).decode


def text_scrubber(policy: PhiPolicy, secret: Secret, vault: Vault) -> TextScrubber:
    """Return the free-text scrubber of a policy, with the site's directory from the vault."""
    kept = frozenset({"YEAR", "STATE", "COUNTRY"}) | (frozenset({"DATE"}) if policy.dates == "keep" else frozenset())
    settings = TextSettings(
        replace=policy.replace,
        dates="year" if policy.dates == "year" else "shift",
        keep=kept,
    )
    return TextScrubber(settings, secret, Gazetteer(vault.directory()))


def detector(stage: Scrub) -> str:
    """Return the fingerprint of the text detector that a scrub uses."""
    return _Scrubber.of(stage).detector


@dataclass(frozen=True)
class Scrub:
    """De-identifies FHIR resources: structured elements by allow-list, free text by detection.

    Attributes:
        policy: The PHI policy.
        secret: Key of pseudonyms, offsets and surrogates.
        vault_secret: Key of the vault; differs from `secret` in a Safe Harbor run only.
        vault: The vault's file.
        as_of: ISO date at which ages over the top age are judged, for whoever is alive.
    """

    policy: PhiPolicy
    secret: Secret
    vault_secret: Secret
    vault: Path
    as_of: str
    name: str = field(default="scrub", init=False)
    reads: str = field(default="raw", init=False)
    writes: str = field(default="scrubbed", init=False)

    @property
    def fingerprint(self) -> str:
        """Digest of version, policy, key id and reference date."""
        return fingerprint(self.name, _VERSION, self.policy.fingerprint, self.secret.key_id, self.as_of)

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Turn `raw` batches into `scrubbed` batches; each ends with one tally row."""
        scrubber = _Scrubber.of(self)
        for batch in batches:
            yield scrubber.batch(batch)


class _Scrubber:
    """A compiled scrub, kept for the life of the process."""

    _kept: tuple[tuple[str, str, int], _Scrubber] | None = None

    def __init__(self, stage: Scrub) -> None:
        self._policy = stage.policy
        self._secret = stage.secret
        self._as_of = stage.as_of
        self._vault = Vault(stage.vault, stage.vault_secret, readonly=True)
        scrubber = text_scrubber(stage.policy, stage.secret, self._vault)
        self.detector = scrubber.fingerprint
        self._actions = Actions(stage.policy, stage.secret, scrubber, self._vault)
        listed = assets.toml("schemas", "fhir", "resource_types.toml")
        self._types = {b'"%s"' % name.encode(): name for name in listed["types"]}
        self._directory = frozenset(listed["directory"])
        self._trees = {
            name: self._tree(spec, name)
            for name, spec in stage.policy.elements.items()
            if name != "datatypes" and isinstance(spec, dict)
        }
        self._subject_names = {
            name: tuple(key for key, action in stage.policy.elements[name].items() if action == "subject")
            for name in self._trees
        }
        self._people: dict[str, Subject | None] = {}
        self._references: dict[bytes, str] = {}

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

    def batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        rows = batch.num_rows
        types: list[str | None] = [None] * rows
        keys: list[int | None] = [None] * rows
        subjects: list[int | None] = [None] * rows
        versions: list[int | None] = [None] * rows
        decisions: list[list[dict[str, Any]] | None] = [None] * rows
        fates: list[str | None] = batch.column("fate").to_pylist()
        paths: list[str | None] = [None] * rows
        bodies: list[bytes | None] = batch.column("body").to_pylist()
        actions = self._actions
        for row, body in enumerate(bodies):
            if fates[row] is not None:
                continue
            try:
                resource = _parse(body or b"")
                kind = self._kind(resource)
                types[row] = kind
                actions.decisions = []
                clean, keys[row], subjects[row] = self._one(resource, kind)
                bodies[row] = encode(clean)
                if "meta" in resource:
                    versions[row] = _version(resource["meta"])
                if actions.decisions:
                    decisions[row] = actions.decisions
            except Reject as verdict:
                keys[row] = subjects[row] = None
                fates[row] = fate("scrub", verdict.reason)
                paths[row] = verdict.path or None
        out = schema.table("scrubbed")
        arrays = [
            batch.column("source_table"), batch.column("source_row"), pa.array(types, pa.string()),
            pa.array(keys, pa.int64()), pa.array(subjects, pa.int64()), pa.array(versions, pa.int64()),
            pa.array(bodies, pa.large_binary()), _sparse(decisions, out.field("decisions").type),
            pa.array(fates, pa.string()), pa.array(paths, pa.string()),
        ]  # fmt: skip
        done = pa.RecordBatch.from_arrays(arrays, schema=out)
        counts = actions.take()
        return pa.concat_batches([done, tally(out, counts)]) if counts else done

    def _kind(self, resource: dict[str, msgspec.Raw]) -> str:
        raw = bytes(resource.get("resourceType", b""))
        kind: str | None = self._types.get(raw if b"\\" not in raw else encode(parse(raw)))
        if kind is None:
            raise Reject("unknown_type" if raw[:1] == b'"' else "missing_type")
        return kind

    def _one(self, resource: dict[str, msgspec.Raw], kind: str) -> tuple[Json, int, int]:
        walk = self._trees.get(kind)
        if walk is None:
            raise Reject("not_about_a_patient" if kind in self._directory else "type_not_in_policy")
        ident = _string(resource["id"]) if "id" in resource else None
        if not ident:
            raise Reject("missing_id", kind + ".id")
        actions = self._actions
        actions.subject = subject = self._subject(resource, kind, ident)
        actions.contained = bytes(resource["contained"]) if "contained" in resource else b""
        key = actions.key(kind, ident)
        try:
            clean = walk(resource) or {}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError) as error:
            raise Reject("wrong_shape", kind) from error
        if "medicationReference" in clean:  # resolved: it stands where a coded medication would
            clean["medicationCodeableConcept"] = clean.pop("medicationReference")
        clean["resourceType"] = kind
        clean["id"] = f"{key:016x}"
        return clean, key, subject.subject_id

    # ── whose it is ───────────────────────────────────────────────────────────────────────────────

    def _subject(self, resource: dict[str, msgspec.Raw], kind: str, ident: str) -> Subject:
        if kind == "Patient":
            ref = "Patient/" + ident
        else:
            names = self._subject_names[kind]
            raw = next((bytes(resource[name]) for name in names if name in resource), None)
            if raw is None:
                raise Reject("not_about_a_patient" if kind == "Device" else "missing_subject", kind)
            found = self._references.get(raw)
            if found is None:
                found = _reference(raw)
                if found is None:
                    raise Reject("missing_subject", f"{kind}.{names[0]}")
                _roomy(self._references)[raw] = found
            ref = found
        if ref not in self._people:
            person = self._vault.person(ref)
            _roomy(self._people)[ref] = self._ready(person) if person is not None and person.known else None
        subject = self._people[ref]
        if subject is None:
            raise Reject("unknown_subject", kind)
        return subject

    def _ready(self, person: Person) -> Subject:
        subject_id = self._secret.subject_id(person.ref)
        offset = (
            self._secret.offset_days(subject_id, most=self._policy.max_days) if self._policy.dates == "shift" else 0
        )
        known = Known(person.identifiers, subject_id, offset, person.sex)
        return Subject(subject_id, offset, known, self._group_birth(person, offset))

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

    def _tree(self, spec: dict[str, Any], path: str) -> Walk:
        """Compile an element tree into a walk over the parts of an object."""
        known: dict[str, Element] = {"modifierExtension": self._refused(path + ".modifierExtension")}
        for name, action in spec.items():
            if isinstance(action, str) and action.startswith("drop "):
                known[name] = self._dropped(f"phi/{action[5:]}/drop")
            elif name.endswith("[x]"):
                for suffix, choice in CHOICES.items():
                    known[name[:-3] + suffix] = self._element(choice, f"{path}.{name[:-3]}{suffix}")
            else:
                known[name] = self._element(action, f"{path}.{name}")
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
            return out or None

        return walk

    def _dropped(self, what: str) -> Element:
        """An element that is dropped and counted by its category."""
        actions = self._actions

        def drop(raw: bytes) -> None:
            actions.counts[what] += 1

        return None, drop, drop

    def _refused(self, path: str) -> Element:
        """A modifierExtension: it changes the meaning of all around it, and nobody here knows how."""

        def refuse(raw: bytes) -> None:
            raise Reject("modifier_extension", path)

        return None, refuse, refuse

    def _element(self, spec: Any, path: str) -> Element:
        """Compile what stands behind an element's name: a tree, a datatype, or an action."""
        actions = self._actions
        datatypes = self._policy.elements["datatypes"]
        tree = spec if isinstance(spec, dict) else datatypes.get(spec)
        if tree is not None:
            return self._objects(self._tree(tree, path), path, indexed=_bears_text(tree))
        if spec == "id":  # set from the key, once the resource is done
            return None, _nothing, _nothing
        if spec == "items":
            return self._items(path)
        make = getattr(actions, "subject_reference" if spec == "subject" else spec)(path)
        if spec in Actions.RAW:
            return None, make, self._many(make)
        if spec in Actions.REMEMBERED:
            memo, action = actions.remembered(_each(make))
            return memo, action, action
        return None, lambda raw: make(parse(raw)), self._many(lambda raw: make(parse(raw)), path)

    def _items(self, path: str) -> Element:
        """QuestionnaireResponse.item, which nests in itself and in its answers: compiled as deep as it is met."""
        spec = {"linkId": "label", "text": "label", "item": "items", "answer": {"value[x]": "any", "item": "items"}}
        compiled: list[Element] = []

        def action(raw: bytes) -> Any:
            if not compiled:
                if path.count(".") > _DEEPEST:
                    raise Reject("wrong_shape", path)
                compiled.append(self._objects(self._tree(spec, path), path, indexed=True))
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


def _nothing(raw: bytes) -> None:
    """Keep nothing of an element."""


def _each(action: Value) -> Value:
    def each(value: Any) -> Any:
        if type(value) is not list:
            return action(value)
        return [clean for inner in value if inner is not None and (clean := action(inner)) is not None] or None

    return each


def _parse(body: bytes) -> dict[str, msgspec.Raw]:
    """Take a line apart: top-level elements, each still as it is written."""
    try:
        if not body.isascii():
            body.decode("utf-8")
        return parts(body)
    except UnicodeDecodeError:
        raise Reject("bad_utf8") from None
    except msgspec.ValidationError:
        raise Reject("not_an_object") from None
    except (msgspec.DecodeError, RecursionError):
        raise Reject("bad_json") from None


def _string(raw: msgspec.Raw) -> str | None:
    value = bytes(raw)
    if value[:1] != b'"':
        return None
    return value[1:-1].decode() if b"\\" not in value else str(parse(value))


def _reference(raw: bytes) -> str | None:
    try:
        return reference_key(parse(raw))
    except msgspec.DecodeError:
        return None


def _roomy(cache: dict[Any, Any]) -> dict[Any, Any]:
    """Make room in a cache of subjects: the oldest goes."""
    if len(cache) >= _PEOPLE:
        del cache[next(iter(cache))]
    return cache


def _bears_text(spec: dict[str, Any]) -> bool:
    return any(_bears_text(inner) if isinstance(inner, dict) else inner in _BEARING for inner in spec.values())


def _version(raw: msgspec.Raw) -> int | None:
    """Order of versions: microseconds of meta.lastUpdated. Real time, so it never leaves the PHI zone."""
    if b"lastUpdated" not in bytes(raw):
        return None
    try:
        meta = parse(raw)
        text = meta.get("lastUpdated") if type(meta) is dict else None
        if type(text) is not str:
            return None
        moment = datetime.fromisoformat(text)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000_000)
    except (ValueError, OverflowError, msgspec.DecodeError):
        return None
