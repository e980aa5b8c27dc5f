"""Methods by name: a signal and a strategy in one argument."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ted_core as ted
from ted_core.config import METHODS


def kept(pruner, values):
    found = []
    while not pruner.finished:
        plan = pruner.plan()
        found.append(plan.order.tolist())
        pruner.observe(plan.order, values[plan.order])
        pruner.advance()
    return found


@given(
    method=st.sampled_from(list(METHODS)),
    values=st.lists(st.floats(0, 1, width=32), min_size=4, max_size=30),
    seed=st.integers(0, 9),
)
def test_a_method_is_its_signal_and_its_strategy(method, values, seed):
    values = np.array(values, np.float32)
    signal, strategy = METHODS[method]
    run = {"epochs": 5, "seed": seed}
    named = ted.Pruner(len(values), method=method, **run)
    spelled = ted.Pruner(len(values), signal=signal, strategy=strategy, **run)
    assert kept(named, values) == kept(spelled, values)
    spelled.load_state_dict(named.state_dict())


def test_the_papers_method_is_the_default():
    named = ted.Pruner(9, epochs=5, method="ted").config.describe()
    assert named == ted.Pruner(9, epochs=5).config.describe()
    assert METHODS["ted"] == ("mask_gradient", ted.TopScore())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "best"}, "`method` must be one of ted, .*got 'best'"),
        ({"method": ["ted"]}, "`method` must be one of"),
        ({"method": "ted", "signal": "loss"}, "`signal` must not be given beside"),
        (
            {"method": "ted", "strategy": ted.Random()},
            "`strategy` must not be given beside `method`.*Random",
        ),
    ],
)
def test_a_method_that_is_none_or_that_says_it_twice_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        ted.Pruner(9, epochs=5, **options)
