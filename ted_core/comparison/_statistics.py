"""Paired differences over seeds, Student's t-test and Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

LEVEL = 0.05
"""A claim's corrected p is below this; intervals hold 1 - LEVEL."""

_ROUNDING = 1e-12  # of the values: differences that vary by less do not vary


@dataclass(frozen=True)
class Difference:
    """Mean of paired differences, what it may be, and a test that it is 0.

    Parameters
    ----------
    mean, sd : float
        Mean and standard deviation of the differences.
    low, high : float
        Bounds of the 95 % interval of the mean.
    n : int
        Number of pairs.
    p : float
        Two-sided p of the paired t-test, in [0, 1], not corrected for other tests.
        Where all differences are the same it is that of the sign test.
    """

    mean: float
    sd: float
    low: float
    high: float
    n: int
    p: float


def paired_difference(values: Sequence[float], others: Sequence[float]) -> Difference:
    """Return `values` minus `others`, pair by pair, by Student's t with n - 1."""
    # Where all differences are the same there is no standard error: the interval is
    # that number, and p is that of the sign test, 2^(1 - n), or 1 if the number is 0.
    mine, theirs = np.asarray(values, np.float64), np.asarray(others, np.float64)
    pairs = mine - theirs
    n, mean = int(pairs.size), float(pairs.mean())
    sd, scale = float(pairs.std(ddof=1)), float(np.abs([mine, theirs]).max())
    if sd <= _ROUNDING * scale:
        p = 1.0 if abs(mean) <= _ROUNDING * scale else 2.0 ** (1 - n)
        return Difference(mean, 0.0, mean, mean, n, p)
    error = sd / math.sqrt(n)
    half = critical_t(n - 1, LEVEL) * error
    p = two_sided_p(abs(mean) / error, n - 1)
    return Difference(mean, sd, mean - half, mean + half, n, p)


def holm(ps: Sequence[float]) -> list[float]:
    """Correct the p of a family of tests, so that it errs as one does (Holm 1979)."""
    # The i-th smallest of m, i from 0, is multiplied by m - i, is at least the one
    # before, and at most 1.
    corrected, highest = [0.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[index]))
        corrected[index] = highest
    return corrected


def two_sided_p(t: float, freedom: int) -> float:
    """Return P(|T| > t), t at least 0, for Student's t."""
    # The incomplete beta function I_x(freedom / 2, 1 / 2) at freedom / (freedom + t^2).
    square = t * t
    x, rest = freedom / (freedom + square), square / (freedom + square)
    a, b = freedom / 2, 0.5
    if x < (a + 1) / (a + b + 2):  # where the fraction converges fast
        return _beta_part(x, rest, a, b)
    return 1 - _beta_part(rest, x, b, a)


def _beta_part(x: float, rest: float, a: float, b: float) -> float:
    """Return I_x(a, b) by its continued fraction; `rest` is 1 - x."""
    # Abramowitz and Stegun, Handbook of Mathematical Functions, 26.5.8.
    if x == 0:
        return 0.0
    factor = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    factor += a * math.log(x) + b * math.log(rest)
    tail = 0.0
    for term in range(100 + 10 * math.isqrt(math.ceil(a + b)), 0, -1):
        m = term // 2
        if term % 2:
            step = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            step = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        tail = step / (1 + tail)
    return math.exp(factor) / (a * (1 + tail))


@cache
def critical_t(freedom: int, level: float) -> float:
    """Return the t with P(|T| > t) = level, by bisection."""
    low, high = 0.0, 1.0
    while two_sided_p(high, freedom) > level:
        low, high = high, 2 * high
    while low < (middle := (low + high) / 2) < high:
        if two_sided_p(middle, freedom) > level:
            low = middle
        else:
            high = middle
    return high
