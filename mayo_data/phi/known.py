"""Known identifiers: all that the structured record says of a subject, found in that subject's text.

The text is cut into words once; each word is looked up in the subject's own table, and only a hit is looked
at closely. Numbers are searched in the text without its separators. Nothing here needs a model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mayo_data.phi import dates
from mayo_data.phi.initials import Initials
from mayo_data.phi.words import (
    LETTERS,
    NAME_FRAME,
    PARTICLES,
    RUNS,
    common,
    fold,
    full_names,
    guard,
    short_names,
    verbs,
    within_one_edit,
)
from mayo_data.types import Identifier, PhiSpan

NAME = "known"

_PEOPLE = frozenset({"PATIENT", "RELATIVE", "STAFF", "PERSON"})
_TITLE = re.compile(
    r"(?:\b(?:mr|mrs|ms|miss|mx|dr|prof|sir|madam|baby|pt|patient|name|nurse|mother|father|wife"
    r"|husband|son|daughter|brother|sister|spouse|partner|dear|hi|hello|signed|by)\b[.:,]?\s{0,3})$"
)
_SUFFIXES = NAME_FRAME | {"mx"}
_GAP = re.compile(r"[\s,'’^_\-]{0,3}|\d{1,4},?\s")
_GAP_DOT = re.compile(r"[\s.,'’^_\-]{0,3}")
_DATE_GAPS = re.compile(r"\d{1,4}\s?([-/. ])\s?\d{1,2}\s?\1\s?\d{2,4}|.*[a-z].*|\d{6,8}", re.DOTALL)
_SENTENCE = re.compile(r"(?:^|[.!?:;\n\r•*#>-]\s{0,6})$")
_SEPARATORS = re.compile(r"[\W_]+")
_GENERATIONS = frozenset({"ii", "iii", "iv", "jr", "sr"})
_FUNCTION = frozenset(
    (
        "ad", "ah", "am", "an", "as", "at", "be", "by", "do", "dr", "ed", "eg", "er", "go", "he", "hi", "id", "ie",
        "if", "in", "is", "it", "la", "le", "ma", "me", "mi", "mr", "ms", "my", "no", "of", "oh", "ok", "on", "or",
        "pa", "pt", "so", "to", "up", "us", "we",
    )
)  # fmt: skip
_LEVEL = re.compile(r"\s(?:levels?|toxicity|carbonate|salts?|mg|\d)")
_FOLLOWS = re.compile(r"(?P<own>['’]s\b)|\s(?P<v>[a-z]{2,12})\b")
_LINE_END = re.compile(r"[ \t]*+(?:[.,!][ \t]*+)?(?:\r|\n|$)")
_LAST_FOUR = re.compile(r"\b(?:ssn|ss|social|last\s*(?:four|4)|ending|ends)\b[^\d\n]{0,40}$|[x*#]{2}[- ]$")
_SHORT_LABEL = re.compile(r"(?:\b(?:mrn|mr|id|no|number|record|account|acct|member|chart|room|ext)\b[.:#\s]*|#\s?)$")


class Part(NamedTuple):
    """One word of a known name.

    Attributes:
        category: Whose name.
        family: Whether it is a family name.
        canonical: The full form that short forms lead back to.
        sex: `F`, `M` or empty.
        weak: Whether it is also a word, so that it counts only where written as a name.
    """

    category: str
    family: bool
    canonical: str
    sex: str
    weak: bool


class Known:
    """What the record says of one subject, compiled for search. Cheap to build, immutable, not thread-bound.

    Args:
        identifiers: Everything known of the subject, the contacts and the clinicians.
        subject_id: The subject, keys the surrogates.
        offset_days: The subject's date offset.
        sex: `female`, `male`, or None.

    >>> known = Known([Identifier("PATIENT", "family", "Doe"), Identifier("PATIENT", "given", "Jane")], 1, 5)
    >>> text = "Seen: DOE, JANE"
    >>> sorted(text[s.start : s.end] for s in known.find(text))
    ['DOE, JANE']
    """

    __slots__ = (
        "_births", "_fuzzy", "_initials", "_parts", "_phrases", "_short", "_ssn_tails", "_typos",
        "numbers", "offset_days", "sex", "subject_id", "tokens",
    )  # fmt: skip

    def __init__(
        self, identifiers: Sequence[Identifier], subject_id: int, offset_days: int, sex: str | None = None
    ) -> None:
        self.subject_id = subject_id
        self.offset_days = offset_days
        self.sex = "F" if sex and sex[0] in "fF" else "M" if sex and sex[0] in "mM" else ""
        self._parts: dict[str, Part] = {}
        self._phrases: dict[str, list[tuple[tuple[str, ...], str]]] = {}
        self.numbers: dict[str, str] = {}
        self._short: dict[str, str] = {}
        self._ssn_tails: set[str] = set()
        self._typos: dict[str, Part | None] = {}
        self._initials = Initials()
        births: list[str] = []
        for category, part, value in identifiers:
            if not value:
                continue
            if part in ("birth", "death") or category == "DATE":
                births.append(value)
            elif category in _PEOPLE:
                self._name(category, part, value)
            else:
                self._value(category, value)
        self._births = births  # written out in all forms when the first text comes
        tokens = {*self._parts, *self._phrases, *self._short}
        for number in self.numbers:
            tokens.update(_first_shingle(number))
        for value in births:
            head = value[:10].replace("-", "")
            tokens.update((head[:4], head[2:4], "#" + head[:5], "#" + head[4:8] + head[:1], head[4:8] + head[2:4]))
        self.tokens = frozenset(tokens)
        self._fuzzy = [
            token for token, part in self._parts.items() if len(token) >= 6 and not part.weak and token not in guard()
        ]
        self._initials.settle()

    # Compiling

    def _name(self, category: str, part: str, value: str) -> None:
        folded = fold(value)
        if part == "value":
            part = "full"
        words = LETTERS.findall(folded)
        kept = [word for word in words if word not in _SUFFIXES] or words
        if not kept:
            return
        if category == "PATIENT":
            self._initials.note(part, kept, turned="," in value or "^" in value)
        if part == "full":
            turned = "," in value or "^" in value
            families = 0 if turned else len(kept) - 1
            for index, word in enumerate(kept):
                self._part(category, word, index == families, len(kept) > 1)
            if len(kept) > 1:
                self._phrase(category, tuple(kept))
                self._phrase(category, (*kept[1:], kept[0]) if turned else (kept[-1], *kept[:-1]))
            joinable = folded.split()
        else:
            for word in kept:
                self._part(category, word, part == "family", len(kept) > 1)
            if len(kept) > 1:
                self._phrase(category, tuple(kept))
            joinable = [*folded.split(), folded]
        for piece in joinable:
            inner = LETTERS.findall(piece)
            if len(inner) > 1:
                # O'Brien as OBrien, Smith-Jones as SmithJones.
                self._part(category, "".join(inner), part != "given", False)
        if not folded.isascii() and "ß" in folded:
            self._name(category, part, value.replace("ß", "ss"))
        if any(c in "äöüÄÖÜ" for c in value):
            self._name(
                category,
                part,
                value.translate({228: "ae", 246: "oe", 252: "ue", 196: "Ae", 214: "Oe", 220: "Ue"}),
            )

    def _part(self, category: str, word: str, family: bool, several: bool) -> None:
        if several and word in PARTICLES and len(word) < 4:
            return
        sex = self.sex if category == "PATIENT" else ""
        old = self._parts.get(word)
        if old is None or (old.category != "PATIENT" and category == "PATIENT"):
            self._parts[word] = Part(category, family, word, sex, len(word) < 3 or word in common())
        if family:
            return
        for short in short_names().get(word, ()):
            if short not in self._parts:
                self._parts[short] = Part(category, False, word, sex, len(short) < 3 or short in common())
        for full in full_names().get(word, ()):
            if full not in self._parts:
                self._parts[full] = Part(category, False, word, sex, full in common())

    def _phrase(self, category: str, words: tuple[str, ...]) -> None:
        self._phrases.setdefault(words[0], []).append((words, category))

    def _value(self, category: str, value: str) -> None:
        folded = fold(value)
        plain = _SEPARATORS.sub("", folded)
        digits = sum(map(str.isdigit, plain))
        if category in ("STREET", "CITY", "COUNTY", "HOSPITAL", "ORG") or (not digits and category != "EMAIL"):
            self._place(category, folded)
            return
        if category == "ZIP":
            if len(plain) >= 5:
                self.numbers[plain] = category
                if plain.isdigit():
                    self.numbers[plain[:5]] = category
            return
        if plain.isdigit():
            plain = plain.lstrip("0") or plain
        if category in ("PHONE", "FAX") and plain.isdigit():
            if len(plain) == 11 and plain[0] == "1":
                plain = plain[1:]
            if len(plain) == 10:
                self.numbers[plain[3:]] = category
        if category == "SSN" and digits >= 7:
            self._ssn_tails.add(plain[-4:])
            plain = _SEPARATORS.sub("", folded)
        if len(plain) >= 5:
            self.numbers[plain] = category
        elif len(plain) >= 2:
            self._short[plain] = category

    def _place(self, category: str, folded: str) -> None:
        runs = RUNS.findall(folded)
        if not runs:
            return
        if category == "STREET":
            for line in re.split(r"[\n;]", folded):
                inner = tuple(RUNS.findall(line))
                if len(inner) >= 2:
                    self._phrase(category, inner)
                    bare = tuple(RUNS.findall(re.split(r"\b(?:apt|apartment|suite|ste|unit|fl|floor)\b|#", line)[0]))
                    if 2 <= len(bare) < len(inner):
                        self._phrase(category, bare)
                    main = bare if len(bare) >= 2 else inner
                    number = next((i for i, run in enumerate(main) if not run.isdigit()), len(main))
                    if 0 < number < len(main):
                        # As far as the first telling word of the name: the audit asks for no more.
                        telling = next((i for i in range(number, len(main)) if len(main[i]) > 2), number)
                        self._phrase(category, main[: telling + 1])
                    if len(main) - number >= 2 and any(len(run) > 3 for run in main[number:-1]):
                        self._phrase(category, main[number:])
            return
        if len(runs) > 1 or len(runs[0]) > 2:
            self._phrase(category, tuple(runs))

    # Reading

    def canonical(self, token: str) -> Part | None:
        """Return what is known of a folded word of a name; a single letter leads to a name that starts so.

        >>> Known([Identifier("PATIENT", "given", "William")], 1, 5).canonical("bill").canonical
        'william'
        """
        found = self._parts.get(token)
        if found is not None:
            return found
        if len(token) == 1:
            for family in (False, True):
                for word, part in self._parts.items():
                    if (
                        part.family == family
                        and part.category != "STAFF"
                        and word[0] == token
                        and word == part.canonical
                    ):
                        return part
            return None
        if len(token) >= 6:
            for word in self._fuzzy:
                if abs(len(word) - len(token)) < 2 and within_one_edit(word, token):
                    return self._parts[word]
        return None

    def find(self, text: str, folded: str | None = None) -> Iterator[PhiSpan]:
        """Yield every known identifier in a text; spans may overlap, the merge step sorts that out.

        Args:
            text: The text.
            folded: `fold(text)` where the caller has it.
        """
        if folded is None:
            folded = fold(text)
        yield from self._names(text, folded)
        if self._births:
            self._write_out()
        if self._phrases:
            yield from self._find_phrases(text, folded)
        if self.numbers or self._short or self._ssn_tails:
            yield from self._find_numbers(text, folded)

    def _write_out(self) -> None:
        births, self._births = self._births, []
        for value in births:
            for form in date_forms(value):
                self._phrase("DATE", form)
            compact = value[:10].replace("-", "")
            if len(compact) == 8:
                self.numbers.setdefault(compact, "DATE")

    def _names(self, text: str, folded: str) -> Iterator[PhiSpan]:
        parts = self._parts
        if not parts:
            return
        words = list(LETTERS.finditer(folded))
        names = [m.group() for m in words]
        fuzzy = self._fuzzy
        done = -1
        for index, word in enumerate(names):
            part = parts.get(word)
            if part is None:
                start = words[index].start()
                if fuzzy and len(word) >= 5 and text[start].isupper():
                    hit = self._typo(word)
                    if hit is not None and index > done:
                        left, right = self._grow(text, words, names, index, done)
                        yield self._span(text, words, left, right, hit, 0.9)
                elif 1 < len(word) < 4 and self._initials.meant(text, folded, start, start + len(word)):
                    yield PhiSpan(start, start + len(word), "PATIENT", NAME, 0.9)
                continue
            if index <= done:
                continue
            if (
                part.weak
                and text[words[index].start()].islower()
                and not (self._begins(text, words, names, index) or self._titled(folded, words[index].start()))
            ):
                continue
            left, right = self._grow(text, words, names, index, done)
            strong = any((p := parts.get(names[i])) is not None and not p.weak for i in range(left, right + 1))
            if not strong and not self._as_name(text, folded, words, names, left, right):
                continue
            yield self._span(text, words, left, right, part, 1.0)
            done = right

    def _begins(self, text: str, words: list[re.Match[str]], names: list[str], index: int) -> bool:
        """Whether a lower-case everyday word begins a known full name: `will smith`, `smith, will`."""
        if index + 1 >= len(names):
            return False
        part, following = self._parts[names[index]], self._parts.get(names[index + 1])
        if following is None or following.category != part.category or following.family == part.family:
            return False
        gap = text[words[index].end() : words[index + 1].start()]
        return (gap.isspace() and not part.family) or gap.strip() == ","

    @staticmethod
    def _titled(folded: str, start: int) -> bool:
        return bool(re.search(r"\b(?:mr|mrs|ms|miss|dr)[.]?\s{1,3}$", folded[max(0, start - 8) : start]))

    def _typo(self, word: str) -> Part | None:
        if word in self._typos:
            return self._typos[word]
        found = None
        if word not in guard():
            for known in self._fuzzy:
                alike = known[0] == word[0] or known[-2:] == word[-2:]
                if alike and abs(len(known) - len(word)) < 2 and within_one_edit(known, word):
                    found = self._parts[known]
                    break
        if len(self._typos) < 4096:
            self._typos[word] = found
        return found

    def _grow(self, text: str, words: list[re.Match[str]], names: list[str], index: int, done: int) -> tuple[int, int]:
        """Take in neighbours that belong to the same name: known words, initials, particles between them."""
        left = right = index
        for step in (-1, 1):
            at = index
            bridge = 0
            while done < at + step < len(names) and at + step >= 0 and bridge < 3:
                near, far = (words[at + step], words[at]) if step < 0 else (words[at], words[at + step])
                dotted = near.end() - near.start() == 1 or near.group() in _SUFFIXES
                if not (_GAP_DOT if dotted else _GAP).fullmatch(text, near.end(), far.start()):
                    break
                at += step
                word, match = names[at], words[at]
                part = self._parts.get(word)
                cased = not text[match.start()].islower()
                if part is not None:
                    seed = self._parts.get(names[index], part)
                    if part.weak and not cased and (part.family != (step > 0) or part.category != seed.category):
                        break
                    left, right, bridge = min(left, at), max(right, at), 0
                elif word in _GENERATIONS and cased and step > 0:
                    right = at
                    break
                elif (
                    len(word) == 1
                    and cased
                    and not (step > 0 and word in "ia" and text[match.end() : match.end() + 1] != ".")
                ):
                    bridge += 1
                    if step > 0 or word != "i":
                        left, right = min(left, at), max(right, at)
                elif word in PARTICLES:
                    bridge += 1
                else:
                    break
        return left, right

    def _as_name(
        self, text: str, folded: str, words: list[re.Match[str]], names: list[str], left: int, right: int
    ) -> bool:
        """Whether weak words are written as a name here."""
        start, end = words[left].start(), words[right].end()
        known = [self._parts[names[i]] for i in range(left, right + 1) if names[i] in self._parts]
        several = len(known) > 1 and len({part.canonical for part in known}) > 1
        several = several and len({part.category for part in known}) == 1
        if several and (any(p.family for p in known) and any(not p.family for p in known)):
            return True
        before = folded[max(0, start - 24) : start]
        if _TITLE.search(before) and (len(names[left]) > 1 or right > left):
            return text[start].isupper() or self._titled(folded, start)
        if not text[start].isupper():
            return False
        if right > left:
            return True
        word = names[left]
        if end - start < 3 and (word in _FUNCTION or _LEVEL.match(folded, end)):
            return False
        if text[start:end].isupper():
            return False
        if not _SENTENCE.search(text[max(0, start - 6) : start]):
            return True
        # `Will has been well` is a name, `Will follow` is not; and one who signs stands alone on a line.
        following = _FOLLOWS.match(folded, end)
        alone = text[start - 1 : start] in ("", "\n", "\r") and _LINE_END.match(text, end)
        return bool(alone) or (following is not None and (following["own"] is not None or following["v"] in verbs()))

    def _span(self, text: str, words: list[re.Match[str]], left: int, right: int, part: Part, score: float) -> PhiSpan:
        start, end = words[left].start(), words[right].end()
        # Digits glued to a name belong to it: Koepp521.
        while end < len(text) and text[end].isdigit():
            end += 1
        return PhiSpan(start, end, part.category, NAME, score)

    def _find_phrases(self, text: str, folded: str) -> Iterator[PhiSpan]:
        table = self._phrases
        runs = list(RUNS.finditer(folded))
        names = [m.group() for m in runs]
        if table.keys().isdisjoint(names):
            return
        for index, word in enumerate(names):
            for phrase, category in table.get(word, ()):
                size = len(phrase)
                if tuple(names[index : index + size]) != phrase:
                    continue
                start, end = runs[index].start(), runs[index + size - 1].end()
                if end - start > sum(map(len, phrase)) + 4 * size:
                    continue
                if category == "DATE":
                    if _DATE_GAPS.fullmatch(folded, start, end):
                        yield PhiSpan(start, end, category, NAME, 1.0)
                    continue
                if size == 1 and (word in common() or len(word) < 4) and not self._placed(text, start):
                    continue
                yield PhiSpan(start, end, category, NAME, 1.0)

    def _placed(self, text: str, start: int) -> bool:
        return text[start].isupper() and not _SENTENCE.search(text[max(0, start - 6) : start])

    def _find_numbers(self, text: str, folded: str) -> Iterator[PhiSpan]:
        plain = _SEPARATORS.sub("", folded)
        where: list[int] | None = None
        for number, category in self.numbers.items():
            at = plain.find(number)
            while at >= 0:
                if where is None:
                    where = [i for i, c in enumerate(folded) if c.isalnum()]
                span = _verified(folded, where[at], where[at + len(number) - 1] + 1, category, number)
                if span is not None:
                    yield span
                at = plain.find(number, at + 1)
        for tail in self._ssn_tails:
            for start in _positions(folded, tail):
                if _LAST_FOUR.search(folded[max(0, start - 60) : start]):
                    yield PhiSpan(start, start + 4, "SSN", NAME, 1.0)
        for value, category in self._short.items():
            for start in _positions(folded, value):
                end = start + len(value)
                if _SHORT_LABEL.search(folded[max(0, start - 20) : start]):
                    while start > 0 and folded[start - 1] == "0":
                        start -= 1
                    yield PhiSpan(start, end, category, NAME, 1.0)


def _positions(folded: str, value: str) -> Iterator[int]:
    at = folded.find(value)
    while at >= 0:
        end = at + len(value)
        if not (end < len(folded) and folded[end].isalnum()) and not (
            at and folded[at - 1].isalnum() and folded[at - 1] != "0"
        ):
            yield at
        at = folded.find(value, at + 1)


def _verified(folded: str, start: int, end: int, category: str, number: str) -> PhiSpan | None:
    """Check that a number found without its separators stands in the text as one number."""
    if end - start > len(number) * 2 + 6:
        return None
    first, last = folded[start], folded[end - 1]
    if end < len(folded) and folded[end].isalnum() and folded[end].isdigit() == last.isdigit():
        return None
    piece = folded[start:end]
    if re.search(r"[\W_]{4}", piece):
        return None
    if first.isdigit():
        while start and folded[start - 1] == "0":
            start -= 1
        if category in ("PHONE", "FAX") and (
            country := re.search(r"\+?\(?1[-. (]{0,2}$", folded[max(0, start - 5) : start])
        ):
            before = start - len(country.group())
            if not (before and folded[before - 1].isalnum()):
                start = before
        if category in ("PHONE", "FAX") and start and folded[start - 1] == "(":
            start -= 1
        if start and folded[start - 1].isdigit():
            return None
        if (
            start > 1
            and category in ("PHONE", "FAX", "ZIP")
            and folded[start - 1] == "."
            and folded[start - 2].isdigit()
        ):
            return None if category == "ZIP" else PhiSpan(start, end, category, NAME, 1.0)
    elif start and folded[start - 1].isalpha():
        return None
    if len(number) <= 6 and number.isdigit() and re.search(r"\d\s+\d", piece):
        return None
    return PhiSpan(start, end, category, NAME, 1.0)


def _first_shingle(number: str) -> list[str]:
    """Return the piece of a number by which `TextScrubber.label` sees that it might be there."""
    digits = "".join(filter(str.isdigit, number))
    if len(digits) >= 5:
        return ["#" + digits[:5]]
    if len(digits) >= 2:
        return ["#" + digits[:2]]
    return RUNS.findall(number)[:1]


def date_forms(value: str) -> set[tuple[str, ...]]:
    """Return the forms in which a full ISO date is written, as runs of letters and digits.

    >>> {("3", "4", "1956"), ("march", "4", "th", "1956")} <= date_forms("1956-03-04")
    True
    """
    head = value[:10].split("-")
    if len(head) != 3 or not all(map(str.isdecimal, head)):
        return set()
    year, month, day = head[0], int(head[1]), int(head[2])
    if not 1 <= month <= 12:
        return set()
    yy, mm, dd = year[2:], f"{month:02d}", f"{day:02d}"
    forms: set[tuple[str, ...]] = {
        (year + mm + dd,),
        (mm + dd + year,),
        (dd + mm + year,),
        (mm + dd + yy,),
        (dd + mm + yy,),
    }
    long = dates.MONTHS[month - 1]
    short = ("sept",) if month == 9 else ()
    for y in (year, yy):
        for m in {str(month), mm}:
            for d in {str(day), dd}:
                forms |= {(m, d, y), (d, m, y), (y, m, d)}
        for name in (long, long[:3], *short):
            for d in {str(day), dd}:
                forms |= {(name, d, y), (d, name, y), (y, name, d)}
                for end in ("st", "nd", "rd", "th"):
                    forms |= {(name, d, end, y), (d, end, name, y), (d, end, "of", name, y)}
    return forms
