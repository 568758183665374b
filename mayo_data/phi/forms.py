# ruff: noqa: E501 - a pattern is read whole, on one line
"""Forms that need no label: a number, room, plate or ZIP that looks like nothing else in a note."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mayo_data.phi.words import Words, guard, place_names
from mayo_data.types import PhiSpan

# 80-52-78: a chart number where it can be no date. The dates find it where it can.
_TRIPLE = re.compile(r"\d\d-\d\d-\d\d(?<![\w./-]\d\d-\d\d-\d\d)(?![\w/-]|\.\d)")
_PAGED = re.compile(
    r"(?<![a-z])(?:page[ds]?|paging|pgr|pager|call(?:s|ed|ing|back)?|cb|ext|reach(?:ed)?|beeper|phone|ph|tel|dial|via|at|rn|md|np|pa|do|lpn|pgy-?\d|ccm|fellow|resident|attending|team|desk|x\d|re)(?![a-z])[^\n;]{0,28}$"
)
_FIVE = re.compile(r"\d-\d{4}(?<![\w./:,-]\d-\d{4})(?![\w/%-]|\.\d)")
_SEVEN = re.compile(r"\d{3}-\d{4}(?<![\w.:-]\d{3}-\d{4})(?<!\D/\d{3}-\d{4})(?![\w/%-]|\.\d)")
_WRAPPED = re.compile(r"(?<=\()(?:1[-. ])?(?:\(\d{3}\)\s?|\d{3}[-. ])\d{3}[-. ]\d{4}(?!\d)")
_GROUP = re.compile(r"group\s(?P<v>(?:0\d{3}|\d{5,9})(?:-\d{1,4})?)(?![\w/]|\s?(?:patients|subjects|people))")
_NAME_AHEAD = re.compile(r"[^\W\d_][\w'’.-]{1,24},?\s\(?$")
_STATE_ZIP = re.compile(r"(?P<s>[a-z]{2})[\"^,|\s]{1,5}(?P<v>\d{5}(?:-\d{4})?)(?![\w-]|\.\d)")
_STREET_ZIP = re.compile(
    r"(?P<v>\d{5}(?:-\d{4})?)(?<![\w./$-]\d{5})(?![\w-]|[.,]\d|\s?(?:units?|mg|ml|cfu|copies|iu|cells|steps))"
)
_PLATE = re.compile(
    r"(?<![a-z])(?:plates?|tag|tags|veh|vehicle|car|van|truck|pickup|suv|sedan|jeep|driver|ford|chevy|honda|toyota|buick|license|lic|reg|parked|subaru|nissan|dodge|chevrolet|hyundai|kia|mazda|gmc|bmw|volvo|tesla|lexus|acura|audi|chrysler|cadillac|minivan|motorcycle|scooter|trailer|ambulance|medic|rig)(?![a-z])(?:[^\n]{0,30}|[^\n]{0,20}\n)?(?<![\w-])(?P<v>\d{3}[ -]?[a-z]{3}|[a-z]{3}[ -]?\d{3,4}|[a-z]{2}\d[ -]?\d{3,4})(?![\w-])"
)
_PLATE_WORDS = frozenset(
    ["plate", "plates", "tag", "tags", "veh", "vehicle", "car", "van", "truck", "pickup", "suv", "sedan", "jeep", "driver", "ford", "chevy", "honda", "toyota", "buick", "license", "lic", "reg", "parked", "subaru", "nissan", "dodge", "chevrolet", "hyundai", "kia", "mazda", "gmc", "bmw", "volvo", "tesla", "lexus", "acura", "audi", "chrysler", "cadillac", "minivan", "motorcycle", "scooter", "trailer", "ambulance", "medic", "rig"]
)  # fmt: skip
_PLATE_UNITS = frozenset(["mph", "cfu", "mph", "the", "was", "and", "for", "min", "hrs", "lbs", "mgs", "yrs", "mcg", "via", "with", "cpm", "bpm", "kgs", "feet", "not", "has", "his", "her", "who"])  # fmt: skip
_LETTERS_END = re.compile(r"[a-z]{3}$|^[a-z]{3}")
_HANDLE = re.compile(r"(?<![\w.@])@(?P<v>[a-z][\w.]{2,24})(?![\w@])")
_NINETY = re.compile(
    r"(?<![a-z])ninet(?:y(?:[\s-](?:one|two|three|four|five|six|seven|eight|nine|plus|something))?)(?![a-z])(?!\s(?:percent|per\scent|minutes?|mins?|seconds?|days?|degrees?|mg|milligrams|ml|pounds|dollars|miles|over|mm|pills|tablets|hours|weeks|months|proof|feet))"
)


def find(text: str, words: Words) -> Iterator[PhiSpan]:
    """Yield identifiers by their form alone, or by a form that a word far away explains.

    Args:
        text: The text.
        words: Its words.

    >>> from mayo_data.phi.words import fold
    >>> text = "80-52-78, fellow Nava (8-3713)"
    >>> [text[s.start : s.end] for s in find(text, Words(fold(text)))]
    ['80-52-78', '8-3713']
    """
    folded, shape = words.folded, words.shape
    if "9" in shape:
        yield from _numbers(text, words)
    if "@" in folded:
        for match in _HANDLE.finditer(folded):
            yield PhiSpan(*match.span("v"), "USERNAME", "patterns.handle", 0.7)
    for match in words.matches(_NINETY, frozenset(["ninety"])):
        yield PhiSpan(*match.span(), "AGE90", "patterns.age.written", 0.7)


def _numbers(text: str, words: Words) -> Iterator[PhiSpan]:
    folded, shape = words.folded, words.shape
    if "99-99-99" in shape:
        for match in _TRIPLE.finditer(folded):
            yield PhiSpan(*match.span(), "MRN", "patterns.triple", 0.6)
    if "9-9999" in shape:
        for match in _FIVE.finditer(folded):
            if _PAGED.search(folded, max(0, match.start() - 40), match.start()) or _beside_name(text, match):
                yield PhiSpan(*match.span(), "PHONE", "patterns.pager.form", 0.7)
        for match in _SEVEN.finditer(folded):
            yield PhiSpan(*match.span(), "PHONE", "patterns.phone.form", 0.6)
    for match in words.matches(_GROUP, frozenset(["group"])):
        yield PhiSpan(*match.span("v"), "HEALTHPLAN", "patterns.group", 0.75)
    if "((999)" in shape or "(9-999" in shape or "(9 999" in shape:
        for match in _WRAPPED.finditer(folded):
            yield PhiSpan(*match.span(), "PHONE", "patterns.phone.form", 0.9)
    if "99999" in shape:
        for at in words.at(place_names("state_codes")):
            if text[at : at + 2].isupper():
                zipped = _STATE_ZIP.match(folded, at)
                if zipped is not None:
                    yield PhiSpan(*zipped.span("v"), "ZIP", "patterns.zip.state", 0.8)
    for match in words.matches(_PLATE, _PLATE_WORDS):
        value = text[match.start("v") : match.end("v")]
        letters = _LETTERS_END.search(match["v"])
        if value.upper() == value and not (letters is not None and letters.group() in _PLATE_UNITS):
            yield PhiSpan(*match.span("v"), "VEHICLE", "patterns.plate", 0.75)


def _beside_name(text: str, match: re.Match[str]) -> bool:
    """Whether a capitalised word stands right before: `fellow Nava (8-3713)`."""
    before = _NAME_AHEAD.search(text, max(0, match.start() - 28), match.start())
    return (
        before is not None
        and before.group()[0].isupper()
        and before.group().split()[0].strip(",.").lower() not in guard()
    )
