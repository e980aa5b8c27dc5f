"""Paired differences over seeds, Student's t-test, and Holm's correction."""

from __future__ import annotations

import math
from statistics import fmean, stdev
from typing import NamedTuple

from scipy.stats import t as student

__all__ = ["Difference", "difference", "holm"]


class Difference(NamedTuple):
    """Mean, standard deviation, number and two-sided p of paired differences."""

    mean: float
    sd: float
    n: int
    p: float


def difference(values, others):
    """Return `values` - `others`, two mappings from seed, over the seeds of both.

    t = mean / (sd / sqrt(n)) with n - 1 degrees of freedom. One seed alone, or the
    same difference in every seed, has no standard error: p is 1 if that difference is
    0 or there is one seed, else 0.
    """
    pairs = [values[seed] - others[seed] for seed in sorted(values.keys() & others)]
    n, mean = len(pairs), fmean(pairs)
    sd = stdev(pairs) if n > 1 else 0.0
    if sd == 0:
        return Difference(mean, sd, n, 0.0 if n > 1 and mean else 1.0)
    p = 2 * student.sf(abs(mean) / (sd / math.sqrt(n)), n - 1)
    return Difference(mean, sd, n, float(p))


def holm(ps):
    """Return the p of each of a family of tests such that the family errs as one.

    The i-th smallest of m is multiplied by m - i, i from 0, is at least the one before
    and at most 1. Holm, A simple sequentially rejective multiple test procedure,
    Scandinavian Journal of Statistics 6, 1979.
    """
    out, highest = [0.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[index]))
        out[index] = highest
    return out
