"""Whatever a public function is given: an answer, or an error that names it."""

from __future__ import annotations

import numpy as np
import pytest
from fuzz_cases import CASES
from fuzzing import arguments, judge
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ted_core as ted
from ted_core import signals

Z, Y = np.ones((2, 3)), np.array([0, 1])

FEW = settings(
    # The gate repeats itself; benchmarks/reliability/fuzz.py explores.
    derandomize=True,
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.parametrize("name", CASES)
@FEW
@given(data=st.data())
def test_any_argument_is_taken_or_refused_by_name(name, data):
    call, known = CASES[name]
    judge(call, data.draw(arguments(known)))


@pytest.mark.parametrize("name", CASES)
@FEW
@given(data=st.data())
def test_what_fits_is_never_an_internal_error(name, data):
    call, known = CASES[name]
    judge(call, {k: data.draw(strategy) for k, strategy in known.items()})


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: ted.steps_for(1, 1, drop_last=np.ones(0)), "`drop_last` must be True"),
        (lambda: ted.Static([[1], [2, 3]]), "`scores` must be an array"),
        (lambda: signals.grand(Z, Y, Z, bias=np.ones(2)), "`bias` must be True"),
        (lambda: ted.mask_gradient(Z, Z, signed=np.ones(2)), "`signed` must be True"),
        (lambda: ted.Pruner(9, epochs=9, scale_loss=1), "`scale_loss` must be True"),
    ],
)
def test_what_is_neither_true_nor_false_and_ragged_scores_are_refused(call, says):
    with pytest.raises(TypeError, match=says):
        call()
