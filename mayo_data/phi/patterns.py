# ruff: noqa: E501 - a pattern is read whole, on one line
"""Patterns with context: numbers, nets, ages; runs the rules of dates, places and names too.

Every rule has a cheap test first (a word or character that must occur) and a regular expression whose repeats are
all bounded, so that hostile text costs linear time. Rules run on the folded text, whose offsets are the text's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from mayo_data.phi import forms, logins, names, places, rooms, streets, when
from mayo_data.phi.words import LETTERS, Words, guard
from mayo_data.types import PhiSpan

# Letters before the digits of a number hang on them, or are a short word of their own.
_PREFIX = r"(?:[a-z]{1,4} |[a-z]{1,6}[-/]|[a-z]{1,6}(?=\d)){0,2}"
_VALUE = (
    rf"(?P<v>{_PREFIX}\d{{1,4}}(?:\s\d{{2,5}}){{1,3}}(?:\s\d)?(?![\d/:.]|\s?(?:mg|ml|year|yo|y/o))"
    rf"|{_PREFIX}\d[\da-z]{{0,24}}(?:[-/._:][\da-z]{{1,20}}){{0,5}})"
)
_NUMBER = r"(?:number|num|no|nbr|nr|id|identifier|identification|code|ending(?:\sin)?)"
_MARK = rf"(?:\s?(?:\({_NUMBER}\)|{_NUMBER}\b\.?|#)){{0,2}}(?:\son\s(?:the\s|her\s|his\s|their\s)?(?:card|file))?(?:\s?(?:is|was|:|=|#|-)){{0,2}}\s{{0,3}}\(?"
_FIRM_MARK = rf"\s?(?:{_NUMBER}\b\.?\s?[:=#]?|[:#=])(?:\s?(?:is|was|:|#))?\s{{0,3}}"


class Rule(NamedTuple):
    """One pattern.

    Attributes:
        name: Its name in decisions, after `patterns.`.
        category: What it finds.
        regex: Runs on the folded text; group `v` is the span, or the whole match.
        words: The words it begins with; it is tried there only.
        score: How sure it is.
        check: Looks at match and text; False refuses.
        shapes: Without words: one of these must occur in the text whose digits are all 9.
        back: The match ends where the word begins: the rule looks back from there.
    """

    name: str
    category: str
    regex: re.Pattern[str]
    words: frozenset[str] = frozenset()
    score: float = 0.8
    check: Callable[[re.Match[str], str], bool] | None = None
    shapes: tuple[str, ...] = ()
    back: bool = False


def _labels(text: str) -> str:
    """Turn a list of labels into alternatives, the longest first; a blank stands for any white space or hyphen."""
    items = sorted((" ".join(item.split()) for item in text.split("|")), key=len, reverse=True)
    return "|".join(re.escape(item).replace(r"\ ", r"[\s-]{1,2}") for item in items)


# Labels that need no more than the number after them, and labels that are everyday words without a mark.
_FIRM = {
    "MRN": "mrn|mr no|mr number|medical record|med rec|medical record number|chart number|hospital number|hosp no|unit number"
    "|patient id|patient identifier|pt id|patient number|patient no|pid|emr|epic id|enterprise id|nhs|nhs number|record number"
    "|chart no|mpi|empi|medrec|med record|unit no",
    "ACCOUNT": "account|acct|account number|billing number|billing account|har|csn|fin|invoice|invoice number|guarantor number"
    "|visit number|bank account|credit card|card number|statement number|hospital account",
    "HEALTHPLAN": "member id|member number|member|subscriber|subscriber id|policy|policy number|group number|group no|plan id"
    "|insurance id|medicare|medicaid|medicare number|medicaid id|mbi|hicn|beneficiary|beneficiary id|rxgrp|rx group|rxbin"
    "|rx bin|grp|grp no|pcn|health plan|insurance number|certificate of coverage|tricare|dod id|mco id|cin|plan number"
    "|aetna|aetna id|cigna|cigna id|humana|humana id|bcbs|bcbs id|anthem|anthem id|uhc|uhc id|unitedhealthcare|kaiser id|molina|molina id|wellcare"
    "|medi cal|medi cal id|masshealth|masshealth id|ahcccs|ahcccs id|badgercare|tenncare|medicare advantage|insurance card",
    "LICENSE": "license|licence|lic|npi|dea|dea number|driver's license|drivers license|driver license|driver's licence|dl|upin"
    "|state license|medical license|license number|certification number|passport|passport number|cdl|registration number",
    "VEHICLE": "license plate|licence plate|plate|plates|plate number|tag number|vin|vehicle identification|vehicle tag|parking tag"
    "|registration plate",
    "DEVICE": "serial|serial number|serial no|s/n|sn|lot|lot number|lot no|udi|device id|imei|device serial|ser no|batch number"
    "|ref/lot|implant id|catalog number|batch",
    "OTHERID": "accession|acc|accession number|specimen number|specimen id|study id|order number|claim number|case number|requisition"
    "|requisition number|req no|ticket|ticket number|incident number|confirmation number|confirmation|authorization number"
    "|authorization|auth number|preauthorization|prior auth|prior authorization|tracking number|badge|badge number|employee id"
    "|employee number|subject id|participant id|job number|document number|document id|doc id|rx number|prescription number"
    "|transaction id|docket|docket number|barcode|event id|message id|control number|request number|referral number|trial id"
    "|inmate number|student id|donor id|bag number|unit id|police report|report number|permit|randomization number|nct"
    "|lab order|lab req|lab requisition|irb|irb number|protocol number|protocol no|hrpo|fedex|ups|usps|ups tracking|fedex tracking|census number|tribal id"
    "|enrollment number|doc number|booking number|case no|file number|file no|record locator|encounter id|visit id|rpt|police rpt|complaint number",
}  # fmt: skip
_LOOSE = {
    "MRN": "mr|chart|record|patient|pt|hospital|epic|unit",
    "ACCOUNT": "billing|visit|encounter|card|guarantor|contact serial",
    "HEALTHPLAN": "group|plan|insurance|ins|grp|bin|medicare part b|payer|payor",
    "LICENSE": "certificate|cert|registration|state",
    "VEHICLE": "tag|vehicle|car",
    "DEVICE": "device|implant|ref|model/serial|pump|generator|lead|valve|prosthesis|catalog",
    "OTHERID": "specimen|spec|study|order|claim|case|incident|report|reference|ref|auth|tracking|employee|job|document|doc|rx"
    "|prescription|session|transaction|container|block|slide|req|request|referral|event|id|ids|identifier|file|trial|consult"
    "|log|sample|exam|test|acc|bag|donor|participant|subject|protocol|control|msg|message|locker|kit|script|appointment",
}


def _label_rule(table: dict[str, str], mark: str, name: str, score: float) -> list[Rule]:
    return [
        Rule(
            f"{name}.{category.lower()}",
            category,
            re.compile(rf"(?<![a-z'])(?:{_labels(labels)})(?![a-z]){mark}{_VALUE}(?![\da-z])"),
            frozenset(word for label in labels.split("|") for word in LETTERS.findall(label)[:1]),
            score,
            _plausible,
        )
        for category, labels in table.items()
    ]


_UNITS = re.compile(
    r"\s?(?:mg|mcg|g|kg|ml|l|cc|mm|cm|units?|iu|meq|mmol|%|hours?|hrs?|days?|weeks?|months?|years?|minutes?|mins?|tabs?|tablets?"
    r"|times|x|doses?|puffs?|drops?|lbs?|bpm|per|of|am|pm|yo|y/o|year|ft|in)\b|\s?%"
)
_TRUE_DATE = re.compile(r"(?:19|20)\d\d-\d{1,2}-\d{1,2}|\d{1,2}-\d{1,2}-(?:19|20)\d\d")
_DATE_LIKE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{2,4}|\d{1,2}/\d{1,4}|\d{1,2}:\d\d.*|(?:19|20)\d\d")


def _plausible(match: re.Match[str], folded: str) -> bool:
    value = match["v"]
    digits = sum(map(str.isdigit, value))
    if digits < 3 and not (digits == 2 and len(value) > 5):
        return False
    if digits <= 4 and _UNITS.match(folded, match.end("v")):
        return False
    head = LETTERS.match(value)
    if (
        head is not None
        and value[head.end() : head.end() + 1] == " "
        and len(head.group()) > 3
        and head.group() in guard()
    ):
        return False
    return not (_DATE_LIKE.fullmatch(value) and ("-" not in value or _TRUE_DATE.fullmatch(value)))


def _luhn(digits: str) -> bool:
    total = 0
    for index, char in enumerate(reversed(digits)):
        number = int(char) * (2 if index % 2 else 1)
        total += number - 9 if number > 9 else number
    return total % 10 == 0


def _npi(match: re.Match[str], _folded: str) -> bool:
    """The check digit of a National Provider Identifier runs over 80840 and the number (CMS-0045-F)."""
    return _luhn("80840" + match.group())


def _dea(match: re.Match[str], _folded: str) -> bool:
    """The last digit of a DEA number: (1st+3rd+5th) + 2 × (2nd+4th+6th), its last digit."""
    d = [int(char) for char in match.group()[2:]]
    return (d[0] + d[2] + d[4] + 2 * (d[1] + d[3] + d[5])) % 10 == d[6]


_NOT_ID = re.compile(
    r"(?:snomed|loinc|rxnorm|icd|cpt|ndc|cvx|umls|pmid|doi|code|codes|sct|oid|unii|isbn)[\s\w:#().-]{0,16}$"
)
_COUNTED = re.compile(r"\s?(?:cfu|copies|units|iu|cells|/|x10|ml|mg|mcg|per|steps)")


def _bare(match: re.Match[str], folded: str) -> bool:
    value = match.group()
    if _NOT_ID.search(folded, max(0, match.start() - 24), match.start()) or _COUNTED.match(folded, match.end()):
        return False
    return not (value.endswith("000") or _DATE_LIKE.fullmatch(value))


_PHONE_WORDS = frozenset(
    [
        "phone",
        "tel",
        "telephone",
        "cell",
        "mobile",
        "home",
        "work",
        "call",
        "called",
        "calling",
        "callback",
        "contact",
        "cb",
        "ph",
        "fax",
        "text",
        "reach",
        "reached",
        "ext",
        "extension",
        "pager",
        "beeper",
        "pgr",
        "voicemail",
        "vocera",
        "number",
        "line",
        "office",
        "direct",
        "hotline",
        "page",
        "paged",
        "dial",
        "ascom",
        "fx",
        "facsimile",
        "f",
        "p",
        "c",
        "h",
        "t",
        "o",
        "w",
        "m",
    ]
)
_PHONE_LABEL = (
    r"(?<![a-z])(?:phone|tel|telephone|cell|cellphone|mobile|home|work|call(?:ed|ing|back)?|contact|cb|ph|fax|fx|facsimile|text"
    r"|reach(?:ed|able)?|voicemail|number|line|office|direct|hotline|dial|page|paged)(?![a-z])"
)


def _phone_digits(match: re.Match[str], _folded: str) -> bool:
    digits = sum(map(str.isdigit, match["v"]))
    return digits in (7, 10, 11) or (match["v"].startswith("+") and 8 <= digits <= 15)


def _octets(match: re.Match[str], folded: str) -> bool:
    if re.search(
        r"(?:version|v|ver|release|rev|section|build)\.?\s?$",
        folded[max(0, match.start() - 10) : match.start()],
    ):
        return False
    return all(int(part) < 256 for part in match.group().split("."))


def _ssn_label(match: re.Match[str], folded: str) -> bool:
    if "-" in match.group():
        return True
    return bool(re.search(r"ssn?\b|social", folded[max(0, match.start() - 40) : match.start()]))


_YEARS = re.compile(r"(?:years?|yrs?)[\s-]{0,2}(?:old|o\b|of\sage|young|y/?o)|(?:yo|y/o|y\.o\.?|yof|yom|yr)(?![a-z])")
_SEXED = re.compile(
    r"[mf](?=[\s,]{1,2}(?:with|w/|who|c/o|presents|presenting|s/p|admitted|here|hx|pt|from|found|brought|h/o)|,)|(?:female|male|woman|man|gentleman|lady)\b"
)


def _in_years(match: re.Match[str], folded: str) -> bool:
    return _YEARS.match(folded, match.end()) is not None


def _long_ago(match: re.Match[str], folded: str) -> bool:
    """Whether who was born in a year is over 89 in the newest year that the text names, or by 2024 where it names none.

    45 CFR 164.514(b)(2)(i)(C): a year that tells such an age must go too.
    """
    years = [int(year) for year in re.findall(r"(?<!\d)20[0-4]\d(?!\d)", folded)]
    return max(years, default=2024) - int(match["v"]) > 89


def _old_enough(match: re.Match[str], folded: str) -> bool:
    """`92F with` is a woman, `98 F` a temperature; `92 M` is a man."""
    at = match.end()
    before = folded[max(0, match.start() - 14) : match.start()]
    if re.search(r"(?:temp\w*|tmax|t)[\s:]*(?:of\s)?$|[.,/]$", before):
        return False
    if _SEXED.match(folded, at) is not None:
        return True
    if folded[at : at + 1] == "m":
        return _NEXT_FIELD.match(folded, at + 1) is not None
    return folded[at : at + 1] == "f" and (
        ((match["v"] < "95" or match["v"] > "99") and _NEXT_FIELD.match(folded, at + 1) is not None)
        or re.match(r"f(?:\s?[|,;]|\sf/u|\n)", folded[at : at + 5]) is not None
    )


_NEXT_FIELD = re.compile(r"(?=[\s|,;.)/-])(?!\s?(?:p\s?\d|hr\b|bp\b|rr\b|to\s\d|at\s\d|/))")
_N90 = r"(?P<v>9\d|1[01]\d)"

NUMBERS: list[Rule] = [
    Rule("phone", "PHONE", re.compile(
        r"[+(\d](?<![\w.+(][+(\d])(?<!\d-[+(\d])(?:(?<=\+)1[-. /]?\s?\(?\d{3}|(?<=1)[-. /]\s?\(?\d{3}|(?<=1)\(\d{3}|(?<=\()\d{3}|(?<=\d)\d\d)(?:\)\s{0,2}|[-. /–]\s?)\d{3}[-. –]\s?\d{4}(?![\da-z]|[-.]\d)"
        r"(?:[\s,]{0,2}(?:x|ext\.?|extension)[\s:.#]{0,2}\d{1,6}(?!\d))?"), score=0.9, shapes=("9-9999", "9.9999", "9 9999", "–9999", "- 9999")),
    Rule("phone.international", "PHONE", re.compile(
        r"(?P<v>\+(?<![\w+]\+)\d{1,3}[\s.-]?(?:\(?\d{1,4}\)?[\s.-]?){2,5}\d{2,4})(?!\d)"), score=0.9, check=_phone_digits, shapes=("+9",)),
    Rule("phone.label", "PHONE", re.compile(
        rf"{_PHONE_LABEL}[^\d\n+(]{{0,24}}(?P<v>\+?\(?\d[\d().\s-]{{5,17}}\d)(?![\d-])"), _PHONE_WORDS, 0.85, _phone_digits),
    Rule("phone.seven", "PHONE", re.compile(
        rf"{_PHONE_LABEL}[^\n]{{0,40}}?(?<![\d-])(?P<v>\d{{3}}[-.]\d{{4}})(?![\d-])"), _PHONE_WORDS, 0.8),
    Rule("pager", "PHONE", re.compile(
        r"(?<![a-z])(?:pager|beeper|pgr|pager number|paged?|ext|extension|extn|vocera|voicemail|ascom|spectralink|pg|bpr)(?![a-z])"
        r"[\s.:#(=-]{0,4}(?:is\s|no\.?\s|number\s|at\s)?(?P<v>\d[\d-]{2,9})(?![\d/]|\s?(?:of|times|x\b|mg|ml|min|hours))"),
        frozenset(["pager", "page", "paged", "beeper", "pgr", "ext", "extension", "extn", "vocera", "voicemail", "ascom", "spectralink", "pg", "bpr"]), 0.85),
    Rule("extension", "PHONE", re.compile(r"(?<![\w.])(?P<v>x\s?\d-?\d{3,4})(?![\w.-])"), frozenset("x"), 0.7),
    Rule("ssn", "SSN", re.compile(r"\d(?<![\d-]\d)\d{2}([- ])\d{2}\1\d{4}(?![\d-])"), score=0.95, check=_ssn_label, shapes=("99-99-9999", "99 99 9999")),
    Rule("ssn.label", "SSN", re.compile(
        r"(?<![a-z])(?:ssn?|ss|social|social security)(?:\s?(?:number|no|num|#))?\.?[\s:#=(]{0,4}(?:is\s|was\s)?(?P<v>\d{9}|\d{3}[-. ]\d{2}[-. ]\d{4})(?!\d)"),
        frozenset(["ssn", "ss", "social"]), 0.95),
    Rule("ssn.masked", "SSN", re.compile(r"[x*#](?<![\w*#][x*#])[x*#]{2}[- ]?[x*#]{2}[- ]?\d{4}(?!\d)"), score=0.95, shapes=("x9999", "x-9999", "*9999", "*-9999", "#9999", "#-9999", "x 9999", "* 9999")),
    Rule("ssn.last", "SSN", re.compile(
        r"(?<![a-z])(?:last\s?(?:four|4)|(?:ssn?|social(?:\ssecurity)?)(?:\s(?:number|no\.?))?\s(?:ending|ends|ended))(?![a-z])[^\d\n]{0,40}(?P<v>\d{4})(?!\d)"),
        frozenset(["last", "ssn", "social", "ss"]), 0.9),
    Rule("age", "AGE90", re.compile(rf"(?<![\d.,/-]){_N90}\s?-?\s?$"), frozenset(["year", "years", "yr", "yrs", "yo", "y", "yof", "yom"]), 0.9, _in_years, back=True),
    Rule("age.label", "AGE90", re.compile(
        rf"(?<![a-z])(?:age|aged|ages|turn(?:s|ed|ing)?|reached)[\s:=]{{1,3}}(?:of\s|is\s)?{_N90}(?![\d%/]|\.\d)"),
        frozenset(["age", "aged", "ages", "turn", "turns", "turned", "turning", "reached"]), 0.85),
    Rule("age.sex", "AGE90", re.compile(rf"(?<![\d.,/-]){_N90}\s?-?\s?$"), frozenset(["m", "f", "female", "male", "woman", "man", "gentleman", "lady"]), 0.8, _old_enough, back=True),
        Rule("age.alone", "AGE90", re.compile(rf"(?:she|he|who|patient|mother|father|husband|wife|grandmother|grandfather|aunt|uncle|sister|brother|spouse)(?:\s(?:is|was|turned)|\swho\sis|\s\(?(?:age|aged)?)(?:\snow)?\s?{_N90}(?![\d%/]|[.,]\d|\s?(?:percent|mg|kg|lbs?|%|cm|bpm|on\b|f\b))"),
        frozenset(["she", "he", "who", "patient", "mother", "father", "husband", "wife", "grandmother", "grandfather", "aunt", "uncle", "sister", "brother", "spouse"]), 0.75),
    Rule("age.died", "AGE90", re.compile(rf"(?:died|passed|lived|deceased|death|living|old|age/sex|dod)(?:\saway)?[\s:]{{0,3}}(?:at|to|of)?\s?(?:be\s)?{_N90}(?![\d%/]|[.,]\d)"),
        frozenset(["died", "passed", "lived", "deceased", "death", "living", "age"]), 0.75),
Rule("age.birthday", "AGE90", re.compile(rf"(?<![\d.,/-]){_N90}(?:st|nd|rd|th)\s$"), frozenset(["birthday", "bday", "year"]), 0.9, back=True),
    Rule("age.decade", "AGE90", re.compile(r"(?:(?:in|into)\s(?:his|her|their|the)|woman\sin|man\sin|aged?|his|her)\s(?:early[\s-]|mid[\s-]?(?:to[\s-]late[\s-])?|late[\s-])?(?P<v>90['’]?s|nineties)"),
        frozenset(["his", "her", "in", "into", "woman", "man", "aged", "age"]), 0.9),
    Rule("age.plus", "AGE90", re.compile(r"(?<![\w.,/$-])(?P<v>9\d\s?\+|90s?[\s-]?(?:plus|some))(?=[\s-]{0,2}(?:years?|yrs?|y\.?o|old|year|with|lady|man|woman|gentleman|female|male|\.|,))"), score=0.8, shapes=("99+", "99 +", "99-p", "99 p", "99-s", "99s")),
    Rule("age.old", "AGE90", re.compile(r"(?:nonagenarian|centenarian|supercentenarian)s?(?![a-z])"), frozenset(["nonagenarian", "nonagenarians", "centenarian", "centenarians", "supercentenarian"]), 0.9),
    Rule("age.born", "AGE90", re.compile(r"born\s(?:in\s|around\s|about\s|c\.\s|circa\s)?(?P<v>1[89]\d\d)(?![\d/-])"), frozenset(["born"]), 0.8, _long_ago),
    Rule("age.words", "AGE90", re.compile(
        r"(?<![a-z])(?P<v>ninety(?:[\s-](?:one|two|three|four|five|six|seven|eight|nine))?|(?:one|a)\shundred(?:\sand)?(?:[\s-](?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve))?)"
        r"(?=[\s-]{1,2}(?:years?|yrs?)[\s-]{1,2}(?:old|of|young))"), frozenset(["ninety", "one", "a"]), 0.9),
    Rule("npi", "LICENSE", re.compile(r"[12](?<![\w.-][12])\d{9}(?![\w-]|\.\d)"), score=0.8, check=_npi, shapes=("9999999",)),
    Rule("dea", "LICENSE", re.compile(r"(?<![\w-])[abcdefghjklmprstux][a-z9]\d{7}(?![\w-])"), score=0.9, check=_dea, shapes=("9999999",)),
    Rule("mbi", "HEALTHPLAN", re.compile(
        r"[1-9](?<![\w-][1-9])[ac-hj-km-np-rt-y][\dac-hj-km-np-rt-y]\d[- ]?[ac-hj-km-np-rt-y][\dac-hj-km-np-rt-y]\d[- ]?[ac-hj-km-np-rt-y]{2}\d\d(?![\w-])"), score=0.95),
    Rule("vin", "VEHICLE", re.compile(r"(?<![\w-])(?=[a-hj-npr-z\d]{0,16}\d)(?=[\d]{0,16}[a-z])[a-hj-npr-z\d]{11}\d{6}(?![\w-])"), score=0.8, shapes=("999999",)),
    Rule("udi", "DEVICE", re.compile(r"\(01\)\s?\d{14}(?:\s?\(\d\d\)\s?[\da-z/-]{1,20}){0,4}"), score=0.95, shapes=("(99)",)),
    Rule("ip", "IP", re.compile(r"\d(?<![\w.]\d)\d{0,2}(?:\.\d{1,3}){3}(?![\w]|\.\d)"), score=0.9, check=_octets, shapes=("9.9",)),
    Rule("ip6", "IP", re.compile(
        r"(?<![\w:])(?:(?:[\da-f]{1,4}:){7}[\da-f]{1,4}|(?:[\da-f]{1,4}:){2,6}(?::[\da-f]{1,4}){1,5}|[\da-f]{1,4}::(?:[\da-f]{1,4}:){0,5}[\da-f]{1,4})(?![\w:])"), score=0.9, shapes=("::", "999:")),
    Rule("mac", "IP", re.compile(r"(?<![\w:-])[\da-f]{2}([:-])(?:[\da-f]{2}\1){4}[\da-f]{2}(?![\w:-])"), score=0.9, shapes=(":9", "-9")),
    Rule("uuid", "OTHERID", re.compile(r"(?<![\w-])[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}(?![\w-])"), score=0.9, shapes=("-9",)),
    Rule("id.dashed", "OTHERID", re.compile(r"\d(?<![\w./+-]\d)\d{1,3}-\d{5,9}(?:-\d{1,4})?(?![\w/-])"), score=0.6, check=_bare, shapes=("9-99999",)),
    Rule("id.bare", "OTHERID", re.compile(r"\d(?<![\w./+$,-]\d)\d{6,13}(?![\w/%-]|[.,]\d)"), score=0.55, check=_bare, shapes=("9999999",)),
    *_label_rule(_FIRM, _MARK, "label", 0.88),
    *_label_rule(_LOOSE, _FIRM_MARK, "label.loose", 0.82),
]  # fmt: skip

# Which rules a word may begin, and which look for no word.
_BY_WORD: dict[str, list[int]] = {}
for _at, _rule in enumerate(NUMBERS):
    for _word in _rule.words:
        _BY_WORD.setdefault(_word, []).append(_at)
_WORDLESS = frozenset(at for at, rule in enumerate(NUMBERS) if not rule.words)
_WITHOUT_DIGITS = frozenset({"age.words", "age.decade", "age.old"})
_MIXED_START = re.compile(r"\d[\da-z-]{3,24}")
_MIXED = re.compile(
    r"(?:[a-z]{1,4}\d{0,2}-\d{2,4}-\d{3,8}|[a-z]{1,3}\d\d:\d{3,7}(?:-[a-z\d])?|[a-z]{1,3}\d{2}-\d{3,7}|[a-z]{1,3}-?\d{6,12}[a-z]?|[a-z]{1,2}-\d{4,8}|\d\d-[a-z]{1,3}-\d{3,8}|\d\d[a-z]{1,3}-?\d{4,8})(?![\w/]|-\d)"
)


def _mixed(folded: str) -> Iterator[PhiSpan]:
    """Numbers mixed of letters and digits that carry no label: S21-14455."""
    done = 0
    for match in _MIXED_START.finditer(folded):
        start = match.start()
        if start < done:
            continue
        while start > 0 and match.start() - start < 8 and (folded[start - 1].isalnum() or folded[start - 1] == "-"):
            start -= 1
        if start and (folded[start - 1].isalnum() or folded[start - 1] in "-./#_"):
            continue
        found = _MIXED.match(folded, start)
        if found is not None and _bare(found, folded):
            done = found.end()
            yield PhiSpan(start, done, "OTHERID", "patterns.id.mixed", 0.7)


def _backward(rule: Rule, words: Words) -> Iterator[re.Match[str]]:
    for at in words.at(rule.words):
        match = rule.regex.search(words.folded, max(0, at - 8), at)
        if match is not None:
            yield match


_TRAILING = ".,;:!?)]}>'\""
_URL = re.compile(
    r"(?:https?|ftp)://[^\s<>\"'|]{1,300}"
    r"|(?<![\w@.-])(?:[a-z\d][a-z\d-]{0,40}\.){1,4}(?:com|org|net|edu|gov|io|info|health|care|app|us|co|example|test|mil)(?![\w-])"
    r"(?::\d{2,5})?(?:/[^\s<>\"'|]{0,200})?"
)
_URL_WORDS = frozenset(
    [
        "http",
        "https",
        "ftp",
        "com",
        "org",
        "net",
        "edu",
        "gov",
        "io",
        "info",
        "health",
        "care",
        "app",
        "us",
        "co",
        "example",
        "test",
        "mil",
    ]
)
_FAX = re.compile(r"(?<![a-z])(?:fax|fx|facsimile|f)(?![a-z])[^\d\n]{0,24}$")
_MAIL_LEFT = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._%+-")
_MAIL_RIGHT = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-")


def _mail(folded: str) -> Iterator[PhiSpan]:
    at = folded.find("@")
    while at >= 0:
        start, end = at, at + 1
        while start > 0 and at - start < 80 and folded[start - 1] in _MAIL_LEFT:
            start -= 1
        while end < len(folded) and end - at < 200 and folded[end] in _MAIL_RIGHT:
            end += 1
        domain = folded[at + 1 : end].rstrip(".-")
        end = at + 1 + len(domain)
        if start < at and "." in domain:
            yield PhiSpan(start, end, "EMAIL", "patterns.mail", 0.98)
        at = folded.find("@", end)


def _urls(folded: str) -> Iterator[PhiSpan]:
    for match in _URL.finditer(folded):
        value = match.group()
        end = match.start() + len(value.rstrip(_TRAILING))
        yield PhiSpan(match.start(), end, "URL", "patterns.url", 0.9)


_MISREAD = re.compile(r"\d[ol]\d|[ol]\d[ol\d]?[-/.]|[-/.][ol]\d|\d[ol][-/.]\d")
_MISREAD_LETTER = re.compile(
    r"(?<=\d)[ol](?=[ol\d])|(?<=[ol\d])[ol](?=\d)|(?<=\d[-/.])[ol](?=[ol\d])|(?<![a-z\d])[ol](?=\d[ol\d]?[-/.][ol\d])|(?<=\d)[ol](?=[-/.][ol\d])|(?<=[-/.])[ol](?=\d)"
)


def reread(folded: str) -> str:
    """Return a folded text with o and l among digits read as digits: what a scanner made of 03/17/1931.

    >>> reread("seen o3/l7/1931, 1l of saline, 8l4-723-o466")
    'seen 03/17/1931, 1l of saline, 814-723-0466'
    """
    if _MISREAD.search(folded) is None:
        return folded
    return _MISREAD_LETTER.sub(lambda match: "0" if match.group() == "o" else "1", folded)


def find(text: str, folded: str, kept: Collection[str] = ()) -> list[PhiSpan]:
    """Return what the patterns hold to be PHI; spans may overlap.

    Args:
        text: The text.
        folded: `fold(text)`.
        kept: Which of YEAR, STATE and COUNTRY need not be found.

    >>> from mayo_data.phi.words import fold
    >>> text = "Call 212-555-0143 about MRN 4471123."
    >>> sorted({text[s.start : s.end] for s in find(text, fold(text))})
    ['212-555-0143', '4471123']
    """
    folded = reread(folded)
    words = Words(folded)
    spans: list[PhiSpan] = []
    numbered = "9" in words.shape
    wanted = {at for word in words.bag & _BY_WORD.keys() for at in _BY_WORD[word]}
    for at in sorted(wanted | _WORDLESS):
        rule = NUMBERS[at]
        if not numbered and rule.name not in _WITHOUT_DIGITS:
            continue
        if rule.words:
            if rule.back:
                found = _backward(rule, words)
            else:
                found = words.matches(rule.regex, rule.words)
        elif rule.shapes and not any(shape in words.shape for shape in rule.shapes):
            continue
        else:
            found = rule.regex.finditer(folded)
        group = "v" if "v" in rule.regex.groupindex else 0
        for match in found:
            if rule.check is None or rule.check(match, folded):
                start, end = match.span(group)
                category = rule.category
                if category == "PHONE" and _FAX.search(folded, max(0, start - 30), start):
                    category = "FAX"
                spans.append(PhiSpan(start, end, category, f"patterns.{rule.name}", rule.score))
    if numbered:
        spans += _mixed(folded)
    if "@" in folded:
        spans += _mail(folded)
    if not _URL_WORDS.isdisjoint(words.bag) and ("." in folded):
        spans += _urls(folded)
    spans += logins.find(text, words)
    spans += rooms.find(text, words)
    spans += forms.find(text, words)
    spans += when.find(text, words, "YEAR" in kept)
    spans += streets.find(text, words)
    spans += places.find(text, words, kept)
    spans += names.find(text, words)
    return spans
