"""Invents persons of many origins and writes their names in every form; a third of the names exist nowhere."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache

from mayo_data import assets
from mayo_data.phi.training.lists import Chain, listed
from mayo_data.phi.words import fold, short_names

_SUFFIXES = ("Jr", "Jr.", "Sr", "Sr.", "II", "III", "IV", ", Jr.")


@dataclass(frozen=True)
class Person:
    """A person that does not exist.

    Attributes:
        given: First name.
        middle: Middle name, maybe empty.
        family: Last name.
        female: Whether a female name.
        nick: What friends say.
        suffix: Jr and the like.
    """

    given: str
    middle: str
    family: str
    female: bool
    nick: str
    suffix: str


@cache
def _lists() -> dict[str, dict[str, list[str]]]:
    table = assets.toml("schemas", "phi", "slots", "people.toml")
    return {
        origin: {key: [n.replace("_", " ") for n in entry[key].split()] for key in ("female", "male", "family")}
        for origin, entry in table.items()
    }


@cache
def _chain(origin: str, key: str) -> Chain:
    return Chain([name for name in _lists()[origin][key] if " " not in name])


@cache
def _weights() -> tuple[list[str], list[float], dict[str, str]]:
    table = assets.toml("schemas", "phi", "slots", "people.toml")
    return list(table), [entry["weight"] for entry in table.values()], {o: e.get("order", "") for o, e in table.items()}


def names() -> tuple[frozenset[str], frozenset[str]]:
    """Return the given and the family names of the lists, folded, one word each."""
    given: set[str] = set()
    family: set[str] = set()
    for origin, entry in _lists().items():
        if origin == "common_word":
            continue
        given |= {fold(word) for name in entry["female"] + entry["male"] for word in name.split() if len(word) > 1}
        family |= {fold(word) for name in entry["family"] for word in name.split() if len(word) > 2}
    return frozenset(given), frozenset(family)


def _ascii(name: str) -> str:
    plain = fold(name)
    return "".join(p.upper() if c.isupper() else p for c, p in zip(name, plain, strict=True))


class People:
    """Draws persons.

    Args:
        rng: The document's random numbers.
        invented: Share of names that are made up letter by letter.
    """

    def __init__(self, rng: random.Random, invented: float = 0.33) -> None:
        self._rng = rng
        self._invented = invented
        self._accents = rng.random() < 0.35

    def _name(self, origin: str, key: str) -> str:
        rng = self._rng
        if rng.random() < self._invented and origin != "common_word":
            name = _chain(origin, key).make(rng)
        else:
            name = rng.choice(_lists()[origin][key])
        return name if self._accents else _ascii(name)

    def draw(self, family: str = "") -> Person:
        """Return a new person.

        Args:
            family: Their last name, where they share it with somebody.
        """
        rng = self._rng
        origins, weights, orders = _weights()
        origin = rng.choices(origins, weights)[0]
        female = rng.random() < 0.52
        key = "female" if female else "male"
        order = orders[origin]
        given_origin = origin
        if origin not in ("anglo", "common_word", "hispanic") and rng.random() < 0.15:
            given_origin = "anglo"
        if origin == "common_word" and rng.random() < 0.5:
            given_origin = "anglo"
        given = self._name(given_origin, key)
        last = family or self._name(origin, "family")
        if origin == "common_word" and given_origin == "common_word" and not family and rng.random() < 0.5:
            last = self._name("anglo", "family")
        middle = ""
        draw = rng.random()
        if order == "double":
            if draw < 0.3 and not family:
                last += rng.choice((" ", " ", "-")) + self._name(origin, "family")
            if rng.random() < 0.25:
                middle = self._name(origin, key)
        elif order == "arabic" and draw < 0.3:
            middle = rng.choice(("al-", "bin ", "ibn ", "Abdul ", "Abu ", "bint ")) + self._name(origin, "male")
        elif order == "family_middle":
            middle = rng.choice(("Thi", "Van", "Thị", "Văn", "Ngoc", "Minh", "Thanh", "Huu", "")) if draw < 0.5 else ""
        elif order == "east":
            if draw < 0.2 and "-" not in given:
                given += rng.choice((" ", "-", "-")) + self._name(origin, key)
        elif order == "patronymic":
            middle = self._name(origin, "male") if draw < 0.5 else ""
        elif draw < 0.55:
            middle = self._name(given_origin if given_origin != "common_word" else "anglo", key)
        if rng.random() < 0.05 and not family:
            last += "-" + self._name(rng.choices(origins, weights)[0], "family")
        if rng.random() < 0.03:
            given += rng.choice((" ", "-")) + self._name(given_origin, key)
        shorts = short_names().get(fold(given), ())
        nick = (
            rng.choice(shorts)
            if shorts and rng.random() < 0.8
            else rng.choice(listed("patterns", "nick"))
            if rng.random() < 0.5
            else given[: rng.choice((2, 3, 4))]
        )
        if nick == given or len(nick) < 2:
            nick = given + "ie" if given[-1] not in "aeiouy" else given[:3] + "o"
        suffix = rng.choice(_SUFFIXES) if not female and rng.random() < 0.1 else ""
        return Person(given, middle, last, female, nick, suffix)


def write(person: Person, form: str, rng: random.Random) -> str:
    """Return a name in a form of `templates.FORMS`.

    Args:
        person: Whose.
        form: Which form.
        rng: For what a form leaves open.
    """
    given, family = person.given, person.family
    middle = person.middle or rng.choice("ABCDEFGHJKLMNPRSTVW")
    letter = next((c for c in middle if c.isalpha()), "M").upper()
    dot = rng.choice((".", ".", ""))
    comma = rng.choice((", ", ", ", ", ", ","))
    first = given[0].upper()
    last = next((c for c in family if c.isupper()), family[0]).upper()
    if form == "full":
        return f"{given} {family}"
    if form == "first":
        return given
    if form == "last":
        return family
    if form == "full_m":
        return f"{given} {letter}{dot} {family}"
    if form == "full_middle":
        return f"{given} {middle} {family}"
    if form == "last_first":
        return f"{family}{comma}{given}"
    if form == "last_first_m":
        return f"{family}{comma}{given} {letter}{dot}"
    if form == "i_last":
        return f"{first}. {family}" if rng.random() < 0.8 else f"{first} {family}"
    if form == "initials":
        return rng.choice((first + last, first + last, first + letter + last))
    if form == "initials_dot":
        return rng.choice((f"{first}.{last}.", f"{first}. {last}.", f"{first}.{letter}.{last}."))
    if form == "last_i":
        return f"{family} {first}" + rng.choice(("", "."))
    if form == "nick":
        return person.nick
    if form == "last_caret_first":
        tail = "^" + letter if rng.random() < 0.4 else ""
        text = f"{family}^{given}{tail}"
        return text.upper() if rng.random() < 0.75 else text
    if form == "full_suffix":
        suffix = person.suffix or rng.choice(_SUFFIXES)
        return f"{given} {family}{suffix if suffix[0] == ',' else ' ' + suffix}"
    raise KeyError(form)
