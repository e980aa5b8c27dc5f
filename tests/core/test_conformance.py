from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ted_core as ted
from ted_core.testing import CHECKS, PAIRS, ConformanceError, LoopAdapter, check_resume
from ted_core.testing.strategies import run_options, values


@pytest.mark.parametrize("name", CHECKS)
def test_a_plain_loop_conforms(name):
    CHECKS[name](LoopAdapter)


class Shuffles(LoopAdapter):
    def run_epoch(self, epoch, values, *, steps=None):
        return super().run_epoch(epoch, values, steps=steps)[::-1]


class Rescales(LoopAdapter):
    def run_epoch(self, epoch, values, *, steps=None):
        # In the last epoch, whose values no other epoch is planned by.
        return super().run_epoch(epoch, values * (1 + epoch // 5), steps=steps)


class Miscounts(LoopAdapter):
    def total_steps(self):
        return super().total_steps() + 1


class ForgetsTheScale(LoopAdapter):
    def loss_scale(self):
        return 1.0


class ForgetsTheWeights(LoopAdapter):
    def loss_scale(self):
        return self.pruner.plan().loss_scale


class MixesUpTheWeights(LoopAdapter):
    def loss_scale(self):
        plan = self.pruner.plan()
        if plan.weights is None:
            return plan.loss_scale
        return float(plan.weights[plan.order.argmin()])


class ForgetsThePosition(LoopAdapter):
    def restore(self, saved):
        super().restore({**saved, "position": 0})


BROKEN = [
    (Shuffles, "every_epoch_trains_as_planned", "epoch 0 must train on"),
    (Rescales, "every_epoch_trains_as_planned", "'scores.score' must be"),
    (ForgetsTheScale, "every_epoch_trains_as_planned", "the loss must be scaled by"),
    (Miscounts, "total_steps_are_those_planned", "must be the steps planned"),
    (ForgetsTheWeights, "the_weights_multiply_the_losses", "must be multiplied by"),
    (MixesUpTheWeights, "the_weights_multiply_the_losses", "must be multiplied by"),
    (ForgetsThePosition, "resumed_equals_never_stopped", "after step 1 of epoch 2"),
]


@pytest.mark.parametrize(("broken", "name", "message"), BROKEN)
def test_every_check_finds_the_adapter_that_breaks_it(broken, name, message):
    with pytest.raises(ConformanceError, match=message):
        CHECKS[name](broken)


def test_every_check_is_shown_to_fail():
    assert {name for _, name, _ in BROKEN} == set(CHECKS)


class ForgetsTheEpoch(LoopAdapter):
    def restore(self, saved):
        super().restore(saved)
        self.pruner = ted.Pruner(self.pruner.n, epochs=self.pruner.epochs)


class GrowsItsState(LoopAdapter):
    def restore(self, saved):
        super().restore({"position": 0, **saved} if "position" in saved else saved)
        self.restored = True

    def save(self):
        state = super().save()
        return state | {"position": np.int64(state["position"])} | self.extra

    @property
    def extra(self):
        return {"restored": True} if hasattr(self, "restored") else {}


class LosesTheOpenEpoch(LoopAdapter):
    def save(self):
        state = super().save().items()
        closed = {name: value for name, value in state if name[:5] != "open."}
        return closed | {"open.observed": 0}


class ForgetsTheScaleOnceRestored(LoopAdapter):
    def restore(self, saved):
        super().restore(saved)
        self.loss_scale = lambda: 1.0


def test_a_plain_loop_goes_on_from_a_state_of_any_step():
    check_resume(LoopAdapter)
    runs = [options for name, options in PAIRS.items() if "Cosine" in name]
    check_resume(LoopAdapter, runs, every=5)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (ForgetsThePosition, "must train on .* saved after step 1 of epoch 0"),
        (ForgetsTheEpoch, "'schedule.|'seed' must be .* saved after step"),
        (GrowsItsState, "'restored'.* must be missing saved after step 0 of epoch 0"),
        (LosesTheOpenEpoch, "'open.* must be .* saved after step 1 of epoch 0"),
        (ForgetsTheScaleOnceRestored, "the loss must be scaled by"),
    ],
)
def test_a_session_that_goes_on_otherwise_is_found_with_its_step(broken, message):
    with pytest.raises(ConformanceError, match=message):
        check_resume(broken)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), run_options(), st.data())
def test_any_run_finishes_with_the_counts_it_planned(n, options, data):
    pruner = ted.Pruner(n, **options)
    planned = pruner.schedule_table()["kept"].tolist()
    while not pruner.finished:
        plan = pruner.plan()
        pruner.observe(plan.order, data.draw(values(n))[plan.order])
        pruner.advance()
    assert pruner.report().planned.tolist() == planned
    assert pruner.report().observed.tolist() == planned
    assert np.all(pruner.update_counts <= options["epochs"])
