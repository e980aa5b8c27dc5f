"""Whatever a public function is given: an answer, or an error that names it."""

from __future__ import annotations

import pytest
from fuzz_cases import CASES
from fuzzing import arguments, judge
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
