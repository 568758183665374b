"""The many ways in which people write a date."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


def _ordinal(day: int) -> str:
    return f"{day}{'th' if 10 < day < 14 else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"


FORMS: dict[str, Callable[[date], str]] = {
    "us": lambda d: f"{d:%m/%d/%Y}",
    "us2": lambda d: f"{d.month}/{d.day}/{d:%y}",
    "md": lambda d: f"{d.month}/{d.day}",
    "md0": lambda d: f"{d:%m/%d}",
    "iso": lambda d: d.isoformat(),
    "compact": lambda d: f"{d:%Y%m%d}",
    "long": lambda d: f"{_MONTHS[d.month - 1]} {d.day}, {d.year}",
    "short": lambda d: f"{_MONTHS[d.month - 1][:3]} {d.day}",
    "ord": lambda d: f"{_MONTHS[d.month - 1][:3]} {_ordinal(d.day)}",
    "longord": lambda d: f"{_MONTHS[d.month - 1]} {_ordinal(d.day)}, {d.year}",
    "eu": lambda d: f"{d.day} {_MONTHS[d.month - 1]} {d.year}",
    "eu2": lambda d: f"{d.day:02d}.{d.month:02d}.{d.year}",
    "mil": lambda d: f"{d.day:02d}{_MONTHS[d.month - 1][:3].upper()}{d.year}",
    "dash": lambda d: f"{d.day:02d}-{_MONTHS[d.month - 1][:3]}-{d.year}",
    "dow": lambda d: _DAYS[d.weekday()],
    "dowlong": lambda d: f"{_DAYS[d.weekday()]}, {_MONTHS[d.month - 1]} {_ordinal(d.day)}, {d.year}",
    "dowab": lambda d: f"{_DAYS[d.weekday()][:3]} {d.month}/{d.day}",
    "my": lambda d: f"{_MONTHS[d.month - 1]} {d.year}",
    "mys": lambda d: f"{d.month:02d}/{d.year}",
    "y": lambda d: str(d.year),
}
WHOLE = ["us", "us", "us2", "iso", "long", "longord", "eu", "mil", "dash", "compact", "eu2"]
