"""Student's t and Holm's correction, held against SciPy and against a slow rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student
from scipy.stats import ttest_rel

from ted_core.comparison._statistics import (
    critical_t,
    holm,
    paired_difference,
    two_sided_p,
)

NUMBERS = st.lists(
    st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=2, max_size=40
)


@given(t=st.floats(0, 1e4), freedom=st.integers(1, 10**5))
def test_the_p_of_student_is_that_of_scipy(t, freedom):
    expected = 2 * student.sf(t, freedom)
    assert two_sided_p(t, freedom) == pytest.approx(expected, rel=1e-7, abs=1e-300)


@given(level=st.floats(1e-6, 0.99), freedom=st.integers(1, 10**4))
def test_the_critical_t_is_that_of_scipy(level, freedom):
    expected = student.isf(level / 2, freedom)
    assert critical_t(freedom, level) == pytest.approx(expected, rel=1e-6)


@given(pairs=NUMBERS)
def test_a_paired_difference_is_that_of_scipy(pairs):
    values, others = np.array(pairs).T
    found = paired_difference(values, others)
    if found.sd == 0:
        return
    expected = ttest_rel(values, others)
    low, high = expected.confidence_interval(0.95)
    scale = np.abs(pairs).max()
    assert found.n == len(pairs)
    assert found.mean == pytest.approx((values - others).mean())
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9 * scale)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-6)


@given(pairs=NUMBERS)
def test_the_other_way_round_it_has_the_other_sign(pairs):
    values, others = np.array(pairs).T
    one, two = paired_difference(values, others), paired_difference(others, values)
    assert (one.mean, one.low, one.high) == (-two.mean, -two.high, -two.low)
    assert (one.sd, one.p) == (two.sd, two.p)


@pytest.mark.parametrize("n", [2, 3, 8])
def test_the_same_difference_in_every_pair_has_the_p_of_the_sign_test(n):
    values = np.linspace(0.8, 0.9, n)
    found = paired_difference(values + 0.1, values)
    assert (found.sd, found.p) == (0, 2.0 ** (1 - n))
    assert found.low == found.mean == found.high == pytest.approx(0.1)
    assert paired_difference(values, values).p == 1


@given(ps=st.lists(st.floats(0, 1), max_size=12))
def test_holm_rejects_what_its_steps_reject(ps):
    corrected = holm(ps)
    for level in (0.001, 0.01, 0.05, 0.3):
        rejected, left = set(), len(ps)
        for p, index in sorted((p, index) for index, p in enumerate(ps)):
            if p * left >= level:
                break
            rejected.add(index)
            left -= 1
        assert {i for i, p in enumerate(corrected) if p < level} == rejected
