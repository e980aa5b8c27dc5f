from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ted_core.analysis import interpolate, logistic_objective, loss_along

NUMBERS = st.floats(-1e6, 1e6)


@st.composite
def ends(draw):
    shape = draw(array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    return draw(arrays(float, (2, *shape), elements=NUMBERS))


@settings(deadline=None)
@given(ends(), arrays(float, st.integers(0, 5), elements=st.floats(-1, 2)))
def test_every_point_is_the_papers_formula(both, alphas):
    theta_1, theta_t = both
    points = list(interpolate(theta_1, theta_t, alphas))
    assert len(points) == alphas.size
    for alpha, point in zip(alphas.tolist(), points, strict=True):
        assert point.shape == theta_1.shape
        for at in np.ndindex(theta_1.shape):
            want = (1 - alpha) * float(theta_1[at]) + alpha * float(theta_t[at])
            assert point[at] == pytest.approx(want, rel=1e-12, abs=1e-9)


@settings(deadline=None)
@given(ends())
def test_the_ends_are_exact_and_are_copies(both):
    before = both.copy()
    points = list(interpolate(*both, [0, 1]))
    np.testing.assert_array_equal(points, both)
    for point in points:
        point[...] = 1
    np.testing.assert_array_equal(both, before)


@settings(deadline=None)
@given(ends(), st.floats(0, 1))
def test_the_line_is_the_same_from_either_end(both, alpha):
    (there,) = interpolate(*both, [alpha])
    (back,) = interpolate(*both[::-1], [1 - alpha])
    np.testing.assert_allclose(there, back, rtol=1e-9, atol=1e-6)


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_a_convex_loss_stays_below_its_chord(seed):
    random = np.random.default_rng(seed)
    x, y = random.normal(size=(9, 3)), random.integers(0, 3, size=9)
    first, last = random.normal(scale=3, size=(2, 3, 3))
    alphas = np.linspace(0, 1, 7)
    losses = loss_along(
        lambda theta: logistic_objective(theta, x, y, l2=0.1), first, last, alphas
    )
    assert losses.shape == (7,)
    assert losses[0] == pytest.approx(logistic_objective(first, x, y, l2=0.1))
    assert losses[-1] == pytest.approx(logistic_objective(last, x, y, l2=0.1))
    chord = (1 - alphas) * losses[0] + alphas * losses[-1]
    assert (losses <= chord + 1e-9).all()


def test_several_numbers_come_back_for_each_point():
    found = loss_along(lambda t: [t.sum(), -t.sum()], [0.0, 0.0], [1.0, 3.0], [0, 0.5])
    assert found.tolist() == [[0.0, 0.0], [2.0, -2.0]]


def test_a_loss_that_is_not_finite_comes_back_as_it_is():
    found = loss_along(lambda t: np.inf if t > 1 else np.nan, 0.0, 2.0, [0, 1])
    assert np.isnan(found[0])
    assert np.isposinf(found[1])


def test_no_points_cost_no_evaluation():
    assert loss_along(lambda _: 1 / 0, [0.0], [1.0], []).shape == (0,)


@pytest.mark.parametrize(
    ("first", "last", "alphas", "error", "words"),
    [
        ([np.nan], [1.0], [0], ValueError, "`theta_first` must be finite, got nan"),
        ([1.0], ["a"], [0], TypeError, "`theta_last` must hold real numbers"),
        ([1.0], [1.0, 2.0], [0], ValueError, r"`theta_last` must have shape \(1,\)"),
        ([1.0], [2.0], 0.5, ValueError, r"`alphas` must have shape \(m,\), got shape"),
        ([1.0], [2.0], [np.inf], ValueError, "`alphas` must be finite, got inf"),
    ],
)
def test_bad_input_is_refused_by_name_before_the_first_step(
    first, last, alphas, error, words
):
    with pytest.raises(error, match=words):
        interpolate(first, last, alphas)


def test_an_evaluation_of_changing_shape_is_refused():
    with pytest.raises(ValueError, match=r"`evaluate` must return one shape, got sh"):
        loss_along(lambda t: np.zeros(int(t[0])), [1.0], [2.0], [0, 1])
