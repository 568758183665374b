"""Word lists of the text recognizers, and one folding that keeps every offset.

All lists are data in `schemas/phi/`; they are read once a process.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache

from mayo_data import assets

# What stands around a name and is no name: titles, suffixes, degrees.
NAME_FRAME = frozenset(
    ["dds", "do", "dr", "ii", "iii", "iv", "jr", "md", "miss", "mr", "mrs", "ms", "np", "pa", "phd", "prof", "rn", "sr"]
)
# What stands inside a family name and is not told apart by it.
PARTICLES = frozenset(
    [
        "al",
        "bin",
        "da",
        "de",
        "del",
        "den",
        "der",
        "di",
        "dos",
        "du",
        "el",
        "ibn",
        "la",
        "las",
        "le",
        "los",
        "st",
        "ter",
        "van",
        "von",
    ]
)
LETTERS = re.compile(r"[^\W\d_]+")
RUNS = re.compile(r"[^\W\d_]+|\d+")

# Letters that Unicode does not decompose, and letters of other scripts that look like Latin ones.
_EXTRA = dict(
    zip(
        map(ord, "łøđðıħŧœŁØĐÐĦŦŒ’‘ʼ＇`´‐‑‒–—−аеорсухіјАВЕКМНОРСТУХІЈΑΒΕΖΗΙΚΜΝΟΡΤΥΧο"),
        "loddihtoloddhto''''''------aeopcyxijabekmhopctyxijabezhikmnoptyxo",
        strict=True,
    )
)
# Characters that a reader does not see, and combining marks: a name must not hide behind them.
_INVISIBLE = re.compile("[\u00ad\u0300-\u036f\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff]+")


class _Fold(dict[int, str]):
    """A translate table that fills itself: one character in, one lower-case base character out."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        bases = [c for c in unicodedata.normalize("NFKD", char) if not unicodedata.combining(c)]
        base = bases[0].lower() if len(bases) == 1 else char.lower()
        if base.isdigit() and not base.isascii():
            base = str(unicodedata.digit(base))
        if len(base) != 1:
            base = char
        self[code] = base
        return base


_NINES = str.maketrans("012345678", "999999999")
_FOLD = _Fold(dict(_EXTRA.items()))


def fold(text: str) -> str:
    """Return the text in lower case without diacritics, every character at its old offset.

    >>> fold("José-MUÑOZ’s")
    "jose-munoz's"
    """
    return text.lower() if text.isascii() else text.translate(_FOLD)


class Words:
    """Where each word of a folded text stands: a pattern that begins with a known word is tried there only.

    >>> Words("pt is in pain").at(frozenset({"in", "on"}))
    [6]
    """

    __slots__ = ("bag", "folded", "shape", "where")

    def __init__(self, folded: str) -> None:
        self.folded = folded
        where: dict[str, list[int]] = {}
        for match in LETTERS.finditer(folded):
            where.setdefault(match.group(), []).append(match.start())
        self.where = where
        self.bag = frozenset(where)
        # The text with every digit a 9: `"999-99-9999" in shape` is a quick test.
        self.shape = folded.translate(_NINES)

    def at(self, triggers: frozenset[str]) -> list[int]:
        """Return where any of the words stands, in order."""
        hits = self.bag & triggers
        if not hits:
            return []
        if len(hits) == 1:
            return self.where[next(iter(hits))]
        return sorted(at for word in hits for at in self.where[word])

    def matches(self, regex: re.Pattern[str], triggers: frozenset[str]) -> Iterator[re.Match[str]]:
        """Yield the matches of a pattern that begins with one of the words; they do not overlap."""
        end = 0
        for at in self.at(triggers):
            if at >= end:
                match = regex.match(self.folded, at)
                if match is not None:
                    end = match.end()
                    yield match


def visible(text: str) -> tuple[str, list[int] | None]:
    r"""Return the text without invisible characters, and the old offset of each character.

    The offsets are None where nothing was left out.

    >>> visible("Do\u200be")
    ('Doe', [0, 1, 3, 4])
    """
    if text.isascii() or not _INVISIBLE.search(text):
        return text, None
    kept: list[str] = []
    offsets: list[int] = []
    at = 0
    for hidden in _INVISIBLE.finditer(text):
        kept.append(text[at : hidden.start()])
        offsets.extend(range(at, hidden.start()))
        at = hidden.end()
    kept.append(text[at:])
    offsets.extend(range(at, len(text) + 1))
    return "".join(kept), offsets


def within_one_edit(a: str, b: str) -> bool:
    """Whether two different words are one insertion, deletion, replacement or neighbour swap apart.

    >>> within_one_edit("johnson", "jonhson"), within_one_edit("johnson", "jansen")
    (True, False)
    """
    if len(a) > len(b):
        a, b = b, a
    if len(b) - len(a) > 1:
        return False
    at = 0
    while at < len(a) and a[at] == b[at]:
        at += 1
    if len(a) < len(b):
        return a[at:] == b[at + 1 :]
    return a[at + 1 :] == b[at + 1 :] or (a[at : at + 2] == b[at : at + 2][::-1] and a[at + 2 :] == b[at + 2 :])


def _words(*keys: str) -> frozenset[str]:
    lists = assets.toml("schemas", "phi", "words", "guard.toml")
    return frozenset(fold(word) for key in keys for word in lists[key].split())


@cache
def common() -> frozenset[str]:
    """Everyday and clinical words: a name among these needs to be written as a name."""
    return _words("common", "clinical", "drug")


@cache
def guard() -> frozenset[str]:
    """Words that no name pattern takes by itself: common words, eponyms, drugs, devices."""
    return _words("common", "clinical", "eponym", "drug")


@cache
def eponyms() -> frozenset[str]:
    """Signs, scores, diseases and devices that bear a person's name."""
    return _words("eponym")


@cache
def medical_names() -> frozenset[str]:
    """Names of signs, scores, instruments, operations, drugs and devices: more than `guard`, for the model's finds."""
    return _words("eponym", "drug", "named_after", "brand")


@cache
def capitals() -> frozenset[str]:
    """What notes write in capitals: short forms and degrees."""
    return _words("abbreviation", "capitals")


@cache
def verbs() -> frozenset[str]:
    """Verbs of notes: where all is written in capitals, a name ends before one."""
    return _words("verb")


@cache
def abbreviations() -> frozenset[str]:
    """Short forms of notes that could be somebody's initials."""
    return _words("abbreviation")


@cache
def generic_places() -> frozenset[str]:
    """Words before Hospital or Clinic that name no particular one."""
    return _words("generic_place")


@cache
def given_names() -> dict[str, str]:
    """Given names, folded, with the sex they suggest: `F`, `M` or `` where unknown."""
    names = assets.toml("schemas", "phi", "surrogates", "names.toml")
    found = {fold(name): "" for name in assets.toml("schemas", "phi", "words", "names.toml")["given"].split()}
    found |= {fold(name): "F" for name in names["given_female"].split()}
    found |= {fold(name): "M" for name in names["given_male"].split()}
    return found


@cache
def all_given_names() -> dict[str, str]:
    """Given names of many origins, folded, with the sex they suggest; too many, and too often words, to be evidence."""
    found: dict[str, str] = {}
    for entry in assets.toml("schemas", "phi", "slots", "people.toml").values():
        for key, sex in (("female", "F"), ("male", "M")):
            for name in (fold(part) for full in entry[key].split() for part in full.split("_")):
                found[name] = sex if found.get(name, sex) == sex else ""
    return {**found, **given_names()}


@cache
def all_family_names() -> frozenset[str]:
    """Family names of many origins, folded: what speaks for a person where a word alone is looked at."""
    found: set[str] = set()
    for entry in assets.toml("schemas", "phi", "slots", "people.toml").values():
        found.update(fold(part) for full in entry["family"].split() for part in full.split("_") if len(part) > 1)
    return frozenset(found) | family_names()


@cache
def family_names() -> frozenset[str]:
    """Family names, folded, that count as evidence beside a given name."""
    names = assets.toml("schemas", "phi", "surrogates", "names.toml")["family"].split()
    return frozenset(map(fold, names + assets.toml("schemas", "phi", "words", "names.toml")["family"].split()))


@cache
def short_names() -> dict[str, tuple[str, ...]]:
    """Full given name to its short forms."""
    table = assets.toml("schemas", "phi", "words", "names.toml")["short"]
    return {full: tuple(shorts.split()) for full, shorts in table.items()}


@cache
def full_names() -> dict[str, tuple[str, ...]]:
    """Short form to the full given names it may stand for."""
    found: dict[str, list[str]] = {}
    for full, shorts in short_names().items():
        for short in shorts:
            found.setdefault(short, []).append(full)
    return {short: tuple(fulls) for short, fulls in found.items()}


@cache
def place_names(key: str) -> frozenset[str]:
    """State codes, states, countries or large cities, folded.

    Args:
        key: `state_codes`, `states`, `countries` or `cities`.
    """
    text = assets.toml("schemas", "phi", "words", "places.toml")[key]
    return frozenset(" ".join(fold(part).split()) for part in (text.split("|") if "|" in text else text.split()))


@cache
def everyday() -> frozenset[str]:
    """Words of everyday English, folded, and the guard's: in lower case they name nobody."""
    return guard() | frozenset(map(fold, assets.toml("schemas", "phi", "slots", "english.toml")["words"].split()))


@cache
def vocabulary() -> frozenset[str]:
    """Words and common names, folded: none of them is a login by itself."""
    groups = assets.toml("schemas", "phi", "slots", "senses.toml")["groups"]
    return everyday() | frozenset(word for group in groups for word in group.split())


@cache
def all_cities() -> frozenset[str]:
    """Cities and towns, folded, and short names of some: one of them in lower case after `lives in` is a city."""
    towns = assets.toml("schemas", "phi", "slots", "places.toml")["town_real"].split("|")
    return place_names("cities") | frozenset(" ".join(fold(town).split()) for town in towns) | _SHORT_CITIES


_SHORT_CITIES = frozenset(["atl", "chi", "indy", "mpls", "msp", "nola", "nyc", "okc", "philly", "phx", "slc", "vegas"])
