"""Fills the slots of a template from a seed: the same person stays the same, everything else is new each time."""

from __future__ import annotations

import random
from functools import cache
from typing import NamedTuple

from mayo_data.phi.training import places
from mayo_data.phi.training.lists import listed
from mayo_data.phi.training.moments import Moments
from mayo_data.phi.training.numbers import Numbers
from mayo_data.phi.training.people import People, Person, write
from mayo_data.phi.training.places import Spots
from mayo_data.phi.training.templates import PLAIN, Slot, Template

_PERSONS = frozenset(["PATIENT", "STAFF", "RELATIVE", "PERSON"])
_FORMS = {
    "PATIENT": "full full full last first last_first last_first full_m last_first_m initials",
    "STAFF": "full full last last last full_m i_last last_first first",
    "RELATIVE": "full full first first first nick",
    "PERSON": "full full first first last",
}
_STEADY = frozenset(["MRN", "ACCOUNT", "HEALTHPLAN", "SSN", "HOSPITAL", "ROOM", "CITY", "COUNTY", "ZIP"])


class Piece(NamedTuple):
    """A piece of a document.

    Attributes:
        text: Its text.
        category: What it identifies, empty for anything else.
    """

    text: str
    category: str


@cache
def _medicine(key: str) -> tuple[str, ...]:
    return tuple(word.replace("_", " ") for word in listed("medicine", key))


class Filler:
    """Fills the slots of one document.

    Args:
        seed: Two fillers of one seed write the same.
    """

    def __init__(self, seed: int) -> None:
        self._rng = rng = random.Random(seed)  # noqa: S311 - training text, no secret
        self._people = People(rng)
        self._persons: dict[tuple[str, int], Person] = {}
        self._things: dict[tuple[str, int, str], str] = {}
        self._moments = Moments(rng)
        self._numbers = Numbers(rng)
        self._spots = Spots(rng, self._people)

    def fill(self, template: Template) -> list[Piece]:
        """Return a document: literal text and filled slots, in order.

        Args:
            template: The template.
        """
        pieces: list[Piece] = []
        for part in template.parts:
            if isinstance(part, str):
                pieces.append(Piece(part, ""))
                continue
            text = self._text(part)
            text = text.upper() if part.case == "upper" else text.lower() if part.case == "lower" else text
            pieces.append(Piece(text, "" if part.category in PLAIN else part.category))
        return pieces

    def _person(self, category: str, number: int) -> Person:
        key = (category, number or 1)
        found = self._persons.get(key)
        if found is None:
            patient = self._persons.get(("PATIENT", 1))
            shared = patient is not None and category == "RELATIVE" and self._rng.random() < 0.55
            found = self._people.draw(patient.family if shared and patient is not None else "")
            self._persons[key] = found
        return found

    def _text(self, slot: Slot) -> str:
        rng = self._rng
        category, number, form, _ = slot
        if category in _PERSONS:
            return write(self._person(category, number), form or rng.choice(_FORMS[category].split()), rng)
        if category == "DATE":
            if number:
                day = random.Random(f"{self._moments.today}{number}{form == 'dob'}")  # noqa: S311
                state = rng.getstate()
                rng.seed(day.random())
                drawn = self._moments.draw(form)
                rng.setstate(state)
                return self._moments.write(drawn, form)
            return self._moments.write(self._moments.draw(form), form)
        if number or (category in _STEADY and rng.random() < 0.7):
            key = (category, number, form)
            if key not in self._things:
                self._things[key] = self._thing(category, form)
            return self._things[key]
        return self._thing(category, form)

    def _thing(self, category: str, form: str) -> str:
        rng = self._rng
        numbers, spots = self._numbers, self._spots
        someone = (
            self._persons[rng.choice(list(self._persons))]
            if self._persons and rng.random() < 0.7
            else self._people.draw()
        )
        if category in ("PHONE", "FAX"):
            return numbers.phone(form)
        if category == "EMAIL":
            return numbers.email(someone)
        if category == "URL":
            return numbers.url()
        if category == "IP":
            return numbers.ip()
        if category == "USERNAME":
            return numbers.user(form, someone)
        if category == "ROOM":
            return numbers.room(form)
        if category == "STREET":
            return spots.street(form)
        if category == "CITY":
            return spots.city()
        if category == "COUNTY":
            return spots.county()
        if category == "ZIP":
            return spots.zip()
        if category == "HOSPITAL":
            form = form or rng.choice(("full", "full", "full", "full", "short", "abbr"))
            return spots.facility(form)
        if category == "ORG":
            return spots.organisation(form)
        if category == "AGE90":
            age = rng.choices(range(90, 112), [22 - n for n in range(22)])[0]
            return _in_words(age) if form == "words" else str(age)
        if category in PLAIN:
            return self._plain(category, form)
        return numbers.number(category, form)

    def _plain(self, category: str, form: str) -> str:
        rng = self._rng
        if category == "YEAR":
            return str(rng.randint(1945, 2030))
        if category == "STATE":
            return places.state(rng, form)
        if category == "COUNTRY":
            return places.country(rng)
        if category == "DEMONYM":
            return places.demonym(rng)
        if category == "AGE":
            return str(rng.randint(1, 89))
        if category == "TIME":
            hour, minute = rng.randint(0, 23), rng.randint(0, 59)
            return rng.choice(
                (
                    f"{hour:02}:{minute:02}",
                    f"{hour:02}{minute:02}",
                    f"{hour % 12 + 1}:{minute:02} {rng.choice(('AM', 'PM', 'am', 'pm'))}",
                    f"{hour % 12 + 1} {rng.choice(('am', 'pm', 'a.m.', 'p.m.'))}",
                    f"{hour % 12 + 1}:{minute:02}{rng.choice('ap')}",
                )
            )
        if category == "DRUG":
            name = rng.choice(_medicine("drugs"))
            return name.capitalize() if rng.random() < 0.3 else name
        if category == "DOSE":
            return rng.choice(
                ("0.5", "1", "2.5", "5", "10", "12.5", "20", "25", "40", "50", "80", "100", "250", "325", "500", "1000")
            ) + rng.choice((" mg", " mg", "mg", " mcg", " g", " units", " mL"))
        if category == "EPONYM":
            return rng.choice(_medicine("eponyms"))
        if category == "VITAL":
            return f"{rng.randint(88, 190)}/{rng.randint(45, 110)}"
        if category == "LAB":
            return rng.choice(
                (
                    str(rng.randint(1, 400)),
                    f"{rng.uniform(0.1, 20):.1f}",
                    f"{rng.uniform(0.1, 9):.2f}",
                    f"{rng.randint(1, 14)}.{rng.randint(0, 9)}",
                )
            )
        if category == "PROF":
            return rng.choice(_medicine("professions"))
        if category == "ICD":
            return rng.choice(_medicine("icd"))
        return str(rng.randint(1, 12))


def _in_words(age: int) -> str:
    ones = ["", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    if age < 100:
        return "ninety" + (f"-{ones[age - 90]}" if age > 90 else "")
    teens = ["ten", "eleven", "twelve"]
    rest = age - 100
    return "one hundred" + (f" and {ones[rest] if rest < 10 else teens[rest - 10]}" if rest else "")


def spell(pieces: list[Piece]) -> tuple[str, list[tuple[int, int, str]]]:
    """Return the text of a document and its spans: start, end, category.

    Args:
        pieces: The document.

    >>> spell([Piece("Dr. ", ""), Piece("Ode", "STAFF")])
    ('Dr. Ode', [(4, 7, 'STAFF')])
    """
    text: list[str] = []
    spans: list[tuple[int, int, str]] = []
    at = 0
    for piece in pieces:
        if piece.category and piece.text.strip():
            spans.append((at, at + len(piece.text), piece.category))
        text.append(piece.text)
        at += len(piece.text)
    return "".join(text), spans
