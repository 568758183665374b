"""The measure itself is measured: each figure on texts where one can count by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mayo_data.phi.corpora import Document, Gold, inline
from mayo_data.phi.evaluation import Share, evaluate
from mayo_data.types import PhiSpan


class Fixed:
    """Finds what it is told to."""

    def __init__(self, *spans: tuple[int, int]) -> None:
        self.spans = [PhiSpan(*span, "PATIENT", "fixed", 1.0) for span in spans]

    def detect(self, texts: Sequence[str], known: Any = None) -> list[list[PhiSpan]]:
        return [self.spans for _ in texts]


NOTE = inline("a", "Dr. [[STAFF:Jane Doe]] in [[YEAR:2019]] ok")  # Jane Doe 4-12, 2019 at 16-20


@pytest.mark.parametrize(
    ("spans", "covered", "touched", "precision", "leaking"),
    [
        ([(4, 12)], 1, 1, 1.0, 0),
        ([(4, 8), (9, 12)], 1, 1, 1.0, 0),  # white space need not be covered
        ([(4, 8)], 0, 1, 1.0, 1),
        ([], 0, 0, 1.0, 1),
        ([(4, 12), (16, 20)], 1, 1, 1.0, 0),  # an optional span costs no precision
        ([(4, 12), (21, 23)], 1, 1, 7 / 9, 0),
    ],
)
def test_figures(spans: list[tuple[int, int]], covered: int, touched: int, precision: float, leaking: int) -> None:
    found = evaluate([NOTE], Fixed(*spans))
    assert (found.covered, found.touched, found.leaking) == (Share(covered, 1), Share(touched, 1), leaking)
    assert found.precision == pytest.approx(precision)
    assert [miss["text"] for miss in found.misses] == ([] if covered else ["Jane Doe"])


def test_the_figures_hold_no_text() -> None:
    assert "Jane" not in str(evaluate([NOTE], Fixed()).dict())


def test_clean_documents_are_counted_and_so_are_the_touched_ones() -> None:
    found = evaluate([Document("a", "all is well", []), Document("b", "ok", [])], Fixed((0, 2)))
    assert (found.clean, found.clean_touched, found.plain) == (2, 2, 11)


def test_a_record_is_handed_on_only_where_wanted() -> None:
    seen: list[Any] = []

    class Asks(Fixed):
        def detect(self, texts: Sequence[str], known: Any = None) -> list[list[PhiSpan]]:
            seen.extend(known)
            return super().detect(texts)

    document = Document("a", "x", [Gold(0, 1, "PATIENT")], {"name": "x"})
    evaluate([document], Asks())
    evaluate([document], Asks(), known=False)
    assert seen == [{"name": "x"}, None]


@given(st.integers(0, 500), st.integers(0, 500))
def test_the_interval_holds_the_share(hits: int, more: int) -> None:
    share = Share(hits, hits + more)
    low, high = share.interval
    assert 0 <= low <= share.value + 1e-9
    assert share.value - 1e-9 <= high <= 1
