# ruff: noqa: E501 - a pattern is read whole, on one line
"""Dates as people write them: found inside a span, moved by days, written back in the same form.

A weekday moves with its date, the two days of a range move both, a month alone moves as its middle, a date
without a year moves as in a common year. What cannot be read is not moved: the caller writes a tag.
"""

from __future__ import annotations

import re
from datetime import date, timedelta

MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
WEEKDAY = (
    r"(?:mon(?:day)?|tue(?:s(?:day)?)?|wed(?:nesday)?|thu(?:r(?:s(?:day)?)?)?|fri(?:day)?|sat(?:urday)?|sun(?:day)?)"
)
HOLIDAYS = {
    "all saints' day": (11, 1), "all saints day": (11, 1), "all souls' day": (11, 2), "all souls day": (11, 2), "flag day": (6, 14), "election day": (11, 5),
    "martin luther king day": (1, 17), "chinese new year": (2, 1), "lunar new year": (2, 1), "kwanzaa": (12, 27), "purim": (3, 10), "epiphany": (1, 6),
    "christmas eve": (12, 24), "christmas day": (12, 25), "christmas": (12, 25), "xmas": (12, 25), "boxing day": (12, 26),
    "new year's eve": (12, 31), "new years eve": (12, 31), "new year's day": (1, 1), "new years day": (1, 1),
    "new year's": (1, 1), "new years": (1, 1), "thanksgiving day": (11, 25), "thanksgiving": (11, 25),
    "halloween": (10, 31), "labor day": (9, 4), "memorial day": (5, 29), "independence day": (7, 4),
    "fourth of july": (7, 4), "valentine's day": (2, 14), "valentines day": (2, 14), "mother's day": (5, 11),
    "mothers day": (5, 11), "father's day": (6, 18), "fathers day": (6, 18), "easter sunday": (4, 12), "easter": (4, 12),
    "good friday": (4, 10), "palm sunday": (4, 5), "st. patrick's day": (3, 17), "st patrick's day": (3, 17),
    "veterans day": (11, 11), "columbus day": (10, 11), "presidents day": (2, 17), "mlk day": (1, 17), "hanukkah": (12, 12),
    "passover": (4, 8), "rosh hashanah": (9, 20), "yom kippur": (9, 28), "diwali": (11, 4), "super bowl sunday": (2, 8),
    "ash wednesday": (2, 24), "mardi gras": (2, 23), "cinco de mayo": (5, 5), "juneteenth": (6, 19),
    "groundhog day": (2, 2), "eid al-fitr": (4, 21), "eid al-adha": (6, 28), "eid": (4, 21), "ramadan": (3, 25),
    "nowruz": (3, 20), "day of the dead": (11, 2), "black friday": (11, 26), "cyber monday": (11, 29), "earth day": (4, 22),
    "indigenous peoples' day": (10, 11), "indigenous peoples day": (10, 11), "orthodox easter": (4, 19), "sukkot": (10, 5),
    "canada day": (7, 1), "bastille day": (7, 14), "st. nicholas day": (12, 6), "holy week": (4, 6), "songkran": (4, 13),
    "three kings day": (1, 6), "patriots' day": (4, 20), "patriots day": (4, 20), "president's day": (2, 17),
    "presidents' day": (2, 17), "veteran's day": (11, 11), "veterans' day": (11, 11), "saint patrick's day": (3, 17),
}  # fmt: skip
_HOLIDAY = "|".join(re.escape(name).replace("'", "['’]") for name in sorted(HOLIDAYS, key=len, reverse=True))

_PIECE = re.compile(
    r"(?P<ty>(?:19|20)\d\d)(?P<tm>0[1-9]|1[0-2])(?P<td>[0-3]\d)(?P<tt>\d{4,6}(?:\.\d{1,6})?)?(?!\d)"
    r"|(?<!\d)(?P<py>\d{4})(?P<ps>[-/.]|\s?-\s?)(?P<pm>\d{1,2})(?P=ps)(?P<pd>\d{1,2})(?!\d)"
    rf"|(?<!\d)(?P<qy>\d{{4}})(?P<qs>[-/. ])(?P<qn>{MONTH})(?P=qs)(?P<qd>\d{{1,2}})(?!\d)"
    r"|(?<!\d)(?P<na>\d{1,2})(?P<ns>\s?[-/.]\s?|\s)(?P<nb>\d{1,2})(?P<nt>\s?[-/.]\s?|\s)(?P<ny>'?\d{4}|['’]?\d{2})(?!\d)"
    rf"|(?<!\d)(?P<da>\d{{1,2}})(?P<do>st|nd|rd|th)?(?:(?P<dr>\s?(?:-|–|to|and|&)\s?)(?P<db>\d{{1,2}})(?P<dq>st|nd|rd|th)?)?"
    rf"(?P<ds>[\s./-]*(?:of\s+)?)(?P<dn>{MONTH})(?![a-z])(?P<dt>\.?,?[\s./-]*)(?:(?P<dy>\d{{4}}|['’]?\d{{2}})(?!\d))?"
    rf"|(?<![a-z])(?P<mn>{MONTH})(?![a-z])(?P<ms>\.?[\s./-]*(?:the\s)?)(?P<ma>\d{{1,2}})(?!\d)(?P<mo>st|nd|rd|th)?"
    rf"(?:(?P<mr>\s?(?:-|–|to|and|through|thru|&)\s?)(?P<mb>\d{{1,2}})(?!\d|[:/])(?P<mq>st|nd|rd|th)?)?"
    rf"(?:(?P<mt>,?\s*|[-/.])(?P<my>\d{{4}}|['’]\d{{2}}|(?<=[-/.])\d{{2}})(?!\d))?"
    rf"|(?<![a-z])(?P<kn>{MONTH})(?![a-z])(?P<ks>\.?,?\s?(?:of\s)?|[-/])(?P<ky>\d{{4}}|['’]\d{{2}})(?!\d)"
    r"|(?<!\d)(?P<ca>[01]\d)(?P<cb>[0-3]\d)(?P<cy>(?:19|20)\d\d|\d\d)(?!\d)"
    r"|(?<!\d)(?P<va>\d{1,2})(?P<vs>[-/])(?P<vy>(?:19|20)\d\d)(?!\d)"
    r"|(?<!\d)(?P<ya>(?:19|20)\d\d)(?P<ys>[-/])(?P<ym>0[1-9]|1[0-2])(?!\d)"
    r"|(?<!\d)(?P<fa>\d{1,2})(?P<fs>\s?[-/.]\s?)(?P<fb>\d{1,2})(?!\d)"
    rf"|(?<![a-z])(?P<hn>{_HOLIDAY})(?![a-z])"
    rf"|(?<![a-z])(?P<wn>{WEEKDAY})(?=s?(?![a-z]))"
    rf"|(?<![a-z])(?P<on>{MONTH})(?![a-z])",
    re.IGNORECASE,
)  # fmt: skip


class _UnreadableError(ValueError):
    """A piece that is no date after all."""


def full_year(digits: str) -> int:
    """Return the year that two or four digits stand for.

    >>> full_year("56"), full_year("'21"), full_year("1956")
    (1956, 2021, 1956)
    """
    year = int(digits.lstrip("'’"))
    if year >= 100:
        return year
    return year + (2000 if year < 40 else 1900)


def valid(year: int, month: int, day: int) -> bool:
    """Whether there is such a day.

    >>> valid(2021, 2, 29)
    False
    """
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


def move(text: str, days: int) -> str | None:
    """Return the date text moved by days in its own written form, or None where it cannot be read.

    Args:
        text: A span that holds one date, a range, a weekday, a holiday or a time stamp.
        days: The subject's offset.

    >>> move("Tuesday, March 4, 2021", 3), move("04MAR2021", -4), move("3/4/21", 30), move("March 3–5", 1)
    ('Friday, March 7, 2021', '28FEB2021', '4/3/21', 'March 4–6')
    """
    done = 0

    def rewrite(match: re.Match[str]) -> str:
        nonlocal done
        done += 1
        return _rewrite(match, days)

    try:
        moved = _PIECE.sub(rewrite, text)
    except (_UnreadableError, ValueError, OverflowError):
        return None
    return moved if done else None


def year_only(text: str) -> str | None:
    """Return the year that a date text names, or None.

    >>> year_only("March 4, 2021"), year_only("3/4/21"), year_only("Tuesday")
    ('2021', '2021', None)
    """
    for piece in _PIECE.finditer(text):
        for group in ("ty", "py", "qy", "ny", "dy", "my", "ky", "cy", "vy", "ya"):
            if piece[group]:
                return str(full_year(piece[group]))
    return None


def _month(name: str) -> int:
    key = name.lower()[:3]
    return next(i for i, month in enumerate(MONTHS, 1) if month.startswith(key))


def _cased(new: str, old: str) -> str:
    return new.upper() if old.isupper() else new.lower() if old.islower() else new.capitalize()


def _named(old: str, month: int) -> str:
    full = MONTHS[month - 1]
    if len(old) <= 4 and old.lower() not in MONTHS:
        full = "sept" if len(old) == 4 and month == 9 else full[:3]
    elif old.lower() == "may" and old.isupper():
        full = full[:3]
    return _cased(full, old)


def _number(value: int, *like: str) -> str:
    padded = any(part.startswith("0") and len(part) == 2 for part in like) or (
        len(like) > 1 and all(len(part) == 2 for part in like)
    )
    return f"{value:02d}" if padded else str(value)


def _written_year(year: int, like: str) -> str:
    mark = "" if like[0].isdigit() else like[0]
    return mark + (f"{year % 100:02d}" if len(like) - len(mark) == 2 else f"{year:04d}")


def _ordinal(value: int, like: str | None) -> str:
    if not like:
        return ""
    end = "th" if 10 < value % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th")
    return end.upper() if like.isupper() else end


def _rewrite(m: re.Match[str], days: int) -> str:
    g = m.group
    step = timedelta(days)
    kind = (m.lastgroup or "")[0]
    if g("ty"):
        new = date(int(g("ty")), int(g("tm")), int(g("td"))) + step
        return f"{new:%Y%m%d}{g('tt') or ''}"
    if g("py"):
        new = date(int(g("py")), int(g("pm")), int(g("pd"))) + step
        like = (g("pm"), g("pd"))
        return f"{new.year:04d}{g('ps')}{_number(new.month, *like)}{g('ps')}{_number(new.day, *like)}"
    if g("qy"):
        new = date(int(g("qy")), _month(g("qn")), int(g("qd"))) + step
        return f"{new.year:04d}{g('qs')}{_named(g('qn'), new.month)}{g('qs')}{_number(new.day, g('qd'))}"
    if g("na"):
        return _numeric(m, step)
    if g("dn"):
        return _day_month(m, step)
    if g("mn"):
        return _month_day(m, step)
    if g("kn"):
        new = date(full_year(g("ky")), _month(g("kn")), 15) + step
        return f"{_named(g('kn'), new.month)}{g('ks')}{_written_year(new.year, g('ky'))}"
    if g("ca"):
        new = date(full_year(g("cy")), int(g("ca")), int(g("cb"))) + step
        return f"{new.month:02d}{new.day:02d}{_written_year(new.year, g('cy'))}"
    if g("va"):
        new = date(int(g("vy")), int(g("va")), 15) + step
        return f"{_number(new.month, g('va'))}{g('vs')}{new.year}"
    if g("ya"):
        new = date(int(g("ya")), int(g("ym")), 15) + step
        return f"{new.year}{g('ys')}{new.month:02d}"
    if g("fa"):
        a, b = int(g("fa")), int(g("fb"))
        first_is_month = a <= 12
        new = date(2001, a if first_is_month else b, b if first_is_month else a) + step
        pair = (new.month, new.day) if first_is_month else (new.day, new.month)
        return g("fs").join(_number(value, g("fa"), g("fb")) for value in pair)
    if g("hn"):
        month, day = HOLIDAYS[g("hn").lower().replace("’", "'")]
        new = date(2001, month, day) + step
        return _cased(MONTHS[new.month - 1], g("hn")[:1] + "x") + f" {new.day}"
    if g("wn"):
        old = g("wn")
        index = next(i for i, day_name in enumerate(WEEKDAYS) if day_name.startswith(old.lower()[:3]))
        name = WEEKDAYS[(index + days) % 7]
        return _cased(name if len(old) > 5 else name[:3], old)
    if kind == "o":
        new = date(2001, _month(g("on")), 15) + step
        return _named(g("on"), new.month)
    raise _UnreadableError


def _numeric(m: re.Match[str], step: timedelta) -> str:
    a, b, year = int(m["na"]), int(m["nb"]), full_year(m["ny"])
    first_is_month = a <= 12
    new = date(year, a if first_is_month else b, b if first_is_month else a) + step
    pair = (new.month, new.day) if first_is_month else (new.day, new.month)
    like = (m["na"], m["nb"])
    return f"{_number(pair[0], *like)}{m['ns']}{_number(pair[1], *like)}{m['nt']}{_written_year(new.year, m['ny'])}"


def _day_month(m: re.Match[str], step: timedelta) -> str:
    year = full_year(m["dy"]) if m["dy"] else 2001
    month = _month(m["dn"])
    first = date(year, month, int(m["da"])) + step
    tail = m["dt"] + (_written_year(first.year, m["dy"]) if m["dy"] else "")
    start = _number(first.day, m["da"]) + _ordinal(first.day, m["do"])
    if m["db"]:
        last = date(year, month, int(m["db"])) + step
        if last.month != first.month:
            start += f" {_named(m['dn'], first.month)}"
        return (
            f"{start}{m['dr']}{_number(last.day, m['db'])}{_ordinal(last.day, m['dq'])}"
            f"{m['ds']}{_named(m['dn'], last.month)}{tail}"
        )
    return f"{start}{m['ds']}{_named(m['dn'], first.month)}{tail}"


def _month_day(m: re.Match[str], step: timedelta) -> str:
    year = full_year(m["my"]) if m["my"] else 2001
    month = _month(m["mn"])
    first = date(year, month, int(m["ma"])) + step
    out = _named(m["mn"], first.month) + m["ms"] + _number(first.day, m["ma"]) + _ordinal(first.day, m["mo"])
    if m["mb"]:
        last = date(year, month, int(m["mb"])) + step
        other = "" if last.month == first.month else f"{_named(m['mn'], last.month)} "
        out += m["mr"] + other + _number(last.day, m["mb"]) + _ordinal(last.day, m["mq"])
    if m["my"]:
        out += m["mt"] + _written_year(first.year, m["my"])
    return out
