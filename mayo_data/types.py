"""Nouns that more than one room speaks of. Plain data, no behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Role = Literal["PATIENT", "RELATIVE", "STAFF", "ORG"]


class Identifier(NamedTuple):
    """One thing that the structured record says of a person, and that must not appear in the output.

    Attributes:
        category: PHI category: PATIENT, RELATIVE, STAFF, HOSPITAL, ORG, PHONE, FAX, EMAIL, URL, SSN, MRN,
            ACCOUNT, HEALTHPLAN, LICENSE, DEVICE, OTHERID, STREET, CITY, ZIP, COUNTY, DATE, USERNAME.
        part: What part of it: `given`, `family`, `full` (a whole name as printed), `value` (numbers, phones,
            mail, streets, cities, facilities) or `birth`, `death` (ISO dates).
        value: The text itself. PHI zone only.

    >>> Identifier("PATIENT", "family", "Doe").part
    'family'
    """

    category: str
    part: str
    value: str


class PhiSpan(NamedTuple):
    """A piece of text that a recognizer holds to be PHI.

    Attributes:
        start: Offset of the first character.
        end: Offset after the last character.
        category: PHI category (see `schemas/phi/categories.toml`).
        recognizer: Who found it.
        score: How sure it is, 0 to 1.

    >>> PhiSpan(0, 4, "PATIENT", "known", 1.0).end
    4
    """

    start: int
    end: int
    category: str
    recognizer: str
    score: float


@dataclass(frozen=True)
class Verdict:
    """What one check of a gate found: counts and names of rules, never values.

    >>> Verdict("G4", "one_file_a_subject", True, "0 subjects in two files").passed
    True
    """

    gate: str
    check: str
    passed: bool
    observed: str
    action: Literal["stop", "quarantine", "warn"] = "stop"


@dataclass(frozen=True)
class Step:
    """One arrow of the data flow and what became of its rows.

    `rows_in == rows_out + sum(dropped.values())` must hold, `produced` is what they turned into.

    >>> Step("scrub", 3, 2, {"bad_json": 1}).balanced
    True
    """

    name: str
    rows_in: int
    rows_out: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    produced: Mapping[str, int] = field(default_factory=dict)
    fingerprint: str = ""

    @property
    def balanced(self) -> bool:
        """Whether every row is accounted for."""
        return self.rows_in == self.rows_out + sum(self.dropped.values())


Json = dict[str, Any]
