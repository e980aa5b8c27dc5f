"""Every strategy with every schedule and signal trains as planned, or is refused."""

from __future__ import annotations

import numpy as np
import pytest

import ted_core as ted
from ted_core.signals import SIGNALS
from ted_core.testing import (
    PAIRS,
    SIGNAL_PAIRS,
    ConformanceError,
    LoopAdapter,
    trains_or_refuses,
)

REFUSED = {"UCB x forgetting", "InfoBatch x forgetting"}


def kinds(pairs, option):
    return {type(options[option]) for options in pairs.values()}


def test_the_grid_holds_every_strategy_schedule_and_signal():
    strategies = {
        ted.TopScore,
        ted.SoftTop,
        ted.Random,
        ted.EpsilonGreedy,
        ted.UCB,
        ted.InfoBatch,
        ted.Importance,
        ted.Static,
    }
    schedules = {ted.RollerCoaster, ted.Linear, ted.Cosine, ted.Constant}
    assert kinds(PAIRS, "strategy") == kinds(SIGNAL_PAIRS, "strategy") == strategies
    assert kinds(PAIRS, "schedule") == schedules
    assert len(PAIRS) == len(strategies) * len(schedules)
    assert {options["signal"] for options in SIGNAL_PAIRS.values()} == set(SIGNALS)
    assert len(SIGNAL_PAIRS) == len(strategies) * len(SIGNALS)


@pytest.mark.parametrize("name", PAIRS)
def test_every_strategy_trains_with_every_schedule(name):
    assert trains_or_refuses(LoopAdapter, PAIRS[name])


@pytest.mark.parametrize("name", SIGNAL_PAIRS)
def test_every_strategy_trains_with_every_signal_or_is_refused(name):
    assert trains_or_refuses(LoopAdapter, SIGNAL_PAIRS[name]) == (name not in REFUSED)


class Ignores(LoopAdapter):
    """Takes part of the options, and leaves the others at their defaults."""

    ignored: str

    def start(self, n, *, batch_size, **options):
        options.pop(self.ignored, None)
        super().start(n, batch_size=batch_size, **options)


class AnnouncesTheBound(LoopAdapter):
    def total_steps(self):
        return self.pruner.max_total_steps(self.batch_size)


class ForgetsTheWeights(LoopAdapter):
    def loss_scale(self):
        return self.pruner.plan().loss_scale


class RefusesWithoutSayingWhy(LoopAdapter):
    def start(self, n, *, batch_size, **options):
        try:
            super().start(n, batch_size=batch_size, **options)
        except ValueError:
            raise ValueError from None


class RefusesAll(LoopAdapter):
    def start(self, n, *, batch_size, **options):
        msg = f"got {n}, {batch_size}, {options}"
        raise ValueError(msg)


def test_the_grid_finds_an_adapter_that_ignores_an_option():
    for option, name in (
        ("strategy", "SoftTop x Linear"),
        ("schedule", "SoftTop x Linear"),
        ("strategy", "Static x Cosine"),
        ("signal", "TopScore x el2n"),
        ("signal", "UCB x forgetting"),
    ):
        broken = type("Broken", (Ignores,), {"ignored": option})
        with pytest.raises(ConformanceError):
            trains_or_refuses(broken, {**PAIRS, **SIGNAL_PAIRS}[name])


@pytest.mark.parametrize("name", ["InfoBatch x Constant", "InfoBatch x loss"])
@pytest.mark.parametrize("broken", [AnnouncesTheBound, ForgetsTheWeights])
def test_the_grid_finds_an_adapter_that_takes_weights_or_counts_lightly(broken, name):
    with pytest.raises(ConformanceError):
        trains_or_refuses(broken, {**PAIRS, **SIGNAL_PAIRS}[name])


def test_a_refusal_must_be_the_cores_and_only_where_the_core_refuses():
    with pytest.raises(ConformanceError, match=r"must be refused with .*`signal`"):
        trains_or_refuses(RefusesWithoutSayingWhy, SIGNAL_PAIRS["UCB x forgetting"])
    with pytest.raises(ConformanceError, match=r"must be trained, got .*37, 8"):
        trains_or_refuses(RefusesAll, PAIRS["TopScore x Linear"])


@pytest.mark.parametrize("name", PAIRS)
def test_a_run_of_every_pair_resumes_bit_for_bit_through_a_file(name, tmp_path):
    def train(run, epochs):
        for _ in range(epochs):
            order = run.plan().order
            run.observe(order, 1 + np.cos(order + run.epoch))
            run.advance()

    whole = ted.Pruner(37, epochs=8, **PAIRS[name])
    train(whole, 4)
    order = whole.plan().order
    whole.observe(order[:5], np.ones(5))
    ted.save_state(tmp_path / "run.ted", whole.state_dict())
    again = ted.Pruner(37, epochs=8, **PAIRS[name])
    again.load_state_dict(ted.load_state(tmp_path / "run.ted"))
    for run in (whole, again):
        order = run.plan().order
        run.observe(order[5:], np.ones(order.size - 5))
        run.advance()
        train(run, 3)
    one, other = whole.state_dict(), again.state_dict()
    assert one.keys() == other.keys()
    for field, value in one.items():
        np.testing.assert_array_equal(value, other[field])
