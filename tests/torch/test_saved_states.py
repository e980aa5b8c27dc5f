"""States that an earlier version wrote are loaded, and their runs go on as they did."""

from __future__ import annotations

import numpy as np
import pytest
import saved_torch
import torch
from saved_hosts import HOSTS_BY_NAME, host_of
from saved_runs import FOLDER, read, same
from saved_states import HOSTS, RANKS, TORCH

import ted_core

pytestmark = [
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many"),
    # Lightning tells of checkpoints that another version of it wrote.
    pytest.mark.filterwarnings("ignore:The loaded checkpoint was produced with"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
]


@pytest.fixture
def ranks(rank_records):
    return rank_records["saved states"]


@pytest.mark.parametrize("name", TORCH)
def test_a_session_goes_on_from_the_state_of_an_earlier_version(name):
    found = saved_torch.resumed(f"torch/{name}", TORCH[name])
    same(found, read(f"torch/{name}"), rtol=1e-6, mixed="mixed" in name)


@pytest.mark.parametrize("name", HOSTS)
def test_a_framework_goes_on_from_the_state_of_an_earlier_version(name, tmp_path):
    host, path = host_of(name)
    found = host.run(HOSTS[name], tmp_path, path)
    same(found, read(f"hosts/{name}"), rtol=1e-6)


@pytest.mark.parametrize("name", RANKS)
def test_processes_go_on_from_the_states_of_an_earlier_version(name, ranks):
    expected = read(f"ranks/{name}")["ranks"]
    for found, other in zip(ranks, expected, strict=True):
        same(found[name], other, rtol=1e-6, padded=True)


@pytest.mark.parametrize("name", ["between", "finished"])
def test_a_static_run_ranks_by_the_state_of_an_earlier_version(name):
    state = torch.load(saved_torch.path(f"torch/{name}"), weights_only=True)
    scores = ted_core.Static.from_state(state).scores
    expected = read(f"torch/{name}")["loaded"]["scores"]
    np.testing.assert_array_equal(scores, np.float32(expected))


def test_each_kind_has_its_files_and_no_file_is_without_a_kind():
    for folder, kinds in (("torch", TORCH), ("hosts", HOSTS), ("ranks", RANKS)):
        suffixes = {"pt", *(host.suffix for host in HOSTS_BY_NAME.values())}
        there = list((FOLDER / folder).iterdir())
        states = [path for path in there if path.suffix[1:] in suffixes]
        assert {path.name.split(".")[0] for path in states} == kinds.keys()
        assert {path.stem for path in there if path.suffix == ".json"} == kinds.keys()
