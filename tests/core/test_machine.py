"""Any order of plan, observe, advance, save and load equals the paper's letters."""

from __future__ import annotations

import math
import warnings

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from oracles.algorithm1 import Ted, kept_by_definition_3, r

import ted_core as ted

values = st.one_of(
    st.sampled_from([0.0, 0.5, 1.0, math.nan, math.inf]),
    st.floats(-1e6, 1e6, width=32),
)


class PrunerMachine(RuleBasedStateMachine):
    @initialize(
        n=st.integers(1, 12),
        epochs=st.integers(5, 9),
        s=st.sampled_from([0.0, 0.3, 0.7, 0.99]),
        start=st.sampled_from(["first", "zero", "debiased"]),
        seed=st.integers(0, 2**64 - 1),
    )
    def begin(self, n, epochs, s, start, seed):
        self.options = {
            "epochs": epochs,
            "schedule": ted.RollerCoaster(s, beta=0.25, anneal=0.2),
            "reduction": ted.Polyak(0.9, start=start),
            "seed": seed,
        }
        self.n, self.s, self.epochs, self.seed = n, s, epochs, seed
        self.pruner = ted.Pruner(n, **self.options)
        self.model = Ted(n, alpha=0.9, start=start)
        self.t = 0

    @precondition(lambda self: not self.pruner.finished)
    @rule(data=st.data())
    def observe(self, data):
        ids = data.draw(st.lists(st.integers(0, self.n - 1), max_size=6))
        numbers = data.draw(
            st.lists(values, min_size=len(ids), max_size=len(ids)), label="values"
        )
        weights = data.draw(
            st.lists(st.booleans(), min_size=len(ids), max_size=len(ids)), label="valid"
        )
        self.pruner.observe(
            ids, np.array(numbers, np.float32), valid=np.array(weights, bool)
        )
        for k, value, weight in zip(ids, numbers, weights, strict=True):
            with np.errstate(all="ignore"):
                self.model.observe(k, value, weight=weight)

    @precondition(lambda self: not self.pruner.finished)
    @rule()
    def advance(self):
        with np.errstate(all="ignore"):
            finite = any(
                math.isfinite(np.float32(sum(v, start=np.float32(0))))
                for v in self.model.seen.values()
            )
        order = self.pruner.plan().order.tolist()
        if not finite and not self.model.waits_for(order):
            try:
                self.pruner.advance()
            except ted.EpochError:
                return
            msg = "an epoch without a finite value must not close"
            raise AssertionError(msg)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="planned samples must be deliv")
            warnings.filterwarnings("ignore", message="values must be finite, got")
            self.pruner.advance()
        with np.errstate(all="ignore"):
            self.model.close(order)
        self.t += 1

    @rule()
    def save_and_load(self):
        state = self.pruner.state_dict()
        self.pruner = ted.Pruner(self.n, **self.options)
        self.pruner.load_state_dict(state)
        again = self.pruner.state_dict()
        assert list(again) == list(state)
        for name, value in state.items():
            np.testing.assert_array_equal(again[name], value)

    @invariant()
    def the_scores_are_the_models(self):
        if hasattr(self, "pruner"):
            found = {
                k: score
                for k, score in enumerate(self.pruner.scores.tolist())
                if not math.isnan(score)
            }
            assert found == {k: float(self.model.rank(k)) for k in self.model.score}

    @invariant()
    def the_plan_is_the_models(self):
        if not hasattr(self, "pruner") or self.pruner.finished:
            return
        tail = math.floor(0.2 * self.epochs + 0.5)
        full = self.t >= self.epochs - tail
        ratio = 1.0 if full else r(self.t, self.epochs, self.s, 0.25)
        count = min(self.n, max(1, math.floor(ratio * self.n + 0.5)))
        plan = self.pruner.plan()
        assert math.isclose(plan.keep_ratio, ratio)
        expected = kept_by_definition_3(
            self.model.ranking(), count, seed=self.seed, epoch=self.t
        )
        assert plan.kept.tolist() == expected


PrunerMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None
)
TestPruner = PrunerMachine.TestCase
