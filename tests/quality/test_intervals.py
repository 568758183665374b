"""Exact intervals: the published values, and at least the cover that they promise."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mayo_data.quality.intervals import binomial, poisson, weighted

# Garwood 1936 by chi-square: Ulm 1990, Am J Epidemiol 131:373, table of 95 % limits for a Poisson mean.
GARWOOD = {0: (0.0, 3.689), 1: (0.025, 5.572), 2: (0.242, 7.225), 5: (1.623, 11.668), 10: (4.795, 18.390),
           50: (37.111, 65.919), 100: (81.364, 121.627)}  # fmt: skip
# Clopper and Pearson 1934, as R's binom.test gives them.
BINOMIAL = {(0, 10): (0.0, 0.3085), (1, 10): (0.0025, 0.4450), (5, 10): (0.1871, 0.8129), (7, 20): (0.1539, 0.5922),
            (81, 263): (0.2527, 0.3676), (100, 100): (0.9638, 1.0)}  # fmt: skip


@pytest.mark.parametrize("count", GARWOOD)
def test_a_poisson_count(count: int) -> None:
    assert poisson(count) == pytest.approx(GARWOOD[count], abs=6e-4)


@pytest.mark.parametrize("pair", BINOMIAL)
def test_a_share(pair: tuple[int, int]) -> None:
    assert binomial(*pair) == pytest.approx(BINOMIAL[pair], abs=6e-5)


def test_nothing_looked_at_says_nothing() -> None:
    assert binomial(0, 0) == (0.0, 1.0)


@settings(max_examples=60)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.floats(0.01, 100))
def test_equal_weights_are_the_interval_of_garwood(counts: list[int], weight: float) -> None:
    low, high = weighted([weight] * len(counts), counts)
    assert (low / weight, high / weight) == pytest.approx(poisson(sum(counts)), rel=1e-6)


@settings(max_examples=60)
@given(st.integers(0, 60), st.integers(1, 60))
def test_an_end_of_a_share_is_where_the_count_becomes_unlikely(hits: int, more: int) -> None:
    total = hits + more

    def at_most(share: float) -> float:
        return sum(math.comb(total, k) * share**k * (1 - share) ** (total - k) for k in range(hits + 1))

    _, high = binomial(hits, total)
    assert at_most(high) == pytest.approx(0.025, abs=1e-6)


@settings(max_examples=40)
@given(st.integers(1, 400))
def test_an_end_of_a_count_is_where_it_becomes_unlikely(count: int) -> None:
    _, high = poisson(count)
    below = sum(math.exp(k * math.log(high) - high - math.lgamma(k + 1)) for k in range(count + 1))
    assert below == pytest.approx(0.025, abs=1e-6)
