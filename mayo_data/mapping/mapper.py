"""One resource in, its rows out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mayo_data.mapping import cdm, exposures, facts, notes, people
from mayo_data.mapping.cdm import Row
from mayo_data.mapping.context import Context, Tally
from mayo_data.mapping.elements import Json, data, words
from mayo_data.mapping.vocabulary import Vocabulary, constant

Rows = Iterator[tuple[str, Row]]

_REASONS = {"year_of_birth": "no_year_of_birth", "note_text": "no_text"}


def _encounter(context: Context, resource: Json) -> Rows:
    if context.happened(resource, data()["resource"]["Encounter"]):
        yield from people.encounter(context, resource)


def _nothing(context: Context, resource: Json) -> Rows:
    """What other resources point to is no row of its own."""
    yield from ()


_MAPS: dict[str, Callable[[Context, Json], Rows]] = {
    "Patient": people.patient,
    "Practitioner": people.practitioner,
    "PractitionerRole": _nothing,
    "Organization": people.organization,
    "Location": people.location,
    "Encounter": _encounter,
    "Condition": facts.condition,
    "Procedure": facts.procedure,
    "Observation": facts.observation,
    "DiagnosticReport": notes.report,
    "DocumentReference": notes.document,
    "AllergyIntolerance": facts.allergy,
    "Medication": _nothing,
    "MedicationRequest": exposures.drug,
    "MedicationAdministration": exposures.drug,
    "MedicationDispense": exposures.drug,
    "MedicationStatement": exposures.drug,
    "Immunization": exposures.drug,
    "Device": exposures.device,
    "Specimen": exposures.specimen,
}


class Mapper:
    """Turns FHIR resources into rows of the CDM 5.4.

    Args:
        vocabulary: The user's vocabulary.

    >>> from mayo_data.mapping.vocabulary import MemoryVocabulary
    >>> mapper = Mapper(MemoryVocabulary([]))
    >>> [(table, row["year_of_birth"]) for table, row in mapper.rows(
    ...     {"resourceType": "Patient", "id": "p1", "birthDate": "1970"})]
    [('person', 1970)]
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._context = Context(vocabulary)

    @property
    def tally(self) -> Tally:
        """What became of the resources so far."""
        return self._context.tally

    def learn(self, resource: Json) -> None:
        """Remember a resource that others point to: call this for all of `Medication` and `PractitionerRole` first."""
        self._context.learn(resource)

    def rows(self, resource: Json) -> list[tuple[str, Row]]:
        """Return the rows of a resource, each with the name of its table; what makes none is counted in the tally.

        Args:
            resource: A de-identified FHIR R4 resource (what R5 calls otherwise is mostly understood too).
        """
        tally, kind = self.tally, words(resource.get("resourceType"))
        known = _MAPS.get(kind)
        tally.read[kind if known else "other"] += 1
        if known is None:
            tally.dropped[kind if kind.isalpha() and len(kind) < 40 else "other", "type_has_no_map"] += 1
            return []
        made = []
        for table, row in known(self._context, resource):
            whole, missing = cdm.fit(table, row)
            if missing is not None and not (cdm.is_late(table, missing) and whole["visit_occurrence_id"]):
                self._context.drop(resource, _REASONS.get(missing, "no_date"))
                continue
            tally.written[table] += 1
            made.append((table, whole))
        return made

    def period_kind(self) -> int:
        """Return the concept that says how observation periods were made; 0 where the vocabulary has none."""
        return constant(self._context.vocabulary, data()["observation_period"]["type"]) or 0
