# ruff: noqa: E501 - a pattern is read whole, on one line
"""Rooms, beds and wards in text, and the theatres, chairs and bays that are told by a number."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mayo_data.phi.words import Words
from mayo_data.types import PhiSpan

_VALUE = r"(?P<v>[a-z]{0,2}-?\d{1,4}[a-z]?(?:[-^/]\d{1,4}[a-z]?){0,2}(?:[\^-][a-z\d])?|[a-h](?=[\s,.;)]|$))"
_NUMBER = r"\s?(?:number|no\.?|#|:|is)?[\s#:]{0,2}"
_END = r"(?![\w%]|\.\d|\s?(?:times|x\s?\d|days|hours|hrs|weeks|h\b|degrees|deg|min|air|mg|ml|cc|units|people|patients|beds|to\s\d))"
_FIRM_WORDS = frozenset(
    ["room", "rm", "bed", "bay", "cubicle", "cube", "rooms", "isolette", "crib", "stretcher", "slot", "stall"]
)
_FIRM = re.compile(
    rf"(?<![a-z])(?<!of\s)(?:room|rm|bed|bay|cubicle|cube|rooms|isolette|crib|stretcher|slot|stall)(?![a-z]){_NUMBER}{_VALUE}{_END}"
)
_LOC = re.compile(
    r"(?<![a-z])(?:loc|location|dispo|unit/bed|bed/room|room/bed|unit/room|unit/rm|nursing\sunit)[\s.]{0,8}:\s{0,3}(?P<v>[a-z]{0,2}-?\d{1,4}(?:-?[a-z])?(?:-\d{1,3}[a-z]?)?(?:-[a-z])?)(?![\w%/:]|\.\d|\s?(?:mg|ml|days|weeks|min|north|south|east|west|tower))"
)
_LOC_WORDS = frozenset(["loc", "location", "dispo", "unit", "bed", "room", "nursing"])
# Words that need a number right after them, and nothing after it that counts.
_LOOSE_WORDS = frozenset(
    ["operatory", "ldr", "pod", "chair", "hallway", "suite", "lab", "theater", "theatre", "triage", "booth", "recliner", "gurney", "locker", "cell", "birthing", "ldrp"]
)  # fmt: skip
_LOOSE = re.compile(
    r"(?<![a-z])(?:operatory|ldrp?|pod|chair|hallway|(?:endo|endoscopy|ir|cath|procedure|or|birthing|ep|treatment)\ssuite|suite|(?:cath|ep|ir|echo|vascular|sleep|endo)\slab|theat(?:er|re)|triage|booth|recliner|gurney|locker|cell)"
    r"\s?(?:number|no\.?|#)?[\s#]{0,2}(?P<v>[a-z]?-?\d{1,3}[a-z]?|[a-d](?=[,.;)\n]|\s{2}|$|\sbed))"
)
_LAB_ROOM = re.compile(r"(?:cath|ep|ir|echo|vascular|sleep|endo|endoscopy)\s$")
_OR = re.compile(
    r"(?<!\d )(?<!\w)(?:OR|O\.R\.)\s{1,2}#?\s?(?P<v>\d{1,2}[A-Za-z]?)(?![\w%./-]|\s(?:mg|mL|ml|g|mcg|days|weeks|to|or)\b)"
)
_WARD = re.compile(
    r"(?<![a-z])(?:unit|ward|floor|icu|micu|sicu|ccu|cvicu|nicu|picu|pacu|tower|wing|station)\s(?:#\s?)?(?P<v>\d{1,4}[a-z]?(?:-\d{1,4}[a-z]?)?|[a-z]-?\d{1,4}[a-z]?)(?![\w.%/]|\s?(?:times|units|ml|mg|days|hours|prbc))"
)
_WARD_WORDS = frozenset(["unit", "ward", "floor", "icu", "micu", "sicu", "ccu", "cvicu", "nicu", "picu", "pacu", "tower", "wing", "station"])  # fmt: skip
_WING = re.compile(
    r"(?:to|on|from|in|floor|unit|location|unit/rm|unit/room|room|rm)[\s:]{1,3}(?P<v>\d{1,2}\s?(?:north|south|east|west|tower)(?:,?\s\d{1,4}(?:-\w{1,2})?)?|(?:north|south|east|west|tower)\s\d{1,2},?\s\d{2,4}(?:-\w{1,2})?)(?![\w/-])"
)
_WING_WORDS = frozenset(["to", "on", "from", "in", "floor", "unit", "location", "room", "rm"])
# 4W-212, 9W-19B, 7-181B.
_FORM = re.compile(
    r"(?<![\w./-])(?:\d{1,2}(?:[nsewcgt]|ne|nw|se|sw)-\d{1,3}[a-d]?|\d{1,2}-\d{3}[a-d]|\d{1,2}(?:[nsew]|ne|nw|se|sw)\d{2}[a-d]?)(?![\w/-]|\.\d)"
)
_HL7 = re.compile(
    r"(?m)^pv1\|[^|\n]{0,8}\|[^|\n]{0,3}\|(?P<v>[\w .-]{1,20}\^[\w .-]{0,12}(?:\^[\w .-]{0,8})?)(?=[|^\r\n]|$)"
)


def find(text: str, words: Words) -> Iterator[PhiSpan]:
    """Yield the rooms, beds and wards of a text.

    Args:
        text: The text.
        words: Its words.

    >>> from mayo_data.phi.words import fold
    >>> text = "Rm 412B, then OR 9 at 0730, cath lab 2; 2 or 3 tabs"
    >>> [text[s.start : s.end] for s in find(text, Words(fold(text)))]
    ['412B', '2', '9']
    """
    folded, shape = words.folded, words.shape
    for match in words.matches(_FIRM, _FIRM_WORDS):
        yield PhiSpan(*match.span("v"), "ROOM", "patterns.room", 0.75)
    if "9" not in shape:
        return
    for match in words.matches(_LOC, _LOC_WORDS):
        yield PhiSpan(*match.span("v"), "ROOM", "patterns.room.label", 0.75)
    for match in words.matches(_WARD, _WARD_WORDS):
        yield PhiSpan(*match.span("v"), "ROOM", "patterns.room.ward", 0.65)
    for at in words.at(_LOOSE_WORDS):
        start = at
        before = _LAB_ROOM.search(folded, max(0, at - 12), at)
        if before is not None:
            start = before.start()
        found = _LOOSE.match(folded, start)
        if found is not None and _ends(folded, found.end()):
            # A lab without a kind before it runs tests, and a suite alone is part of an address.
            if folded.startswith(("lab", "suite"), at) and start == at:
                continue
            yield PhiSpan(*found.span("v"), "ROOM", "patterns.room.loose", 0.65)
    if "OR " in text or "O.R." in text:
        for found in _OR.finditer(text):
            if text[max(0, found.start() - 60) : found.end() + 20].isupper():
                continue  # where all is written in capitals, OR is a word
            yield PhiSpan(*found.span("v"), "ROOM", "patterns.room.theatre", 0.65)
    for match in words.matches(_WING, _WING_WORDS):
        yield PhiSpan(*match.span("v"), "ROOM", "patterns.room.wing", 0.65)
    if "-9" in shape or "w99" in shape or "s99" in shape or "n99" in shape or "e99" in shape:
        for found in _FORM.finditer(folded):
            yield PhiSpan(*found.span(), "ROOM", "patterns.room.form", 0.65)
    if "pv1|" in folded:
        for found in _HL7.finditer(folded):
            yield PhiSpan(*found.span("v"), "ROOM", "patterns.room.hl7", 0.85)


_COUNTS = re.compile(
    r"[%/\d]|-\d|\s?(?:times|x\b|reps?|sets?|stands?|days|hours|weeks|min|mg|ml|cc|lbs|of|out|values|tests|tubes|rise)\b|\.\d"
)


def _ends(folded: str, end: int) -> bool:
    return not (folded[end : end + 1].isalnum() or _COUNTS.match(folded, end))
