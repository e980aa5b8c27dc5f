from __future__ import annotations

import os
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ted_core as ted

SLOW = settings(
    deadline=None,
    max_examples=80,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def state():
    pruner = ted.Pruner(50, epochs=6)
    pruner.observe(pruner.plan().order, np.arange(50))
    return pruner.state_dict()


def same(one, other):
    return list(one) == list(other) and all(
        type(one[k]) is type(other[k])
        and np.array_equal(one[k], other[k], equal_nan=k == "scores.score")
        for k in one
    )


def test_a_saved_state_comes_back_with_its_types_and_loads(tmp_path, state):
    ted.save_state(tmp_path / "a state", state)
    assert [p.name for p in tmp_path.iterdir()] == ["a state"]
    again = ted.load_state(tmp_path / "a state")
    assert same(state, again)
    ted.Pruner(50, epochs=6).load_state_dict(again)


@SLOW
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused(tmp_path, state, share):
    path = tmp_path / "state.npz"
    ted.save_state(path, state)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ted.CheckpointError, match="must be a whole saved state"):
        ted.load_state(path)


@SLOW
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_flipped_bit_is_refused_or_harmless(tmp_path, state, share, bit):
    path = tmp_path / "state.npz"
    ted.save_state(path, state)
    damaged = bytearray(path.read_bytes())
    damaged[int(share * len(damaged))] ^= 1 << bit
    path.write_bytes(damaged)
    try:
        found = ted.load_state(path)
    except ted.CheckpointError:
        return
    if same(state, found):
        return
    with pytest.raises(ted.CheckpointError):
        ted.Pruner(50, epochs=6).load_state_dict(found)


def test_foreign_files_are_refused_by_name(tmp_path, state):
    path = tmp_path / "state.npz"
    for content in (b"", b"hello", b"\x93NUMPY", b"PK\x03\x04"):
        path.write_bytes(content)
        with pytest.raises(ted.CheckpointError, match="must be a whole saved state"):
            ted.load_state(path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ted.CheckpointError, match="got a single array"):
        ted.load_state(path)
    np.savez(path, weights=np.zeros(3))
    with pytest.raises(ted.CheckpointError, match="`format` must be"):
        ted.load_state(path)
    ted.save_state(path, {**state, "version": 99})
    with pytest.raises(ted.CheckpointError, match=r"`version` must be in \[1, 2\]"):
        ted.load_state(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "no array")
    with pytest.raises(ted.CheckpointError):
        ted.load_state(path)
    with pytest.raises(FileNotFoundError):
        ted.load_state(tmp_path / "nothing")


def test_nothing_that_a_file_holds_is_executed(tmp_path):
    path = tmp_path / "state.npz"
    np.savez(path, format=np.array([print], dtype=object))
    with pytest.raises(ted.CheckpointError, match="must be a whole saved state"):
        ted.load_state(path)


def test_a_full_disk_leaves_the_older_file_and_no_litter(tmp_path, state, monkeypatch):
    path = tmp_path / "state.npz"
    ted.save_state(path, state)
    before = path.read_bytes()

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        ted.save_state(path, {**state, "n": 1})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("value", [None, [1], np.array([None]), 1j])
def test_what_is_no_plain_value_is_not_saved(tmp_path, value):
    with pytest.raises(TypeError, match="`extra` must"):
        ted.save_state(tmp_path / "state.npz", {"extra": value})
