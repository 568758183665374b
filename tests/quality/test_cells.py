"""Small cells stay unknown to whoever knows everything else that was published."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mayo_data.quality.cells import SMALLEST, small, withheld

COUNTS = st.lists(st.one_of(st.integers(0, 30), st.integers(0, 2000)), min_size=1, max_size=12)


def unknown(counts: list[int], hidden: list[bool]) -> tuple[int, int]:
    """What the total and the cells shown tell: how many cells are withheld, and their sum."""
    shown = sum(count for count, gone in zip(counts, hidden, strict=True) if not gone)
    return sum(hidden), sum(counts) - shown


@given(COUNTS)
def test_no_small_cell_is_shown_or_follows_from_the_total(counts: list[int]) -> None:
    hidden = withheld(counts, total_shown=not small(sum(counts)))
    assert not [count for count, gone in zip(counts, hidden, strict=True) if small(count) and not gone]
    many, rest = unknown(counts, hidden)
    if any(hidden) and not small(sum(counts)) and not all(hidden):
        assert many >= 2
        assert not small(rest)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=10))
def test_what_a_part_leaves_over_is_hidden_too(pairs: list[tuple[int, int]]) -> None:
    parts = [min(pair) for pair in pairs]
    wholes = [max(pair) for pair in pairs]
    hidden = withheld(parts, wholes, total_shown=not small(sum(parts), sum(wholes)))
    for part, whole, gone in zip(parts, wholes, hidden, strict=True):
        assert gone or not (small(part) or small(whole - part))
    if any(hidden) and not all(hidden) and not small(sum(parts), sum(wholes)):
        many, rest = unknown(parts, hidden)
        left = sum(whole for whole, gone in zip(wholes, hidden, strict=True) if gone)
        assert many >= 2
        assert not small(rest, left)


@given(COUNTS)
def test_nothing_is_withheld_without_need(counts: list[int]) -> None:
    if not any(small(count) for count in counts):
        assert not any(withheld(counts))


def test_the_next_smallest_goes_with_a_lone_small_cell() -> None:
    assert withheld([500, 3, 80, 40]) == [False, True, False, True]
    assert withheld([500, 3, 80, 40], total_shown=False) == [False, True, False, False]
    assert withheld([500, 6, 5]) == [False, True, True]  # together 11: no small cell
    assert withheld([500, 3, 5]) == [True, True, True]  # together 8: that would be one
    assert withheld([500, 3, 0]) == [True, True, False]  # an empty cell hides nothing
    assert withheld([4]) == [True]
    assert SMALLEST == 11
