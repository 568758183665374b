# ruff: noqa: E501 - a pattern is read whole, on one line
"""Street addresses in text: with a house number, by box or highway, and streets named without a number."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mayo_data.phi.words import Words, abbreviations, common, fold, guard, verbs
from mayo_data.types import PhiSpan

_PLAIN = frozenset(
    ["street", "avenue", "ave", "road", "rd", "boulevard", "blvd", "lane", "ln", "parkway", "pkwy", "terrace", "highway", "hwy", "turnpike", "tpke", "trail"]
)  # fmt: skip
# These are words or abbreviations as well: everything must be written with capitals.
_OPEN = frozenset(
    [
        "st", "drive", "dr", "court", "ct", "place", "pl", "way", "circle", "cir", "ter", "route", "rte", "trl", "square", "sq", "loop",
        "crossing", "xing", "alley", "aly", "plaza", "run", "row", "path", "bend", "point", "pt", "ridge", "cove", "pike", "commons", "park",
        "landing", "walk", "mews", "green", "glen", "hollow", "close", "crescent", "trace", "pass", "passage", "creek", "estates", "broadway",
    ]
)  # fmt: skip
_TRIGGERS = _PLAIN | _OPEN
_SHORT = frozenset(["st", "dr", "ct", "pl", "pt", "sq", "cir", "ter", "trl", "rte"])
_GAP = r"(?:[ \t]{1,2}|[ \t]?\r?\n[ \t]{0,4})"
_DIRECTION = r"(?:[nsew]\.?|ne|nw|se|sw|north|south|east|west)"
_UNIT = r"(?:,?\s{1,2}(?:apt|apartment|suite|ste|unit|floor|fl|bldg|building|rm|room|lot|trlr|#)\.?\s?#?\s?[\w-]{1,6}|,?\s{0,2}#\s?[\w-]{1,6}|,?\s\d{1,2}(?:st|nd|rd|th)\s(?:floor|fl)\b)"
_HOUSE_BEFORE = re.compile(r"(?<![\w.,/$-])[nsew]{0,2}\d{1,6}[a-z]?[ \t](?:[a-z.]{1,6}\s){0,2}$")
_HOUSE = re.compile(r"\d(?<![\w.,/$-]\d)")
_STREET = re.compile(
    rf"\d{{1,6}}(?:-\d{{1,4}})?[a-z]?(?:\s1/2)?{_GAP}(?P<name>(?:{_DIRECTION}{_GAP})?"
    rf"(?:(?:[^\W\d_][^\W\d_'’.-]{{0,20}}|[^\W\d_]{{1,3}}\.?[^\W\d_]{{0,20}}|\d{{1,3}}(?:st|nd|rd|th)){_GAP}){{0,4}}?"
    rf"(?:[^\W\d_](?:[^\W\d_'’.]|['’.-](?=[^\W\d_])){{0,24}}|\d{{1,3}}(?:st|nd|rd|th)){_GAP})"
    rf"(?P<suffix>{'|'.join(sorted(_TRIGGERS, key=len, reverse=True))})(?![a-z'’])\.?(?:\s{_DIRECTION}(?![\w'])\.?)?{_UNIT}{{0,2}}"
)
# 1610 Camino del Monte Sol, 88 Avenue of the Pines, 14 Rue Lafitte.
_LEADING = re.compile(
    r"(?P<v>\d{1,6}[a-z]?(?:-\d{1,4})?[ \t]{1,2}(?:(?:[nsew]|north|south|east|west)\.?[ \t])?(?:camino|calle|callejon|via|avenida|ave\.?|avenue|paseo|rue|rua|strada|boulevard|circle|court|plaza|place|vista|corte|carrera|caminito|chemin)"
    r"(?:[ \t](?:of|de|del|la|las|los|le|des|du|di|the|el))*(?:[ \t](?!and\b|with\b|in\b|for\b)[^\W\d_][^\W\d_'’.-]{1,20}(?:[ \t](?:de|del|la|las|los|el))*){1,3}"
    rf"{_UNIT}?)"
)
_LEADING_WORDS = frozenset(
    ["camino", "calle", "callejon", "via", "avenida", "ave", "avenue", "paseo", "rue", "rua", "strada", "boulevard", "circle", "court", "plaza", "place", "vista", "corte", "carrera", "caminito", "chemin"]
)  # fmt: skip
# 2200 Old Route 9 North, N6712 County Road XX, 4480 FM 1488.
_NUMBERED = re.compile(
    rf"(?P<v>(?:[nsew]{{1,2}})?\d{{1,6}}[a-z]?{_GAP}(?:(?:old|state|county|us|u\.s\.|rural|north|south|east|west|[nsew]\.?)\s){{0,3}}(?:route|rte|rt|highway|hwy|road|rd|cr|co\.?\srd|fm|sr|sh|interstate|township\sroad)\.?\s(?:\d{{1,5}}[a-z]?|[a-z]{{1,2}})(?![\w/])"
    rf"(?:\s{_DIRECTION}(?![\w']))?{_UNIT}?)"
)
_NUMBERED_WORDS = frozenset(["route", "rte", "rt", "highway", "hwy", "road", "rd", "cr", "fm", "sr", "sh", "interstate", "county", "state", "us", "old", "township"])  # fmt: skip
_BOX = re.compile(
    r"(?:p\.?\s?o\.?\s?box\s{0,2}\d{1,6}[a-z]?|post\soffice\sbox\s\d{1,6}|(?:rr|r\.r\.|rt|rte|rd|r\.d\.|r\.?f\.?d\.?|route|rural\sroute|star\sroute|hc)\.?\s?#?\s?\d{1,4}[a-z]?,?\s(?:box|lot)\s?#?\d{1,6}(?:-?[a-z](?!\w))?"
    r"|psc\s\d{1,5},?\sbox\s\d{1,5}(?:,?\s(?:apo|fpo|dpo),?\s(?:aa|ae|ap)\s\d{5}(?:-\d{4})?)?|unit\s\d{4,5}\sbox\s\d{1,5}"
    r"|(?:county|state|rural)\s(?:road|route|highway)\s\d{1,5}|(?:highway|hwy|route|rte|interstate)\s\d{1,4}(?=\s(?:in|near|outside|and|&)\s)"
    r"|i-\d{1,3}\s(?:(?:nb|sb|eb|wb|north|south|east|west)(?:bound)?\s)?(?:(?:at|near|by|@)\s)?(?:mp|mm|mile(?:post|\smarker)?|exit)\.?\s\d{1,4}[a-z]?)"
)
_BOX_WORDS = frozenset(["p", "po", "post", "rr", "rt", "rd", "r", "rfd", "rural", "star", "hc", "county", "state", "highway", "hwy", "route", "rte", "interstate", "i", "psc", "unit"])  # fmt: skip
_STOP = frozenset(
    [
        "of", "in", "on", "the", "a", "an", "to", "for", "with", "and", "or", "at", "by", "from", "is", "was", "mg", "mcg", "ml", "year", "years",
        "day", "days", "week", "weeks", "month", "months", "hours", "hour", "minutes", "times", "per", "old", "units", "unit", "tablet", "tablets",
        "doses", "patient", "pt", "he", "she", "x", "am", "pm", "no", "not", "as", "then", "this", "that", "his", "her", "x-ray", "fr", "cm", "mm",
    ]
)  # fmt: skip
_CUE = re.compile(r"(?<![a-z])(?:on|at|off|near|along|by|of|down|up|from|corner|block|crossing|and|&|the)\s$")
_NAMED = re.compile(
    r"(?P<v>(?:(?:[NSEW]\.?|North|South|East|West|NORTH|SOUTH|EAST|WEST)\s)?[^\W\d_][\w'’.-]{1,20}(?:\s[^\W\d_][\w'’.-]{1,20}){0,2}?\s(?:Avenue|Ave|Street|Road|Rd|Boulevard|Blvd|Lane|Ln|Parkway|Pkwy|Highway|Hwy|Turnpike|Terrace|AVENUE|AVE|STREET|ROAD|RD|BOULEVARD|BLVD|LANE)\b)"
)
_NO_STREET = frozenset(["the", "a", "this", "that", "our", "his", "her", "their", "main", "across", "busy", "city", "side", "same", "new", "high"])  # fmt: skip


def find(text: str, words: Words) -> Iterator[PhiSpan]:
    """Yield the street addresses of a text.

    Args:
        text: The text.
        words: Its words.

    >>> text = "Lives at 1610 Camino del Sol; mail to Rt 4 Box 212-C."
    >>> [text[s.start : s.end] for s in find(text, Words(fold(text)))]
    ['1610 Camino del Sol', 'Rt 4 Box 212-C']
    """
    folded = words.folded
    if "9" in words.shape:
        yield from _numbered(text, words)
    for at in words.at(_PLAIN):
        yield from _unnumbered(text, folded, at)


def _numbered(text: str, words: Words) -> Iterator[PhiSpan]:
    folded = words.folded
    done = 0
    for at in words.at(_TRIGGERS):
        if at < done:
            continue
        for number in _HOUSE.finditer(folded, max(done, at - 70), at):
            match = _STREET.match(folded, number.start())
            if match is not None and match.end() > at and match.start("suffix") <= at and _is_street(match, text):
                done = match.end()
                yield PhiSpan(*match.span(), "STREET", "patterns.street", 0.85)
                break
    for rule, regex, heads in (("leading", _LEADING, _LEADING_WORDS), ("numbered", _NUMBERED, _NUMBERED_WORDS)):
        for at in words.at(heads):
            house = _HOUSE_BEFORE.search(folded, max(0, at - 24), at)
            if house is None:
                continue
            match = regex.match(folded, house.start())
            if match is None or match.end() <= at:
                continue
            end = match.end("v")
            if rule == "leading":
                end = _capitals(text, at, end)
                if end <= at or not text[at].isupper():
                    continue
            yield PhiSpan(match.start("v"), end, "STREET", f"patterns.street.{rule}", 0.8)
    for match in words.matches(_BOX, _BOX_WORDS):
        yield PhiSpan(*match.span(), "STREET", "patterns.box", 0.85)


def _capitals(text: str, at: int, end: int) -> int:
    """Return where the last capitalised word or number of a name ends; `at` where no word but the first has one."""
    last = at
    for word in re.finditer(r"[^\s]+", text[at:end]):
        if word.start() and (word.group()[0].isupper() or word.group()[0].isdigit() or word.group()[0] == "#"):
            last = at + word.end()
    return last


def _is_street(match: re.Match[str], text: str) -> bool:
    name = match["name"].split()
    if any(word in _STOP for word in name):
        return False
    start = match.start("name")
    cased = text[start : match.end("name")].split()
    capital = all(not word[0].islower() for word in cased if fold(word) not in ("of", "the"))
    suffix = match["suffix"]
    if suffix in _PLAIN:
        return capital or not any(word in common() for word in name if len(word) > 4) or len(name) == 1
    if suffix in _SHORT and ("\n" in match.group() or all(word.strip(".") in abbreviations() for word in name)):
        return False  # L 28 Fr CT
    return (
        capital
        and not text[match.start("suffix")].islower()
        and not (suffix == "dr" and len(name) == 1 and name[0] in common())
    )


def _unnumbered(text: str, folded: str, at: int) -> Iterator[PhiSpan]:
    """A street without a number: `lives off Bargal Avenue`."""
    from_ = max(0, at - 50)
    line = max(text.rfind("\n", from_, at), text.rfind(". ", from_, at) + 1, from_ - 1) + 1
    for start in (m.start() for m in re.finditer(r"(?<!\w)(?=[^\W\d_])", text[line:at])):
        start += line
        if not text[start].isupper():
            continue
        match = _NAMED.match(text, start)
        if match is None or match.end() <= at or not _CUE.search(folded, max(0, start - 14), start):
            continue
        name = folded[start:at].split()
        if (
            not name
            or all(word in guard() for word in name)
            or any(word in _NO_STREET or word in verbs() for word in name)
        ):
            continue
        if all(word[0].isupper() for word in text[start:at].split()):
            yield PhiSpan(*match.span("v"), "STREET", "patterns.street.name", 0.7)
            return
