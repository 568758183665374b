# ruff: noqa: E501 - a pattern is read whole, on one line
"""Names of people in text, by title, label, credential, relation, signature, salutation and name lists."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mayo_data.phi import name_cues as cue
from mayo_data.phi.places import UPPER
from mayo_data.phi.words import (
    Words,
    all_given_names,
    common,
    eponyms,
    family_names,
    fold,
    given_names,
    guard,
    place_names,
    verbs,
)
from mayo_data.types import PhiSpan

_DOSE = re.compile(r"\d[\d.,\-]{0,20}\s?(?:mg|mcg|g|ml|units?)?\s?$", re.IGNORECASE)


def _take(
    text: str, start: int, end: int, *, titled: bool = False, lower: bool = False, named: bool = False, most: int = 4
) -> int:
    """Return the end of the name that starts at `start`: cut at the first word that is none.

    Args:
        text: The text.
        start: Where the name starts.
        end: Where it ends at most.
        titled: Whether the words before say that a name comes, so that a common word may be one.
        lower: Whether a name may be written in lower case.
        named: Whether a name must stand here, so that a given name may be a common word too: Grace, Will.
        most: Words at most.
    """
    last = reached = start
    count = 0
    listed = False  # whether the word before is a given name of a list
    shouting = text[max(0, start - 30) : end + 20].isupper()
    for match in cue.PIECE.finditer(text, start, end):
        word = match.group()
        token = fold(word)
        first = count == 0
        if count and text[reached : match.start()].strip(' \t\n.,-"“”()'):
            break
        reached = match.end()
        if token in cue.PARTICLES and not first:
            continue
        if first and token in cue.PARTICLES and text[match.end() : match.end() + 1] == " ":
            count += 1
            continue
        if token in cue.STOP and not (first and named and word[0].isupper() and token in all_given_names()):
            break
        if not word[0].isupper() and not lower:
            break
        initial = len(word) == 1
        if not initial:
            given = token in all_given_names()
            if first and titled:
                if word[0].islower() and token in guard():
                    break
                if shouting and token in cue.ACTORS:
                    break
            elif token in cue.SUFFIX:
                pass
            elif first:
                if token in guard() and not (named and given):
                    break
            elif (
                token in verbs()
                or (word[0].islower() and token in guard())
                or (token in common() and (not listed or (shouting and not named)))
            ):
                break
            listed = given
        elif first and not titled and text[match.end() : match.end() + 1] != ".":
            break
        last = match.end()
        count += 1
        if count >= most:
            break
    name = text[start:last]
    if count == 1 and len(name) < 5 and name.isupper() and not titled and not shouting:
        return start  # an abbreviation
    return start if len(name) < 2 else last


_HL7_CODES = frozenset(["h", "b", "m", "ph", "cp", "fx", "prn", "wpn", "net", "internet", "usa", "mr", "l"])


def find(text: str, words: Words) -> list[PhiSpan]:
    """Return the names of people in a text.

    Args:
        text: The text.
        words: Its words.
    """
    folded = words.folded
    spans: list[PhiSpan] = []
    spans += _by_title(text, words)
    spans += _by_label(text, words)
    for match in words.matches(cue.RELATION, cue.KIN_WORDS):
        spans += _one(text, match.end(), "RELATIVE", "relation", 0.75)
    for match in words.matches(cue.BY, cue.BY_WORDS):
        spans += _one(text, match.end(), "STAFF", "by", 0.7)
    for match in words.matches(cue.NAMED, cue.NAMED_WORDS):
        spans += _one(text, match.end(), "PATIENT", "named", 0.65)
    for match in words.matches(cue.GREETING, cue.GREETING_WORDS):
        if cue.LINE_START.search(folded, max(0, match.start() - 5), match.start()):
            spans += _one(text, match.end(), "STAFF", "greeting", 0.7, named=_alone(text, match.end()))
    spans += _by_degree(text, words)
    if "^" in text:
        for match in cue.HL7.finditer(text):
            parts = fold(match["v"]).split("^")
            line = text[text.rfind("\n", 0, match.start()) + 1 :][:3]
            if (
                line in ("PID", "NK1", "PV1", "GT1", "IN1") or parts[1] in given_names() or parts[0] in family_names()
            ) and not (parts[0] in guard() or parts[1] in _HL7_CODES):
                spans.append(PhiSpan(*match.span("v"), "PATIENT" if line == "PID" else "STAFF", "patterns.hl7", 0.8))
    spans += _by_list(text, words)
    # The possessive stays in the text.
    return [s._replace(end=s.end - 2) if cue.POSSESSIVE.match(folded, s.end - 2, s.end) else s for s in spans]


_ALONE = re.compile(r"[^\W\d_]{2,20}(?:[ ][^\W\d_]\.?)?[ \t]{0,2}(?:[,.!:]?[ \t]{0,2}(?:\r|\n|$)|,)")


def _alone(text: str, start: int) -> bool:
    """Whether one word stands alone on the line, or before a comma: `Dear Hope,`."""
    return _ALONE.match(text, start) is not None


def _one(text: str, start: int, category: str, rule: str, score: float, **how: bool) -> Iterator[PhiSpan]:
    turned = cue.NAME_COMMA.match(text, start)
    if turned is not None and rule in ("label", "by"):
        comma = text.index(",", start)
        head = _take(text, start, comma, titled=how.get("titled", False))
        first = cue.PIECE.match(text, comma + 1) or cue.PIECE.search(text, comma + 1, comma + 4)
        if (
            head == comma
            and first is not None
            and first.group()[0].isupper()
            and (fold(first.group()) not in guard() or (len(first.group()) == 1 and text[first.end() :][:1] == "."))
        ) and not cue.DEGREE.match(text, first.start()):
            initial = len(first.group()) == 1
            end = first.end() if initial else _take(text, first.start(), turned.end(), most=3)
            if end > first.start():
                yield PhiSpan(start, end, category, f"patterns.name.{rule}", score)
                return
    match = cue.NAME.match(text, start)
    if match is not None:
        end = _take(text, start, match.end(), **how)
        if end > start:
            yield PhiSpan(start, end, category, f"patterns.name.{rule}", score)


def _by_title(text: str, words: Words) -> Iterator[PhiSpan]:
    for match in words.matches(cue.TITLE, cue.TITLES):
        title = match.group().strip().rstrip(".").strip()
        start = match.end()
        if title in cue.SOFT_TITLES and not text[start].isupper():
            continue
        name = cue.NAME.match(text, start)
        if name is None:
            continue
        hard = title not in cue.SOFT_TITLES
        if "\n" in match.group() and not hard:
            continue
        lower = hard and text[start].islower()
        end = _take(text, start, name.end(), titled=hard, lower=lower, most=1 if lower else 4)
        if lower and end > start:
            end = _lower_family(text, words.folded[start:end], end)
        if lower and fold(text[start:end]) in guard():
            continue
        if (
            end <= start
            or (title == "dr" and text[start:end] in ("Scholl", "Pepper", "Bronner"))
            or (
                title == "dr"
                and _DOSE.search(text[max(0, match.start() - 30) : match.start()])
                and fold(text[start:end]) in guard()
            )
        ):
            continue  # 20 mg DR capsule: delayed release
        category = "PATIENT" if title in cue.PATIENT_TITLES else "STAFF"
        yield PhiSpan(start, end, category, "patterns.name.title", 0.85)
        # Drs. Smith, Jones and Brown: each of them.
        if title in ("drs", "doctors", "messrs") or re.match(r"\s(?:and|&)\s(?!dr|mr|ms)[A-Z]", text[end : end + 8]):
            for _ in range(4):
                more = re.match(r"(?:,\s(?:and\s)?|\s(?:and|&)\s)(?=[^\W\d_])", text[end : end + 8])
                if more is None:
                    break
                start = end + more.end()
                following = cue.NAME.match(text, start)
                if following is None:
                    break
                end = _take(text, start, following.end())
                if end <= start:
                    break
                yield PhiSpan(start, end, category, "patterns.name.title", 0.75)


def _lower_family(text: str, given: str, end: int) -> int:
    """Take the family name that follows a given name in lower case: `dr. john smith`."""
    following = cue.PIECE.match(text, end + 1)
    if following is None or text[end : end + 1] != " ":
        return end
    token = fold(following.group())
    if token in cue.STOP or token in verbs():
        return end
    if given in given_names():
        return following.end() if token in family_names() or token not in common() else end
    return following.end() if token in family_names() and token not in guard() else end


def _by_label(text: str, words: Words) -> Iterator[PhiSpan]:
    for match in words.matches(cue.LABEL, cue.LABEL_WORDS):
        start = match.end()
        if start >= len(text):
            continue
        category = "PATIENT" if match["p"] else "STAFF" if match["s"] else "RELATIVE"
        label = match["p"] or match["s"] or match["r"]
        loose = label in (
            "cc",
            "to",
            "from",
            "re",
            "pa",
            "md",
            "do",
            "ot",
            "pt",
            "name",
            "primary",
            "contact",
            "nurse",
            "baby",
            "by",
            "per",
            "resident",
            "patient",
            "attn",
            "sender",
            "recipient",
            "subject",
            "staff",
            "regarding",
        )
        found = list(
            _one(
                text,
                start,
                category,
                "label",
                0.85,
                titled=not loose and text[start].isupper() and _lone(text, start),
                named=label not in _VAGUE and text[start].isupper() and _lone(text, start, common_too=True),
            )
        )
        yield from found
        if not found and not loose and text[start].islower() and "name" in label:
            name = cue.NAME.match(text, start)
            if name is not None:
                end = _take(text, start, name.end(), lower=True, most=3)
                if end > start:
                    yield PhiSpan(start, end, category, "patterns.name.label", 0.7)


_VAGUE = frozenset(
    ["cc", "to", "from", "re", "attn", "sender", "recipient", "subject", "staff", "contact", "regarding"]
)


def _lone(text: str, start: int, *, common_too: bool = False) -> bool:
    """Whether a value is short enough to be a name: up to three words to the end of the line or the next gap."""
    line = re.match(r"[^\n;|\t(]{0,60}", text[start : start + 60])
    value = re.split(r"\s{2,}|,\s", line.group())[0] if line else ""
    words = value.split()
    if not 1 < len(words) <= 3:
        return False
    first = fold(words[0]).strip(".,")
    return common_too or first not in common() or fold(words[-1]).strip(".,") not in common()


def _by_degree(text: str, words: Words) -> Iterator[PhiSpan]:
    for at in words.at(cue.DEGREE_WORDS):
        if not text[at].isupper() or cue.DEGREE.match(text, at) is None:
            continue
        match = cue.BEFORE_DEGREE.search(text, max(0, at - 4), at)
        if match is None:
            continue
        from_ = max(text.rfind("\n", max(0, match.start() - 70), match.start()) + 1, match.start() - 70, 0)
        # Start at the beginning of a word, or the look back begins inside one.
        while 0 < from_ < match.start() and text[from_ - 1].isalnum() and text[from_].isalnum():
            from_ += 1
        before = cue.BACK.search(text, from_, match.start())
        if before is None:
            continue
        pieces = list(cue.PIECE.finditer(text, *before.span()))
        keep: list[re.Match[str]] = []
        for piece in reversed(pieces):
            word = piece.group()
            token = fold(word)
            if token in cue.PARTICLES and keep:
                keep.append(piece)
                continue
            if token in cue.SUFFIX and not keep:
                keep.append(piece)
                continue
            if (
                not word[0].isupper()
                or token in cue.STOP
                or (token in common() and (len(word) > 1))
                or token in cue.TITLES
            ):
                break
            if not keep and (token in guard() and token not in eponyms()):
                break
            if keep and text[piece.end() : keep[-1].start()].strip(" \t.,"):
                break
            keep.append(piece)
        while keep and fold(keep[-1].group()) in cue.PARTICLES:
            keep.pop()
        if keep and (len(keep) > 1 or (len(keep[0].group()) > 2 and not keep[0].group().isupper())):
            yield PhiSpan(keep[-1].start(), keep[0].end(), "STAFF", "patterns.name.degree", 0.85)


_PLACES = frozenset(
    [
        "virginia",
        "georgia",
        "florence",
        "carolina",
        "victoria",
        "charlotte",
        "savannah",
        "austin",
        "jordan",
        "sierra",
        "madison",
        "dakota",
        "washington",
        "jackson",
    ]
)
_CAPS = re.compile(rf"[{UPPER}](?:[^\W\d_]|['’\-](?=[^\W\d_])){{1,30}}")
_NEXT = re.compile(
    rf"[ \t]{{1,2}}(?:[{UPPER}]\.?[ \t]{{1,2}}|[\"“(][^\W\d_]{{2,12}}[\"”)][ \t])?(?:{cue.PARTICLE}[ \t])?(?P<n>[{UPPER}](?:[^\W\d_]|['’\-](?=[^\W\d_])){{1,30}})"
)
_PREV = re.compile(
    rf",[ \t]{{0,2}}(?P<n>[{UPPER}](?:[^\W\d_]|['’\-](?=[^\W\d_])){{1,30}})(?:[ \t]{{1,2}}[{UPPER}](?:\.|(?![\w])))?"
)
_PLACE_BEFORE = re.compile(
    r"(?:^|[^\w])(?:San|Santa|Fort|Ft\.?|Port|Lake|Mount|Mt\.?|St\.?|Saint|New|Camp|Los|Las)[ ]$"
)
_PLACE_AFTER = re.compile(
    r"[ \t](?:County|Street|St|Ave|Avenue|Road|Rd|Hospital|Clinic|Medical|Center|University|School|Drive|Lane|Health|Memorial|General|City|disease|syndrome|sign|test|score|scale|criteria|maneuver|catheter|tube|fracture|procedure|lymphoma|palsy)\b"
)


def _by_list(text: str, words: Words) -> Iterator[PhiSpan]:
    """Names that a list of names vouches for: a given name and what follows it, or one unmistakable alone."""
    given, family = given_names(), family_names()
    hits = (words.bag & (given.keys() | family)) - _PLACES
    if not hits:
        return
    done = -1
    for at in words.at(hits):
        if at < done or not text[at].isupper():
            continue
        match = _CAPS.match(text, at)
        if match is None or (at and text[at - 1] in "'’-" and text[at - 2 : at - 1].isalpha()):
            continue
        if _PLACE_BEFORE.search(text, max(0, at - 8), at):
            continue
        token = words.folded[at : match.end()]
        base = token.split("-")[0].split("'")[0]
        after = _NEXT.match(text, match.end())
        if after is not None:
            other = fold(after["n"])
            if _fits(token, base, other, given, family) and not _PLACE_AFTER.match(text, after.end()):
                yield PhiSpan(at, after.end(), "PATIENT", "patterns.name.list", 0.7)
                done = after.end()
                continue
        turned = _PREV.match(text, match.end())
        if turned is not None and base in family and fold(turned["n"]) in given and base not in common():
            yield PhiSpan(at, turned.end(), "PATIENT", "patterns.name.list", 0.75)
            done = turned.end()
            continue
        if token in guard() or base in guard() or token in place_names("cities") or len(token) < 3:
            continue
        if base not in given and token not in given:
            continue
        if _PLACE_AFTER.match(text, match.end()):
            continue
        yield PhiSpan(at, match.end(), "PATIENT", "patterns.name.alone", 0.6)
        done = match.end()


def _fits(token: str, base: str, other: str, given: dict[str, str], family: frozenset[str]) -> bool:
    if other in cue.STOP or token in place_names("states"):
        return False
    if base in given:
        if other in family or other in given:
            return not (base in common() and other in common())
        return base not in guard() and other not in guard()
    return False
