"""Exact intervals for few events: leaks in some notes, notes with a leak. No approximation by a bell curve.

Sources: Garwood 1936 (Poisson), Clopper and Pearson 1934 (binomial), Fay and Feuer 1997 (weighted sums of Poisson
counts; with equal weights the same as Garwood's).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

_TINY = 1e-300
_STEPS = 200


def poisson(count: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of Garwood for the mean of a Poisson count.

    Args:
        count: What was counted.
        level: How sure, 0 to 1.

    >>> [round(end, 3) for end in poisson(0)], [round(end, 3) for end in poisson(10)]
    ([0.0, 3.689], [4.795, 18.39])
    """
    return weighted([1.0], [count], level)


def weighted(weights: Sequence[float], counts: Sequence[int], level: float = 0.95) -> tuple[float, float]:
    """Return the interval of Fay and Feuer for a weighted sum of the means of independent Poisson counts.

    It is conservative: it holds the truth at least as often as it says.

    Args:
        weights: What one event of each stratum stands for.
        counts: What was counted in each stratum.
        level: How sure, 0 to 1.

    >>> [round(end, 2) for end in weighted([10.0, 1.0], [0, 4])]
    [1.09, 39.89]
    """
    beyond = (1 - level) / 2
    total = sum(weight * count for weight, count in zip(weights, counts, strict=True))
    spread = sum(weight * weight * count for weight, count in zip(weights, counts, strict=True))
    most = max(weights)
    low = 0.0
    if total > 0:
        low = spread / total * _gamma_quantile(beyond, total * total / spread)
    total, spread = total + most, spread + most * most
    return low, spread / total * _gamma_quantile(1 - beyond, total * total / spread)


def binomial(hits: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of Clopper and Pearson for a share.

    Args:
        hits: How many.
        total: Of how many.
        level: How sure, 0 to 1.

    >>> [round(end, 4) for end in binomial(0, 100)], [round(end, 4) for end in binomial(5, 100)]
    ([0.0, 0.0362], [0.0164, 0.1128])
    """
    if total == 0:
        return 0.0, 1.0
    beyond = (1 - level) / 2
    low = 0.0 if hits == 0 else _solve(lambda p: _beta(p, hits, total - hits + 1), beyond, 0.0, 1.0)
    high = 1.0 if hits == total else _solve(lambda p: _beta(p, hits + 1, total - hits), 1 - beyond, 0.0, 1.0)
    return low, high


def _solve(function: Callable[[float], float], target: float, low: float, high: float) -> float:
    """Where a rising function reaches a value."""
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if function(middle) < target:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _gamma_quantile(share: float, shape: float) -> float:
    high = shape + 10 * math.sqrt(shape) + 10
    while _gamma(high, shape) < share:
        high *= 2
    return _solve(lambda x: _gamma(x, shape), share, 0.0, high)


def _gamma(x: float, a: float) -> float:
    """Regularised lower incomplete gamma function: a series for small x, a continued fraction beyond."""
    if x <= 0:
        return 0.0
    scale = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        n = a
        while abs(term) > abs(total) * 1e-16:
            n += 1
            term *= x / n
            total += term
        return min(1.0, total * scale)
    return max(0.0, 1.0 - scale * _fraction(lambda i: -i * (i - a), lambda i: x + 2 * i + 1 - a))


def _beta(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1.0 - _beta(1 - x, b, a)
    scale = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a

    def over(i: int) -> float:
        m = i // 2
        if i % 2 == 0:
            return m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        return -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))

    return scale * _fraction(over, lambda _: 1.0)


def _fraction(over: Callable[[int], float], under: Callable[[int], float]) -> float:
    """1 / (b0 + a1 / (b1 + a2 / ...)) by the method of Lentz."""
    d = 1 / (under(0) or _TINY)
    c, value = 1 / _TINY, d
    for i in range(1, 10_000):
        a, b = over(i), under(i)
        d = 1 / ((b + a * d) or _TINY)
        c = (b + a / c) or _TINY
        step = c * d
        value *= step
        if abs(step - 1) < 1e-15:
            break
    return value
