"""What a policy's actions do to a value: keep, mask, move, generalise, scrub or drop, datatype by datatype.

Two kinds. A *raw* action works on the JSON bytes of an element, because most elements need no more than a look
(dates, numbers, references). A *value* action works on the parsed value. Codes, units and labels repeat over and
over, so a value action whose result depends on the subject only through the words of its labels is wrapped by
`remembered`: parsed and judged once a spelling, afterwards looked up. What an action returns is encoded as it is
and may be shared between resources, so nothing here changes a value in place.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from mayo_data.keys import Secret
from mayo_data.phi import fhir_dates
from mayo_data.phi.areas import countries, states
from mayo_data.phi.attachments import packed, text_of
from mayo_data.phi.code_systems import CodeSystems, closed_codes, what_it_says
from mayo_data.phi.identifiers import reference_key
from mayo_data.phi.policy import SMALL_ZIP3, PhiPolicy
from mayo_data.phi.subject import Reject, Subject
from mayo_data.phi.text import Decision, Known, Scrubbed, TextScrubber
from mayo_data.phi.units import is_public
from mayo_data.phi.vault import Vault
from mayo_data.phi.words import LETTERS, common, fold
from mayo_data.types import Json

Value = Callable[[Any], Any]
Raw = Callable[[bytes], Any]
MASKED = "urn:mayo-data:masked"

_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?")
_SAMPLES = re.compile(r"[\d.eELU\s+-]*")
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_UNIT_KEYS = {"unit": b"unit", "system": b"system", "code": b"code"}
_URL = re.compile(r"[A-Za-z0-9:/._|-]{1,200}")
_PUBLIC_URLS = ("http://hl7.org/", "https://hl7.org/", "http://loinc.org/", "https://loinc.org/")
_POSTAL = re.compile(r"(?=.{0,11}\d)[A-Za-z0-9 -]{2,12}")
_COMPARATORS = frozenset([b'"<"', b'"<="', b'">="', b'">"', b'"ad"'])
_MOST = 100_000  # entries of a cache before it starts afresh
_YEARS = frozenset([b'"a"', b'"yr"', b'"yrs"', b'"year"', b'"years"', b'"Years"', b'"y"'])
_DIGITS = 7  # below that a number says nothing of who
_LONGEST = 1_000  # bytes of an element that is worth remembering

_US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"
_KEPT_EXTENSIONS = frozenset(_US_CORE + name for name in ("race", "ethnicity", "birthsex", "sex", "genderIdentity"))

_SEXES = {code.casefold(): code for code in ("F", "M", "OTH", "UNK", "ASKU", "248152002", "248153007")}  # US Core

parse = msgspec.json.Decoder(float_hook=Decimal).decode
parts = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
encode = msgspec.json.Encoder(decimal_format="number").encode


class _Everybody:
    """The words of a label that holds PHI by itself: they touch every subject."""

    def isdisjoint(self, words: object) -> bool:
        return False


_EVERYBODY = _Everybody()
Words = frozenset[str] | _Everybody
Learned = tuple[Any, Words, tuple[tuple[str, int], ...]]  # clean value, words of its labels, what to count
Memo = dict[bytes, Learned]

_NOBODY = Subject(0, 0, Known((), 0, 0), None)


class Actions:
    """The actions of one policy, in one process.

    Args:
        policy: The policy.
        secret: The site's key.
        scrubber: Free-text scrubber.
        vault: Where medication references resolve.
    """

    # Actions on bytes, and value actions that can be remembered. The others are parsed every time.
    RAW = frozenset(["date", "number", "boolean", "subject", "encounter", "quantity", "age", "birth_date"])
    REMEMBERED = frozenset(
        ["canonical", "code", "country", "concept", "coding", "label", "time", "state", "extensions"]
    )

    def __init__(self, policy: PhiPolicy, secret: Secret, scrubber: TextScrubber, vault: Vault) -> None:
        self.subject = _NOBODY
        self.decisions: list[dict[str, Any]] = []
        self.counts: Counter[str] = Counter()
        self.contained: bytes = b""
        self.indices: dict[str, int] = {}  # where in which list the walk is, for the paths of decisions
        self.dates = 0
        self.unnamed = 0
        self._policy = policy
        self._secret = secret
        self._scrubber = scrubber
        self._vault = vault
        self._move = fhir_dates.method(policy.dates)
        self._date_action = {"shift": "shift", "year": "generalise", "keep": "keep"}[policy.dates]
        self.systems = CodeSystems(policy.admit)
        self._words: set[str] | None = None  # words of the labels seen, while something is learned
        self._encounters: dict[bytes, Any] = {}
        self._medications: dict[str, Json | None] = {}

    # ── raw actions ───────────────────────────────────────────────────────────────────────────────

    def date(self, path: str) -> Raw:
        """A date, dateTime or instant: moved by the date rule of the policy."""

        def action(raw: bytes) -> Any:
            if raw[:1] != b'"' or b"\\" in raw:
                _wrong(path)
            self.dates += 1
            moved = self._move(raw[1:-1].decode(), self.subject.offset)
            if moved is None:
                raise Reject("bad_date", path)
            return moved

        return action

    def number(self, path: str) -> Raw:
        """A number: kept with its digits, unless it is one of the subject's own numbers."""

        def action(raw: bytes) -> Any:
            if _NUMBER.fullmatch(raw) is None:
                _wrong(path)
            return msgspec.Raw(raw) if len(raw) < _DIGITS or not self._is_theirs(raw) else None

        return action

    def boolean(self, path: str) -> Raw:
        """A boolean: kept."""
        return lambda raw: msgspec.Raw(raw) if raw in (b"true", b"false") else _wrong(path)

    def subject_reference(self, path: str) -> Raw:
        """The reference to the patient: becomes the subject_id."""
        return lambda raw: self.subject.reference if not self.subject.nobody else None

    def encounter(self, path: str) -> Raw:
        """The reference to an encounter: becomes its keyed id."""

        def action(raw: bytes) -> Any:
            found = self._encounters.get(raw)
            if found is None:
                value = parse(raw)
                if type(value) is not dict:
                    _wrong(path)
                key = reference_key(value, "Encounter")
                if key is None:
                    return None
                ident = self._secret.integer("resource", key)
                found = msgspec.Raw(b'{"reference":"Encounter/%016x"}' % ident)
                _bounded(self._encounters)[raw] = found
            return found

        return action

    def quantity(self, path: str) -> Raw:
        """A Quantity: the number keeps its digits, the unit is remembered; years over the top age are its group."""
        _, unit = self.remembered(self._unit(path))
        top = self._policy.top_age

        def action(raw: bytes) -> Any:
            value = parts(raw)
            number = value.pop("value", None)
            comparator = value.pop("comparator", None) if "comparator" in value else None
            out: dict[str, Any] = {}
            if number is not None:
                if _NUMBER.fullmatch(number) is None:
                    _wrong(path + ".value")
                if len(bytes(number)) < _DIGITS or not self._is_theirs(bytes(number)):
                    out["value"] = number
            if comparator is not None and bytes(comparator) in _COMPARATORS:
                out["comparator"] = comparator
            if value:
                measured = unit(
                    b"{%s}"
                    % b",".join([b'"%s":%s' % (_UNIT_KEYS.get(name, b"-"), part) for name, part in value.items()])
                )
                if measured is not None:
                    out.update(measured)
                    if top and number is not None and _is_years(measured) and "value" in out:
                        return self.aged(out)
            return out or None

        return action

    def aged(self, clean: dict[str, Any]) -> dict[str, Any]:
        """A number of years over the top age: the group's lower bound (45 CFR 164.514(b)(2)(i)(C))."""
        top = self._policy.top_age
        if Decimal(bytes(clean["value"]).decode()) <= top:
            return clean
        self.counts["phi/AGE90/generalise"] += 1
        return {**clean, "value": msgspec.Raw(b"%d" % (top + 1))}

    def age(self, path: str) -> Raw:
        """An Age: over the top age it is the group's lower bound (45 CFR 164.514(b)(2)(i)(C))."""
        quantity = self.quantity(path)

        def action(raw: bytes) -> Any:
            clean = quantity(raw)
            bare = clean is not None and "value" in clean and "code" not in clean and "unit" not in clean
            return self.aged(clean) if bare and self._policy.top_age else clean

        return action

    # ── value actions: primitives ─────────────────────────────────────────────────────────────────

    def code(self, path: str, allowed: Mapping[str, str] | None = None) -> Value:
        """A code of a required value set, in its own spelling; any other token is dropped and counted."""

        def action(value: Any) -> Any:
            if type(value) is not str:
                _wrong(path)
            said = allowed.get(value.casefold()) if allowed is not None else None
            if said is None:
                self.counts["elements/not_a_code"] += 1
            return said

        return action

    def country(self, path: str) -> Value:
        """A country, by its code or name: kept; anything else is dropped."""

        def action(value: Any) -> Any:
            if type(value) is not str or value.casefold() not in countries():
                return None
            return self._unless_known(value, *value.casefold().split())

        return action

    def state(self, path: str) -> Value:
        """A state: kept (45 CFR 164.514(b)(2)(i)(B) names smaller areas)."""

        def action(value: Any) -> Any:
            if type(value) is not str or value.casefold() not in states():
                return None
            return self._unless_known(value, *value.casefold().split())

        return action

    def time(self, path: str) -> Value:
        """A clock time: kept."""
        return lambda value: value if type(value) is str and _TIME.fullmatch(value) else _wrong(path)

    def samples(self, path: str) -> Value:
        """The points of SampledData: kept where they are numbers."""
        return lambda value: value if type(value) is str and _SAMPLES.fullmatch(value) else _wrong(path)

    def label(self, path: str) -> Value:
        """A short text: scrubbed, and remembered."""
        return lambda value: self._label(value, path)

    def canonical(self, path: str) -> Value:
        """A canonical URL: kept where HL7 or LOINC publish it, else a keyed token, so that forms stay apart."""

        def action(value: Any) -> Any:
            if type(value) is not str:
                _wrong(path)
            if value.startswith(_PUBLIC_URLS) and _URL.fullmatch(value):
                return self._unless_known(value, *re.findall(r"[a-z]+", value.casefold()))
            self.counts["codes/masked"] += 1
            return f"{MASKED}:{self._secret.integer('code', value):016x}"

        return action

    def text(self, path: str) -> Value:
        """A free text: scrubbed."""

        def action(value: Any) -> Any:
            made = self.rewritten(value if type(value) is str else _wrong(path), path)
            return made.text if made is not None else None

        return action

    def rewritten(self, text: str, path: str) -> Scrubbed | None:
        """Scrub a free text, with the way back to its offsets; None where it is about nobody."""
        if self.subject.nobody:
            self.counts["texts/about_nobody"] += 1
            return None
        made = self._scrubber.rewritten(text, self.subject.known)
        if made.decisions:
            self._decide(path, made.decisions)
        return made

    def birth_date(self, path: str) -> Raw:
        """The birth date: moved; for someone over the top age it is the year of the group."""
        plain = self.date(path)

        def action(raw: bytes) -> Any:
            moved = plain(raw)
            if self.subject.birth is not None:
                self.counts["phi/AGE90/generalise"] += 1
                return self.subject.birth
            return moved

        return action

    def zip3(self, path: str) -> Value:
        """A ZIP code: its first three digits, 000 where few people live (45 CFR 164.514(b)(2)(i)(B))."""

        def action(value: Any) -> Any:
            if type(value) is not str:
                _wrong(path)
            if self._policy.zip_method == "keep":
                return value if _POSTAL.fullmatch(value) else None
            self.counts["phi/ZIP/generalise"] += 1
            first = value.strip()[:3]
            if len(first) < 3 or not (first.isascii() and first.isdigit()):
                return None
            return "000" if first in SMALL_ZIP3 else first

        return action

    # ── value actions: datatypes ──────────────────────────────────────────────────────────────────

    def coding(self, path: str) -> Value:
        """A Coding: kept where the system is admitted, else masked by a keyed token."""
        closed = closed_codes(path.rpartition(".")[2])

        def action(value: Any) -> Any:
            if type(value) is not dict:
                _wrong(path)
            system, code, display = value.get("system"), value.get("code"), value.get("display")
            for part in (system, code, display):
                if part is not None and type(part) is not str:
                    _wrong(path)
            if code is None and display is None:
                return None
            if closed and (said := closed.get(str(code).casefold())):
                return said
            public = code is not None and self.systems.admits(system, code)
            if not public or self._names_subject(f"{system.rpartition('/')[2]} {code}"):
                self.counts["codes/masked"] += 1
                if system is not None:
                    self.counts["system/" + system] += 1
                token = self._secret.integer("code", f"{system}|{code if code is not None else display}")
                return {"system": MASKED, "code": f"{token:016x}"}
            clean = {"system": system, "code": code}
            if display is not None:
                clean["display"] = self._label(display, path + ".display")
            if value.get("userSelected") is True:
                clean["userSelected"] = True
            return clean

        return action

    def concept(self, path: str) -> Value:
        """A CodeableConcept: its codings, and its text as a label."""
        coding = self.coding(path + ".coding")
        closed = closed_codes(path.rpartition(".")[2])

        def action(value: Any) -> Any:
            if type(value) is not dict:
                _wrong(path)
            clean = {}
            codings = value.get("coding")
            if codings is not None:
                if type(codings) is not list:
                    _wrong(path)
                kept = [done for entry in codings if (done := coding(entry)) is not None]
                if kept:
                    clean["coding"] = kept
            if closed and (said := what_it_says(value, closed)):
                others = (one for one in clean.get("coding", ()) if one["system"] not in (MASKED, said["system"]))
                clean["coding"] = [said, *others]
            text = value.get("text")
            if text is not None:
                clean["text"] = self._label(text, path + ".text")
            return clean or None

        return action

    def medication(self, path: str) -> Value:
        """The concept of the Medication that a reference names: orders must not lose their drug."""
        concept = self.concept(path)

        def action(value: Any) -> Any:
            if type(value) is not dict:
                _wrong(path)
            ref = value.get("reference")
            if type(ref) is str and ref.startswith("#"):
                inner = _contained(self.contained, ref[1:]).get("code")
                return concept(inner) if type(inner) is dict else None
            key = reference_key(value, "Medication")
            if key is not None and key not in self._medications:
                _bounded(self._medications)[key] = self._vault.medication(key)
            found = self._medications.get(key) if key is not None else None
            if found is not None:
                return concept(found)
            text = value.get("display")
            return {"text": self._label(text, path)} if text is not None else None

        return action

    def attachment(self, path: str) -> Value:
        """An Attachment: its text, scrubbed; what is no text is dropped and counted."""
        scrub = self.text(path + ".data")

        def action(value: Any) -> Any:
            if type(value) is not dict:
                _wrong(path)
            data, kind = value.get("data"), value.get("contentType", "text/plain")
            text = text_of(kind, data) if type(data) is str and type(kind) is str else None
            if text is None:
                self.counts["attachments/dropped"] += 1
                return None
            scrubbed = scrub(text)
            if scrubbed is None:
                return None
            return packed("text/plain", scrubbed)

        return action

    def extensions(self, path: str) -> Value:
        """US Core race, ethnicity, birth sex and gender identity; every other extension is dropped and counted."""
        coding = self.coding(path + ".valueCoding")
        concept = self.concept(path + ".valueCodeableConcept")
        code = self.code(path + ".valueCode", _SEXES)

        def action(value: Any) -> Any:
            if type(value) is not dict:
                _wrong(path)
            url = value.get("url")
            if type(url) is not str or url not in _KEPT_EXTENSIONS:
                self.counts["elements/extension"] += 1
                return None
            clean: Json = {"url": url}
            if "valueCode" in value and (said := code(value["valueCode"])) is not None:
                clean["valueCode"] = said
            if "valueCodeableConcept" in value:
                clean["valueCodeableConcept"] = concept(value["valueCodeableConcept"])
            inner = []
            nested = value.get("extension", [])
            for part in nested if type(nested) is list else _wrong(path):
                name = part.get("url") if type(part) is dict else _wrong(path)
                if name in ("ombCategory", "detailed") and "valueCoding" in part:
                    inner.append({"url": name, "valueCoding": coding(part["valueCoding"])})
                elif name == "text" and "valueString" in part:
                    inner.append({"url": name, "valueString": self._label(part["valueString"], path + ".text")})
            if inner:
                clean["extension"] = inner
            return clean if len(clean) > 1 else None

        return action

    # ── shared ────────────────────────────────────────────────────────────────────────────────────

    def remembered(self, judge: Value) -> tuple[Memo, Raw]:
        """Let a value action work on bytes, and remember what it made of each spelling.

        It is judged once for nobody in particular. Where no word of its labels is one of the subject's, that
        judgement holds; where one is, or a label holds PHI by itself, it is judged again for this subject.

        Returns:
            The memo, for those who look things up themselves, and the action.
        """
        memo: Memo = {}

        def action(raw: bytes) -> Any:
            found = memo.get(raw)
            if found is None:
                if len(raw) > _LONGEST:
                    return judge(parse(raw))
                found = _bounded(memo)[raw] = self._learn(judge, raw)
            clean, words, counts = found
            if not words.isdisjoint(self.subject.known.tokens):
                return judge(parse(raw))
            for name, count in counts:
                self.counts[name] += count
            return clean

        return memo, action

    def key(self, resource_type: str, ident: str) -> int:
        """Return the keyed 63-bit pseudonym of a resource."""
        return self._secret.integer("resource", f"{resource_type}/{ident}")

    def take(self) -> Counter[str]:
        """Return the counts since the last call, and start afresh."""
        counts, self.counts = self.counts, Counter()
        if self.dates:
            counts[f"phi/DATE/{self._date_action}"] += self.dates
        if self.unnamed:
            counts["elements/unnamed"] += self.unnamed
        self.dates = self.unnamed = 0
        return counts

    def _learn(self, judge: Value, raw: bytes) -> Learned:
        before = self.subject, self.decisions, self.counts
        self.subject, self.decisions, self.counts, self._words = _NOBODY, [], Counter(), set()
        try:
            clean = judge(parse(raw))
            words: Words = _EVERYBODY if self.decisions else frozenset(self._words)
            counts = tuple(self.counts.items())
        finally:
            self.subject, self.decisions, self.counts = before
            self._words = None
        if clean is not None and type(clean) is not dict:
            clean = msgspec.Raw(encode(clean))
        elif clean is not None:
            clean = {name: msgspec.Raw(encode(inner)) for name, inner in clean.items()}
        return clean, words, counts

    def _unit(self, path: str) -> Value:
        """What is left of a Quantity without its number: the unit, and its code where the system is public."""

        def action(value: Any) -> Any:
            if type(value) is not dict:
                _wrong(path)
            unit, system, code = value.get("unit"), value.get("system"), value.get("code")
            clean: Json = {}
            if type(code) is str and self.systems.admits(system, code) and self._printed(code, path + ".code") == code:
                clean = {"system": system, "code": code}
            shown = unit if unit is not None else code if not clean else None
            if shown is not None:
                clean["unit"] = self._printed(shown, path + ".unit")
            return clean or None

        return action

    def _is_theirs(self, raw: bytes) -> bool:
        """Whether a number is one of the subject's phone, record or other numbers: then it is dropped."""
        digits = raw.lstrip(b"-").decode()
        numbers = self.subject.known.numbers
        category = numbers.get(digits) or numbers.get(digits.lstrip("0"))
        if category is None:
            return False
        self.counts[f"phi/{category}/drop"] += 1
        return True

    def _label(self, value: Any, path: str) -> Any:
        if type(value) is not str:
            _wrong(path)
        if self._words is not None:
            self._words.update(self._scrubber.words(value) or ())
        clean, decisions = self._scrubber.label(value, self.subject.known)
        if decisions:
            self._decide(path, decisions)
        return clean

    def _printed(self, unit: Any, path: str) -> Any:
        """A unit that is made of known units is public; a UCUM annotation, {in braces}, can hold anything."""
        return unit if type(unit) is str and is_public(unit) else self._label(unit, path)

    def _names_subject(self, text: str) -> bool:
        """Whether a code holds a word of the subject's record that is no everyday word."""
        words = {word for word in LETTERS.findall(fold(text)) if len(word) > 2} - common()
        if self._words is not None:
            self._words.update(words)
        return not self.subject.known.tokens.isdisjoint(words)

    def _unless_known(self, value: str, *words: str) -> str | None:
        if self._words is not None:
            self._words.update(words)
        if self.subject.known.tokens.isdisjoint(words):
            return value
        self.counts["phi/PATIENT/drop"] += 1
        return None

    def _decide(self, path: str, decisions: list[Decision]) -> None:
        for prefix in sorted(self.indices, key=len, reverse=True):
            if path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "."):
                path = f"{prefix}[{self.indices[prefix]}]{path[len(prefix) :]}"
        for one in decisions:
            self.decisions.append({"path": path, **one._asdict()})
            self.counts[f"phi/{one.category}/{one.action}"] += 1


def _contained(raw: bytes, ident: str) -> Json:
    """The contained resource of a name, or nothing."""
    try:
        value = parse(raw) if raw else []
    except msgspec.DecodeError:
        return {}
    entries = value if type(value) is list else []
    return next((entry for entry in entries if type(entry) is dict and entry.get("id") == ident), {})


def _is_years(measured: dict[str, Any]) -> bool:
    said = measured.get("code", measured.get("unit"))
    return (f'"{said}"'.encode() if type(said) is str else bytes(said or b"")) in _YEARS


def _bounded(held: dict[Any, Any]) -> dict[Any, Any]:
    if len(held) >= _MOST:
        held.clear()
    return held


def _wrong(path: str) -> Any:
    raise Reject("wrong_shape", path)
