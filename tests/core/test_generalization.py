from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.datasets import load_breast_cancer, load_digits

from ted_core.analysis import (
    fit_logistic,
    internal_generalization,
    internal_generalization_distance,
    leave_one_out_igd,
    logistic_objective,
    quadratic_igd,
    retrained_igd,
)
from ted_core.analysis.generalization import (
    logistic_gradients,
    logistic_hessian,
    logistic_losses,
)

L2 = 0.01
X = np.array([0.0, 0.0, 3.0, 5.0])


def mean(ids):
    return X[ids].mean()


def spread(theta):
    return ((X - theta) ** 2).mean()


def breast_cancer():
    x, y = load_breast_cancer(return_X_y=True)
    x, y = x[:200], y[:200]
    return (x - x.mean(axis=0)) / x.std(axis=0), y


def digits():
    x, y = load_digits(n_class=4, return_X_y=True)
    pooled = x.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16)
    return pooled[:150] / 16, y[:150]


@pytest.fixture(scope="module", params=[breast_cancer, digits])
def solved(request):
    x, y = request.param()
    x = np.c_[x, np.ones(len(x))]
    theta = fit_logistic(x, y, l2=L2)
    classes = len(theta)

    def fit(ids):
        return fit_logistic(x[ids], y[ids], l2=L2, classes=classes, start=theta)

    def objective(parameters):
        return logistic_objective(parameters, x, y, l2=L2)

    return x, y, theta, fit, objective


@pytest.fixture(scope="module")
def igd(solved):
    x, _, _, fit, objective = solved
    return leave_one_out_igd(fit, objective, len(x))


def test_igd_of_the_minimised_objective_is_not_negative(igd):
    assert igd.min() >= 0
    assert igd.max() > 0


def test_igd_ranks_samples_as_the_influence_approximation_does(solved, igd):
    x, y, theta, _, _ = solved
    g = logistic_gradients(theta, x, y, l2=L2)
    h = logistic_hessian(theta, x, l2=L2)
    assert spearmanr(quadratic_igd(g, h), igd).statistic >= 0.99


def test_the_influence_approximation_is_the_papers_letters_written_out(solved):
    x, y, theta, _, _ = solved
    g = logistic_gradients(theta, x, y, l2=L2)
    h = logistic_hessian(theta, x, l2=L2)
    slow = [0.5 * g_k @ np.linalg.inv(h) @ g_k / len(x) ** 2 for g_k in g]
    np.testing.assert_allclose(quadratic_igd(g, h), slow, rtol=1e-8)


def test_chosen_samples_have_the_same_igd_as_among_all(solved, igd):
    x, _, _, fit, objective = solved
    some = leave_one_out_igd(fit, objective, len(x), ids=[7, 3])
    np.testing.assert_allclose(some, igd[[7, 3]], rtol=1e-6)


def test_a_subset_costs_what_retraining_without_all_of_it_costs(solved):
    x, _, theta, fit, objective = solved
    out = np.arange(0, len(x), 4)
    without = objective(fit(np.setdiff1d(np.arange(len(x)), out)))
    value = retrained_igd(fit, objective, len(x), [out, out[:0]])
    assert value[0] == pytest.approx(without - objective(theta), rel=1e-6)
    assert value[1] == pytest.approx(0, abs=1e-15)


def test_the_gradients_mean_is_zero_at_the_minimiser(solved):
    x, y, theta, _, _ = solved
    g = logistic_gradients(theta, x, y, l2=L2)
    np.testing.assert_allclose(g.mean(axis=0), 0, atol=1e-12)


def test_gradients_and_hessian_agree_with_finite_differences():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(5, 3)), np.array([0, 1, 2, 1, 0])
    theta, eps = random.normal(size=(3, 3)), 1e-6
    basis = np.eye(9).reshape(9, 3, 3) * eps

    def slope(function):
        both = [(function(theta + e), function(theta - e)) for e in basis]
        return np.stack([(up - down) / (2 * eps) for up, down in both], axis=-1)

    def share(t):
        return logistic_losses(t, x, y) + L2 / 2 * (t**2).sum()

    g = logistic_gradients(theta, x, y, l2=L2)
    np.testing.assert_allclose(g, slope(share), atol=1e-8)
    curved = slope(lambda t: logistic_gradients(t, x, y, l2=L2).mean(axis=0))
    np.testing.assert_allclose(logistic_hessian(theta, x, l2=L2), curved, atol=1e-8)


def test_a_minimiser_found_from_afar_is_the_one_found_from_zero():
    x, y = digits()
    near = fit_logistic(x, y, l2=L2)
    far = fit_logistic(x, y, l2=L2, start=np.full(near.shape, 30.0))
    np.testing.assert_allclose(far, near, atol=1e-9)


def test_losses_of_huge_logits_are_finite():
    theta = np.array([[0.0], [1000.0]])
    assert logistic_losses(theta, [[1.0], [1.0]], [0, 1]).tolist() == [1000.0, 0.0]


def test_internal_generalization_is_the_loss_at_the_end_less_that_at_the_start():
    assert internal_generalization(2.25, 0.5) == -1.75
    assert internal_generalization([1.0, 2.0], [0.5, 4.0]).tolist() == [-0.5, 2.0]


def test_the_distance_is_the_loss_without_less_the_full_one():
    assert internal_generalization_distance(0.75, 0.25) == 0.5
    assert internal_generalization_distance([0.25, 1.0], 0.5).tolist() == [-0.25, 0.5]


def test_no_samples_to_leave_out_give_no_distances():
    assert leave_one_out_igd(mean, spread, 4, ids=[]).shape == (0,)
    assert retrained_igd(mean, spread, 4, []).shape == (0,)


def test_repeated_ids_in_a_subset_count_once():
    once, twice = retrained_igd(mean, spread, 4, [[3, 2], [2, 3, 2]])
    assert once == twice


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: internal_generalization("a", 1), TypeError, "`loss_first` must hold"),
        (lambda: internal_generalization(np.nan, 1), ValueError, "finite, got nan"),
        (
            lambda: internal_generalization_distance([1, 2], [1, 2, 3]),
            ValueError,
            "`loss_without` and `loss_full` must broadcast",
        ),
        (lambda: leave_one_out_igd(mean, spread, 1), ValueError, "`n` must be at"),
        (lambda: leave_one_out_igd(mean, spread, 4, ids=[4]), ValueError, r"`ids` mus"),
        (
            lambda: retrained_igd(mean, spread, 4, [range(4)]),
            ValueError,
            "must leave a sample to train on",
        ),
        (lambda: retrained_igd(mean, spread, 4, [[-1]]), ValueError, "`subsets` must"),
        (
            lambda: leave_one_out_igd(mean, lambda _: np.inf, 4),
            ValueError,
            "must be finite, got inf",
        ),
        (lambda: quadratic_igd([1.0], [[1.0]]), ValueError, r"`gradients` must have"),
        (lambda: quadratic_igd([[1.0]], np.eye(2)), ValueError, r"shape \(1, 1\)"),
        (lambda: quadratic_igd([[1.0]], [[-1.0]]), ValueError, "positive definite"),
        (lambda: fit_logistic([1.0], [0], l2=1), ValueError, r"`x` must have shape"),
        (lambda: fit_logistic([[1.0]], [0.0], l2=1), TypeError, "class indices"),
        (lambda: fit_logistic([[1.0]], [-1], l2=1), ValueError, "no negative index"),
        (
            lambda: fit_logistic([[1.0]], [0], l2=1, start=np.full((2, 1), np.nan)),
            ValueError,
            "`start` must be finite, got nan",
        ),
        (lambda: fit_logistic([[1.0]], [0], l2=0), ValueError, r"`l2` must be in"),
        (
            lambda: fit_logistic([[1.0]], [2], l2=1, classes=2),
            ValueError,
            "`classes` must be at least 3, got 2",
        ),
        (
            lambda: fit_logistic([[1.0]], [0], l2=1, start=np.zeros(2)),
            ValueError,
            r"`start` must have shape \(2, 1\)",
        ),
        (
            lambda: fit_logistic(*digits(), l2=0.1, tolerance=1e-300),
            RuntimeError,
            "scale the data or raise `tolerance`",
        ),
    ],
)
def test_bad_input_is_refused_by_name(call, error, words):
    with pytest.raises(error, match=words):
        call()
