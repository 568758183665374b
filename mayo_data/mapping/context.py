"""What every map needs beside the resource: the vocabulary, the resources that others point to, and the tally."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mayo_data.mapping import cdm
from mayo_data.mapping.elements import (
    Coding,
    Json,
    code_of,
    codings,
    data,
    first,
    number,
    reference,
    some,
    text_of,
    words,
)
from mayo_data.mapping.vocabulary import Concept, Vocabulary, constant, lookup

LOCAL = "(no OMOP vocabulary)"
WORDS = "(words only)"


@dataclass
class Tally:
    """What became of the resources: counts only.

    Attributes:
        read: Resources by type.
        written: Rows by table.
        dropped: Resources, or parts of one, that made no row, by type and reason (`from_fhir.toml`, `[reasons]`).
        unmapped: Rows whose concept is 0, or whose unit, answer or site is empty, by column and vocabulary.
        dated: Rows that got their day from their visit, or a visit from its events, by table.
        orphans: References that led nowhere and were emptied, by column.
    """

    read: Counter[str] = field(default_factory=Counter)
    written: Counter[str] = field(default_factory=Counter)
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)
    unmapped: Counter[tuple[str, str]] = field(default_factory=Counter)
    dated: Counter[str] = field(default_factory=Counter)
    orphans: Counter[str] = field(default_factory=Counter)

    def dict(self) -> Json:
        """Return the counts as JSON has them, names in order."""
        nested: dict[str, dict[str, dict[str, int]]] = {"dropped": {}, "unmapped": {}}
        for name, counts in (("dropped", self.dropped), ("unmapped", self.unmapped)):
            for (one, two), count in sorted(counts.items()):
                nested[name].setdefault(one, {})[two] = count
        flat = {name: dict(sorted(getattr(self, name).items())) for name in ("read", "written", "dated", "orphans")}
        return {**flat, **nested}


class Resolved(NamedTuple):
    """A coding, and the concepts it leads to.

    Attributes:
        coding: The coding, or one with an empty code where there are words only.
        source: Its own concept, or None.
        standard: A standard concept that it maps to, or None.
        rank: Place of its vocabulary in the map's order.
    """

    coding: Coding
    source: Concept | None
    standard: Concept | None
    rank: int = 0


class Context:
    """One mapping under way.

    Args:
        vocabulary: The user's vocabulary.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.tally = Tally()
        self.medications: dict[str, Json] = {}
        self.specialties: dict[str, Json] = {}
        self._constants: dict[tuple[str, str], int | None] = {}

    def learn(self, resource: Json) -> None:
        """Remember what other resources point to: the code of a Medication, the specialty of a practitioner's role."""
        kind, name = resource.get("resourceType"), words(resource.get("id"))
        if kind == "Medication" and name and isinstance(resource.get("code"), dict):
            self.medications[name] = resource["code"]
        elif kind == "PractitionerRole":
            who = reference(resource.get("practitioner"), "Practitioner")
            if who and some(resource.get("specialty")):
                self.specialties.setdefault(who, some(resource["specialty"])[0])

    def constant(self, group: str, code: str) -> int | None:
        """Return the concept that a fixed map gives to a code, or None."""
        if (group, code) not in self._constants:
            self._constants[group, code] = constant(self.vocabulary, data()[group].get(code))
        return self._constants[group, code]

    def kind(self, resource_type: str, table: str) -> int:
        """Return the concept that says where a row comes from; 0 where the vocabulary has none of them."""
        at = (f"type {resource_type}", table)
        if at not in self._constants:
            types = data()["resource"][resource_type]["type"]
            self._constants[at] = constant(self.vocabulary, types.get(table, types["any"]))
        return self._constants[at] or 0

    def drop(self, resource: Json, reason: str) -> None:
        """Count a resource, or a part of it, that makes no row."""
        self.tally.dropped[words(resource.get("resourceType")), reason] += 1

    def miss(self, column: str, coding: Coding | None) -> None:
        """Count a code without a standard concept."""
        where = WORDS if coding is None or not coding.code else coding.vocabulary or LOCAL
        self.tally.unmapped[column, where] += 1

    # ── codes to concepts ─────────────────────────────────────────────────────────────────────────

    def candidates(self, element: Any, priority: Sequence[str]) -> list[Resolved]:
        """Return every way from the codings of an element to a concept, best vocabulary first."""
        found: list[Resolved] = []
        for coding in codings(element):
            rank = priority.index(coding.vocabulary) if coding.vocabulary in priority else len(priority)
            source = lookup(self.vocabulary, coding.vocabulary, coding.code) if coding.vocabulary else None
            targets = self.vocabulary.standards(source.concept_id) if source is not None else ()
            found += [Resolved(coding, source, one, rank) for one in targets] or [Resolved(coding, source, None, rank)]
        return sorted(found, key=lambda one: one.rank)

    def resolve(self, element: Any, spec: Json, home: str = "") -> list[Resolved]:
        """Return the concepts that an element stands for: at least one, which may have no standard concept.

        Args:
            element: A CodeableConcept.
            spec: The section of the resource type in `from_fhir.toml`: `priority` and `choose`.
            home: Domain that a single choice prefers.
        """
        found = self.candidates(element, spec["priority"])
        mapped = [one for one in found if one.standard is not None]
        if spec["choose"] == "all":
            once: dict[int, Resolved] = {}
            for one in mapped:
                once.setdefault(one.standard.concept_id if one.standard else 0, one)
            chosen = list(once.values())
        else:
            known = [one for one in found if one.source is not None] if spec["choose"] == "decided" else []
            at_home = [one for one in mapped if one.standard is not None and one.standard.domain == home]
            best = next(iter(known or at_home or mapped), None)
            chosen = [one for one in mapped if best is not None and one.coding == best.coding]
            if best is not None and best.standard is None:
                return [best]
            if at_home and not known:  # of a code that means several things, those of the resource's own domain
                chosen = [one for one in chosen if one in at_home]
        if chosen:
            return chosen
        known = [one for one in found if one.source is not None]
        return [next(iter(known or found), Resolved(Coding("", "", text_of(element)), None, None))]

    def standard(self, element: Any, column: str) -> int | None:
        """Return the standard concept of a detail (a unit, an answer, a site), or None and a count."""
        found = codings(element)
        for coding in found:
            source = lookup(self.vocabulary, coding.vocabulary, coding.code) if coding.vocabulary else None
            targets = self.vocabulary.standards(source.concept_id) if source is not None else ()
            if targets:
                return targets[0].concept_id
        if found or text_of(element):
            self.miss(column, found[0] if found else None)
        return None

    def unit(self, quantity: Json, column: str) -> tuple[int | None, str]:
        """Return the concept of a Quantity's unit, and the unit as written."""
        written = words(quantity.get("unit")) or words(quantity.get("code"))
        code = words(quantity.get("code")) or words(quantity.get("unit"))
        if not code:
            return None, ""
        system = quantity.get("system") or "http://unitsofmeasure.org"
        return self.standard({"coding": [{"system": system, "code": code}]}, column), written

    # ── who, where, when ──────────────────────────────────────────────────────────────────────────

    def subject(self, resource: Json) -> int | None:
        """Return the person of a resource, or None and a count."""
        who = reference(resource.get("subject") or resource.get("patient"), "Patient")
        if not who:
            self.drop(resource, "no_subject")
            return None
        return cdm.key("person", who)

    def links(self, resource: Json, *providers: Any) -> Json:
        """Return the visit and the provider of a resource.

        Args:
            resource: The resource.
            providers: References, or lists of them; the first to a Practitioner counts.
        """
        context = first(resource.get("context"))  # MedicationAdministration: a Reference; DocumentReference: an element
        stay = resource.get("encounter") or (context if "reference" in context else context.get("encounter"))
        visit = reference(stay, "Encounter")
        who = next((name for part in providers for one in some(part) if (name := reference(one, "Practitioner"))), "")
        return {
            "visit_occurrence_id": cdm.key("visit_occurrence", visit) if visit else None,
            "provider_id": cdm.key("provider", who) if who else None,
        }

    def happened(self, resource: Json, spec: Json) -> bool:
        """Whether the status of a resource says that it is a fact; else it is counted."""
        status = code_of(resource.get("status"))
        states = {status, code_of(resource.get("verificationStatus"))}
        if states & set(spec.get("not", ())) or ("only" in spec and status not in spec["only"]):
            self.drop(resource, "status")
            return False
        return True


class Value(NamedTuple):
    """The answer of an observation, in the columns that the CDM has for it.

    Attributes:
        number: `value_as_number`.
        operator: The comparator as written, or empty.
        unit: The concept of the unit.
        unit_text: The unit as written.
        concept: `value_as_concept_id`.
        coded: Words, or code, of a coded answer.
        text: An answer that is neither number nor code.
    """

    number: float | int | None = None
    operator: str = ""
    unit: int | None = None
    unit_text: str = ""
    concept: int | None = None
    coded: str = ""
    text: str = ""


def answer(context: Context, element: Json, table: str) -> Value | None:
    """Return the value[x] of an Observation or of one of its components, or None where there is none.

    Source: HL7 FHIR-to-OMOP guide, Observation considerations, value type mapping.

    Args:
        context: The mapping under way.
        element: The Observation or component.
        table: Table that its row goes to, for the count of what has no concept.
    """
    quantity = element.get("valueQuantity")
    if isinstance(quantity, dict) and number(quantity.get("value")) is not None:
        unit, written = context.unit(quantity, f"{table}.unit_concept_id")
        return Value(number(quantity["value"]), words(quantity.get("comparator")), unit, written)
    if number(element.get("valueInteger")) is not None:
        return Value(number(element["valueInteger"]))
    coded = element.get("valueCodeableConcept")
    if isinstance(coded, dict) and (codings(coded) or text_of(coded)):
        concept = context.standard(coded, f"{table}.value_as_concept_id")
        return Value(concept=concept, coded=text_of(coded) or code_of(coded))
    if isinstance(element.get("valueBoolean"), bool):
        said = str(element["valueBoolean"]).lower()
        return Value(concept=context.constant("answer", said), coded=said)
    for name in ("valueString", "valueDateTime", "valueTime"):
        if words(element.get(name)):
            return Value(text=words(element[name]))
    for name, low, high, between in (
        ("valueRange", "low", "high", " - "), ("valueRatio", "numerator", "denominator", " / "),
    ):  # fmt: skip
        parts = element.get(name)
        if isinstance(parts, dict):
            text = between.join(filter(None, (_quantity(parts.get(low)), _quantity(parts.get(high)))))
            if text:
                return Value(text=text)
    period = element.get("valuePeriod")
    if isinstance(period, dict):
        text = " - ".join(filter(None, (words(period.get("start")), words(period.get("end")))))
        if text:
            return Value(text=text)
    return None


def _quantity(value: Any) -> str:
    one = first(value)
    amount = number(one.get("value"))
    if amount is None:
        return ""
    return " ".join(filter(None, (words(one.get("comparator")) + f"{amount:g}", words(one.get("unit")))))
