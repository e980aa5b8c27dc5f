"""Files of PyTorch that were cut, flipped, or made by someone else."""

from __future__ import annotations

import io
import os
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ted_torch import TED
from torch_runs import cross_entropy, labelled

from ted_core import CheckpointError, TopScore


def session():
    return TED(
        labelled(60), epochs=6, prune_ratio=0.5, signal="loss", strategy=TopScore()
    )


def saved():
    """Give a session in the middle of an epoch, and its file."""
    ted = session()
    for epoch in (0, 1):
        ted.set_epoch(epoch)
        ids = torch.as_tensor(ted.pruner.plan().order[: 60 >> epoch].copy()).long()
        z = torch.ones(len(ids), 4, requires_grad=True) * ids[:, None]
        ted.loss(cross_entropy(z, ids % 4), ids=ids).backward()
    file = io.BytesIO()
    torch.save(ted.state_dict(), file)
    return ted.state_dict(), file.getvalue()


STATE, FILE = saved()


def bits(state):
    return {
        name: value.numpy().tobytes() if isinstance(value, torch.Tensor) else value
        for name, value in state.items()
    }


def refused_or_the_same(content):
    """Read a file that PyTorch may or may not find fault with."""
    try:
        state = torch.load(io.BytesIO(content), weights_only=True)
    except Exception:  # noqa: BLE001 - PyTorch's refusals are of many types
        return
    ted = session()
    fresh = bits(ted.state_dict())
    try:
        ted.load_state_dict(state)
    except (CheckpointError, TypeError):
        assert bits(ted.state_dict()) == fresh
    else:
        assert bits(ted.state_dict()) == bits(STATE)


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(deadline=None)
@given(at=st.integers(0, 8 * len(FILE) - 1))
def test_a_flipped_bit_of_a_file_is_refused_or_harmless(at):
    damaged = bytearray(FILE)
    damaged[at // 8] ^= 1 << at % 8
    refused_or_the_same(bytes(damaged))


@settings(deadline=None, max_examples=30)
@given(length=st.integers(0, len(FILE) - 1))
def test_a_file_cut_short_is_refused_by_pytorch(length):
    with pytest.raises((RuntimeError, EOFError, ValueError, pickle.UnpicklingError)):
        torch.load(io.BytesIO(FILE[:length]), weights_only=True)


@pytest.mark.parametrize(
    "name", ["pruner.scores.score", "buffer.sums", "pruner.history.planned"]
)
def test_a_flipped_bit_of_a_score_is_refused_by_the_checksum(name):
    state = {**STATE, name: STATE[name].clone()}
    state[name].view(torch.uint8)[0] ^= 4  # 56 samples for 60: in range, and wrong
    ted = session()
    fresh = bits(ted.state_dict())
    with pytest.raises(CheckpointError, match=r"`checksum` must be .* damaged or"):
        ted.load_state_dict(state)
    assert bits(ted.state_dict()) == fresh


class Bomb:
    def __reduce__(self):
        return os.abort, ()


def test_nothing_that_a_file_holds_is_executed(tmp_path):
    path = tmp_path / "bomb.pt"
    torch.save({**STATE, "x": Bomb()}, path)
    with pytest.raises(pickle.UnpicklingError, match=r"posix\.abort"):
        torch.load(path, weights_only=True)


def test_a_state_of_another_kind_of_session_is_refused_by_name():
    with pytest.raises(CheckpointError, match=r"`format` must be 'ted_torch\.TED'"):
        session().load_state_dict(session().pruner.state_dict())
