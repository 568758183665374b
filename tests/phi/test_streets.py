from __future__ import annotations

import pytest

from mayo_data.phi.streets import find
from mayo_data.phi.words import Words, fold


def streets(text: str) -> list[str]:
    return sorted({text[span.start : span.end] for span in find(text, Words(fold(text)))})


@pytest.mark.parametrize(
    "street",
    [
        "4127 Pelham Mill Road, Apt. 12B",
        "32 W. 118th St. #5F",
        "1610 Camino del Monte Sol",
        "88 Avenue of the Pines",
        "14 Rue Lafitte",
        "2200 Old Route 9 North, Suite 300",
        "N6712 County Road XX",
        "Rt 4 Box 212-C",
        "R.R. 2, Box 88",
        "PO Box 4471",
        "PSC 1437, Box 3833",
        "I-84 near exit 31",
        "550 First Ave, 4th Floor",
    ],
)
def test_the_whole_address_is_one_span(street: str) -> None:
    assert streets(f"Mail to {street}.") == [street]


@pytest.mark.parametrize(
    "text",
    [
        "L 28 Fr CT placed",
        "ext. 2210\n\nNARRATIVE\nPt was moved",
        "2 tablets by way of mouth",
        "20 mg via G tube",
        "10 of the court forms",
    ],
)
def test_kept(text: str) -> None:
    assert streets(text) == []
