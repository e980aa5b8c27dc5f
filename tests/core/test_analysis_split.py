from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import ted_core as ted
from ted_core.analysis import split_losses

LOSSES = st.floats(0, 1e6)


@st.composite
def cases(draw):
    """Losses (..., n) and a mask of the same shape."""
    shape = draw(array_shapes(max_dims=3, max_side=7))
    return draw(arrays(float, shape, elements=LOSSES)), draw(arrays(bool, shape))


def slow_mean(losses, ids):
    """L(D, theta), D the samples `ids`, in the paper's letters."""
    return math.fsum(losses[k] for k in ids) / len(ids) if ids else math.nan


@settings(deadline=None)
@given(cases())
def test_each_part_has_its_mean_at_every_theta(case):
    losses, mask = case
    parts = split_losses(losses, mask)
    for at in np.ndindex(losses.shape[:-1]):
        for part, own in ((parts.retained, mask), (parts.pruned, ~mask)):
            ids = np.flatnonzero(own[at]).tolist()
            assert part.count[at] == len(ids)
            want = slow_mean(losses[at].tolist(), ids)
            np.testing.assert_allclose(part.mean[at], want, rtol=1e-12, atol=1e-12)


@settings(deadline=None)
@given(cases())
def test_the_parts_together_are_all_of_the_data(case):
    losses, mask = case
    parts = split_losses(losses, mask)
    counts = [parts.retained.count, parts.pruned.count]
    assert (sum(counts) == losses.shape[-1]).all()
    sums = np.nan_to_num([parts.retained.mean, parts.pruned.mean]) * counts
    np.testing.assert_allclose(
        sums.sum(axis=0) / losses.shape[-1], losses.mean(axis=-1), rtol=1e-9, atol=1e-9
    )


@settings(deadline=None)
@given(cases())
def test_swapping_the_parts_turns_the_gap_round(case):
    losses, mask = case
    np.testing.assert_array_equal(
        split_losses(losses, mask).gap, -split_losses(losses, ~mask).gap
    )


@settings(deadline=None)
@given(cases())
def test_a_mask_for_all_thetas_serves_each(case):
    losses, mask = case
    one = mask.reshape(-1, mask.shape[-1])[0]
    shared = split_losses(losses, one)
    spread = split_losses(losses, np.broadcast_to(one, losses.shape))
    by_ids = split_losses(losses, np.flatnonzero(one)[::-1])
    for other in (spread, by_ids):
        for name in ("retained", "pruned"):
            a, b = getattr(shared, name), getattr(other, name)
            np.testing.assert_array_equal(a.mean, b.mean)
            np.testing.assert_array_equal(a.quantiles, b.quantiles)


@settings(deadline=None)
@given(arrays(float, st.integers(1, 30), elements=LOSSES))
def test_quantiles_are_between_the_least_and_the_most_of_their_part(losses):
    kept = np.arange(0, losses.size, 2)
    part = split_losses(losses, kept, quantiles=[0, 0.5, 1]).retained
    low, middle, high = part.quantiles
    assert (low, high) == (losses[kept].min(), losses[kept].max())
    assert low <= middle <= high


def test_an_epoch_that_prunes_nothing_has_no_loss_on_pruned_samples():
    parts = split_losses([[1.0, 3.0]] * 2, [[True, True], [True, False]])
    assert parts.pruned.count.tolist() == [0, 1]
    assert np.isnan(parts.pruned.mean[0])
    assert np.isnan(parts.pruned.quantiles[:, 0]).all()
    assert np.isnan(parts.gap[0])
    assert parts.gap[1] == 2.0


def test_the_samples_of_a_plan_go_in_as_they_are():
    plan = ted.Pruner(
        50, epochs=5, schedule=ted.Constant(0.6, anneal=0), strategy=ted.Random()
    ).plan()
    parts = split_losses(np.arange(50.0), plan.order)
    assert parts.retained.count == 20
    assert parts.retained.mean == plan.order.mean()


@pytest.mark.parametrize(
    ("losses", "kept", "options", "error", "words"),
    [
        ([np.nan], [0], {}, ValueError, "`losses` must be finite, got nan"),
        (["a"], [0], {}, TypeError, "`losses` must hold real numbers"),
        (1.0, [0], {}, ValueError, r"`losses` must have shape \(..., n\)"),
        ([[]], [], {}, ValueError, r"got shape \(1, 0\)"),
        ([1.0, 2.0], [0, 1, 1], {}, ValueError, "`kept` must hold each id once or be"),
        ([1.0, 2.0], [2], {}, ValueError, r"`kept` must be in \[0, 2\), got 2"),
        ([1.0, 2.0], [0.5], {}, TypeError, "`kept` must hold integers"),
        ([1.0, 2.0], [True], {}, ValueError, r"`kept` must have shape \(2,\) or"),
        ([1.0], [0], {"quantiles": [1.5]}, ValueError, "`quantiles` must have shape"),
        ([1.0], [0], {"quantiles": 0.5}, ValueError, "`quantiles` must have shape"),
    ],
)
def test_bad_input_is_refused_by_name(losses, kept, options, error, words):
    with pytest.raises(error, match=words):
        split_losses(losses, kept, **options)
