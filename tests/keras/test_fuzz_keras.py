"""Whatever the adapter is given: an answer, or an error that names what is wrong."""

from __future__ import annotations

import pytest
from fuzz_keras import CASES, judge_state, part_way, session, things
from fuzz_states import changed
from fuzzing import arguments, judge
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FEW = settings(
    # The gate repeats itself; benchmarks/reliability/fuzz.py explores.
    derandomize=True,
    max_examples=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def saved():
    return part_way()


@pytest.mark.parametrize("name", CASES)
@FEW
@given(data=st.data())
def test_any_argument_is_taken_or_refused_by_name(name, data):
    call, known = CASES[name]
    judge(call, data.draw(arguments(known, things)))


@FEW
@given(data=st.data())
def test_a_changed_state_is_refused_whole_or_taken_whole(saved, data):
    judge_state(session(), data.draw(changed(saved)))


def test_an_unchanged_state_is_taken(saved):
    assert judge_state(session(), saved) == "answer"
