# ruff: noqa: E501 - a pattern is read whole, on one line
"""Places in text: cities, ZIP codes, counties, facilities, employers and schools. See `streets` for addresses."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import cache

from mayo_data.phi.words import Words, all_cities, fold, generic_places, guard, place_names, verbs
from mayo_data.types import PhiSpan

UPPER = "A-ZÀ-ÖØ-ÞĀĂĄĆČĎĐĒĖĘĚĞĠĢĪĮİĶĹĻĽŁŃŅŇŌŐŒŔŘŚŞŠŤŪŮŰŲŹŻŽ"
_CAP = rf"[{UPPER}](?:[^\W\d_]|['’.\-](?=[^\W\d_])){{0,24}}"


def _first(regex: re.Pattern[str]) -> frozenset[str]:
    """Return every word of a pattern: one of them begins each match."""
    return frozenset(
        re.findall(r"[a-z]+", re.sub(r"\\[a-z]", " ", regex.pattern.replace("(?:s|", "(?:").replace("s?", "")))
    ) | frozenset(re.findall(r"[a-z]+", re.sub(r"\\[a-z]", " ", regex.pattern.replace("?", ""))))


_STOP = frozenset(
    [
        "of",
        "in",
        "on",
        "the",
        "a",
        "an",
        "to",
        "for",
        "with",
        "and",
        "or",
        "at",
        "by",
        "from",
        "is",
        "was",
        "mg",
        "mcg",
        "ml",
        "year",
        "years",
        "day",
        "days",
        "week",
        "weeks",
        "month",
        "months",
        "hours",
        "hour",
        "minutes",
        "times",
        "per",
        "old",
        "units",
        "unit",
        "tablet",
        "tablets",
        "doses",
        "patient",
        "pt",
        "he",
        "she",
        "x",
        "am",
        "pm",
        "no",
        "not",
        "as",
        "then",
        "this",
        "that",
        "his",
        "her",
        "x-ray",
    ]
)
_CITY_PART = (
    rf"(?:(?:St|Ste|Ft|Mt|Saint|Fort|Mount|New|San|Santa|Los|Las|El|La|Le|Port|North|South|East|West)\.?\s)?{_CAP}"
)
_STATE = re.compile(
    r"(?P<state>[A-Z]{2}(?![A-Za-z])|[A-Z]\.[A-Z]\.|[A-Z][a-z]{2,12}\.?(?:\s[A-Z][a-z]{3,12})?)(?:,?\s{1,3}(?P<zip>\d{5}(?:-\d{4})?)(?![\w-]))?(?!\w)"
)
_CITY_BACK = re.compile(rf"(?P<city>{_CITY_PART}(?:[ -]{_CAP}){{0,2}})(?P<comma>,?)\s{{1,2}}$")
_LOWER_STATE = re.compile(r"[a-z]{2}\s{1,3}(?P<zip>\d{5}(?:-\d{4})?)(?![\w-])")
_LOWER_CITY = re.compile(r"(?<![\w])(?P<city>[a-z]{3,20}(?:\s[a-z]{3,20})?),?\s{1,2}$")
_ZIP = re.compile(
    r"(?:zip(?:[\s-]?code)?|postal\scode|postcode)[\s:=]{1,3}(?:is\s)?(?P<v>\d{5}(?:-\d{4})?|[a-z]\d[a-z]\s?\d[a-z]\d)(?![\w-])"
)
_CITY_CUE = re.compile(
    r"(?:liv(?:es|ed|ing)\s(?:alone\s|now\s|with\s|w/?\s)?(?:(?:his\s|her\s|a\s)?(?:son|daughter|dtr|sister|brother|wife|husband|family|parents|mother|mom|niece|nephew)\s)?(?:in|near|outside(?:\sof)?)|resid(?:es|ed|ing)\sin|resident\sof|moved\s(?:here\s)?(?:to|from|back\sto)|born(?:\sand\sraised)?\sin"
    r"|raised\sin|grew\sup\sin|native\sof|home\sin|house\sin|relocat(?:ed|ing)\s(?:to|from)|originally\sfrom|travel(?:ed|led|s|ing)?\s(?:to|from)|drove\s(?:to|from)|trip\sto|returned\sfrom"
    r"|commutes?\s(?:to|from)|hometown|city|town\sof|city\sof|village\sof|flew\s(?:to|from|in\sfrom)|visiting\s(?:from|in)|immigrated\sfrom|apartment\sin|staying\sin|drives\s(?:in\s)?from|farm\s(?:in|near|outside)"
    r"|address|hails\sfrom|out\sof|located\sin|practice\sin|office\sin|clinic\sin|hospital\sin|facility\sin|job\sin|works\sin|stationed\s(?:in|at)|retired\sto|based\sin)[\s:]{1,3}"
)  # fmt: skip
_LOWER_HERE = re.compile(r"(?P<a>[a-z]{3,20})(?:[ ][a-z]{3,20})?")
_CITY_HERE = re.compile(rf"{_CITY_PART}(?:[ -]{_CAP}){{0,2}}")
_COUNTY_BACK = re.compile(rf"(?P<v>{_CAP}(?:[ -](?:(?:of|the|de|la|du)[ ]){{0,2}}{_CAP}){{0,2}})\s$")
_COUNTIES = frozenset({"county", "parish", "co"})
_COUNTY_SHORT = re.compile(
    r"Co(?:\.(?=\s(?:Sheriff|Jail|EMS|Health))|\.?(?=,?\s(?:[A-Z]{2}(?![A-Za-z])|[A-Z]\.[A-Z]\.)|[.;]?\s*(?:\n|$)|;|\.\s[A-Z]))"
)
_COUNTY_HERE = re.compile(r"(?:[,;]\s|\b(?:in|from|near|of)\s)$")
_COUNTY_OF = re.compile(rf"(?:County|county|COUNTY)(?:\sof\s|:\s{{0,2}})(?P<v>{_CAP}(?:[ ]{_CAP})?)")

_CARE = re.compile(
    r"(?:hospitals?|medical\s(?:center|centre|group|associates|plaza|park|arts)|clinics?|(?:nursing|care|rest)\shome|health\s?(?:care|system|services|center|centre|plan|network|partners|park|science)?"
    r"|hospice|pharmacy|infirmary|(?:cancer|surgery|surgical|rehab|rehabilitation|care|dialysis|imaging|heart|eye|birth|birthing|wellness|recovery|trauma|treatment|community|living|women's|children's|specialty|spine|sleep|infusion|radiology|counseling|outpatient|behavioral)\s(?:center|centre|institute|pavilion|facility)"
    r"|urgent\scare|(?:senior|assisted|retirement)\s(?:living|community|village)|manor|villa|lodge|rehabilitation|rehab|laborator(?:y|ies)|labs|diagnostics|imaging|radiology|dialysis|orthopa?edics|cardiology|pediatrics|family\s(?:medicine|practice|health)"
    r"|internal\smedicine|physicians|home\s(?:health|care)|(?:drug|drugs|apothecary)|place|gardens|terrace|pavilion|institute|sanatorium|medicine|dental|dentistry|optical|eye\scare|associates|ems|ambulance|fire\s(?:dept|department|rescue)|shelter|group\shome|mission|center|centre)(?![a-z])"
)  # fmt: skip
_CARE_WORDS = _first(_CARE)
_STRONG_CARE = re.compile(
    r"hospitals?|medical|clinics?|nursing|infirmary|hospice|pharmacy|health|.*(?:center|centre|institute|living|home|village|laborator|rehab|care)"
)
_ORG = re.compile(
    r"(?:elementary(?:\sschool)?|(?:high|middle|primary|grade|junior\shigh|public|charter|nursing|law|medical)\sschool|school|academy|university|college|church|temple|mosque|synagogue|preschool|daycare|kindergarten"
    r"|inc|llc|ltd|corp|corporation|company|co|industries|enterprises|logistics|foods|motors|manufacturing|construction|trucking|plumbing|electric|roofing|landscaping|bakery|restaurant|diner|farms?|mills?|insurance|bank|credit\sunion"
    r"|foundation|society|association|union|ministries|services|solutions|systems|technologies|partners|group|airlines|railroad|steel|fire\sdepartment|police\sdepartment|sheriff's\soffice|correctional\s(?:facility|institution|center)|prison|jail|market|store|supply|library|ymca|post)(?![a-z])\.?"
)  # fmt: skip
_ORG_WORDS = _first(_ORG)
_ORG_CUE = re.compile(
    r"(?:works?\s(?:part[\s-]time\s|full[\s-]time\s|nights?\s|nites?\s|days\s|evenings\s|weekends\s)?(?:at|for)|worked\s(?:nights\s|days\s)?(?:at|for)|working\s(?:at|for)|dr(?:ives?|ove|iving)\s(?:a\s)?(?:truck\s|bus\s|cab\s|taxi\s)?for|delivers\sfor|sells\sat|serve[ds]\s(?:on|with)\sthe|employed\s(?:at|by|with)|employer(?:\sname)?|attends|student\sat|goes\sto\sschool\sat|school"
    r"|retired\sfrom|job\sat|teaches\sat|taught\sat|graduated\sfrom|enrolled\s(?:at|in)|volunteers?\s(?:at|with|for)|(?:manager|driver|clerk|teacher|nurse|engineer|cashier|foreman|mechanic|cook|janitor|welder|accountant|supervisor|lineman|guard|seamstress|machinist|miner|farmhand|roofer|plumber|electrician|secretary|waitress|waiter|custodian|paramedic|pilot|operator)\s(?:at|for)"
    r"|insurance|insurer|payer|payor|carrier|member\sof|congregation|occupation|laid\soff\sfrom)[\s:]{1,3}(?:the\s)?"
)  # fmt: skip
_ORG_HERE = re.compile(rf"(?:{_CAP}|\d{{1,3}}(?:st|nd|rd|th))(?:(?:\s(?:of|and|&|the|for)\s|\s&\s|[ -]){_CAP}){{0,5}}")
_HOSPITAL_CUE = re.compile(
    r"(?:transfer(?:red|ring)?\s(?:to|from)|admitted\s(?:to|at)|discharged\s(?:to|from)|seen\sat|presented\sto|referred\s(?:to|from)|facility(?:\sname)?|hospital|location|site|pharmacy|treated\sat|hospitalized\sat|performed\sat"
    r"|done\sat|records\sfrom|sent\sto|outside\shospital|osh|surgery\sat|clinic|brought\s(?:to|from)|delivered\sat|born\sat|resident\s(?:of|at)|followed\sat|lab|agency|snf|rehab\sat)[\s:]{1,3}(?:the\s)?"
)  # fmt: skip
_BEFORE = re.compile(
    rf"(?:(?:{_CAP}|St\.|Mt\.|Ft\.|\d{{1,3}}(?:st|nd|rd|th)|&)(?:\s(?:of|and|for|the|de|la|del|&)(?:\s(?:the))?)?[ -]){{1,6}}$"
)
_AFTER_OF = re.compile(rf"\s(?:of|at)\s(?:the\s)?{_CAP}(?:[ -]{_CAP}){{0,2}}")
_CITY_CUES = _first(_CITY_CUE) | {"lives", "lived", "living", "resides", "resided", "residing"}
_ORG_CUES = _first(_ORG_CUE) | {"works", "work", "drives", "drove", "driving", "drive", "served", "serves"}
_HOSPITAL_CUES = _first(_HOSPITAL_CUE)
_NOT_PLACE = frozenset(
    [
        "history",
        "plan",
        "date",
        "admission",
        "discharge",
        "note",
        "reason",
        "signed",
        "electronically",
        "dictated",
        "patient",
        "name",
        "phone",
        "fax",
        "address",
        "attending",
        "dr",
        "mr",
        "mrs",
        "ms",
        "md",
        "seen",
        "see",
        "call",
        "per",
        "pcp",
        "he",
        "she",
        "they",
        "his",
        "her",
        "we",
        "i",
        "pt",
        "the",
        "a",
        "an",
        "in",
        "at",
        "from",
        "to",
        "and",
        "if",
        "on",
        "please",
        "transferred",
        "admitted",
        "status",
        "post",
        "diagnosis",
        "service",
        "course",
        "exam",
        "chief",
        "assessment",
        "summary",
        "report",
        "contact",
        "rm",
        "room",
        "bed",
        "floor",
        "unit",
        "icu",
        "er",
        "or",
        "sheriff",
    ]
)


_CITY_METHOD = re.compile(
    r"[\s-](?:bowel|prep|criteria|classification|scor|scale|grade|grading|protocol|scientific|method|system|guideline|consensus|definition|categor|formula|keratoprosthesis|manual|diagnostic|naming|aphasia|question|sleepiness|quality|coma|brace|disease|virus|fever)"
)
_CITY_BEFORE = re.compile(
    r"(?:\b(?:in|from|to|near|at|of|around|outside|via|toward|towards|downtown|visiting|leaving|city|greater|and|or|for)\s(?:the\s)?|[,:|>(]\s?|^|\n\s{0,8})$"
)
_EPONYM_CITIES = frozenset(
    ["berlin", "boston", "cincinnati", "cleveland", "chicago", "denver", "edinburgh", "glasgow", "houston", "london", "milwaukee", "montreal",
     "ottawa", "paris", "philadelphia", "pittsburgh", "rochester", "st. louis", "st louis", "sydney", "toronto", "vancouver", "vienna"]
)  # fmt: skip
_CITY_AFTER = re.compile(r",\s{1,2}[A-Z]")
_ZIP_WORDS = frozenset(["zip", "zipcode", "postal", "postcode"])
_CITY_CUE_END = re.compile(f"(?:{_CITY_CUE.pattern})$")


@cache
def _regions() -> frozenset[str]:
    return place_names("states") | place_names("countries") | place_names("state_codes") | _SHORT_STATES


def find(text: str, words: Words, kept: Collection[str]) -> Iterator[PhiSpan]:
    """Yield the places of a text, its streets left out.

    Args:
        text: The text.
        words: Its words.
        kept: Which of STATE and COUNTRY need not be found.
    """
    yield from _cities(text, words)
    for at in words.at(_COUNTIES):
        if at and text[at - 1] == " ":
            back = _COUNTY_BACK.search(text, max(0, at - 60), at)
            if back is not None and (
                words.folded.startswith(("county", "parish"), at) or _COUNTY_SHORT.match(text, at)
            ):
                start, end = _tail(text, *back.span("v"))
                full = words.folded.startswith(("county", "parish"), at)
                if start < end and (full or _COUNTY_HERE.search(words.folded, max(0, start - 6), start)):
                    yield PhiSpan(start, end, "COUNTY", "patterns.county", 0.8)
        match = _COUNTY_OF.match(text, at)
        if match is not None:
            yield PhiSpan(*match.span("v"), "COUNTY", "patterns.county", 0.75)
    yield from _organisations(text, words)
    for category, key in (("STATE", "states"), ("COUNTRY", "countries")):
        if category not in kept:
            for match in words.matches(_named(key), _heads(key)):
                if text[match.start()].isupper():
                    yield PhiSpan(*match.span(), category, f"patterns.{category.lower()}", 0.6)


@cache
def _heads(key: str) -> frozenset[str]:
    return frozenset(re.match(r"[a-z]+", name).group() for name in place_names(key))  # type: ignore[union-attr]


@cache
def _named(key: str) -> re.Pattern[str]:
    names = sorted(place_names(key), key=len, reverse=True)
    return re.compile(r"(?:" + "|".join(map(re.escape, names)) + r")(?![\w])")


def _tail(text: str, start: int, end: int) -> tuple[int, int]:
    """Cut words that name no place off the left."""
    begin = start
    if text[max(0, start - 20) : end + 20].isupper():  # capitals say nothing here: the name begins after a verb
        for shouted in re.finditer(r"[^\W\d_]+\s*", text[start:end]):
            token = fold(shouted.group().strip())
            if token in verbs() or (token in _STOP and token not in ("of", "the", "and", "for")):
                start = begin + shouted.end()
    while start < end:
        word = re.match(r"[^\s-]+[\s-]*", text[start:end])
        if word is None:
            break
        token = fold(word.group()).strip(" -.,")
        if token in _NOT_PLACE or (token in generic_places() and token not in _KEEP):
            start += word.end()
        else:
            break
    return start, end


_KEEP = frozenset(["new"])


def _cities(text: str, words: Words) -> Iterator[PhiSpan]:
    folded = words.folded
    regions = _regions()
    done = -1
    for at in words.at(_state_heads()):
        if at < done:
            continue
        if not text[at].isupper():
            lower = _LOWER_STATE.match(folded, at)
            if lower is not None and folded[at : at + 2] in place_names("state_codes"):
                back = _LOWER_CITY.search(folded, max(0, at - 45), at)
                if back is not None and back["city"] not in guard():
                    yield PhiSpan(*back.span("city"), "CITY", "patterns.city", 0.7)
                yield PhiSpan(*lower.span("zip"), "ZIP", "patterns.zip", 0.85)
            continue
        match = _STATE.match(text, at)
        if match is None:
            continue
        done = match.end()
        if match["zip"]:
            yield PhiSpan(*match.span("zip"), "ZIP", "patterns.zip", 0.9)
        back = _CITY_BACK.search(text, max(0, at - 60), at) if at and text[at - 1].isspace() else None
        if back is None or not _is_city(text, folded, back, match):
            continue
        start, end = _tail(text, *back.span("city"))
        city = fold(text[start:end])
        if start < end and city not in regions and city not in guard():
            yield PhiSpan(start, end, "CITY", "patterns.city", 0.8)
    for match in words.matches(_ZIP, _ZIP_WORDS):
        yield PhiSpan(*match.span("v"), "ZIP", "patterns.zip", 0.9)
    for cue in words.matches(_CITY_CUE, _CITY_CUES):
        lower = _LOWER_HERE.match(folded, cue.end())
        if lower is not None and text[cue.end()].islower():
            one = lower["a"] if lower.group() not in all_cities() else lower.group()
            if one in all_cities() and one not in guard():
                yield PhiSpan(cue.end(), cue.end() + len(one), "CITY", "patterns.city.cue", 0.7)
            continue
        here = _CITY_HERE.match(text, cue.end())
        if here is not None:
            start, end = _head(text, *here.span())
            city = fold(text[start:end])
            if (
                start < end
                and city not in regions
                and not _all_common(city)
                and city.split()[0].strip(".,") not in _NOT_PLACE
            ):
                yield PhiSpan(start, end, "CITY", "patterns.city.cue", 0.7)
    for match in words.matches(_named("cities"), _heads("cities")):
        if (
            text[match.start()].isupper()
            and not _CITY_METHOD.match(folded, match.end())
            and (
                match.group() not in _EPONYM_CITIES
                or _CITY_BEFORE.search(folded, max(0, match.start() - 20), match.start())
                or _CITY_AFTER.match(text, match.end())
            )
        ):
            yield PhiSpan(*match.span(), "CITY", "patterns.city.known", 0.6)


@cache
def _state_heads() -> frozenset[str]:
    """First words of what may stand for a state or country."""
    dotted = {code[0] for code in place_names("state_codes")}
    return place_names("state_codes") | _heads("states") | _heads("countries") | _SHORT_STATES | dotted


# Codes that are also words, degrees or abbreviations: they need a comma, and more.
_SHORT_STATES = frozenset(
    [
        "ala",
        "ariz",
        "ark",
        "calif",
        "cal",
        "colo",
        "conn",
        "fla",
        "ill",
        "ind",
        "kan",
        "kans",
        "mass",
        "mich",
        "minn",
        "miss",
        "mont",
        "neb",
        "nebr",
        "nev",
        "okla",
        "ore",
        "penn",
        "penna",
        "tenn",
        "tex",
        "wash",
        "wis",
        "wisc",
        "wyo",
    ]
)
_NEVER_ALONE = frozenset(["md", "pa", "do", "or", "in", "hi", "ok", "la", "id", "pt"])
_COMMA_ONLY = frozenset(["ma", "mi", "me", "co", "al", "de", "ct", "ms", "nd", "pr"])
_COMMA_TOO = frozenset(["ne", "va", "ar", "sc", "nc", "mt", "ks", "ca", "az", "wa"])


def _is_city(text: str, folded: str, back: re.Match[str], match: re.Match[str]) -> bool:
    """Whether what stands before a state or country is a city."""
    state = fold(match["state"]).replace(".", "")
    code = state in place_names("state_codes")
    if not (code or state in _regions() or state.split()[0] in _regions()):
        return False
    if match["zip"]:
        return True
    if not back["comma"]:
        return (
            code
            and match["state"].isupper()
            and not back["city"].isupper()
            and state not in _NEVER_ALONE | _COMMA_ONLY | _COMMA_TOO
        )
    if code and state in _NEVER_ALONE:
        cue = _CITY_CUE_END.search(folded, max(0, back.start() - 26), back.start())
        return cue is not None
    return not (code and state in _COMMA_ONLY and len(back["city"].split()) > 1 and state in ("ma", "ms"))


def _all_common(phrase: str) -> bool:
    return all(word in guard() for word in re.split(r"[\s-]+", phrase))


def _head(text: str, start: int, end: int) -> tuple[int, int]:
    """Cut a state, a country and words that name no place off the right."""
    while start < end:
        parts = re.split(r"[\s-]", text[start:end])
        last = fold(parts[-1]).strip(".,'’")
        if len(parts) > 1 and (last in _regions() or last in guard()):
            end -= len(parts[-1]) + 1
        else:
            break
    piece = text[start:end]
    return start, start + len(piece.rstrip(".,'’"))


def _organisations(text: str, words: Words) -> Iterator[PhiSpan]:
    yield from _keyword(text, words, _CARE, _CARE_WORDS, "HOSPITAL")
    yield from _keyword(text, words, _ORG, _ORG_WORDS, "ORG")
    for regex, heads, category in ((_ORG_CUE, _ORG_CUES, "ORG"), (_HOSPITAL_CUE, _HOSPITAL_CUES, "HOSPITAL")):
        for cue in words.matches(regex, heads):
            here = _ORG_HERE.match(text, cue.end())
            if here is None:
                continue
            start, end = _head(text, *here.span())
            name = fold(text[start:end])
            if (
                start < end
                and name not in _regions()
                and not _all_common(name)
                and (len(name) > 4 or category == "ORG")
            ) and not all(part in generic_places() or part in guard() for part in name.split()):
                yield PhiSpan(start, end, category, f"patterns.{category.lower()}.cue", 0.6)


def _keyword(
    text: str, words: Words, regex: re.Pattern[str], heads: frozenset[str], category: str
) -> Iterator[PhiSpan]:
    """Look back from a word such as Hospital for the capitalised words that name one."""
    for match in words.matches(regex, heads):
        start, end = match.span()
        if not text[start].isupper():
            continue
        beside = start > 0 and text[start - 1] in " -\t"
        if not beside and not (category == "HOSPITAL" and _AFTER_OF.match(text, end)):
            continue
        from_ = max(0, start - 90)
        line = text.rfind("\n", from_, start)
        before = _BEFORE.search(text, line + 1 if line >= 0 else from_, start)
        left = start
        if before is not None:
            left, _ = _tail(text, before.start(), start)
        named = [word for word in re.split(r"[\s-]+", fold(text[left:start])) if word]
        telling = [
            w
            for w in named
            if w.strip(".,'’") not in generic_places() and w.strip(".,") not in _NOT_PLACE and w not in ("&", "st.")
        ]
        tail = None
        if category == "HOSPITAL" or match.group() in ("university", "college"):
            tail = _AFTER_OF.match(text, end)
        if not telling and tail is None:
            continue
        weak = all(word.strip(".,'’s") in guard() or word in guard() for word in telling)
        if weak and (not _STRONG_CARE.match(match.group()) if category == "HOSPITAL" else True) and tail is None:
            continue
        if weak and text[left:end].isupper() and len(telling) < 2:
            continue
        if telling and tail is None:
            yield PhiSpan(left, end, category, f"patterns.{category.lower()}", 0.75)
        elif tail is not None and (telling or match.group() in ("university", "hospital", "college")):
            _, right = _head(text, end, tail.end())
            yield PhiSpan(left, max(right, end), category, f"patterns.{category.lower()}", 0.75)
