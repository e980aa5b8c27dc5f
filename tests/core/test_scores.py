from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import ted_core as ted
from ted_core._scores import ScoreTable

rows = arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(1, 5)),
    elements=st.floats(-1e6, 1e6, width=32),
)


def fed(reduction, epochs):
    table = ScoreTable(epochs.shape[1], reduction=reduction)
    for values in epochs:
        table.buffer.observe(np.arange(values.size), values)
        table.close()
    return table


@given(rows, st.floats(0, 0.99))
def test_polyak_with_each_start_is_equation_19(epochs, alpha):
    zero = np.zeros(epochs.shape[1])
    first = epochs[0].astype(float)
    for t, values in enumerate(epochs.astype(float)):
        zero = alpha * zero + (1 - alpha) * values
        first = first if t == 0 else alpha * first + (1 - alpha) * values
    debiased = zero / (1 - alpha ** len(epochs))
    for start, expected in (("zero", zero), ("first", first), ("debiased", debiased)):
        found = fed(ted.Polyak(alpha, start=start), epochs).scores
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1)


@given(rows)
def test_last_and_mean_are_the_last_and_the_mean(epochs):
    np.testing.assert_array_equal(fed(ted.Last(), epochs).scores, epochs[-1])
    mean = epochs.astype(float).mean(axis=0)
    np.testing.assert_allclose(fed(ted.Mean(), epochs).scores, mean, rtol=1e-3, atol=1)


@given(
    arrays(
        np.int8, st.tuples(st.integers(1, 8), st.just(3)), elements=st.integers(0, 1)
    )
)
def test_count_is_the_number_of_forgetting_events(epochs):
    scores = fed(ted.Count(), epochs.astype(np.float32)).scores
    for k, history in enumerate(epochs.T.tolist()):
        events = sum(a == 1 and b == 0 for a, b in pairwise(history))
        expected = events if any(history) else np.finfo(np.float32).max
        assert scores[k] == expected


def test_a_sample_observed_twice_counts_once_with_the_mean():
    table = ScoreTable(2)
    table.buffer.observe([0, 1, 0], [1.0, 5.0, 3.0])
    assert table.deliveries.tolist() == [2, 1]
    assert table.close().nonfinite == 0
    assert table.scores.tolist() == [2.0, 5.0]
    assert table.update_counts.tolist() == [1, 1]


@given(st.data())
def test_a_whole_buffer_equals_the_single_steps(data):
    n = data.draw(st.integers(1, 6))
    ids = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=20))
    values = np.arange(len(ids), dtype=np.float32)
    one, other = ScoreTable(n), ScoreTable(n)
    sums, counts = np.zeros(n, np.float32), np.zeros(n, np.uint8)
    for k, value in zip(ids, values, strict=True):
        one.buffer.observe([k], [value])
        sums[k] += value
        counts[k] += 1
    other.buffer.observe_sums(sums, counts)
    assert one.close() == other.close()
    np.testing.assert_array_equal(one.scores, other.scores)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e300])
def test_a_value_that_is_not_finite_is_dropped_counted_and_never_written(bad):
    table = ScoreTable(3)
    table.buffer.observe([0, 1, 2], [1.0, 2.0, 3.0])
    table.close()
    for _ in range(2):
        table.buffer.observe([0, 1], np.array([bad, 2.0]))
        assert table.close().nonfinite == 1
    assert table.scores[0] == 1.0
    assert table.update_counts.tolist() == [1, 3, 1]
    assert table.repeated_ids()["nonfinite_ids"].tolist() == [0]


def test_an_epoch_of_values_that_are_not_finite_raises_and_changes_nothing():
    pruner = ted.Pruner(2, epochs=5)
    pruner.observe([0, 1], [math.nan, math.inf])
    before = pruner.state_dict()
    with pytest.raises(ted.EpochError, match="must have a finite value"):
        pruner.advance()
    np.testing.assert_equal(pruner.state_dict(), before)


def test_without_a_valid_value_a_sample_ranks_at_the_median_and_unseen_ones_first():
    table = ScoreTable(5)
    table.buffer.observe([0, 1, 2, 3], [1.0, 2.0, 7.0, math.nan])
    table.close()
    assert table.ranking().tolist() == [1.0, 2.0, 7.0, 2.0, math.inf]


@pytest.mark.parametrize("seen", [[0, 1], [0]])
def test_nobody_can_write_a_score_through_the_ranking(seen):
    table = ScoreTable(2)
    table.buffer.observe(seen, np.ones(len(seen)))
    table.close()
    with pytest.raises(ValueError, match="read-only"):
        table.ranking()[0] = 7.0
    assert table.scores[0] == 1.0


def test_more_than_255_observations_of_a_sample_are_an_error():
    table, named = ScoreTable(9), "at most 255 times, got 25[67] of sample 7"
    table.buffer.observe(np.full(255, 7), np.ones(255))
    more = (np.arange(9) == 7).astype(int)
    for take in (
        lambda: table.buffer.observe([2, 7], [1.0, 1.0]),
        lambda: table.buffer.observe([7, 7], [1.0, 1.0], valid=[False, False]),
        lambda: table.buffer.observe(np.repeat([2, 7], 2), np.ones(4)),
        lambda: table.buffer.observe_sums(more, more),
        lambda: table.buffer.observe_sums(
            np.zeros(9), np.zeros(9, int), deliveries=2 * more
        ),
    ):
        with pytest.raises(ted.EpochError, match=named):
            take()
    assert (table.observed, table.deliveries[2]) == (255, 0)
    table.close()
    assert table.scores[7] == 1


def test_update_counts_saturate():
    table = ScoreTable(1)
    for _ in range(3):
        table.arrays()["update_counts"][:] = 65534
        table.buffer.observe([0], [1.0])
        table.close()
        table.buffer.observe([0], [1.0])
        table.close()
        assert table.update_counts.tolist() == [65535]


@pytest.mark.parametrize("start", ["first", "zero", "debiased"])
def test_initial_scores_rank_as_given(start):
    table = ScoreTable(
        3, reduction=ted.Polyak(start=start), initial_scores=[3.0, 1.0, 2.0]
    )
    np.testing.assert_allclose(table.ranking(), [3.0, 1.0, 2.0], rtol=1e-6)


@pytest.mark.parametrize(
    ("ids", "values", "error", "message"),
    [
        ([3], [1.0], ValueError, r"`ids` must be in \[0, 3\), got 3"),
        ([-1], [1.0], ValueError, r"`ids` must be in \[0, 3\), got -1"),
        ([0.0], [1.0], TypeError, "`ids` must hold integers, got dtype float64"),
        ([True], [1.0], TypeError, "`ids` must hold integers, got dtype bool"),
        ([[0]], [1.0], ValueError, r"`ids` must have shape \(m,\)"),
        ([0, 1], [1.0], ValueError, r"`values` must have shape \(2,\)"),
        ([0], ["1"], TypeError, "`values` must hold real numbers"),
        ([0], [1j], TypeError, "`values` must hold real numbers"),
        (np.array([2**64 - 1], np.uint64), [1.0], ValueError, r"`ids` must be in"),
    ],
)
def test_bad_observations_are_refused_by_name_and_nothing_is_taken(
    ids, values, error, message
):
    table = ScoreTable(3)
    with pytest.raises(error, match=message):
        table.buffer.observe(ids, values)
    assert table.observed == 0


def test_every_integer_dtype_and_byte_order_of_ids_is_taken():
    table = ScoreTable(300)
    for dtype in ("u1", "u2", "i2", ">i4", "<i8", ">u8"):
        table.buffer.observe(np.array([7], dtype), np.array([1], ">f8"))
    assert table.deliveries[7] == 6
    table.buffer.observe([], [])
    assert table.observed == 6


@pytest.mark.parametrize(
    ("sums", "counts", "error", "message"),
    [
        (np.zeros(2), np.zeros(3, int), ValueError, r"`values`|`sums` must have shape"),
        (np.zeros(3), np.zeros(2, int), ValueError, r"`counts` must have shape \(3,\)"),
        (np.zeros(3), np.zeros(3), TypeError, "`counts` must hold integers"),
        (np.zeros(3), [0, 256, 0], ValueError, r"`counts` must be in \[0, 255\]"),
    ],
)
def test_bad_buffers_are_refused_by_name(sums, counts, error, message):
    with pytest.raises(error, match=message):
        ScoreTable(3).buffer.observe_sums(sums, counts)


@pytest.mark.parametrize(
    ("scores", "message"),
    [([1.0], r"must have shape \(2,\)"), ([1.0, math.nan], "must be finite, got nan")],
)
def test_bad_initial_scores_are_refused_by_name(scores, message):
    with pytest.raises(ValueError, match="`initial_scores` " + message):
        ScoreTable(2, initial_scores=scores)
