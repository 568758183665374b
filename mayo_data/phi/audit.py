"""The last look before a commit: does an output string of a subject hold one of that subject's identifiers?

Written apart from `known`, with its own folding and its own search, so that one mistake does not blind both.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Literal

from mayo_data.phi.words import all_family_names, common, eponyms, everyday, guard, vocabulary
from mayo_data.types import Identifier

_TOKENS = re.compile(r"[^\W\d_]+|\d+")
_BESIDE = frozenset(
    [
        "mr",
        "mrs",
        "ms",
        "miss",
        "mx",
        "dr",
        "prof",
        "jr",
        "sr",
        "ii",
        "iii",
        "iv",
        "md",
        "do",
        "rn",
        "np",
        "pa",
        "phd",
        "dds",
    ]
)
_LINK = frozenset(
    [
        "de",
        "del",
        "la",
        "las",
        "los",
        "van",
        "von",
        "der",
        "den",
        "di",
        "da",
        "dos",
        "el",
        "al",
        "bin",
        "ibn",
        "st",
        "ter",
        "le",
        "du",
    ]
)
_ORDINAL = frozenset(["st", "nd", "rd", "th", "of", "the"])
_BORN = re.compile(r"\b(?:dob|d\.o\.b|born|birth ?date|birthday|date of birth|b\.?day)\b")
_PEOPLE = frozenset({"PATIENT", "RELATIVE", "STAFF", "PERSON"})
_UNIT = re.compile(
    r"\s*(?:\d+(?:st|nd|rd|th)\s+(?:floor|fl)|(?:apt|apartment|unit|suite|ste|floor|fl|room|rm|bldg|lot)\b|#)"
)
_ZERO, _AT, _BORN_MARK = "0#", "@", "born#"  # stand among words for: a zero in front, an address, a word for birth
_SHORT = 200  # characters of a text that is worth remembering
_WHERE = frozenset({"STREET", "CITY", "COUNTY", "HOSPITAL", "ORG"})
_MONTHS = {
    name: number
    for number, names in enumerate(
        ("january jan", "february feb", "march mar", "april apr", "may", "june jun", "july jul", "august aug",
         "september sep sept", "october oct", "november nov", "december dec"), 1)
    for name in names.split()
}  # fmt: skip


def _plain(text: str) -> str:
    """Lower case, without diacritics and without what a reader does not see; offsets do not matter here."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(c for c in decomposed if unicodedata.category(c) not in ("Mn", "Cf")).casefold()


def _reading(text: str) -> tuple[str, list[str], frozenset[str], bool, bool]:
    """Plain text, its words, the same as a set, whether one begins with a zero, and whether it speaks of birth."""
    plain = _plain(text)
    words = _TOKENS.findall(plain)
    bag = frozenset(words)
    return plain, words, bag, any(word[0] == "0" for word in bag), _BORN.search(plain) is not None


_read = lru_cache(maxsize=1 << 15)(_reading)  # labels repeat over subjects


def touches(text: str) -> frozenset[str]:
    """Return what of a text an identifier could touch: see `Audit.touched`.

    Args:
        text: An output string.

    >>> sorted(touches("Seen by Jane Doe"))
    ['by', 'doe', 'jane', 'seen']
    """
    plain, _, bag, zero, born = _reading(text)
    return bag.union(mark for mark, there in ((_ZERO, zero), (_AT, "@" in plain), (_BORN_MARK, born)) if there)


class Audit:
    """Searches output strings for what the record says of a subject.

    A name that is also an everyday word counts only as part of the whole name; a number counts whatever its
    separators.

    Args:
        identifiers: The subject's known identifiers.
        dates: `birth` counts a birth or death date only where the text calls it one, because a moved date of
            an infant's record may fall on the real birthday; `all` counts every occurrence, for output whose
            dates are not moved or for adults.

    Attributes:
        touched: A text whose `touches` are disjoint from it holds none of the identifiers.

    >>> audit = Audit([Identifier("PATIENT", "full", "Jane Doe"), Identifier("SSN", "value", "999-42-1962")])
    >>> audit.leaks(["all well", "JANE was seen", "ssn 999 42 1962"])
    [(1, 'PATIENT'), (2, 'SSN')]
    """

    def __init__(self, identifiers: Sequence[Identifier], *, dates: Literal["birth", "all"] = "birth") -> None:
        self._every_date = dates == "all"
        self._names: dict[str, str] = {}
        self._pairs: dict[str, list[tuple[str, str, str]]] = {}
        self._numbers: dict[str, str] = {}
        self._prefixes: set[str] = set()
        self._heads: set[str] = set()
        self._sequences: dict[str, list[tuple[tuple[str, ...], str]]] = {}
        self._mail: dict[str, str] = {}
        self._days: set[tuple[int, int, int]] = set()
        given: list[tuple[str, str]] = []
        family: list[tuple[str, str]] = []
        for category, part, value in identifiers:
            if not value or not value.strip():
                continue
            if part in ("birth", "death") or category == "DATE":
                self._day(value)
            elif category in _PEOPLE:
                words = [w for w in _TOKENS.findall(_plain(value)) if w not in _BESIDE and not w.isdigit()]
                for word in words:
                    if len(word) > 2 and word not in common() and not (len(words) > 1 and word in _LINK):
                        self._names.setdefault(word, category)
                if part == "full" and len(words) > 1:
                    first, last = (words[1], words[0]) if "," in value or "^" in value else (words[0], words[-1])
                    self._pair(first, last, category)
                elif part == "given" and words:
                    given.append((category, words[0]))
                elif part == "family" and words:
                    family.append((category, words[-1]))
            elif category in _WHERE:
                self._place(category, value)
            elif category == "EMAIL":
                self._mail[_plain(value).strip()] = category
            else:
                self._number(category, value)
        for category, first in given:
            for owner, last in family:
                if owner == category == "PATIENT":
                    self._pair(first, last, category)
        years = {str(y) for y, _, _ in self._days} | {f"{y % 100:02d}" for y, _, _ in self._days}
        self._keys = frozenset([*self._names, *self._pairs, *self._heads, *self._sequences])
        self._years = frozenset(years)
        marks = [mark for mark, there in ((_ZERO, self._heads), (_AT, self._mail)) if there]
        self.touched = self._keys.union(marks, years if self._every_date else [_BORN_MARK] if years else ())

    def _pair(self, first: str, last: str, category: str) -> None:
        if first in common() or last in common() or min(len(first), len(last)) < 3:
            self._pairs.setdefault(first, []).append((last, " ", category))
            self._pairs.setdefault(last, []).append((first, ",", category))

    def _place(self, category: str, value: str) -> None:
        for line in re.split(r"[\n;]", _plain(value)):
            if _UNIT.match(line):
                continue  # "2nd floor" alone leads nowhere, and an invented address may have one too
            words = tuple(_TOKENS.findall(line))
            if category == "STREET":
                if len(words) < 3 or not words[0].isdigit():
                    continue
                words = words[: next((i for i, w in enumerate(words) if i and not w.isdigit() and len(w) > 2), 2) + 1]
            if len(words) == 1 and (len(words[0]) < 4 or words[0] in common()):
                continue
            if words:
                self._sequences.setdefault(words[0], []).append((words, category))

    def _number(self, category: str, value: str) -> None:
        plain = "".join(_TOKENS.findall(_plain(value)))
        if not any(c.isdigit() for c in plain):
            if len(plain) > 4 and plain not in common():
                self._sequences.setdefault(plain, []).append(((plain,), category))
            return
        if plain.isdigit():
            if category in ("PHONE", "FAX") and len(plain) == 11 and plain.startswith("1"):
                plain = plain[1:]
            if category != "SSN" and category != "ZIP":
                plain = plain.lstrip("0")
        if category == "ZIP":  # written in one piece; other digits that meet by chance are none
            if len(plain) >= 5:
                self._sequences.setdefault(plain[:5], []).append(((plain[:5],), category))
            return
        if len(plain) < 5:
            return
        self._numbers[plain] = category
        start = _TOKENS.match(plain)
        first = len(start.group()) if start else 2
        head = min(2, first) if plain[0].isdigit() else first  # of 1EG4-TE5 the first word is 1
        self._prefixes.update(plain[:i] for i in range(head, len(plain) + 1))
        self._heads.update((plain[:i] for i in range(head, len(plain) + 1)) if plain[0].isdigit() else (plain[:head],))

    def _day(self, value: str) -> None:
        parts = value[:10].split("-")
        if len(parts) == 3 and all(part.isdecimal() for part in parts):
            self._days.add((int(parts[0]), int(parts[1]), int(parts[2])))

    def leaks(self, texts: Iterable[str]) -> list[tuple[int, str]]:
        """Return the index of each text that holds an identifier, with the category, once each.

        Args:
            texts: Output strings of this one subject.
        """
        found: list[tuple[int, str]] = []
        keys, years = self._keys, self._years
        for index, text in enumerate(texts):
            plain, words, bag, zero, born = _read(text) if len(text) < _SHORT else _reading(text)
            seen: set[str] = set()
            if not keys.isdisjoint(bag) or (zero and self._heads):
                seen |= self._look(plain)
            if self._mail and "@" in plain:
                seen.update(category for mail, category in self._mail.items() if mail in plain)
            if years and (born or self._every_date) and self._dated(plain, words, bag):
                seen.add("DATE")
            if seen:
                found += [(index, category) for category in sorted(seen)]
        return found

    def _look(self, plain: str) -> set[str]:
        seen: set[str] = set()
        tokens = list(_TOKENS.finditer(plain))
        words = [token.group() for token in tokens]
        for at, word in enumerate(words):
            category = self._names.get(word)
            if category is not None:
                seen.add(category)
            for other, link, owner in self._pairs.get(word, ()):
                if at + 1 < len(words) and words[at + 1] == other:
                    gap = plain[tokens[at].end() : tokens[at + 1].start()]
                    if gap.strip() == "," if link == "," else gap.isspace() and len(gap) < 4:
                        seen.add(owner)
            for sequence, owner in self._sequences.get(word, ()):
                size = len(sequence)
                if tuple(words[at : at + size]) == sequence:
                    length = tokens[at + size - 1].end() - tokens[at].start()
                    if length <= sum(map(len, sequence)) + 3 * size:
                        seen.add(owner)
            if word in self._heads or (word[0] == "0" and word.lstrip("0") in self._heads):
                seen |= self._joined(plain, tokens, words, at)
        return seen

    def _joined(self, plain: str, tokens: list[re.Match[str]], words: list[str], at: int) -> set[str]:
        """Put neighbouring tokens together for as long as they begin a known number."""
        seen: set[str] = set()
        starts = {words[at], words[at].lstrip("0")}
        for joined in starts:
            step = at
            while joined in self._prefixes:
                if joined in self._numbers:
                    seen.add(self._numbers[joined])
                step += 1
                if step >= len(words):
                    break
                gap = plain[tokens[step - 1].end() : tokens[step].start()]
                if len(gap) > 2 or "\n" in gap or (gap.isspace() and gap != " "):
                    break
                joined += words[step]
        return seen

    def _dated(self, plain: str, words: list[str], bag: frozenset[str]) -> bool:
        if self._every_date:
            return not self._years.isdisjoint(bag) and self._holds_day(words)
        for match in _BORN.finditer(plain):
            if self._holds_day(_TOKENS.findall(plain[match.end() : match.end() + 40]), first=True):
                return True
        return False

    def _holds_day(self, words: list[str], *, first: bool = False) -> bool:
        """Whether words hold a birth or death date; with `first`, whether the first date among them is one."""
        kept = [word for word in words if word not in _ORDINAL]
        for at, word in enumerate(kept):
            if len(word) == 8 and word.isdigit():
                if (int(word[:4]), int(word[4:6]), int(word[6:])) in self._days:
                    return True
                if (int(word[4:]), int(word[:2]), int(word[2:4])) in self._days:
                    return True
                if first:
                    return False
            three = [_MONTHS.get(w, int(w) if w.isdecimal() and len(w) < 5 else -1) for w in kept[at : at + 3]]
            if len(three) < 3 or -1 in three:
                continue
            a, b, c = three
            # Of two numbers that may both be months the first is the month, as `dates.move` reads it: else a
            # moved 4/3 would pass for an unmoved 3/4.
            day_first = a > 12 or kept[at + 1] in _MONTHS
            orders = [(a, b, c), (c, b, a) if day_first else (c, a, b)]
            for year, month, day in orders:
                if (year, month, day) in self._days:
                    return True
                if year < 100 and any(y % 100 == year and (m, d) == (month, day) for y, m, d in self._days):
                    return True
            if first:
                return False  # a visit that follows may, once moved, fall on the day
        return False


class Strangers:
    """Searches output strings for the rare names of other patients: given and family name side by side.

    A text may name another patient, a twin, a neighbour in the room, whom its subject's own record does not. Only a
    family name that few bear, that is no word of everyday or medical language and that no surrogate has says who it
    is; and only with the given name beside it.

    Args:
        names: Family name to given names, as `rare` returns them.

    Attributes:
        touched: A text whose `touches` are disjoint from it holds none of the names.

    >>> others = Strangers(Strangers.rare([[Identifier("PATIENT", "full", "Ottoline Quimbleford")]]))
    >>> others.named("the twin, QUIMBLEFORD, Ottoline"), others.named("Quimbleford sign")
    (True, False)
    """

    def __init__(self, names: Mapping[str, Sequence[str]]) -> None:
        self._names = {family: frozenset(given) for family, given in names.items()}
        self.touched = frozenset(self._names)

    @staticmethod
    def rare(people: Iterable[Sequence[Identifier]], *, most: int = 2) -> dict[str, list[str]]:
        """Return the rare family names of patients, with their given names.

        Args:
            people: What the record says of each patient.
            most: Patients who may bear a name for it to be rare.
        """
        bearers: Counter[str] = Counter()
        found: dict[str, set[str]] = {}
        for identifiers in people:
            given, family = _own_names(identifiers)
            bearers.update(family)
            for name in family:
                if bearers[name] > most:
                    found.pop(name, None)
                else:
                    found.setdefault(name, set()).update(given - {name})
        known = common() | guard() | eponyms() | everyday() | vocabulary() | all_family_names()
        return {name: sorted(given) for name, given in found.items() if given and len(name) > 4 and name not in known}

    def named(self, text: str) -> bool:
        """Return whether a text names one of them.

        Args:
            text: An output string.
        """
        words = [word for word in _TOKENS.findall(_plain(text)) if not word.isdigit()]
        return any(
            word in self._names and not self._names[word].isdisjoint(words[max(at - 1, 0) : at + 2])
            for at, word in enumerate(words)
        )


def _own_names(identifiers: Sequence[Identifier]) -> tuple[set[str], set[str]]:
    """Given and family names of a patient, one word each."""
    given: set[str] = set()
    family: set[str] = set()
    for category, part, value in identifiers:
        if category != "PATIENT":
            continue
        words = [word for word in _TOKENS.findall(_plain(value)) if len(word) > 2 and not word.isdigit()]
        words = [word for word in words if word not in _BESIDE and word not in _LINK]
        if part == "family":
            family.update(words[-1:])
        elif part == "given":
            given.update(words[:1])
        elif part == "full" and len(words) > 1:
            turned = "," in value or "^" in value
            given.add(words[1] if turned else words[0])
            family.add(words[0] if turned else words[-1])
    return given, family
