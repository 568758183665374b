"""Writes dates in every form of the templates."""

from __future__ import annotations

import random
from datetime import date, timedelta

from mayo_data.phi.training.lists import listed

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_COMMON = (
    ("mdy", 30), ("mdy2", 22), ("md", 12), ("long", 10), ("mon", 5), ("iso", 6), ("dmon", 4), ("long_md", 3),
    ("weekday", 3), ("month_year", 2), ("mon_d", 2), ("dmy", 1),
)  # fmt: skip


class Moments:
    """Dates of one document: mostly near each other and mostly in one form.

    Args:
        rng: The document's random numbers.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.today = date(rng.randint(1998, 2029), 1, 1) + timedelta(days=rng.randrange(365))
        self._style = rng.choices([name for name, _ in _COMMON], [weight for _, weight in _COMMON])[0]
        self._zero = rng.random() < 0.5
        self._short = rng.random() < 0.5

    def draw(self, form: str) -> date:
        """Return a date of the document.

        Args:
            form: `dob` for a birth date.
        """
        rng = self._rng
        if form == "dob":
            return date(rng.randint(1925, 2022), 1, 1) + timedelta(days=rng.randrange(365))
        far = rng.choice((5, 30, 90, 400, 400, 3000))
        return self.today + timedelta(days=rng.randint(-far, far // 3))

    def write(self, day: date, form: str) -> str:
        """Return a date in a form of `templates.FORMS`.

        Args:
            day: Which date.
            form: Which form; empty for one that is common.
        """
        rng = self._rng
        if not form:
            form = (
                self._style if rng.random() < 0.75 else rng.choices([n for n, _ in _COMMON], [w for _, w in _COMMON])[0]
            )
        if form == "dob":
            form = rng.choice(("mdy", "mdy", "mdy", "mdy2", "long", "iso", "dmon", "dash", "mon"))
        m, d, y = day.month, day.day, day.year
        mm, dd = (f"{m:02}", f"{d:02}") if self._zero else (str(m), str(d))
        yy = f"{y % 100:02}"
        month, short = MONTHS[m - 1], MONTHS[m - 1][:3]
        if form == "mon_d" or form == "mon":
            short = "Sept" if m == 9 and rng.random() < 0.4 else short
            short += "." if rng.random() < 0.15 and m != 5 else ""
        th = "th" if 10 < d < 20 else {1: "st", 2: "nd", 3: "rd"}.get(d % 10, "th")
        later = day + timedelta(days=rng.randint(1, 9))
        hour = f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}"
        if form == "mdy":
            return rng.choice((f"{mm}/{dd}/{y}", f"{m:02}/{d:02}/{y}"))
        if form == "mdy2":
            return f"{mm}/{dd}/{yy}"
        if form == "md":
            return f"{mm}/{dd}" if rng.random() < 0.95 else f"{mm}-{dd}"
        if form == "my":
            return rng.choice((f"{mm}/{y}", f"{m:02}/{y}", f"{mm}/{yy}"))
        if form == "long":
            return rng.choice((f"{month} {d}, {y}", f"{month} {d}, {y}", f"{month} {d} {y}", f"{month} {d}{th}, {y}"))
        if form == "long_md":
            return rng.choice((f"{month} {d}{th}", f"{month} {d}{th}", f"{month} {d}", f"{d}{th} of {month}"))
        if form == "mon":
            return rng.choice((f"{short} {d}, {y}", f"{short} {d} {y}", f"{short} {d}, '{yy}"))
        if form == "dmon":
            short = short.upper() if self._short else short
            return rng.choice((f"{d:02}-{short}-{y}", f"{d}-{short}-{y}", f"{d:02}-{short}-{yy}", f"{d} {short} {y}"))
        if form == "dmy":
            return f"{d} {month} {y}"
        if form == "month_year":
            return rng.choice((f"{month} {y}", f"{month} {y}", f"{month} of {y}", f"{short} {y}", f"{month}, {y}"))
        if form == "month":
            return month if rng.random() < 0.85 else short
        if form == "mon_d":
            return rng.choice((f"{short} {d}", f"{short} {d}", f"{short} {dd}", f"{d} {short}"))
        if form == "iso":
            return f"{y}-{m:02}-{d:02}" if rng.random() < 0.93 else f"{y}/{m:02}/{d:02}"
        if form == "iso_time":
            return f"{y}-{m:02}-{d:02}" + rng.choice(
                (f"T{hour}", f" {hour}", f"T{hour}:{rng.randint(0, 59):02}Z", f"T{hour}:00-0{rng.randint(4, 8)}:00")
            )
        if form == "hl7":
            return f"{y}{m:02}{d:02}"
        if form == "hl7_time":
            return f"{y}{m:02}{d:02}{hour.replace(':', '')}" + rng.choice(("", f"{rng.randint(0, 59):02}"))
        if form == "weekday":
            return _DAYS[day.weekday()]
        if form == "wd":
            name = _DAYS[day.weekday()]
            return rng.choice((name[:3], name[:3], name[:4] if name[0] == "T" else name[:3], name[:3] + "."))
        if form == "weekday_date":
            name = _DAYS[day.weekday()]
            return rng.choice(
                (
                    f"{name}, {month} {d}",
                    f"{name}, {month} {d}, {y}",
                    f"{name} {m}/{d}",
                    f"{name[:3]} {m}/{d}",
                    f"{name[:3]}, {short} {d}",
                    f"{name} {month} {d}{th}",
                )
            )
        if form == "holiday":
            return rng.choice(listed("patterns", "holiday"))
        if form == "military":
            return rng.choice(
                (f"{d:02}{short.upper()}{yy}", f"{d:02}{short.upper()}{y}", f"{d:02} {short.upper()} {yy}")
            )
        if form == "day_ord":
            return f"the {d}{th}" if rng.random() < 0.85 else f"{d}{th}"
        if form == "range":
            return rng.choice(
                (
                    f"{m}/{d}-{later.month}/{later.day}",
                    f"{m}/{d} - {later.month}/{later.day}",
                    f"{m}/{d}/{yy}-{later.month}/{later.day}/{later.year % 100:02}",
                    f"{mm}/{dd}/{y} - {later.month:02}/{later.day:02}/{later.year}",
                    f"{m}/{d} to {later.month}/{later.day}",
                )
            )
        if form == "range_long":
            end = str(later.day) if later.month == m else f"{MONTHS[later.month - 1]} {later.day}"
            return rng.choice(
                (f"{month} {d}-{end}", f"{month} {d} - {end}", f"{month} {d} to {end}", f"{month} {d} through {end}")
            )
        if form == "month_range":
            other = MONTHS[(m + rng.randint(0, 5)) % 12]
            return rng.choice(
                (f"{month} to {other}", f"{month}-{other}", f"{month} through {other}", f"{short}-{other[:3]}")
            )
        if form == "season":
            season = rng.choice(("spring", "summer", "fall", "winter", "autumn"))
            return rng.choice((f"{season} of {y}", f"{season} {y}", f"{season} of '{yy}", f"{season.title()} {y}"))
        if form == "dots":
            return f"{d:02}.{m:02}.{y}" if rng.random() < 0.5 else f"{mm}.{dd}.{yy}"
        if form == "dash":
            return rng.choice((f"{mm}-{dd}-{yy}", f"{mm}-{dd}-{y}", f"{m:02}-{d:02}-{y}"))
        raise KeyError(form)
