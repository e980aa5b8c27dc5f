"""Whatever became of a saved state: all of it goes in, or nothing does."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from fuzz_states import RUNS, changed, judge_state, make, part_way
from fuzzing import judge
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ted_core as ted

SOME = settings(
    # The gate repeats itself; benchmarks/reliability/fuzz.py explores.
    derandomize=True,
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.parametrize("name", RUNS)
@SOME
@given(data=st.data())
def test_a_changed_state_is_refused_whole_or_taken_whole(name, data):
    state = part_way(name, pending=data.draw(st.booleans())).state_dict()
    judge_state(make(name), data.draw(changed(state)))


@pytest.mark.parametrize("name", RUNS)
def test_an_unchanged_state_is_taken(name):
    for pending in (False, True):
        state = part_way(name, pending=pending).state_dict()
        assert judge_state(make(name), state) == "answer"


@SOME
@given(data=st.data())
def test_a_ranking_of_any_state_is_an_answer_or_a_refusal(data):
    state = data.draw(changed(part_way("TED", pending=False).state_dict()))
    judge(ted.Static, {"scores": state})


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        (
            "history.planned",
            np.array([-1, 3]),
            r"`history\.planned` must be at least 0",
        ),
        (
            "scores.flags",
            np.full(12, 128, np.uint8),
            r"`scores\.flags` must be at most 127",
        ),
    ],
)
def test_counts_and_flags_that_no_run_has_are_refused(field, value, match):
    state = {**part_way("TED", pending=False).state_dict(), field: value}
    with pytest.raises(ted.CheckpointError, match=match):
        make("TED").load_state_dict(state)


def test_a_column_that_is_not_finite_is_refused():
    state = part_way("UCB", pending=False).state_dict()
    (name,) = [n for n in state if n.startswith("scores.") and state[n].dtype == "<f4"][
        1:
    ]
    broken = {**state, name: np.full(12, np.nan, np.float32)}
    with pytest.raises(ted.CheckpointError, match=f"`{name}` must be finite"):
        make("UCB").load_state_dict(broken)


def test_a_pickle_is_never_opened(tmp_path):
    path = tmp_path / "state.npz"
    path.write_bytes(pickle.dumps(part_way("TED", pending=False).state_dict()))
    with pytest.raises(ted.CheckpointError, match="must be a whole saved state"):
        ted.load_state(path)
