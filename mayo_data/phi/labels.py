"""Scrubs columns of text: every distinct value is judged once, and read again only for whom it could name.

The set-wise twin of `Actions.remembered`: an engine finds which subject has which value, this says what becomes of it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from mayo_data.keys import Secret
from mayo_data.phi import fhir_dates
from mayo_data.phi.policy import PhiPolicy
from mayo_data.phi.text import Known, TextScrubber, spelled
from mayo_data.phi.units import is_public
from mayo_data.phi.vault import Person, Vault
from mayo_data.types import Json

MASKED = "MASKED//"
_LABEL = 120  # characters of what may pass for a label
_NUMBER = re.compile(r"[-+]?\d{0,6}(?:\.\d{1,6})?|[<>]=?\s?\d{1,6}(?:\.\d{1,6})?")
_LONG_NUMBER = re.compile(r"\d{4}")
_IDENTIFIER = re.compile(r"\d{5,}|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}|^(?=\D*\d)(?=[^A-Za-z]*[A-Za-z])[\w-]{12,}$")
_VALUES = 100_000  # judgements remembered
_PEOPLE = 2_000  # subjects kept ready, a process


class Cleaned(NamedTuple):
    """A text after the scrub, and the decisions on it."""

    text: str | None
    decisions: list[Json]


class Verdict(NamedTuple):
    """What becomes of a value.

    Attributes:
        words: Subjects with one of these words among their known identifiers must be looked at; None for all.
        fixed: What it becomes for everybody else; None where it stays as it is.
    """

    words: frozenset[str] | None
    fixed: Cleaned | None


_CLEAN = Verdict(frozenset(), None)
_READ = Verdict(None, None)


class Labels:
    """Judges and scrubs the texts of columns, by a policy.

    Args:
        policy: The policy.
        secret: Key of the pseudonyms.
        scrubber: Free-text scrubber.
        vault: Where subjects are known.
        as_of: ISO date at which ages over the top age are judged.
    """

    def __init__(self, policy: PhiPolicy, secret: Secret, scrubber: TextScrubber, vault: Vault, as_of: str) -> None:
        self.counts: Counter[str] = Counter()
        self._public: frozenset[str] = frozenset()
        self._policy = policy
        self._secret = secret
        self._scrubber = scrubber
        self._vault = vault
        self._as_of = as_of
        self._nobody = Known((), 0, 0)
        self._known: dict[int, Known] = {}
        self._judged: dict[tuple[str, str], Verdict] = {}
        self._done: dict[tuple[int, str, str], Cleaned] = {}

    @property
    def public(self) -> frozenset[str]:
        """Codes of public vocabularies that the export uses: they say nothing of anybody."""
        return self._public

    @public.setter
    def public(self, codes: frozenset[str]) -> None:
        if codes != self._public:
            self._public = codes
            self._judged.clear()

    def judge(self, value: str, action: str) -> Verdict:
        """Return what becomes of a value for everybody, and who must be looked at one by one.

        Every value is judged once: the detector is not cheap.

        Args:
            value: The text.
            action: `code`, `word`, `label` or `text`.
        """
        key = (action, value)
        if key not in self._judged:
            if len(self._judged) >= _VALUES:
                self._judged.clear()
            self._judged[key] = self._judge(value, action)
        return self._judged[key]

    def _judge(self, value: str, action: str) -> Verdict:
        if value in self._public or (action == "label" and is_public(value) and not _LONG_NUMBER.search(value)):
            return _CLEAN
        if action == "text" and _NUMBER.fullmatch(value):
            return _CLEAN
        if action == "word" and _IDENTIFIER.search(value):
            return Verdict(frozenset(), Cleaned(self._mask(value), []))
        if action == "text" and len(value) > _LABEL:
            return _READ
        words = self._scrubber.words(value)
        if words is not None and action == "text" and self._scrubber.find(value, self._nobody):
            return _READ
        if words is None and action in ("code", "word"):
            # It becomes the same token whoever has it; only the decisions differ for whom its words name.
            return Verdict(spelled(value), self._scrub(value, action, self._nobody))
        return _READ if words is None else Verdict(words, None)

    def scrub(self, value: str, action: str, subject_id: int) -> Cleaned:
        """Return a value as it may leave, read for one subject.

        Args:
            value: The text.
            action: What the scrub does to it.
            subject_id: Whose it is.
        """
        key = (subject_id, action, value)
        done = self._done.get(key)
        if done is None:
            done = self._scrub(value, action, self.known(subject_id))
            if len(self._done) > 50_000:
                self._done.clear()
            if len(value) < 1_000:
                self._done[key] = done
        return done

    def count(self, cleaned: Cleaned, rows: int = 1) -> None:
        """Count the decisions on a value, once for every row that it stands in."""
        for decision in cleaned.decisions:
            self.counts[f"phi/{decision['category']}/{decision['action']}"] += rows
        if cleaned.text is not None and cleaned.text.startswith(MASKED):
            self.counts["codes/masked"] += rows

    def _scrub(self, value: str, action: str, known: Known) -> Cleaned:
        if action in ("code", "word"):
            # A code that names somebody is of no use as a word: it becomes a token, the same for the same code.
            if action == "word" and _IDENTIFIER.search(value):
                return Cleaned(self._mask(value), [])
            clean, decisions = self._scrubber.scrub(value, known, label=True)
            if decisions or clean != value:
                return Cleaned(self._mask(value), [one._asdict() for one in decisions])
            return Cleaned(value, [])
        # A text that was read for nobody and found clean can only hold what is known of this subject.
        plain = action == "label" or (len(value) <= _LABEL and self.judge(value, action).words is not None)
        clean, decisions = self._scrubber.scrub(value, known, label=plain)
        return Cleaned(clean, [one._asdict() for one in decisions])

    def _mask(self, value: str) -> str:
        return f"{MASKED}{self._secret.integer('code', value):016x}"

    def mask(self, vocabulary: str, code: str) -> str:
        """Return the token that stands for a code of a vocabulary that the policy does not admit."""
        return f"{MASKED}{self._secret.integer('code', f'{vocabulary}|{code}'):016x}"

    def known(self, subject_id: int) -> Known:
        """Return what is known of a subject, ready to search with."""
        found = self._known.get(subject_id)
        if found is None:
            person = self._vault.subject(subject_id)
            if len(self._known) >= _PEOPLE:
                self._known.clear()
            found = self._known[subject_id] = known_of(person, self._secret, self._policy) if person else self._nobody
        return found


def offset_of(subject_id: int, secret: Secret, policy: PhiPolicy) -> int:
    """Return by how many days a policy moves the dates of a subject."""
    return secret.offset_days(subject_id, most=policy.max_days) if policy.dates == "shift" else 0


def known_of(person: Person, secret: Secret, policy: PhiPolicy) -> Known:
    """Return what is known of a person, ready to search with."""
    subject_id = secret.subject_id(person.ref)
    return Known(person.identifiers, subject_id, offset_of(subject_id, secret, policy), person.sex)


def birth_of(person: Person, offset: int, policy: PhiPolicy, as_of: str) -> str | None:
    """Return a person's birth date as it may leave: moved, or the group's year over the top age.

    45 CFR 164.514(b)(2)(i)(C): ages over 89 are one group.

    Args:
        person: The person.
        offset: The subject's offset, in days.
        policy: The policy.
        as_of: ISO date at which the age of the living counts.
    """
    if not person.birth:
        return None
    move = fhir_dates.method(policy.dates)
    if policy.top_age:
        at = min(person.death[:10], as_of) if person.death else as_of
        age = fhir_dates.age_at(person.birth, at)
        if age is not None and age > policy.top_age:
            return fhir_dates.shift(f"{int(at[:4]) - policy.top_age - 1:04d}", offset)
    return move(person.birth[:10], offset)


def words_of(known: Iterable[Known]) -> dict[int, frozenset[str]]:
    """Return the words that could name each subject.

    >>> sorted(words_of([Known((), 7, 1)]))
    [7]
    """
    return {one.subject_id: one.tokens for one in known}
