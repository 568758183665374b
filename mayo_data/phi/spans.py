"""One merge step: whatever the recognizers say, the result never overlaps and never covers half a word."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from mayo_data import assets
from mayo_data.types import PhiSpan

_SPACE = re.compile(r"[ \t]{1,2}")
_WORDS = re.compile(r"\w")


@cache
def families() -> dict[str, str]:
    """Category to the family whose overlapping spans are one thing.

    >>> families()["STAFF"] == families()["PATIENT"]
    True
    """
    return {name: entry["family"] for name, entry in assets.toml("schemas", "phi", "categories.toml").items()}


def whole(text: str, start: int, end: int) -> tuple[int, int]:
    """Widen a span so that it cuts no run of letters and no run of digits; leave white space out.

    Letters next to digits stay cut: `92F` is an age and a sex, `MRN12345` a label and a number.

    >>> whole("Johnson 1234", 1, 10)
    (0, 12)
    """
    size = len(text)
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if start == end:
        return start, end
    while start > 0 and _same(text[start - 1], text[start]):
        start -= 1
    while end < size and _same(text[end - 1], text[end]):
        end += 1
    return start, end


def _same(a: str, b: str) -> bool:
    return (a.isalpha() and b.isalpha()) or (a.isdigit() and b.isdigit())


def merge(spans: Iterable[PhiSpan], text: str) -> list[PhiSpan]:
    """Return sorted spans that never overlap, never cut a word, and cover all that the input covered.

    A span inside another disappears; overlapping spans of one family become one; of two that overlap
    otherwise the stronger keeps its bounds and the weaker its rest. Neighbouring parts of one name are
    joined.

    Args:
        spans: What the recognizers found, in any order.
        text: The text they are in.

    >>> merge([PhiSpan(0, 4, "PATIENT", "a", 1.0), PhiSpan(5, 8, "PATIENT", "b", 0.5)], "Jane Doe")
    [PhiSpan(start=0, end=8, category='PATIENT', recognizer='a', score=1.0)]
    """
    family = families()
    widened: list[PhiSpan] = []
    for span in spans:
        start, end = max(span.start, 0), min(span.end, len(text))
        if start < end:  # a site's own recognizer may say anything
            start, end = whole(text, start, end)
        if start < end:
            widened.append(span if (start, end) == span[:2] else span._replace(start=start, end=end))
    widened.sort(key=lambda s: (s.start, -s.end, -s.score))
    kept: list[PhiSpan] = []
    for span in widened:
        while kept and kept[-1].end > span.start:
            last = kept[-1]
            if span.end <= last.end:
                if span.score > last.score and (span.start, span.end) == last[:2]:
                    kept[-1] = span
                break
            if last.start == span.start or family.get(last.category) == family.get(span.category):
                best = max(last, span, key=lambda s: (s.score, s.end - s.start))
                kept.pop()
                span = best._replace(start=min(last.start, span.start), end=max(last.end, span.end))
                continue
            if last.score >= span.score:
                span = span._replace(start=last.end)
            elif last.start >= span.start:  # the rest of a longer one, and all of it inside
                kept.pop()
                continue
            else:
                kept[-1] = last._replace(end=span.start)
            break
        else:
            kept.append(span)
            continue
        if span.start >= kept[-1].end:
            trimmed = _trim(span, text)
            if trimmed is not None:
                kept.append(trimmed)
    return _join([s for k in kept if (s := _trim(k, text)) is not None], text, family)


def _trim(span: PhiSpan, text: str) -> PhiSpan | None:
    """Cut white space off a rest; a rest without a letter or digit is none."""
    piece = text[span.start : span.end]
    if not _WORDS.search(piece):
        return None
    start = span.start + len(piece) - len(piece.lstrip())
    end = span.end - len(piece) + len(piece.rstrip())
    return span if (start, end) == (span.start, span.end) else span._replace(start=start, end=end)


def _join(spans: list[PhiSpan], text: str, family: dict[str, str]) -> list[PhiSpan]:
    joined: list[PhiSpan] = []
    for span in spans:
        if joined and family.get(span.category) == "person":
            last = joined[-1]
            if family.get(last.category) == "person" and span.start - last.end <= 2:
                gap = text[last.end : span.start]
                initial = last.end - last.start == 1 or not text[last.end - 2].isalnum()
                alike = last.category == span.category or min(last.score, span.score) < 0.7
                if not gap or (alike and (_SPACE.fullmatch(gap) or (initial and gap in (".", ". ")))):
                    best = last if last.score >= span.score else span
                    joined[-1] = best._replace(start=last.start, end=span.end)
                    continue
        joined.append(span)
    return joined
