from __future__ import annotations

import pytest

from mayo_data.phi.logins import find
from mayo_data.phi.words import Words, fold


def logins(text: str) -> set[str]:
    return {text[span.start : span.end] for span in find(text, Words(fold(text)))}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("username: kpellini", {"kpellini"}),
        ("Last edited by tvo14 on 5/6/2020", {"tvo14"}),
        ("entered by rnmoss", {"rnmoss"}),
        ("Abstractor: bgreene", {"bgreene"}),
        ("Charted klm RN", {"klm"}),
        ("dictated by dk, signed", {"dk"}),
        ("D: 03/04/21 T: 03/05/21 RKM/tlw", {"RKM/tlw"}),
        ("DD: 01/02/2020 DT: 01/02/2020 HGR:mmk Job 448812", {"HGR:mmk"}),
        ("plan as above\ndwp:ajc\n", {"dwp:ajc"}),
    ],
)
def test_found(text: str, wanted: set[str]) -> None:
    assert logins(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "reviewed by pharmacy and entered by nursing",
        "Signed by Dr. Okafor",
        "completed by mouth",
        "pain/dyspnea\nHR/BP stable\nn/v\nCT/MRI",
        "received by lab at 10:00",
        "5 mg/dL\n",
    ],
)
def test_kept(text: str) -> None:
    assert logins(text) == set()
