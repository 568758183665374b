from __future__ import annotations

import pytest

from mayo_data.phi.facilities import completed
from mayo_data.types import PhiSpan


@pytest.mark.parametrize(
    ("text", "found", "whole"),
    [
        ("at Quarry Bend Heart and Vascular Institute today", "Quarry Bend Heart", "Quarry Bend Heart and Vascular Institute"),
        ("to Sunny Acres Skilled Nursing Facility with PT", "Sunny Acres Skilled Nursing", "Sunny Acres Skilled Nursing Facility"),
        ("from Tarrant Lake Imaging, P.A. reviewed", "Tarrant Lake Imaging", "Tarrant Lake Imaging, P.A."),
        ("at Fenwick Center for Inherited Disease yearly", "Fenwick Center", "Fenwick Center for Inherited Disease"),
        ("at St. Brigid Hospital. Seen by", "St. Brigid Hospital", "St. Brigid Hospital"),
        ("Mercy Clinic Progress Note", "Mercy Clinic", "Mercy Clinic"),
        ("Mercy Hospital\nPharmacy called", "Mercy Hospital", "Mercy Hospital"),
        ("at Mercy Hospital and discharged", "Mercy Hospital and", "Mercy Hospital"),
    ],
)  # fmt: skip
def test_the_name_is_completed_and_no_more(text: str, found: str, whole: str) -> None:
    start = text.index(found)
    (span,) = completed(text, [PhiSpan(start, start + len(found), "HOSPITAL", "model", 0.7)])
    assert text[span.start : span.end] == whole


def test_people_stay_as_they_are() -> None:
    spans = [PhiSpan(0, 4, "PERSON", "model", 0.7)]
    assert list(completed("Jane Clinic", spans)) == spans
