"""The events of a batch while they are collected: what each says, and in which place of a timeline.

An event is two tuples. Its `Fact` is what the element itself says, the same wherever it stands; its `Place` is
what it shares with others of one resource: time, encounter, status. So facts can be remembered, and a place is
written once.
"""

from __future__ import annotations

import re
from typing import Any

from mayo_data.events.elements import whole
from mayo_data.events.times import Moment
from mayo_data.events.values import NOTHING, Value

Fact = tuple[str | None, float | None, str | None, str | None, str | None, str | None, list[str] | None]
"""One event's own part, in the order of `FACT`."""

Place = tuple[int, int | None, int | None, str | None, int | None, int | None, str | None, int | None, str | None]
"""What events share, in the order of `PLACE`."""

FACT = ("code", "numeric_value", "value_text", "text_value", "unit", "description", "parent_codes")
PLACE = (
    "origin",  # which row of the batch it came from
    "time",
    "end_time",
    "status",
    "encounter_id",
    "available_time",
    "time_precision",
    "utc_offset",
    "fate",
)
WITHDRAWN = "entered-in-error"

_ENCOUNTER = re.compile(r"(?:Encounter/)?([0-9a-f]{16})", re.ASCII)
_WRITTEN = re.compile(rb'\[?\{"reference":"Encounter/([0-7][0-9a-f]{15})"\}\]?')
_NO_FACT: Fact = (None, None, None, None, None, None, None)


class Rows:
    """Events in the order of the source; `counts[i]` of them stand at `places[i]`.

    >>> rows = Rows()
    >>> rows.add(0, "MEDS_BIRTH", (0, "day", None))
    >>> rows.facts[0][0], rows.places[0][:2], rows.counts
    ('MEDS_BIRTH', (0, 0), [1])
    """

    __slots__ = ("counts", "facts", "places")

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.places: list[Place] = []
        self.counts: list[int] = []

    def __len__(self) -> int:
        return len(self.facts)

    def add(
        self,
        origin: int,
        code: str,
        moment: Moment | None = None,
        *,
        value: Value = NOTHING,
        status: str | None = None,
        encounter: int | None = None,
        available: int | None = None,
        description: str | None = None,
        parents: list[str] | None = None,
    ) -> None:
        """Add one event; for mappings off the hot path, which spells the tuples out."""
        time, precision, offset = moment or (None, None, None)
        self.facts.append((code, *value, description, parents))
        self.places.append((origin, time, None, status, encounter, available, precision, offset, None))
        self.counts.append(1)

    def end(self, origin: int, fate: str) -> None:
        """Add a row that is no event and says why."""
        self.facts.append(_NO_FACT)
        self.places.append((origin, None, None, None, None, None, None, None, fate))
        self.counts.append(1)


def encounter_ids(value: Any) -> tuple[int, ...]:
    """Return the different encounters that references name.

    >>> encounter_ids([{"reference": "Encounter/00000000000000ff"}, {"display": "a visit"}])
    (255,)
    """
    named: dict[int, None] = {}
    for one in value if type(value) is list else [value]:
        reference = one.get("reference") if type(one) is dict else one
        match = _ENCOUNTER.fullmatch(reference) if type(reference) is str else None
        if match:
            named[int(match.group(1), 16)] = None
    return tuple(number for number in named if number < 1 << 63)


def encounter_id(value: Any) -> int | None:
    """Return the encounter that a reference names; of several, only where all name the same.

    >>> encounter_id({"reference": "Encounter/00000000000000ff"})
    255
    """
    named = encounter_ids(value)
    return named[0] if len(named) == 1 else None


def read_encounters(raw: bytes) -> tuple[int, ...]:
    """Read what `encounter_ids` does, from bytes: a reference as the scrub writes it is not decoded.

    >>> read_encounters(b'[{"reference":"Encounter/00000000000000ff"}]')
    (255,)
    """
    match = _WRITTEN.fullmatch(raw)
    return (int(match.group(1), 16),) if match else encounter_ids(whole(raw))
