# ruff: noqa: E501 - a pattern is read whole, on one line
"""Dates in text: every written form that says more than a year, with guards against scores and fractions."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mayo_data.phi.dates import HOLIDAYS, MONTH, MONTHS, WEEKDAYS, full_year, valid
from mayo_data.phi.words import Words
from mayo_data.types import PhiSpan

_TIME = r"(?:t\d\d:?\d\d(?::?\d\d(?:\.\d{1,9})?)?(?:z|[+-]\d\d:?\d\d)?)?"
_NUMERIC = re.compile(
    rf"(?<!\d)(?<!\d[./-])(?:(?P<y>(?:18|19|20)\d\d)(?P<s>[-/.])(?P<m>\d{{1,2}})(?P=s)(?P<d>\d{{1,2}})(?!\d){_TIME}"
    r"|(?P<a>\d{1,2})(?P<t>\s?[-/.]\s?)(?P<b>\d{1,2})(?P=t)(?P<z>(?:18|19|20)\d\d|\d\d)(?![\d])(?![-/.]\d))"
)
_STAMP = re.compile(
    r"[12](?<![\d.][12])[09]\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
    r"(?:[0-2]\d[0-5]\d(?:[0-5]\d(?:\.\d{1,6})?)?(?:[+-]\d{4})?)?(?!\d)"
)
_PARTIAL = re.compile(
    r"(?<![\w./])(?<!\d-)(?P<a>\d{1,2})/(?P<b>\d{1,2})(?:\s?(?P<dash>[-–]|to|thru|through)\s?(?P<c>\d{1,2})/(?P<d>\d{1,2}))?(?![\w/%]|[.]\d|-\d)"
)
_MONTH_YEAR = re.compile(
    r"(?<![\d/.-])(?:(?:0?[1-9]|1[0-2])[/-](?:19|20)\d\d|(?:19|20)\d\d-(?:0[1-9]|1[0-2]))(?![\d/-]|\.\d)"
)
_THREE = re.compile(r"\d(?<!\d\d)(?=\d{0,3}\s?[-/.]\s?\d{1,2}\s?[-/.])")
_TWO = re.compile(r"\d(?<!\d\d)(?=\d?/\d)")
_BACK_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d[-\s]$")
_WORD = re.compile(r"[a-z]+")
_CUE = re.compile(
    r"(?:^|\b(?:on|since|from|until|till|til|by|thru|through|dated|date|dos|due|last|next|prior|starting|started|stopped|began|begin"
    r"|seen|visit|of|between|and|before|after|around|about|admitted|admit|adm|discharged|dc|d/c|dc'd|effective|exp|expires|appt|the"
    r"|returns?|return|rtc|f/u|fu|follow-up|placed|removed|drawn|collected|resulted|performed|done|given|dob|onset|lmp|edd|surgery|"
    r"mri|ct|cxr|echo|labs?|cx|culture|us|ekg|ecg|colonoscopy|x-?ray|xr|note|week|starts?|as|was|in|am|pm|mon|tues?|wed|thu(?:rs?)?|fri"
    r"|sat|sun|\w+day)[\s:,(#~-]{1,3}|\n\s*[-*•(]?\s*)$"
)
_NO_CUE = re.compile(
    r"\b(?:strength|motor|power|pain|scores?|scale|out|murmur|pulses?|reflex(?:es)?|dtrs?|phq\W?\d?|gad\W?\d?|moca|mmse|slums|vision|va|od"
    r"|ou|os|apgars?|gcs|grade|rated?|rates|ratio|tone|grip|ue|le|rue|lue|rle|lle|bp|muscle|sensation|level|tabs?|fraction|steth|kps|ecog"
    r"|bishop|mrc|quads?|deltoids?|biceps|triceps|flexion|extension|abduction|adduction|dorsiflexion|items?|severity|mood|anxiety|cravings?"
    r"|recall|words|nodes?|cores?|fi|stage|type|aims|asia|braden|borg|rpe|tug|vas|nrs|flacc|gleason|hips?|knees?|ankles?|shoulders?)\b[^.\n;]{0,26}$"
)
_AFTER = re.compile(
    r"\s?(?:strength|pain|murmur|systolic|sem|tab|tablet|cup|inch|points?|full|intact|throughout|bilat\w*|b/l|correct|items?|positive|cores"
    r"|nodes|lymph|ns|normal saline|of\b|in\s(?:all|both|upper|lower|bilateral)|to\s\d|wk|weeks?|months?|yr|mg|ml|dose|symmetric|on\s(?:the\s)?(?:right|left|vas|nrs)"
    r"|right|left|severity|recall|words|holosystolic|diastolic|crescendo)"
)
_FOLLOWS = re.compile(
    r"\s?(?:@|at\s\d|\d{1,2}:\d\d|\d{4}\b|[ap]\.?m\b|:\s|-\s|–\s|\)|,?\s?(?:am|pm|noon|visit|appt|note|labs?|scan|ct|mri|cxr|echo))"
)
_CLOCK = re.compile(r"\s{1,2}(?:\d{1,2}:\d\d|\d{1,2}\s?[ap](?:m\b|-|\b)|[012]\d[0-5]\d(?!\d|\s?(?:ml|mg|cc)))")
_MONTH_WORDS = frozenset([*MONTHS, *(month[:3] for month in MONTHS), "sept"])
_LABEL_MONTH = re.compile(
    rf"(?P<m>{MONTH})(?![a-z])\.?[\s./-]{{0,2}}(?:the\s)?\d{{1,2}}(?:st|nd|rd|th)?"
    r"(?![\d:%]|\.\d|\s?(?:mg|mcg|ml|g|units?|tabs?|times|weeks?|days?|months?|years?|hours?|hrs?|per|x\b|of\b|to\s\d{1,2}\s))"
    r"(?:\s?(?:-|–|to|through|thru|&)\s?\d{1,2}(?:st|nd|rd|th)?(?![\d/:]))?(?:(?:,\s{0,2}|\s|\s?[-/.]\s?)(?:(?:19|20)\d\d|['’]\d\d|(?<=[-/.])\d\d)(?!\d))?"
)
_BACK_DAY = re.compile(
    r"(?<!\d)(?<!\d[./:])(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?(?:\s?(?:-|–|to|and)\s?(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?)?[\s./-]{0,2}(?:(?:day\s)?of\s)?$"
)
_DAY_MONTH = re.compile(
    r"(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?(?:\s?(?:-|–|to|and)\s?(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?)?"
    rf"[\s./-]{{0,2}}(?:(?:day\s)?of\s)?(?P<m>{MONTH})(?![a-z])\.?(?:,?[\s./-]{{0,2}}(?:19|20)\d\d(?!\d)|[./-]?['’]?\d\d(?![\d:])|,?\s['’]\d\d)?"
)
_YEAR_MONTH = re.compile(rf"(?P<m>{MONTH})(?![a-z])[\s./-]{{0,2}},?\s?(?:of\s)?(?:(?:19|20)\d\d|['’]\d\d)(?!\d)")
_BEFORE_MONTH = re.compile(
    r"(?<![a-z])(?:in|since|last|this|next|early|late|mid|until|til|till|by|from|during|through|thru|before|after|around|between|of|past|for|and"
    r"|to|starting|beginning|end)[\s-]{1,2}(?:early[\s-]|late[\s-]|mid[\s-]?|of\s)?$"
)
_MONTH_ALONE = re.compile(rf"{MONTH}(?![a-z'’-])(?!\s?\d)")
_PLAIN_MONTHS = frozenset(["january", "february", "july", "september", "october", "november", "december"])
_FULL_DAYS = frozenset(WEEKDAYS)
_SHORT_DAYS = frozenset(["mon", "tue", "tues", "wed", "thu", "thur", "thurs", "fri", "sat", "sun"])
_BEFORE_DAY = re.compile(
    r"(?<![a-z])(?:on|last|next|this|until|til|till|by|since|thru|through|for|from|past|due|up|appt|visit|clinic|rtc|f/u|back|again|starting|and|or|mon|tues?|wed|thurs?|fri|sat|sun)[\s/]$"
)
_AFTER_DAY = re.compile(
    r"[a-z]+[,.]?\s{1,2}(?:\d{1,2}[/-]|[a-z]{3,9}\.?\s\d|\d{1,2}(?:st|nd|rd|th)?\s[a-z]{3}|at\s\d|@\s?\d|am\b|pm\b|a\.m|p\.m|morning|afternoon|evening|eve\b|night|noon|clinic|appt|visit|labs?\b|\d{1,2}:\d\d|\d{1,2}(?:am|pm|a|p)\b)"
)
_NOT_DAY = re.compile(r"(?:sat|sun|wed|mon)\W{1,3}(?:\d{2,3}\s?%|on\s(?:ra|room)|exposure|screen|burn|9\d(?!\d))")
_ROMAN = re.compile(
    r"(?<![\w./-])(?:0?[1-9]|[12]\d|3[01])(?P<s>[./-]|\s)(?:i{1,3}|iv|vi{0,3}|ix|xi{0,2}|x)(?P=s)(?:(?:19|20)\d\d|(?<=[./-])\d\d)(?![\w])"
)
_ROMAN_WORDS = frozenset(["i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii"])
_LABELLED = re.compile(
    r"(?<![a-z])(?:dob|d\.o\.b\.?|dos|doi|doa|doe|dod|date|dated|lmp|edd|edc|exp|admit(?:ted)?|adm|disch(?:arged)?|seen|on|since|born|printed|faxed|signed)[\s:#.]{1,3}(?P<v>\d{1,2}(?P<s>[.\-])\d{1,2}(?P=s)\d\d)(?![\d./-])"
)
_LABELLED_WORDS = frozenset(["dob", "d", "dos", "doi", "doa", "doe", "dod", "date", "dated", "lmp", "edd", "edc", "exp", "admit", "admitted", "adm", "disch", "discharged", "seen", "on", "since", "born", "printed", "faxed", "signed"])  # fmt: skip
# Blood cultures 8-5 and 8-7: a month and a day with a hyphen need a word that dates, and nothing that counts.
_HYPHENED = re.compile(
    r"(?<![a-z])(?:cultures?|cx|labs?|drawn|collected|dated|since|admitted|discharged|dos|surgery|biopsy|cxr|echo|ct|mri)\s(?P<v>(?:0?[1-9]|1[0-2])-(?:0?[1-9]|[12]\d|3[01]))(?:(?:,\s|\sand\s|,?\s&\s)(?P<w>(?:0?[1-9]|1[0-2])-(?:0?[1-9]|[12]\d|3[01])))?(?=[,.;:)\n]|\sand\s|\s&|$)(?!\.\d)"
)
_HYPHENED_WORDS = frozenset(["culture", "cultures", "cx", "lab", "labs", "drawn", "collected", "dated", "since", "admitted", "discharged", "dos", "surgery", "biopsy", "cxr", "echo", "ct", "mri"])  # fmt: skip
_CHAIN = re.compile(r"\s?(?:,|;|&|-|–|to|and|thru|through|or|/|,\s?and)\s?|\s")
_EVERY = re.compile(r"(?:every|each|q|most|alternate)\s$")
_BEFORE_HOLIDAY = re.compile(
    r"(?<![a-z])(?:on|since|before|after|around|until|over|by|at|during|last|this|past|for|near|next|following|every|of|the)\s(?:the\s)?$"
)
_HOLIDAY = re.compile(
    r"(?P<h>"
    + "|".join(re.escape(name).replace("'", "['’]") for name in sorted(HOLIDAYS, key=len, reverse=True))
    + r")(?![a-z])(?!\s(?:disease|factor|tree))(?:\s(?:weekend|week|eve|morning|dinner)(?![a-z]))?"
)
_HOLIDAY_WORDS = frozenset(name.replace("'", " ").split()[0].rstrip(".") for name in HOLIDAYS)
_SURE_HOLIDAYS = frozenset(
    name for name in HOLIDAYS if " day" in name or name in ("thanksgiving", "halloween", "hanukkah", "juneteenth")
)
_SEASONS = frozenset(["spring", "summer", "fall", "autumn", "winter"])
_SEASON = re.compile(r"(?:spring|summer|fall|autumn|winter)(?:\sof)?,?\s(?:19|20)\d\d(?!\d)")
_ENDINGS = frozenset(["st", "nd", "rd", "th"])
_ORDINAL = re.compile(
    r"(?<![a-z])(?:(?:on|by|since|before|after|until|till|from|through|for|lab|labs|due|and|to|appt)[:\s]\s?(?P<v>(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day,?\s)?the\s(?:[1-9]|[12]\d|3[01])))$"
)
_NTH = re.compile(
    r"[a-z]+\s(?:rib|digit|toe|finger|metatars|metacarp|intercostal|percentile|ics|cranial|nerve|ventricle|floor|grade|day|dose|cycle|hour|week|month|visit|time|admission|stent|course|line|street|avenue|ave\b|st\b|generation|degree|stage|trimester|interspace|attempt|child|pregnancy|proximal|distal|mtp|pip|dip|mcp|ray|vertebra|round|session|infusion|injection)"
)
_YEAR = re.compile(r"(?<![\w./-])(?:19|20)\d\d(?![\w/-]|\.\d)")


def _pair(a: int, b: int) -> bool:
    return (1 <= a <= 12 and 1 <= b <= 31) or (1 <= b <= 12 and 1 <= a <= 31)


def _is_numeric(match: re.Match[str], folded: str) -> bool:
    if match["y"]:
        return valid(int(match["y"]), int(match["m"]), int(match["d"]))
    a, b, year = int(match["a"]), int(match["b"]), match["z"]
    if not _pair(a, b) or not (valid(full_year(year), a, b) or valid(full_year(year), b, a)):
        return False
    sep = match["t"]
    if len(year) == 4:
        return True
    return not (" " in sep or (sep == "." and (len(match["a"]) < 2 or len(match["b"]) < 2)))


def _is_partial(match: re.Match[str], folded: str) -> bool:
    a, b = int(match["a"]), int(match["b"])
    if not _pair(a, b) or (a > 12 and b > 12):
        return False
    if match["c"] and not _pair(int(match["c"]), int(match["d"])):
        return False
    start, end = match.span()
    before = folded[max(0, start - 40) : start]
    if _AFTER.match(folded, end):
        return False
    if _NO_CUE.search(before):
        return bool(re.search(r"\b(?:on|since|from|dated|until|by)\s$", before)) and b not in (5, 10)
    if match["a"].startswith("0") or match["b"].startswith("0"):
        return True
    if _CLOCK.match(folded, end):
        return True
    if _CUE.search(before) or _FOLLOWS.match(folded, end) or match["c"]:
        return not (a == b and b in (4, 5, 10)) and not (a > 12)
    return a <= 12 and (b > 12 or b in (7, 9, 11))


_FRACTION = re.compile(r"\d{1,4}(?:[./]\d{1,4})?/\d{1,4}(?:/\d{1,4}){0,4}")


def is_fraction(folded: str, start: int, end: int) -> bool:
    """Whether a piece that looks like a date is a score, a ratio or an impossible day: 10/10, 15/20/45, 4/31.

    Args:
        folded: The folded text.
        start: Where the piece begins.
        end: Where it ends.
    """
    value = folded[start:end]
    if _FRACTION.fullmatch(value) is None:
        return False
    parts = re.split(r"[./]", value)
    if len(parts) == 3:
        a, b, year = parts
        return not (
            len(year) in (2, 4) and (valid(full_year(year), int(a), int(b)) or valid(full_year(year), int(b), int(a)))
        ) and not (len(a) == 4 and valid(int(a), int(b), int(year)))
    if len(parts) > 3:
        return True
    a, b = int(parts[0]), int(parts[1])
    if len(parts[1]) == 4:
        return not (1 <= a <= 12 and 1900 <= b <= 2100)
    if not _pair(a, b) or not (valid(2000, a, b) or valid(2000, b, a)):
        return True
    if re.search(r"\b(?:on|since|from|dated|until|by)\s$", folded[max(0, start - 8) : start]):
        return False
    return bool(_AFTER.match(folded, end) or _NO_CUE.search(folded[max(0, start - 40) : start])) or a == b == 10


def _cased(match: re.Match[str], text: str, month: str) -> bool:
    """May and March are words too: they need a capital; short forms of months need a capital or a year."""
    name = match[month]
    if name in ("may", "march", "mar", "dec", "sep", "jun", "jan"):
        return text[match.start(month)].isupper() or bool(re.search(r"(?:19|20)\d\d", match.group()))
    return True


def find(text: str, words: Words, keep_years: bool) -> Iterator[PhiSpan]:
    """Yield the dates of a text.

    Args:
        text: The text.
        words: Its words.
        keep_years: Whether a bare year may stay.
    """
    if "9" in words.shape:
        for start, end, rule, score in _numbers(words):
            yield PhiSpan(start, end, "DATE", f"patterns.{rule}", score)
        if not keep_years:
            for match in _YEAR.finditer(words.folded):
                yield PhiSpan(match.start(), match.end(), "YEAR", "patterns.year", 0.6)
    for start, end, rule, score in _named(text, words):
        yield PhiSpan(start, end, "DATE", f"patterns.{rule}", score)


def _numbers(words: Words) -> Iterator[tuple[int, int, str, float]]:
    folded, shape = words.folded, words.shape
    for candidate in _THREE.finditer(folded):
        match = _NUMERIC.match(folded, candidate.start())
        if match is not None and _is_numeric(match, folded):
            yield *match.span(), "date.numeric", 0.9
    if "99999999" in shape:
        for match in _STAMP.finditer(folded):
            yield *match.span(), "date.stamp", 0.85
    if "9/9" in shape:
        yield from _partials(folded)
    for match in words.matches(_LABELLED, _LABELLED_WORDS):
        parts = list(map(int, re.split(r"[.-]", match["v"])))
        if _pair(parts[0], parts[1]):
            yield *match.span("v"), "date.labelled", 0.8
    if "9-9" in shape:
        for match in words.matches(_HYPHENED, _HYPHENED_WORDS):
            yield *match.span("v"), "date.hyphen", 0.65
            if match["w"]:
                yield *match.span("w"), "date.hyphen", 0.65
    for at in words.at(_ROMAN_WORDS):
        back = _BACK_NUMBER.search(folded, max(0, at - 3), at)
        match = _ROMAN.match(folded, back.start()) if back is not None else None
        if match is not None:
            yield *match.span(), "date.roman", 0.85
    if "9/9999" in shape or "9-9999" in shape or "9999-99" in shape:
        for match in _MONTH_YEAR.finditer(folded):
            yield *match.span(), "date.month", 0.8


_BACK_NUMBER = re.compile(r"\d{1,2}[./\-\s]$")


def _partials(folded: str) -> Iterator[tuple[int, int, str, float]]:
    """Months with days. One that stands in a row with a date is one too: 8/9, 8/10 AND 8/11."""
    found = [m for c in _TWO.finditer(folded) if (m := _PARTIAL.match(folded, c.start())) is not None]
    sure = [_is_partial(match, folded) for match in found]
    for order in (range(1, len(found)), range(len(found) - 2, -1, -1)):
        for at in order:
            other = at - 1 if order.step > 0 else at + 1
            first, second = (found[other], found[at]) if order.step > 0 else (found[at], found[other])
            if sure[at] or not sure[other] or second.start() - first.end() > 6:
                continue
            if _CHAIN.fullmatch(folded, first.end(), second.start()):
                match = found[at]
                a, b = int(match["a"]), int(match["b"])
                sure[at] = _pair(a, b) and a <= 12 and _AFTER.match(folded, match.end()) is None
    for match, good in zip(found, sure, strict=True):
        if good:
            strong = match["c"] is not None or match["a"].startswith("0") or _CLOCK.match(folded, match.end())
            yield *match.span(), "date.short" if strong else "date.partial", 0.7


def _named(text: str, words: Words) -> Iterator[tuple[int, int, str, float]]:
    folded = words.folded
    for at in words.at(_MONTH_WORDS):
        match = _LABEL_MONTH.match(folded, at)
        if match is not None and _cased(match, text, "m"):
            yield *match.span(), "date.named", 0.9
        back = _BACK_DAY.search(folded, max(0, at - 20), at)
        if back is not None:
            match = _DAY_MONTH.match(folded, back.start())
            if match is not None and _cased(match, text, "m"):
                yield *match.span(), "date.named", 0.9
        match = _YEAR_MONTH.match(folded, at)
        if match is not None:
            yield *match.span(), "date.named", 0.9
        elif _BACK_YEAR.search(folded, max(0, at - 6), at):
            tail = re.match(r"[a-z]+(?:[-\s]\d{1,2}(?!\d))?", folded[at : at + 16])
            yield at - 5, at + (tail.end() if tail else 3), "date.named", 0.85
        match = _MONTH_ALONE.match(folded, at)
        if match is not None:
            name = match.group()
            if name in _PLAIN_MONTHS:
                yield *match.span(), "date.month", 0.7
            elif (text[at].isupper() and text[at - 1 : at] == "(" and text[match.end() : match.end() + 1] == ")") or (
                (text[at].isupper() or (name in MONTHS and name not in ("may", "march")))
                and _BEFORE_MONTH.search(folded, max(0, at - 24), at)
            ):
                yield *match.span(), "date.month", 0.75
    for at in words.at(_FULL_DAYS):
        if not _EVERY.search(folded, max(0, at - 10), at):
            yield at, at + len(_WORD.match(folded, at).group()), "date.weekday", 0.7  # type: ignore[union-attr]
    for at in words.at(_SHORT_DAYS):
        if (
            text[at].isupper()
            and not _NOT_DAY.match(folded, at)
            and (_BEFORE_DAY.search(folded, max(0, at - 10), at) or _AFTER_DAY.match(folded, at))
        ):
            yield at, at + len(_WORD.match(folded, at).group()), "date.weekday", 0.65  # type: ignore[union-attr]
    for match in words.matches(_HOLIDAY, _HOLIDAY_WORDS):
        sure = match["h"] in _SURE_HOLIDAYS and text[match.start()].isupper()
        if sure or _BEFORE_HOLIDAY.search(folded, max(0, match.start() - 16), match.start()):
            yield *match.span(), "date.holiday", 0.75
    for match in words.matches(_SEASON, _SEASONS):
        yield *match.span(), "date.season", 0.75
    for at in words.at(_ENDINGS):
        day = _ORDINAL.search(folded, max(0, at - 24), at)
        if day is not None and not _NTH.match(folded, at):
            yield day.start("v"), at + 2, "date.day", 0.65
