"""The full name of a facility or organisation as one span: its middle parts, its kind, its legal form."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from mayo_data.phi.words import fold
from mayo_data.types import PhiSpan

_MORE = re.compile(r"(?P<gap>[ \t](?:(?:&|and|of|for|at|the|de|la)[ \t]){0,2})(?P<w>[^\W\d_][\w'’.-]*)")
_HANGING = re.compile(r"(?:[ \t](?:&|and|of|for|at|the|de|la))+$")
_OF = re.compile(r"[ \t](?:for|of)[ \t](?:the[ \t])?[A-Z]")
_PAPER = re.compile(
    r"[ \t](?:note|visit|report|summary|letter|progress|record|chart|consult|phone|fax|tel|address|mrn)", re.IGNORECASE
)
_LEGAL = re.compile(
    r",?[ \t](?:P\.[ ]?[AC]\.|P\.L\.L\.C\.|L\.L\.C\.|L\.L\.P\.|PLLC|LLC|LLP|Inc\.?|Ltd\.?|S\.C\.|N\.A\.)(?!\w)"
    r"|,[ \t](?:PC|PA|SC)(?![\w]|[ \t]\d)"
)
_KINDS = frozenset(
    [
        "academy", "agency", "apothecary", "associates", "bank", "care", "cardiology", "center", "centers", "centre",
        "church", "clinic", "clinics", "college", "community", "company", "cooperative", "co-op", "corporation",
        "dental", "dentistry", "department", "dermatology", "diagnostics", "dialysis", "drug", "drugs", "ems", "eye",
        "facility", "facilities", "foundation", "gardens", "group", "health", "healthcare", "home", "homes",
        "hospice", "hospital", "hospitals", "house", "imaging", "industries", "infirmary", "institute", "insurance",
        "lab", "laboratories", "laboratory", "labs", "living", "lodge", "manor", "medicine", "ministries", "network",
        "neurology", "nephrology", "obstetrics", "oncology", "ophthalmology", "optical", "optometry", "orthopaedics",
        "orthopedics", "partners", "pavilion", "pediatrics", "pharmacy", "physicians", "place", "practice",
        "psychiatry", "pulmonology", "radiology", "rehab", "rehabilitation", "residence", "school", "services",
        "shelter", "specialists", "sport", "sports", "store", "supply", "surgery", "surgeons", "system", "systems",
        "terrace", "therapy", "university", "urology", "village", "villa", "wellness",
    ]
)  # fmt: skip
_HEADS = frozenset(["center", "centre", "institute", "hospital", "school", "college", "university", "clinic"])
_MOST = 6  # words


def completed(text: str, spans: Iterable[PhiSpan]) -> Iterator[PhiSpan]:
    """Yield spans, each facility and organisation with the rest of its name.

    Args:
        text: The text.
        spans: What was found in it.

    >>> text = "Seen at Northfen Spine & Sports Medicine, P.A. for pain."
    >>> [text[s.start : s.end] for s in completed(text, [PhiSpan(8, 24, "HOSPITAL", "model", 0.7)])]
    ['Northfen Spine & Sports Medicine, P.A.']
    """
    found = list(spans)
    starts = {span.start for span in found}
    for span in found:
        if span.category not in ("HOSPITAL", "ORG") or not starts.isdisjoint((span.end, span.end + 1)):
            yield span
            continue
        end = _end(text, span.start, span.end)
        yield span if end == span.end else span._replace(end=end)


def _end(text: str, start: int, end: int) -> int:
    hanging = _HANGING.search(text, start, end)
    if hanging is not None and hanging.start() > start:
        end = hanging.start()
    last = fold(text[start:end].rsplit(None, 1)[-1]).strip(".,")
    shouted = text[start:end].isupper()
    at = best = end
    every = last in _HEADS and _OF.match(text, end) is not None
    for _ in range(_MOST):
        more = _MORE.match(text, at)
        if more is None or not more["w"][0].isupper() or (more["w"].isupper() != shouted and len(more["w"]) > 3):
            break
        if best == end and last in _KINDS and not every and len(more["gap"]) == 1:
            break  # it has its kind already: what follows is a heading
        at = more.end("w")
        word = fold(more["w"]).rstrip(".")
        if every or (word in _KINDS and not (_PAPER.match(text, at) and best > end)):
            best = at - (more["w"].endswith(".") and len(word) > 3)
        elif word.endswith("."):
            break
        if more["w"].endswith(".") and len(word) > 3:
            break
    legal = _LEGAL.match(text, best)
    return legal.end() if legal is not None else best
