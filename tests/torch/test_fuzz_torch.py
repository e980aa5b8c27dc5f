"""Whatever the adapter is given: an answer, or an error that names what is wrong."""

from __future__ import annotations

import pytest
from fuzz_torch import CASES, changed, judge_state, part_way, session, things
from fuzzing import arguments, judge
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FEW = settings(
    # The gate repeats itself; benchmarks/reliability/fuzz.py explores.
    derandomize=True,
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.parametrize("name", CASES)
@FEW
@given(data=st.data())
def test_any_argument_is_taken_or_refused_by_name(name, data):
    call, known = CASES[name]
    judge(call, data.draw(arguments(known, things)))


@settings(FEW, max_examples=60)
@given(data=st.data())
def test_a_changed_state_is_refused_whole_or_taken_whole(data):
    judge_state(session(), data.draw(changed(part_way().state_dict())))


def test_an_unchanged_state_is_taken():
    assert judge_state(session(), part_way().state_dict()) == "answer"
