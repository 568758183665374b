"""The OHDSI standardized vocabularies as the maps see them: four questions, whoever answers them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

_PUNCTUATED = {"ICD10CM": 3, "ICD10": 3, "ICD10GM": 3, "ICD9CM": 3, "ICD9Proc": 2}  # characters before the point
_NDC = re.compile(r"(\d{4,5})-(\d{3,4})-(\d{1,2})")


class Concept(NamedTuple):
    """A row of the table `concept`, as far as a map needs it.

    Attributes:
        concept_id: Its number.
        domain: `domain_id`, which decides the table.
        vocabulary: `vocabulary_id`.
        kind: `concept_class_id`.
        standard: Whether it is standard and valid today.
        code: `concept_code`.
    """

    concept_id: int
    domain: str
    vocabulary: str
    kind: str
    standard: bool
    code: str


class Vocabulary(Protocol):
    """What a map asks a vocabulary."""

    def find(self, vocabulary: str, code: str) -> Concept | None:
        """Return the concept that a code of a vocabulary names."""

    def get(self, concept_id: int) -> Concept | None:
        """Return a concept by its number."""

    def standards(self, concept_id: int) -> tuple[Concept, ...]:
        """Return the standard concepts that a concept `Maps to`, in the order of their numbers."""

    def answers(self, concept_id: int) -> tuple[Concept, ...]:
        """Return the standard concepts that a concept `Maps to value`."""


class MemoryVocabulary:
    """A vocabulary that fits into memory: for tests, and for a site's handful of own concepts.

    Args:
        concepts: Its concepts.
        maps: Pairs of numbers, from a concept to what it `Maps to`.
        values: Pairs of numbers, from a concept to what it `Maps to value`.

    >>> fever = Concept(437663, "Condition", "SNOMED", "Clinical Finding", True, "386661006")
    >>> MemoryVocabulary([fever]).standards(437663)[0].domain
    'Condition'
    """

    def __init__(
        self, concepts: Iterable[Concept], maps: Iterable[tuple[int, int]] = (), values: Iterable[tuple[int, int]] = ()
    ) -> None:
        self._by_id = {one.concept_id: one for one in concepts}
        self._by_code = {(one.vocabulary, one.code): one for one in self._by_id.values()}
        self._maps = self._paired(maps)
        self._values = self._paired(values)

    def find(self, vocabulary: str, code: str) -> Concept | None:
        """Return the concept that a code of a vocabulary names."""
        return self._by_code.get((vocabulary, code))

    def get(self, concept_id: int) -> Concept | None:
        """Return a concept by its number."""
        return self._by_id.get(concept_id)

    def standards(self, concept_id: int) -> tuple[Concept, ...]:
        """Return what a concept `Maps to`; a standard concept maps to itself, said or not."""
        found = self._maps.get(concept_id)
        own = self._by_id.get(concept_id)
        return found or ((own,) if own is not None and own.standard else ())

    def answers(self, concept_id: int) -> tuple[Concept, ...]:
        """Return what a concept `Maps to value`."""
        return self._values.get(concept_id, ())

    def _paired(self, pairs: Iterable[tuple[int, int]]) -> dict[int, tuple[Concept, ...]]:
        found: dict[int, tuple[Concept, ...]] = {}
        for start, end in sorted(set(pairs)):
            target = self._by_id.get(end)
            if target is not None and target.standard:
                found[start] = (*found.get(start, ()), target)
        return found


def spellings(vocabulary: str, code: str) -> tuple[str, ...]:
    """Return how Athena may write a code that FHIR writes so: ICD codes with their point, NDC with eleven digits.

    >>> spellings("ICD10CM", "E119"), spellings("NDC", "0002-1433-80"), spellings("LOINC", "2160-0")
    (('E119', 'E11.9'), ('0002-1433-80', '00002143380'), ('2160-0',))
    """
    head = _PUNCTUATED.get(vocabulary)
    if head is not None and "." not in code and len(code) > head:
        if vocabulary == "ICD9CM" and code.startswith("E"):
            head = 4
        return (code, f"{code[:head]}.{code[head:]}")
    if vocabulary == "NDC" and (match := _NDC.fullmatch(code)):
        return (code, f"{match[1]:0>5}{match[2]:0>4}{match[3]:0>2}")
    return (code,)


def lookup(vocabulary: Vocabulary, name: str, code: str) -> Concept | None:
    """Return the concept of a code under any of its spellings; codes of `concept_id` are the numbers themselves.

    Args:
        vocabulary: Where to look.
        name: `vocabulary_id`.
        code: The code as FHIR has it.
    """
    if name == "concept_id":
        return vocabulary.get(int(code)) if code.isascii() and code.isdigit() and len(code) < 12 else None
    for spelling in spellings(name, code):
        found = vocabulary.find(name, spelling)
        if found is not None:
            return found
    return None


def constant(vocabulary: Vocabulary, preferred: Sequence[int] | None) -> int | None:
    """Return the first of several concepts that a vocabulary holds, as the standard concept that it is today.

    A map's own concepts retire too: `38000177` of 2019 is `32838` now. What the vocabulary does not hold would be a
    foreign key that leads nowhere, so it is never returned.

    Args:
        vocabulary: Where to look.
        preferred: Concept numbers, best first; None for a code that the map does not name.

    >>> kind = Concept(32817, "Type Concept", "Type Concept", "Type Concept", True, "OMOP4976890")
    >>> constant(MemoryVocabulary([kind]), [32838, 32817]), constant(MemoryVocabulary([]), [32817])
    (32817, None)
    """
    for concept_id in preferred or ():
        own = vocabulary.get(concept_id)
        if own is not None:
            today = vocabulary.standards(concept_id)
            return today[0].concept_id if len(today) == 1 else concept_id
    return None
