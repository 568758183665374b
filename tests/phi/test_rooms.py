from __future__ import annotations

import pytest

from mayo_data.phi.rooms import find
from mayo_data.phi.words import Words, fold


def rooms(text: str) -> set[str]:
    return {text[span.start : span.end] for span in find(text, Words(fold(text)))}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Room 412B, calm", {"412B"}),
        ("bed 702-A", {"702-A"}),
        ("RM 7-114A last night", {"7-114A"}),
        ("LOC: 512B\n", {"512B"}),
        ("Location: 5 West 522-1", {"5 West 522-1"}),
        ("OR 9 at 0730", {"9"}),
        ("moved to cath lab 2.", {"2"}),
        ("pod C, bed 21", {"C", "21"}),
        ("Chair 11 at dialysis", {"11"}),
        ("PV1|1|I|4E^412^B|U", {"4E^412^B"}),
        ("on 4 North overnight", {"4 North"}),
        ("MICU 18, then 4W-212", {"18", "4W-212"}),
    ],
)
def test_found(text: str, wanted: set[str]) -> None:
    assert rooms(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "Take 1 OR 2 tablets",
        "GIVE 5 OR 10 MG",
        "chair 10 times",
        "lab 4.2",
        "room air 94%",
        "OR 2.5 (95% CI 1.1-4.0)",
        "bed rest for 3 days",
        "location: left lower lobe",
        "lab 3 months ago",
    ],
)
def test_kept(text: str) -> None:
    assert rooms(text) == set()
