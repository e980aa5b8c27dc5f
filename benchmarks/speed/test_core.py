"""Planning, observing, saving and loading at growing n, beside what a loader does.

`pytest benchmarks/speed --benchmark-only` times with pytest-benchmark;
`python benchmarks/speed/record.py` writes the record.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ted_core as ted

SIZES = [10**5, 10**6]


def scored(n):
    pruner = ted.Pruner(n, epochs=10)
    scores = np.random.default_rng(0).random(n, dtype=np.float32)
    pruner.observe_sums(scores, np.ones(n, np.uint8))
    pruner.advance()
    return pruner


@pytest.mark.parametrize("n", SIZES)
def test_plan_and_order(benchmark, n):
    pruner = scored(n)

    def plan():
        pruner.load_state_dict(state)
        return pruner.plan()

    state = pruner.state_dict()
    benchmark(plan)


@pytest.mark.parametrize("n", SIZES)
def test_observe_a_batch(benchmark, n):
    pruner = scored(n)
    ids, values = np.arange(128), np.ones(128, np.float32)
    benchmark(lambda: pruner.observe(ids, values))


@pytest.mark.parametrize("n", SIZES)
def test_save_and_load(benchmark, tmp_path, n):
    pruner = scored(n)

    def trip():
        ted.save_state(tmp_path / "state.npz", pruner.state_dict())
        pruner.load_state_dict(ted.load_state(tmp_path / "state.npz"))

    benchmark(trip)


@pytest.mark.parametrize("n", SIZES)
def test_the_permutation_that_a_random_sampler_needs(benchmark, n):
    benchmark(lambda: torch.randperm(n).tolist())
