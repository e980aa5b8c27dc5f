"""Signals, and pairs of signals with strategies, that are refused by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ted_core as ted
from ted_core import signals

Z = np.ones((2, 3), np.float32)
K = np.array([0, 1])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: signals.loss([1.0]), TypeError, "`losses` must be an array .* list"),
        (lambda: signals.loss(Z), ValueError, r"`losses` must have shape \(B,\)"),
        (lambda: signals.loss(Z[0, 0]), (TypeError, ValueError), "`losses` must"),
        (lambda: signals.loss(K), TypeError, "`losses` must be real floating .* int64"),
        (lambda: signals.el2n(K, K), (TypeError, ValueError), "`logits` must"),
        (
            lambda: signals.el2n(Z[None], K),
            ValueError,
            r"`logits` must have shape \(B, C\), got shape \(1, 2, 3\); for tokens",
        ),
        (
            lambda: signals.el2n(Z[:, :0], K),
            ValueError,
            r"`logits` must have at least 2 classes, got shape \(2, 0\)",
        ),
        (
            lambda: signals.margin(Z[:, :1]),
            ValueError,
            r"`logits` must have at least 2 classes, got shape \(2, 1\)",
        ),
        (
            lambda: signals.el2n(Z, [0, 1]),
            TypeError,
            "`labels` must be an array .* lis",
        ),
        (lambda: signals.el2n(Z, K * 1.0), TypeError, "`labels` .* integers.* float64"),
        (lambda: signals.el2n(Z, K[:1]), ValueError, r"`labels` .*\(2,\).*\(1,\)"),
        (lambda: signals.el2n(Z, Z[:, :2]), ValueError, r"`labels` .*\(2, 3\).*\(2, 2"),
        (lambda: signals.el2n(Z, Z + 1j), TypeError, "`labels` .* complex64"),
        (
            lambda: signals.forgetting(Z, torch.tensor([0, 1])),
            TypeError,
            "`logits` and `labels` must be arrays of one library, got numpy and torch",
        ),
        (
            lambda: signals.grand(Z, K, Z[:1]),
            ValueError,
            r"`hidden` must have shape \(2, 3\) like `logits`, samples",
        ),
        (
            lambda: signals.grand(Z, K, Z[0]),
            ValueError,
            "`hidden` must have at least 2",
        ),
        (
            lambda: signals.grand(Z, K, torch.ones(2, 3)),
            TypeError,
            "`logits` and `hidden` must be arrays of one library",
        ),
        (lambda: signals.normalize(3.0), TypeError, "`values` must be an array"),
        (lambda: signals.normalize(K), TypeError, "`values` must be real floating"),
        (
            lambda: signals.compute("entropy", logits=Z),
            ValueError,
            "`signal` must be one of mask_gradient, loss, .*, got 'entropy'",
        ),
        (
            lambda: signals.compute("el2n", logits=Z),
            ValueError,
            "`labels` must be given for the signal 'el2n', got None",
        ),
        (
            lambda: signals.compute("grand", logits=Z, labels=K, losses=Z[:, 0]),
            ValueError,
            "`hidden` must be given for the signal 'grand', got None",
        ),
        (
            lambda: signals.compute("loss", logits=Z, labels=K),
            ValueError,
            "`losses` must be given for the signal 'loss', got None",
        ),
    ],
)
def test_bad_input_is_refused_by_name(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_an_empty_batch_and_a_batch_of_one_are_valid():
    for n in (0, 1):
        z, labels = Z[:n], K[:n]
        for name in signals.SIGNALS:
            value = signals.compute(
                name, losses=z[:, 0], logits=z, labels=labels, hidden=z
            )
            assert value.shape == (n,)
            assert np.isfinite(value).all()


def test_what_a_signal_is_not_computed_from_is_not_looked_at():
    value = signals.compute("margin", logits=Z, labels="?", hidden="?", losses="?")
    assert value.tolist() == [1, 1]


def test_every_signal_says_what_it_is_computed_from():
    assert list(signals.INPUTS) == list(signals.SIGNALS)
    for name, needed in signals.INPUTS.items():
        arrays = {"losses": Z[:, 0], "logits": Z, "labels": K, "hidden": Z}
        signals.compute(name, **{key: arrays[key] for key in needed})
        for key in needed:
            others = {k: arrays[k] for k in needed if k != key}
            with pytest.raises(ValueError, match=f"`{key}` must be given for .*{name}"):
                signals.compute(name, **others)


@pytest.mark.parametrize(
    ("signal", "reduction"),
    [
        ("mask_gradient", ted.Polyak()),
        ("loss", ted.Polyak()),
        ("el2n", ted.Mean()),
        ("grand", ted.Mean()),
        ("margin", ted.Polyak()),
        ("least_confidence", ted.Polyak()),
        ("forgetting", ted.Count()),
    ],
)
def test_a_signal_has_a_reduction_of_its_own_unless_the_strategy_has(signal, reduction):
    assert ted.Pruner(10, epochs=6, signal=signal).config.reduction == reduction
    if signal != "forgetting":
        run = ted.Pruner(10, epochs=6, signal=signal, strategy=ted.InfoBatch())
        assert run.config.reduction == ted.Last()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"signal": "forgetting", "strategy": ted.UCB()},
            r"`signal` must not be 'forgetting' for UCB\(.*MeanAndVariance",
        ),
        (
            {"signal": "forgetting", "strategy": ted.InfoBatch()},
            r"`signal` must not be 'forgetting' for InfoBatch\(\), which needs Last",
        ),
        (
            {"signal": "forgetting", "reduction": ted.Polyak()},
            r"`reduction` must be Count\(\) for the signal 'forgetting', .*Polyak",
        ),
        (
            {"signal": "loss", "reduction": ted.Count()},
            r"`reduction` must not be Count\(\), .* for the signal 'loss'",
        ),
        (
            {"strategy": ted.InfoBatch(), "reduction": ted.Mean()},
            r"`reduction` must be Last\(\) for InfoBatch\(\), got Mean",
        ),
        ({"signal": 3}, "`signal` must be one of .*, got 3"),
    ],
)
def test_pairs_without_meaning_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        ted.Pruner(10, epochs=6, **options)


def test_a_run_of_forgetting_keeps_what_was_forgotten_most_often():
    right = [[1, 1, 0, 1], [0, 1, 0, 1], [1, 1, 0, 0], [0, 1, 0, 1], [0, 1, 0, 1]]
    schedule = ted.Constant(0.5, anneal=0, warmup=5)
    run = ted.Pruner(4, epochs=6, schedule=schedule, signal="forgetting")
    for values in right:
        run.observe(range(4), values)
        run.advance()
    top = np.finfo(np.float32).max
    assert run.scores.tolist() == [2, 0, top, 1]
    assert run.plan().kept.tolist() == [0, 2]
