# ruff: noqa: E501 - a pattern is read whole, on one line
"""The clinical guard over what a model finds: labels and small words are cut off, and what medicine explains is kept.

A model goes by what words look like and stand beside. That Yankauer is a device, 10/10 a score and A4615 a billing
code is knowledge; it is held against a find here, unless a title, a degree or a list of names speaks for a person.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from mayo_data.phi.dates import MONTHS
from mayo_data.phi.when import is_fraction
from mayo_data.phi.words import (
    all_family_names,
    all_given_names,
    capitals,
    everyday,
    guard,
    medical_names,
    vocabulary,
)
from mayo_data.types import PhiSpan

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_PEOPLE = frozenset({"PATIENT", "RELATIVE", "STAFF", "PERSON"})
_NUMBERS = frozenset({"OTHERID", "PHONE", "FAX", "MRN", "ACCOUNT", "HEALTHPLAN", "ZIP", "SSN", "DEVICE", "VEHICLE", "LICENSE"})  # fmt: skip
_PLACES = frozenset({"HOSPITAL", "ORG", "CITY", "STREET", "COUNTY"})
# Small words at an end of a find: no part of it where they are written small.
_SMALL = frozenset(
    [
        "a", "an", "and", "are", "as", "at", "by", "for", "from", "had", "has", "in", "is", "of", "off", "on", "or", "seen", "signed", "the", "then",
        "to", "until", "was", "were", "who", "with", "via", "per", "re", "dtd", "called", "named", "since", "lives",
    ]
)  # fmt: skip
_LABELS = frozenset(
    [
        "acct", "account", "age", "attn", "bed", "born", "cc", "cell", "csn", "date", "dea", "dob", "doa", "dos", "ext", "facsimile", "fax", "fin",
        "group", "grp", "har", "id", "lic", "lot", "member", "mrn", "name", "no", "npi", "number", "pager", "ph", "phone", "plate", "pt", "rm",
        "room", "serial", "sex", "sn", "ssn", "ss", "subject", "tel", "unit", "vin", "irb", "ward", "exam", "enc", "encl", "aka", "mpi", "eth", "race",
    ]
)  # fmt: skip
_RANK = re.compile(r"(?:the\s)?(?P<n>\d{1,3})(?:st|nd|rd|th)")
_RANKED = re.compile(
    r"\s(?:percentile|centile|rib|digit|toe|finger|metatarsal|metacarpal|cranial|nerve|ventricle|grade|day|dose|cycle|week|month|visit|time|trimester|degree|generation|floor|intercostal|interspace)"
)
_WEAK = 0.6
_SURE = 0.75
_LISTED = frozenset([", ", " and ", " & ", ", and "])
_MONTH_DAY = re.compile(
    r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|sept|oct|nov|dec)[a-z1]{0,6}\.?\s\d{1,2}(?:st|nd|rd|th)?"
)
_UPPER = re.compile(r"[A-Z]")
_LOWER = re.compile(r"[a-z]{3}")
_YEARS_AFTER = re.compile(r"[\s-]?(?:yo|y/o|y\.o|year|yr)\b")
_LONGEST = 300  # characters of anything that names somebody
_GAP = re.compile(r"[\s.,:;#()/=\-–]*")
_TITLED = re.compile(
    r"\b(?:dr|drs|mr|mrs|ms|miss|mx|prof|nurse|rev|sgt|officer|judge|aunt|uncle|dear|hi|hello)\b\.?\s{1,3}$"
)
_DEGREE = re.compile(
    r",?\s{1,2}(?:md|do|rn|np|pa|pa-c|phd|lpn|crna|lcsw|dds|dpm|pharmd|cna|aprn|msw|pt|ot)\b", re.IGNORECASE
)
_OF_MEDICINE = re.compile(
    r"(?:['’]s)?[\s-](?:disease|syndrome|sign|signs|test|scale|score|scores|criteria|maneuver|manoeuvre|catheter|tube|drain|fracture|fractures|procedure|position|clamps?|retractors?|lymphoma|palsy|reflex|suction|hernia|classification|class|grade|virus|pouch|stain|staging|ring|forceps|exercises?|phenomenon|thyroiditis|contracture|esophagus|law|line|point|ligament|fascia|node|space|triangle|tap|valve|stent|repair|splint|cast|collar|protocol|formula|equation|index|prep|respirations?|agar|antigen|chorea|ataxia|neuroma|dystrophy|nephropathy|chamber|bodies|body|cells?|light|lamp|chart|stockings?|boot|wrap|brace|walker|bed|pump|lift|mask|needle|block|approach|incision|technique|method|sarcoma|tumou?r|anemia|purpura|ulcer|lesion|osteotomy|arthroplasty|\d{1,3}(?![\d-])|inhaler|cream|gel|spray|mg|mcg|ml|tablets?|tabs?|%)"
)
_DIGITS = re.compile(r"\d")
_ICD = re.compile(r"[a-tv-z]\d[\da-z](?:\.[\da-z]{1,4})?(?:[a-z]{0,2})|[a-egjkmqv]\d{4}")
_OID = re.compile(r"[012](?:\.\d{1,10}){4,20}")
_JOURNAL = re.compile(r"(?:[a-z]{2,12}\s)?\d{1,4}(?:\(\d{1,3}\))?:\d{1,5}[-–]\d{1,5}")
_UNIT_AFTER = re.compile(
    r"\s?(?:pg|ng|mg|mcg|ug|g|iu|u|meq|mmol|umol|ml|dl|mm|cm|k|x10|10\^|cells|copies|bpm|mmhg|%|/[a-z]|units?)(?![a-z])"
)
_CLOCK = re.compile(r"(?:[01]\d|2[0-3])[0-5]\d(?:-(?:(?:[01]\d|2[0-3])[0-5]\d))*")
_NUMBER_LABEL = re.compile(
    r"(?:\b(?:ext|x|pager?|pgr|beeper|phone|tel|ph|id|no|number|code|pin|mrn|acct|order|req|case|claim|last|ending|in|badge|#|desk|spectralink|vocera)\W{0,3})$|[#^|]\s?$"
)
_BILLED = re.compile(
    r"(?:\b(?:isbn|pmid|cpt|hcpcs|icd|icd-10|codes?|dx|acp|e/m|cc|drg|loinc|snomed)\W{0,6}(?:\w{3,7}[\s,&]{1,5}(?:and\s)?){0,2})$"
)
_TIMES = re.compile(r"\sx\s?\d\b")
_SHORT_CODE = re.compile(
    r"[ctls]\d{1,2}(?:[-/][ctls]?\d{1,2})?|[abdk]\d{1,2}|(?:hb)?a1c|g6pd|t\dn\d(?:m\d)?|p53|ca[- ]?\d{2,3}|n95|g\d{1,2}p\d{1,4}|p\d{4}|lp\d{2}|h\d{1,2}n\d|cd\d{1,3}|p2y12|co2|o2|ft[34]|t[34]"
)
_ROOM_BEFORE = re.compile(r"(?:room|rm|bed|bay|ward|unit|ed|er|to|in|from|pod|suite|or)[\s.#:]{1,3}$")
_DATE_WORD = re.compile(
    r"jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?"
    r"|(?:mon|tue|tues|wed|wednes|thu|thur|thurs|fri|sat|satur|sun)(?:days?)?|the|of|early|late|mid|end|beginning|week|weekend|eve|day|night|morning"
    r"|spring|summer|fall|autumn|winter|st|nd|rd|th|t|z|i{1,3}|iv|v|vi{0,3}|ix|xi{0,2}|x|christmas|xmas|easter|thanksgiving|halloween|new|year|years"
    r"|year's|years'|labor|memorial|independence|valentine's|mother's|father's|mothers|fathers|good|palm|patrick's|veterans|veteran's|columbus|presidents"
    r"|mlk|hanukkah|passover|rosh|hashanah|yom|kippur|diwali|super|bowl|ash|mardi|gras|cinco|de|mayo|juneteenth|groundhog|eid|ramadan|fourth|third|first"
    r"|second|lunar|chinese|holiday|holidays|tet|purim|epiphany|kwanzaa|lent|mem|pres|vets|am|pm"
)
_DAY_WORD = re.compile(
    rf"(?:{'|'.join(month[:3] for month in MONTHS)}|mon|tue|wed|thu|fri|sat|sun|day|eve|week|spring|summer|fall|autumn|winter|easter|christmas|ramadan|eid|hanukkah|halloween|diwali|\d)"
)


def reviewed(text: str, folded: str, spans: Iterable[PhiSpan]) -> Iterator[PhiSpan]:
    """Yield what a model found, trimmed, without what medicine explains.

    Args:
        text: The text.
        folded: `fold(text)`.
        spans: What the model found in it.

    >>> text = "Yankauer at bedside, seen by Ms. Yankauer, MRN 4471"
    >>> found = [PhiSpan(0, 8, "PERSON", "model", 0.7), PhiSpan(33, 41, "PERSON", "model", 0.7)]
    >>> [s.start for s in reviewed(text, text.lower(), [*found, PhiSpan(43, 51, "OTHERID", "model", 0.7)])]
    [33, 47]
    """
    found = sorted(spans)
    for at, span in enumerate(found):
        # Finds that touch are parts of one thing: neither is a stray word, and nothing is cut off between them.
        left = at > 0 and _touch(text, found[at - 1], span)
        right = at + 1 < len(found) and _touch(text, span, found[at + 1])
        start, end = _trimmed(text, folded, span, left=not left, right=not right)
        if start >= end or (span.category in _PEOPLE and folded[start:end] in _SMALL):
            continue
        alone = not (left or right)
        if end - start < _LONGEST and not _explained(text, folded, span, start, end, alone=alone):
            yield span if (start, end) == span[:2] else span._replace(start=start, end=end)


def _touch(text: str, first: PhiSpan, second: PhiSpan) -> bool:
    gap = text[first.end : second.start]
    if gap in _LISTED and first.category in _PEOPLE and second.category in _PEOPLE:
        return True
    return len(gap) < 2 and gap != "\n" and _kin(first.category) == _kin(second.category)


def _kin(category: str) -> str:
    """What a category may be a part of: a person, a place, a date, or else a number."""
    if category in _PEOPLE:
        return "person"
    if category in _PLACES or category == "ZIP":
        return "place"
    return category if category in ("DATE", "EMAIL", "URL", "IP") else "number"


def is_of_medicine(folded: str, end: int) -> bool:
    """Whether the word that follows makes a name that of a sign, a device or a drug: `Foley catheter`.

    Args:
        folded: The folded text.
        end: Where the name ends.
    """
    return _OF_MEDICINE.match(folded, end) is not None


def _trimmed(text: str, folded: str, span: PhiSpan, *, left: bool, right: bool) -> tuple[int, int]:
    """Cut small words and labels off the ends."""
    start, end = span.start, span.end
    labels = span.category not in _PLACES
    if span.category == "DATE":
        start, end = _dated(folded, start, end)
    while True:
        word = _WORD.match(folded, start, end)
        if word is not None and word.group() == "the" and span.category == "DATE":
            break
        if word is None or not _is_frame(text, word, labels, small=left, ends=False):
            break
        gap = _GAP.match(folded, word.end(), end)
        start = gap.end() if gap is not None else word.end()
        if gap is not None and gap.end() == word.end():
            start = word.start()  # ID-20661, P.
            break
    if span.category in _PEOPLE:
        start, end = _named(text, folded, start, end)
        degree = _DEGREE_END.search(text, start, end)
        if degree is not None and degree.start() > start:
            end = degree.start()
    while True:
        last = None
        for word in _WORD.finditer(folded, start, end):
            last = word
        if last is None or last.end() != end or not _is_frame(text, last, labels, small=right, ends=True):
            break
        before = end
        end = last.start()
        while end > start and folded[end - 1] in " \t\r\n.,:;#(/=-–":
            end -= 1
        if end == last.start():
            return start, before  # half a word
    return start, end


_DEGREE_END = re.compile(
    r",[ \t]{1,2}(?:MD|DO|RN|NP|PA|PTA|PA-C|LPN|LVN|CNA|CRNA|SRNA|CNM|APRN|FNP|FNP-C|DNP|LCSW|LICSW|LMSW|MSW|CHW|CRA|OT|COTA|PT|DPT|RD|RPh|PharmD"
    r"|DDS|DMD|DPM|FACS|FACC|FACP|PhD|Ph\.D\.|M\.D\.|D\.O\.|PsyD|EMT|EMT-P|CMA|RDH|OD|AuD|MPH|MBBS|BSN|MSN|RRT|CCRN|LPC|LMFT|SLP|CCC-SLP)$"
)


def _named(text: str, folded: str, start: int, end: int) -> tuple[int, int]:
    """Cut off the ends of a name the words that are written small beside words with a capital."""
    words = list(_WORD.finditer(folded, start, end))
    if not any(text[word.start()].isupper() for word in words) or "\n" in text[start:end]:
        return start, end  # a name that is broken over lines may go on in small letters
    given = all_given_names()
    while (
        text[start - 2 : start] != "-\n"
        and words
        and text[words[0].start()].islower()
        and len(words[0].group()) > 3
        and words[0].group() not in given
    ):
        words.pop(0)
        start = words[0].start()
    while words and text[words[-1].start()].islower() and len(words[-1].group()) > 3 and words[-1].group() not in given:
        words.pop()
        end = words[-1].end()
    return start, end


def _dated(folded: str, start: int, end: int) -> tuple[int, int]:
    """Cut off the ends of a date the words that date nothing."""
    words = list(_WORD.finditer(folded, start, end))
    if not any(map(str.isdigit, folded[start:end])) and not any(_DATE_WORD.fullmatch(word.group()) for word in words):
        return start, end  # jumu'ah: not ours to cut
    while (
        words
        and not _DATE_WORD.fullmatch(words[0].group())
        and not any(map(str.isdigit, folded[start : words[0].start()]))
    ):
        gap = _GAP.match(folded, words[0].end(), end)
        if gap is None or gap.end() == words[0].end():
            break
        start = gap.end()
        words.pop(0)
    while (
        words
        and not _DATE_WORD.fullmatch(words[-1].group())
        and not any(map(str.isdigit, folded[words[-1].end() : end]))
    ):
        before = folded[start : words[-1].start()].rstrip(" \t\r\n.,:;#()/=-–")
        if start + len(before) == words[-1].start():
            break
        end = start + len(before)
        words.pop()
    return start, end


def _is_frame(text: str, word: re.Match[str], labels: bool, *, small: bool, ends: bool) -> bool:
    token = word.group()
    if token in _SMALL and text[word.start()].islower():
        return small
    if not labels or token not in _LABELS:
        return False
    # A label is followed by what it labels; one in capitals or in small letters is no name.
    piece = text[word.start() : word.end()]
    return ends or piece.isupper() or piece.islower() or text[word.end() : word.end() + 1] in (":", "#", ".")


def _explained(text: str, folded: str, span: PhiSpan, start: int, end: int, *, alone: bool) -> bool:
    """Whether medicine explains a find; one that touches another is no stray word or number."""
    category = span.category
    value = folded[start:end]
    if _SHORT_CODE.fullmatch(value) and _ROOM_BEFORE.search(folded, max(0, start - 12), start) is None:
        return True
    if category in _PEOPLE:
        return _is_word(text, folded, start, end, span.score, alone=alone)
    if category == "DATE":
        rank = _RANK.fullmatch(value)
        if rank is not None and (int(rank["n"]) > 31 or _RANKED.match(folded, end)):
            return True
        return (_DAY_WORD.search(value) is None and _DIGITS.search(value) is None) or is_fraction(folded, start, end)
    if not alone:
        return False
    if category in _PLACES:
        words = _WORD.findall(value)
        if category == "STREET":
            return not words and _DIGITS.search(value) is None
        return len(words) == 1 and (
            (text[start:end].islower() and words[0] in everyday())
            or (text[start:end].isupper() and words[0] in capitals())
            or (words[0] in medical_names() and span.score < _WEAK)
        )
    if category == "ROOM":
        return (value in ("a", "an", "i") and text[start].islower()) or _YEARS_AFTER.match(folded, end) is not None
    return category in _NUMBERS and _is_measure(folded, value, category, start, end)


def _is_word(text: str, folded: str, start: int, end: int, score: float, *, alone: bool) -> bool:
    """Whether what is taken for a person is everyday or clinical words, and nothing says that a person is meant."""
    words = _WORD.findall(folded, start, end)
    if not words:
        return len(_DIGITS.findall(folded, start, end)) < 7
    if _MONTH_DAY.fullmatch(folded, start, end):
        return False
    if _TITLED.search(folded, max(0, start - 12), start) or _DEGREE.match(text, end):
        return False
    medical = all(word in medical_names() or word in guard() for word in words)
    given, family = all_given_names(), all_family_names()
    whole = len(words) > 1 and all(word in given or word in family for word in words)
    if medical and not whole and _OF_MEDICINE.match(folded, end):
        return True
    piece = text[start:end]
    named = any(word in given or word in family for word in words)
    if piece.islower():
        mixed = _UPPER.search(text, max(0, start - 60), end + 40) is not None
        return (
            mixed
            and (not named or all(word in everyday() for word in words))
            and all(word in vocabulary() for word in words)
        )
    if medical and (not named or (alone and len(words) == 1 and score < _WEAK and words[0] not in given)):
        return True
    if named or not alone:
        return False
    # Capitals that a note uses for something else: the words beside them are written small.
    if not piece.isupper() or len(words) > 1:
        return False
    line = text[max(text.rfind("\n", 0, start) + 1, start - 60) : start] + text[end : end + 40].split("\n")[0]
    small = _LOWER.search(line) is not None
    return words[0] in capitals() or (small and score < _SURE and 3 < len(piece) < 6 and len(words[0]) == len(piece))


def _is_measure(folded: str, value: str, category: str, start: int, end: int) -> bool:
    """Whether a number is a billing code, an object identifier, a page of a journal, a range with a unit, or a time."""
    digits = len(_DIGITS.findall(value))
    if digits < 2:
        return sum(map(str.isalpha, value)) < 4
    labelled = _NUMBER_LABEL.search(folded, max(0, start - 14), start) is not None
    if _OID.fullmatch(value) or _JOURNAL.fullmatch(value):
        return True
    if not labelled and ((_ICD.fullmatch(value) and category == "OTHERID") or _CLOCK.fullmatch(value)):
        return True
    if (len(value) < 8 or "isbn" in folded[max(0, start - 12) : start]) and (
        _BILLED.search(folded, max(0, start - 24), start) or _TIMES.match(folded, end)
    ):
        return True
    return not labelled and _UNIT_AFTER.match(folded, end) is not None
