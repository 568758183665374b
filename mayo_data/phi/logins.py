# ruff: noqa: E501 - a pattern is read whole, on one line
"""User names and dictation initials in text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mayo_data.phi.words import Words, abbreviations, all_given_names, capitals, guard, vocabulary
from mayo_data.types import PhiSpan

_LABEL = re.compile(
    r"(?<![a-z])(?:user\s?name|user\s?id|user|login(?:\sid)?|log-?in|log-?on|uid|logged\s(?:in|on)\sas|username|epic\suser|network\sid|badge\slogin|e-?sign(?:ed|ature)?\sid|scribe\sid|provider\sid)(?![a-z])[\s:=]{1,3}(?:is\s)?(?P<v>[a-z][\w.-]{2,24}(?<![.-]))"
)
_LABEL_WORDS = frozenset(["user", "username", "login", "log", "logon", "uid", "userid", "logged", "epic", "network", "badge", "esign", "esigned", "e", "scribe", "provider"])  # fmt: skip
# What somebody did under a login: `closed by tvo14`, `Abstractor: bgreene`, `Charted klm RN`.
_DID = re.compile(
    r"(?<![a-z])(?:(?:(?:e-?)?signed|entered|edited|closed|amended|released|charted|verified|reviewed|typed|dictated|transcribed|abstracted|kept|modified|updated|created|documented|scanned|recorded|posted|printed|filed|authenticated|cosigned|co-signed|completed|resulted|finalized|addended|keyed|scribed|coded|logged|received)(?:\sby)?"
    r"|abstractor|coder|transcriptionist|typist|authenticator|legal\sauthenticator|recorder|editor|scribe|initials|inits|operator|transcriber|keyed|wire\sname)(?P<mark>\s?[:=]\s{0,3}|\s)(?P<v>[a-z][a-z0-9._-]{1,20}(?<![._-]))(?![\w@])"
)
_DID_WORDS = frozenset(re.findall(r"[a-z]+", re.sub(r"\\s|\(\?[^a-z]*", " ", _DID.pattern))) | {"signed", "esigned"}
_TWO_LETTERS = re.compile(r"(?:dictated|typed|transcribed|charted|initials|inits|scribed|keyed)(?:\sby)?\s?[:=]?\s?$")
_PAIR = re.compile(
    r"(?P<a>[A-Za-z]{2,4})[/:](?P<b>[A-Za-z]{2,4})(?:[/:#-]\w{2,12}){0,2}(?=[ \t]*(?:$|\r|\n|\s+(?:[DTdt]{1,2}|[Jj]ob|JOB)\b|\s+\d\d?[./-]\d))"
)
_MARK = re.compile(r"[/:](?=[A-Za-z]{2})")
_RUN = re.compile(r"[A-Za-z]{2,4}$")
_BEFORE_PAIR = re.compile(r"(?:^|\n|\r)[ \t]*$|[ \t]{2}$|(?:[.)]|[/.-]\d\d|[/.-]\d{4}|\b[Ee]nc|\bcc)\.?[ \t]$")
_NOT_INITIALS = frozenset(
    [
        "am", "pm", "pt", "ot", "bid", "tid", "md", "phd", "na", "wo", "sp", "ho", "co", "and", "or", "rn", "lpn", "he", "she", "him", "her",
        "yes", "no", "ros", "hpi", "pmh", "neg", "pos", "mg", "ml", "dl", "mcg", "kg", "hr", "min", "meq", "mmol", "day", "wk", "np", "do",
    ]
)  # fmt: skip


def find(text: str, words: Words) -> Iterator[PhiSpan]:
    """Yield the user names and dictation initials of a text.

    Args:
        text: The text.
        words: Its words.

    >>> from mayo_data.phi.words import fold
    >>> text = "Closed by tvo14, typed by pharmacy. Abstractor: bgreene"
    >>> [text[s.start : s.end] for s in find(text, Words(fold(text)))]
    ['tvo14', 'bgreene']
    """
    for match in words.matches(_LABEL, _LABEL_WORDS):
        if not match["v"].isalpha() or match["v"] not in guard():
            yield PhiSpan(*match.span("v"), "USERNAME", "patterns.user", 0.8)
    for at in words.at(_DID_WORDS):
        found = _DID.match(words.folded, at)
        if found is not None and _is_login(text, words.folded, found):
            yield PhiSpan(*found.span("v"), "USERNAME", "patterns.user.did", 0.7)
    if "/" in text or ":" in text:
        yield from _initials(text)


def _is_login(text: str, folded: str, match: re.Match[str]) -> bool:
    value = match["v"]
    start = match.start("v")
    if not text[start].islower() or value in guard() or value in abbreviations() or value in _NOT_INITIALS:
        return False
    by = folded[: match.start("mark")].endswith("by", match.start()) or ":" in match["mark"] or "=" in match["mark"]
    if any(map(str.isdigit, value)):
        return by and not value[0].isdigit() and value[-1].isdigit()
    if len(value) < 4:
        return _TWO_LETTERS.search(folded, max(0, start - 18), start) is not None
    # A word that no list knows, or the initial of a given name before something else: rnmoss, d.farrow.
    return by and value not in vocabulary() and value not in all_given_names()


def _initials(text: str) -> Iterator[PhiSpan]:
    """Dictation lines: the initials of who spoke and who typed, alone on a line or after its dates."""
    done = 0
    for mark in _MARK.finditer(text):
        run = _RUN.search(text, max(done, mark.start() - 4), mark.start())
        if run is None or (run.start() and text[run.start() - 1].isalnum()):
            continue
        match = _PAIR.match(text, run.start())
        if match is None or _BEFORE_PAIR.search(text, max(0, run.start() - 12), run.start()) is None:
            continue
        done = match.end()
        a, b = match["a"], match["b"]
        if {a.lower(), b.lower()} & _NOT_INITIALS or a.lower() in guard() or not (a.isupper() or a.islower()):
            continue
        if match.group().isupper() and {a.lower(), b.lower()} <= capitals():
            continue  # CT/MRI
        yield PhiSpan(*match.span(), "USERNAME", "patterns.initials", 0.7)
