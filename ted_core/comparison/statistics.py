"""Paired differences over seeds, Student's t-test and Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ted_core._validation import as_array, check_real

__all__ = ["Difference", "holm", "paired_difference"]

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

    Examples
    --------
    >>> from ted_core.comparison import paired_difference
    >>> found = paired_difference([3.0, 4.0, 6.0], [1.0, 3.0, 3.0])
    >>> found.mean, round(found.p, 3)
    (2.0, 0.074)
    """

    mean: float
    sd: float
    low: float
    high: float
    n: int
    p: float


def paired_difference(values: ArrayLike, others: ArrayLike) -> Difference:
    r"""Return `values` minus `others`, pair by pair: t = mean / (sd / sqrt(n)).

    Parameters
    ----------
    values, others : array_like of float, shape (n,)
        Finite numbers, two or more, paired by their place.

    Returns
    -------
    Difference
        By Student's t with n - 1 degrees of freedom. Where all differences are the same
        there is no standard error: the interval is that number, and p is that of the
        sign test, 2^(1 - n), or 1 if the number is 0.

    Raises
    ------
    ValueError, TypeError
        The shapes differ, there are less than two pairs, or a number is not finite.

    References
    ----------
    Student, The probable error of a mean, Biometrika 6, 1908.

    Examples
    --------
    >>> from ted_core.comparison import paired_difference
    >>> round(paired_difference([3.0, 4.0, 6.0], [1.0, 3.0, 3.0]).low, 2)
    -0.48
    """
    mine, theirs = _column("values", values), _column("others", others)
    if mine.shape != theirs.shape:
        msg = (
            f"`others` must have shape {mine.shape} like `values`, got shape "
            f"{theirs.shape}"
        )
        raise ValueError(msg)
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


def _column(
    name: str, values: ArrayLike
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    array = as_array(name, values)
    if array.ndim != 1 or array.size < 2 or array.dtype.kind not in "fiu":  # noqa: PLR2004
        msg = (
            f"`{name}` must hold two numbers or more, got {array.dtype} of shape "
            f"{array.shape}"
        )
        raise ValueError(msg)
    if not np.isfinite(array).all():
        msg = f"`{name}` must be finite, got {array[~np.isfinite(array)][0]}"
        raise ValueError(msg)
    return array.astype(np.float64)


def holm(ps: Sequence[float]) -> list[float]:
    """Correct the p of a family of tests, so that the family errs as one test does.

    Parameters
    ----------
    ps : sequence of float
        One p in [0, 1] for each test of the family.

    Returns
    -------
    list of float
        In the same order: the i-th smallest of m, i from 0, is multiplied by m - i, is
        at least the one before, and at most 1.

    Raises
    ------
    ValueError, TypeError
        One of them is no number in [0, 1].

    References
    ----------
    S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian
    Journal of Statistics 6, 1979.

    Examples
    --------
    >>> from ted_core.comparison import holm
    >>> holm([0.01, 0.5, 0.02])
    [0.03, 0.5, 0.04]
    """
    ps = [check_real("ps", p, low=0, high=1) for p in ps]
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
    """Return I_x(a, b) by its continued fraction; `rest` is 1 - x.

    Abramowitz and Stegun, Handbook of Mathematical Functions, 26.5.8.
    """
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
