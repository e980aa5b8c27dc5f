from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ted_core.analysis import gradient_correlation

ENTRIES = st.integers(-1000, 1000).map(float)
"""Whole numbers: what differs, differs by more than rounding."""


@st.composite
def pairs(draw):
    """Two gradients (p,), neither of which has equal entries only."""
    p = draw(st.integers(2, 12))
    both = draw(arrays(float, (2, p), elements=ENTRIES))
    assume((np.ptp(both, axis=1) > 0).all())
    return both


def slow_pearson(x, y):
    """Covariance over the product of the standard deviations, by sums of numbers."""
    p = len(x)
    mean_x, mean_y = math.fsum(x) / p, math.fsum(y) / p
    cov = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    var_x = math.fsum((a - mean_x) ** 2 for a in x)
    var_y = math.fsum((b - mean_y) ** 2 for b in y)
    return cov / math.sqrt(var_x * var_y)


@settings(deadline=None)
@given(pairs())
def test_it_is_pearsons_formula(both):
    want = slow_pearson(*both.tolist())
    np.testing.assert_allclose(gradient_correlation(*both), want, atol=1e-9)


@settings(deadline=None)
@given(pairs(), st.sampled_from([1e-300, 0.3, 1.0, 1e300]))
def test_a_factor_such_as_one_over_r_t_changes_nothing(both, factor):
    retained, full = both
    assume(np.abs(retained).max() * factor < 1e304)
    value = gradient_correlation(retained, full)
    np.testing.assert_allclose(
        gradient_correlation(factor * retained, full), value, atol=1e-9
    )
    np.testing.assert_allclose(
        gradient_correlation(-factor * retained, full), -value, atol=1e-9
    )


@settings(deadline=None)
@given(pairs())
def test_it_lies_in_its_range_is_symmetric_and_one_with_itself(both):
    value = gradient_correlation(*both)
    assert -1 <= value <= 1
    assert value == gradient_correlation(*both[::-1])
    np.testing.assert_allclose(gradient_correlation(both, both), 1, atol=1e-12)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_many_gradients_go_against_one(seed, rows):
    g = np.random.default_rng(seed).normal(size=(rows + 1, 5))
    together = gradient_correlation(g[:-1], g[-1])
    alone = [gradient_correlation(row, g[-1]) for row in g[:-1]]
    assert together.shape == (rows,)
    np.testing.assert_allclose(together, alone, atol=1e-14)


@pytest.mark.parametrize(
    ("retained", "full", "error", "words"),
    [
        ([1.0], [1.0], ValueError, r"`retained` must have shape \(..., p\) with p >="),
        ([1.0, 2.0], 3.0, ValueError, r"`full` must have shape .* got shape \(\)"),
        ([0.0, 0.0], [1.0, 2.0], ValueError, "entries that differ, got 0 in all"),
        ([1.0, 2.0], [3.0, 3.0], ValueError, "`full` must have entries that differ"),
        ([1.0, np.inf], [1.0, 2.0], ValueError, "`retained` must be finite, got inf"),
        ([1.0, 2.0], [1j, 2], TypeError, "`full` must hold real numbers"),
        ([1.0, 2.0], [1.0, 2.0, 4.0], ValueError, "`retained` and `full` must broad"),
    ],
)
def test_bad_input_is_refused_by_name(retained, full, error, words):
    with pytest.raises(error, match=words):
        gradient_correlation(retained, full)
