"""The rankings of static pruning are their papers', by brute force on tiny data."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracles import rankings as oracle

import ted_core as ted
from ted_core.selection._randomness import tie_hash
from ted_core.strategies import rankings

few = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(2, 9)


def last_layer(seed, n, *, classes=3, width=2):
    """Give features, logits, labels and weights of a head, of a few digits each."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, width)).round(2)
    weights = rng.normal(size=(classes, width)).round(2)
    logits = (features @ weights.T + rng.normal(size=(n, classes))).round(2)
    labels = rng.integers(0, classes, size=n)
    return features.astype(np.float32), logits.astype(np.float32), labels, weights


def order_of(scores):
    """Give the ids that are ranked, the first one first."""
    ids = np.argsort(-scores)[: int((scores > 0).sum())]
    assert scores[ids].tolist() == list(range(len(ids), 0, -1))
    return ids.tolist()


GREEDY = {
    "contextual_diversity": lambda _, z, y, **options: rankings.contextual_diversity(
        z, labels=y, **options
    ),
    "craig": rankings.craig,
    "glister": partial(rankings.glister, refreshes=10**6, rate=0.0),
    "dataset_pruning": lambda h, z, y, *, count, **options: (
        -rankings.dataset_pruning(h, z, y, count=len(z) - count, **options)
    ),
}
"""Each by which samples come first: those to be kept, or those to be pruned."""


@few
@given(seeds, sizes)
def test_contextual_diversity_takes_the_farthest_from_those_before(seed, n):
    _, logits, _, _ = last_layer(seed, n)
    chosen = order_of(rankings.contextual_diversity(logits, count=n, seed=seed))
    assert sorted(chosen) == list(range(n))
    for step, k in enumerate(chosen):
        away = [oracle.nearest(logits.tolist(), j, chosen[:step]) for j in range(n)]
        assert away[k] >= max(away) * (1 - 1e-6) - 1e-9


@few
@given(seeds, st.integers(2, 6), st.booleans())
def test_craig_takes_the_sample_of_the_highest_gain(seed, n, bias):
    features, logits, _, _ = last_layer(seed, n)
    labels = np.full(n, seed % 3)
    ranking = rankings.craig(features, logits, labels, count=n, bias=bias, seed=seed)
    gradients = oracle.gradients(features, logits, labels, bias=bias)
    chosen = order_of(ranking)
    for step in range(n):
        before = chosen[:step]
        values = [oracle.facility(gradients, [*before, j]) for j in range(n)]
        assert values[chosen[step]] >= max(values) - 1e-5


@few
@given(seeds, st.integers(2, 7), st.data())
def test_craig_covers_its_share_of_the_best_that_there_is(seed, n, data):
    count = data.draw(st.integers(1, n))
    features, logits, _, _ = last_layer(seed, n)
    labels = np.zeros(n, int)
    chosen = order_of(rankings.craig(features, logits, labels, count=count))
    gradients = oracle.gradients(features, logits, labels)
    best = oracle.best_facility(gradients, count)
    assert oracle.facility(gradients, chosen) >= (1 - 1 / math.e) * best - 1e-9


@few
@given(seeds, sizes, st.data())
def test_the_lazy_greedy_is_the_greedy_algorithm(seed, n, data):
    """Ties included: gradients whose distances are whole numbers make many."""
    count = data.draw(st.integers(1, n))
    rng = np.random.default_rng(seed)
    at = rng.integers(0, 3, size=n).astype(np.float32)
    features, labels = np.c_[at, at], np.zeros(n, int)
    logits = np.tile([-1e4, 1e4], (n, 1))  # p - y is (-1, 1)
    chosen = order_of(rankings.craig(features, logits, labels, count=count, seed=seed))
    distance = 2 * np.abs(at - at[:, None])
    covered, ids = np.full(n, distance.max()), list(range(n))
    ids.sort(key=lambda k: tie_hash(np.array([k]), seed=seed)[0], reverse=True)
    for k in chosen:
        gains = {j: np.maximum(covered - distance[j], 0).sum() for j in ids}
        assert gains[k] == max(gains.values())
        assert k == max(ids, key=gains.get)  # the first of equals, by the hash
        covered = np.minimum(covered, distance[k])
        ids.remove(k)


@few
@given(seeds, st.integers(2, 6), st.floats(0, 4), st.booleans())
def test_glister_takes_the_sample_whose_step_gains_most_on_held_out_samples(
    seed, n, rate, own
):
    features, _, labels, weights = last_layer(seed, n)
    logits = (features @ weights.T).astype(np.float32)
    theta = np.c_[weights, np.zeros(len(weights))]
    other, _, held_labels, _ = last_layer(seed + 1, 4)
    held = (features, logits, labels)
    held = held if own else (other, (other @ weights.T), held_labels)
    ranking = rankings.glister(
        features,
        logits,
        labels,
        count=n,
        held_out=None if own else held,
        rate=rate,
        refreshes=n,
        seed=seed,
    )
    gradients, step = oracle.gradients(features, logits, labels), 1e-5
    chosen = order_of(ranking)
    for index, k in enumerate(chosen):
        at = theta - rate / n * sum(gradients[chosen[:index]], np.zeros_like(theta))
        gains = {
            j: oracle.held_out_loss(at + step * gradients[j], held[0], held[2])
            - oracle.held_out_loss(at - step * gradients[j], held[0], held[2])
            for j in chosen[index:]
        }
        assert gains[k] / (2 * step) >= max(gains.values()) / (2 * step) - 1e-5


@few
@given(seeds, sizes, st.booleans())
def test_dataset_pruning_prunes_what_lengthens_the_sum_least(seed, n, bias):
    features, logits, labels, _ = last_layer(seed, n)
    scores = rankings.dataset_pruning(
        features, logits, labels, count=1, damping=0.1, bias=bias, seed=seed
    )
    pruned = order_of(-scores)
    assert len(pruned) == n - 1
    moves = oracle.influences(features, logits, labels, damping=0.1, bias=bias)
    total = np.zeros(moves.shape[1])
    for step, k in enumerate(pruned):
        lengths = {j: np.linalg.norm(total + moves[j]) for j in pruned[step:]}
        assert lengths[k] <= min(lengths.values()) + 1e-6
        total = total + moves[k]


@few
@given(seeds, sizes, st.floats(0, 1))
def test_dataset_pruning_stops_before_the_sum_exceeds_the_bound(seed, n, share):
    features, logits, labels, _ = last_layer(seed, n)
    most = partial(rankings.dataset_pruning, features, logits, labels, seed=seed)
    pruned = order_of(-most(count=1))
    moves = oracle.influences(features, logits, labels, damping=0.01)
    lengths = np.linalg.norm(np.cumsum(moves[pruned], axis=0), axis=1)
    bound = share * lengths.max()
    assume(np.abs(lengths - bound).min() > 1e-7 * bound or share == 1)
    bound *= 1 + 1e-9
    within = int(np.argmax([*(lengths > bound), True]))
    assert order_of(-most(bound=bound)) == pruned[:within]


@few
@given(seeds, sizes, st.data())
def test_deepfool_is_the_least_move_that_changes_the_class(seed, n, data):
    features, _, _, weights = last_layer(seed, n)
    logits = (features.astype(float) @ weights.T).astype(np.float32)
    scores = rankings.deepfool(logits, weights)
    angle = data.draw(st.floats(0, 2 * math.pi))
    for h, z, score in zip(features, logits, scores, strict=True):
        best = int(z.argmax())
        tied = np.abs(weights - weights[best]).sum(axis=1) == 0
        assume(tied.sum() == 1)
        shorter = -score * 0.999 * np.array([math.cos(angle), math.sin(angle)])
        assert int((weights @ (h + shorter)).argmax()) == best
        towards = weights - weights[best]
        moves = (
            -score
            * 1.001
            * towards
            / np.linalg.norm(np.where(tied[:, None], 1, towards), axis=1, keepdims=True)
        )
        after = [int((weights @ (h + move)).argmax()) for move in moves]
        assert score > -1e-4 or set(after) != {best}


def test_deepfool_of_equal_rows_is_far_and_of_equal_logits_at_the_boundary():
    weights = [[1.0, 2.0], [1.0, 2.0]]
    assert rankings.deepfool([[2.0, 1.0]], weights).tolist() == [-np.inf]
    assert rankings.deepfool([[1.0, 1.0]], weights).tolist() == [0.0]


@pytest.mark.parametrize("name", GREEDY)
@few
@given(seeds, st.integers(2, 40), st.data())
def test_a_ranking_of_fewer_samples_is_the_beginning_of_one_of_more(
    name, seed, n, data
):
    features, logits, labels, _ = last_layer(seed, n)
    block = data.draw(st.integers(1, n)) if name != "glister" else None
    options = {"seed": seed} | ({} if block is None else {"block": block})
    less = data.draw(st.integers(1, n - 1))
    more = data.draw(st.integers(less, n - 1))
    found = [
        order_of(GREEDY[name](features, logits, labels, count=count, **options))
        for count in (less, more)
    ]
    assert len(found[1]) == more
    assert found[0] == found[1][:less]


@pytest.mark.parametrize("name", ["contextual_diversity", "craig"])
@few
@given(seeds, st.lists(st.integers(1, 9), min_size=1, max_size=4), st.data())
def test_each_class_is_ranked_as_if_alone_and_gives_its_share(
    name, seed, classes, data
):
    labels = np.repeat(np.arange(len(classes)), classes)
    n = labels.size
    features, logits, _, _ = last_layer(seed, n, classes=max(2, len(classes)))
    count = data.draw(st.integers(1, n))
    chosen = order_of(GREEDY[name](features, logits, labels, count=count, seed=seed))
    whole = order_of(GREEDY[name](features, logits, labels, count=n, seed=seed))
    assert whole[:count] == chosen
    for k, size in enumerate(classes):
        places = [place for place, each in enumerate(whole) if labels[each] == k]
        assert len(places) == size
        for index, place in enumerate(places):  # halfway into its share of them all
            assert abs(place + 0.5 - (index + 0.5) * n / size) <= len(classes) / 2 + 0.5


def test_blocks_divide_a_class_and_each_sample_is_ranked_once():
    features, logits, labels, _ = last_layer(0, 40)
    for block in (1, 7, 40):
        for name in GREEDY.keys() - {"glister"}:
            scores = GREEDY[name](features, logits, labels, count=39, block=block)
            assert len(order_of(scores)) == 39


def test_what_is_not_ranked_is_drawn_by_static():
    features, logits, labels, _ = last_layer(3, 20)
    scores = rankings.craig(features, logits, labels, count=6)
    for share, kept in ((0.3, 6), (0.5, 10)):
        run = ted.Pruner(
            20,
            epochs=6,
            schedule=ted.Constant(1 - share, anneal=0),
            strategy=ted.Static(scores),
        )
        found = set(run.plan().kept.tolist())
        assert len(found) == kept
        assert found >= set(order_of(scores))


def test_the_rounds_of_glister_change_its_ranking_only_where_the_model_moves():
    features, logits, labels, _ = last_layer(5, 30)
    rank = partial(rankings.glister, features, logits, labels, count=20)
    still = rank(rate=0.0, refreshes=1)
    np.testing.assert_array_equal(rank(rate=0.0, refreshes=20), still)
    assert (rank(rate=50.0, refreshes=20) != still).any()


def test_equal_samples_are_ranked_by_the_seed():
    logits, labels = np.zeros((8, 2)), np.zeros(8, int)
    for name, rank in GREEDY.items():
        orders = [
            order_of(rank(np.ones((8, 2)), logits, labels, count=7, seed=seed))
            for seed in (0, 0, 1)
        ]
        assert orders[0] == orders[1], name
        assert orders[0] != orders[2], name


EXTREMES = [0.0, 1.0, -1.0, 1e-45, 1e-30, 700.0, -745.0, 1e4, 3e38, -3e38]


@pytest.mark.parametrize("name", GREEDY)
@settings(max_examples=60, deadline=None)
@given(st.integers(2, 5), st.booleans(), st.data())
def test_saturated_logits_and_huge_or_tiny_features_give_a_ranking(name, n, bias, data):
    matrix = st.lists(st.sampled_from(EXTREMES), min_size=2 * n, max_size=2 * n)
    features, logits = (np.reshape(data.draw(matrix), (n, 2)) for _ in range(2))
    labels = np.array(data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    options = {} if name == "contextual_diversity" else {"bias": bias}
    if name == "glister":
        options |= {"rate": data.draw(st.sampled_from([0.0, 1.0, 1e3]))}
    rank = rankings.glister if name == "glister" else GREEDY[name]
    with np.errstate(all="raise", under="ignore"):
        scores = rank(features, logits, labels, count=n - 1, **options)
        distances = rankings.deepfool(logits, features[:2])
    assert len(order_of(scores)) == n - 1
    assert not np.isnan(distances).any()


def test_more_ranks_than_float32_tells_apart_are_refused():
    logits = np.zeros((2**24 + 1, 2), np.float32)
    with pytest.raises(ValueError, match=r"`count` must be in \[1, 16777216\], got"):
        rankings.contextual_diversity(logits, count=2**24 + 1)


FEATURES, LOGITS, LABELS, WEIGHTS = last_layer(0, 6)
THREE = (FEATURES, LOGITS, LABELS)
CRAIG, GLISTER = (partial(f, *THREE) for f in (rankings.craig, rankings.glister))
DP, CD = rankings.dataset_pruning, rankings.contextual_diversity


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (partial(CRAIG, count=0), ValueError, r"`count` must be in \[1, 6\], got 0"),
        (partial(CRAIG, count=7), ValueError, r"`count` must be in \[1, 6\], got 7"),
        (partial(CRAIG, count=2.0), TypeError, "`count` must be an integer"),
        (partial(CRAIG, count=2, bias=1), TypeError, "`bias` must be True or False"),
        (partial(CRAIG, count=2, block=0), ValueError, "`block` must be at least 1"),
        (partial(CRAIG, count=2, seed=-1), ValueError, "`seed` must be in"),
        (partial(rankings.craig, FEATURES[:5], LOGITS, LABELS, count=2), ValueError,
         r"`features` must have shape \(6, D\) and not be empty, got \(5, 2\)"),
        (partial(rankings.craig, FEATURES, LOGITS, LABELS + 1, count=2), ValueError,
         r"`labels` must be in \[0, 3\), got 3 at "),
        (partial(rankings.craig, FEATURES, LOGITS, LABELS[:5], count=2), ValueError,
         r"`labels` must have shape \(6,\), one a sample"),
        (partial(rankings.craig, FEATURES, LOGITS, LABELS / 2, count=2), TypeError,
         "`labels` must hold class indices, got dtype float64"),
        (partial(CD, LOGITS[:0], count=1), ValueError, "`logits` must have shape"),
        (partial(CD, LOGITS[:, :1], count=1), ValueError, "at least 2 classes"),
        (partial(CD, LOGITS[0], count=1), ValueError, r"`logits` must have shape \(n"),
        (partial(CD, LOGITS + 0j, count=1), TypeError, "`logits` must hold real"),
        (partial(CD, LOGITS * np.nan, count=1), ValueError, "finite in float32, got"),
        (partial(CD, LOGITS.astype(float) + 1e300, count=1), ValueError, "in row 0"),
        (partial(CD, LOGITS, labels=LABELS[:2], count=1), ValueError, "`labels` must"),
        (partial(rankings.deepfool, LOGITS, WEIGHTS[:2]), ValueError,
         r"`weights` must have shape \(3, D\)"),
        (partial(GLISTER, count=2, rate=-1), ValueError, r"`rate` must be in \[0, inf"),
        (partial(GLISTER, count=2, refreshes=0), ValueError, "`refreshes` must be at"),
        (partial(GLISTER, count=2, held_out=3), TypeError, "`held_out` must be a"),
        (partial(GLISTER, count=2, held_out=(FEATURES[:, :1], LOGITS, LABELS)),
         ValueError, r"`held_out\[0\]` must have shape \(6, 2\) .* got \(6, 1\)"),
        (partial(GLISTER, count=2, held_out=(FEATURES, LOGITS[:, :2], LABELS % 2)),
         ValueError, r"`held_out\[1\]` must have shape \(n, 3\) .* got \(6, 2\)"),
        (partial(GLISTER, count=2, held_out=(FEATURES, LOGITS, LABELS[1:])),
         ValueError, r"`held_out\[2\]` must have shape"),
        (partial(DP, *THREE), ValueError, "one of `count` and `bound` must be given"),
        (partial(DP, *THREE, count=2, bound=1.0), ValueError, "one of `count` and"),
        (partial(DP, *THREE, bound=-1.0), ValueError, r"`bound` must be in \[0, inf\]"),
        (partial(DP, *THREE, count=7), ValueError, r"`count` must be in \[1, 6\]"),
        (partial(DP, *THREE, count=2, damping=0), ValueError, "`damping` must be in"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_by_name(call, error, words):
    with pytest.raises(error, match=words):
        call()
