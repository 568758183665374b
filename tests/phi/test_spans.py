from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mayo_data.phi.spans import families, merge
from mayo_data.types import PhiSpan


@st.composite
def _case(draw: st.DrawFn) -> tuple[str, list[PhiSpan]]:
    text = draw(st.text(alphabet="abcD1 2.,\n-é", max_size=60))
    spans = []
    for _ in range(draw(st.integers(0, 8))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, len(text)))
        category = draw(st.sampled_from(sorted(families())))
        spans.append(PhiSpan(start, end, category, "r", draw(st.sampled_from([0.5, 0.7, 0.9]))))
    return text, spans


@given(_case())
def test_merge_never_overlaps_and_covers_all_that_was_found(case: tuple[str, list[PhiSpan]]) -> None:
    text, spans = case
    merged = merge(spans, text)
    covered = set()
    for before, after in pairwise(merged):
        assert before.end <= after.start
    for span in merged:
        assert 0 <= span.start < span.end <= len(text)
        covered.update(range(span.start, span.end))
        for edge in (span.start, span.end):
            # No run of letters and no run of digits is cut, unless two spans meet there.
            if 0 < edge < len(text) and not any(
                other.start == edge or other.end == edge for other in merged if other is not span
            ):
                a, b = text[edge - 1], text[edge]
                assert not (a.isalpha() and b.isalpha())
                assert not (a.isdigit() and b.isdigit())
    for span in spans:
        for at in range(span.start, span.end):
            assert at in covered or not text[at].isalnum()


def test_merge_does_not_depend_on_the_order() -> None:
    text = "Jane Q. Doe, 12 Oak Street, Ashby MN 55901"
    spans = [
        PhiSpan(0, 4, "PATIENT", "a", 1.0),
        PhiSpan(5, 11, "PATIENT", "b", 0.8),
        PhiSpan(13, 26, "STREET", "c", 0.8),
        PhiSpan(16, 19, "PATIENT", "d", 0.9),
        PhiSpan(28, 33, "CITY", "e", 0.8),
        PhiSpan(37, 42, "ZIP", "f", 0.8),
    ]
    merged = merge(spans, text)
    assert merged == merge(spans[::-1], text)
    assert [text[s.start : s.end] for s in merged] == ["Jane Q. Doe", "12 Oak Street", "Ashby", "55901"]


def test_two_people_are_not_joined() -> None:
    text = "Doe Long"
    spans = [PhiSpan(0, 3, "PATIENT", "a", 1.0), PhiSpan(4, 8, "STAFF", "b", 1.0)]
    assert merge(spans, text) == spans


def test_a_stronger_span_over_the_rest_of_a_longer_one_leaves_no_overlap() -> None:
    text = "555-0100Ms.'x"
    spans = [
        PhiSpan(1, 8, "COUNTY", "a", 1.0),
        PhiSpan(3, 9, "AGE90", "b", 0.5),
        PhiSpan(5, 13, "MRN", "c", 1.0),
    ]
    found = merge(spans, text)
    assert all(first.end <= second.start for first, second in pairwise(found))
    assert merge([PhiSpan(40, 50, "MRN", "d", 1.0), PhiSpan(3, 1, "MRN", "d", 1.0)], text) == []
