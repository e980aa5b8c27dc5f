from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ted_torch import EpochBuffer
from torch_runs import cross_entropy, labelled, opened, oracle, recorded, two_parts

N = 24


def mixed(lam, partner):
    """Give a network, mixed inputs and the function of their mixed losses."""
    data, parts = labelled(N), two_parts()
    x, y = data.tensors
    lam = torch.as_tensor(lam)
    inputs = lam[:, None] * x + (1 - lam[:, None]) * x[partner]

    def losses(z, _):
        share = lam.to(z.dtype)
        return share * cross_entropy(z, y) + (1 - share) * cross_entropy(z, y[partner])

    return data, parts, inputs, losses


@settings(deadline=None)
@given(
    lam=st.lists(st.floats(0.0625, 0.9375, width=32), min_size=N, max_size=N),
    seed=st.integers(0, 99),
)
def test_a_mixed_samples_value_is_shared_among_its_parts_by_weight(lam, seed):
    partner = torch.randperm(N, generator=torch.Generator().manual_seed(seed))
    data, parts, inputs, losses = mixed(lam, partner)
    ted, ids = opened(data), torch.arange(N)
    lam = torch.tensor(lam)
    h = parts[0](inputs)
    z = parts[1](ted.mask(h, ids=[(ids, lam), (ids[partner], 1 - lam)]))
    pairs = [(ids, lam), (ids[partner], 1 - lam)]
    total = ted.loss(losses(z, None), mask=z, ids=pairs)
    total.backward()
    values = oracle(
        torch.nn.Sequential(*parts), torch.nn.Identity(), inputs, None, losses
    )
    sums, weights = torch.zeros(N), torch.zeros(N)
    for part, share in pairs:
        sums.index_add_(0, part, values * share)
        weights.index_add_(0, part, share)
    torch.testing.assert_close(recorded(ted), sums / weights, rtol=1e-4, atol=1e-6)


def test_a_single_number_weighs_a_whole_batch_and_zero_is_no_observation():
    data, parts = labelled(N), two_parts()
    x, y = data.tensors
    ids = torch.arange(N)
    half = ids[:12]
    ted = opened(data)
    z = parts[1](parts[0](x[half]))
    pairs = [(half, 1.0), (half + 12, 0.0)]
    ted.loss(cross_entropy(z, y[half]), mask=z, ids=pairs).backward()
    ted.set_epoch(1)
    values = oracle(torch.nn.Sequential(*parts), torch.nn.Identity(), x, y)
    np.testing.assert_allclose(ted.pruner.scores[:12], values[:12], rtol=1e-5)
    assert np.isnan(ted.pruner.scores[12:]).all()


def test_plain_and_mixed_batches_of_one_epoch_weigh_as_they_should():
    buffer = EpochBuffer(2)
    seen = torch.ones(1, dtype=torch.bool)
    first = torch.tensor([0])
    buffer.add(first, torch.tensor([1.0]), seen)
    buffer.add([(first, torch.tensor([0.5]))], torch.tensor([4.0]), seen)
    buffer.add(first, torch.tensor([3.0]), seen)
    recorded = buffer.read(0)
    # (1 + 0.5 * 4 + 3) / 2.5, three times.
    assert recorded["counts"].tolist() == [3, 0]
    np.testing.assert_allclose(recorded["sums"], [7.2, 0])


def test_a_mixed_epoch_resumes_in_the_middle():
    data, parts = labelled(N), two_parts()
    x, y = data.tensors
    scores = []
    for broken in (False, True):
        ted = opened(data)
        for ids in torch.arange(N).split(8):
            z = parts[1](parts[0](x[ids]))
            pairs = [(ids, 0.7), (ids.flip(0), 0.3)]
            ted.loss(cross_entropy(z, y[ids]), mask=z, ids=pairs).backward()
            if broken:
                state = ted.state_dict()
                ted = opened(data)
                ted.load_state_dict(state)
                ted.set_epoch(0)
        scores.append(recorded(ted))
    assert torch.equal(*scores)


@pytest.mark.parametrize(
    ("weight", "error", "says"),
    [
        (-0.5, ValueError, "finite and at least 0, got -0.5"),
        (float("nan"), ValueError, "finite and at least 0, got nan"),
        (torch.tensor([1.0, -2.0]), ValueError, "at least 0, got -2.0"),
        (torch.ones(3), ValueError, r"shape \(2,\), got shape \(3,\)"),
        (torch.ones(2, dtype=torch.int64), TypeError, "got torch.int64"),
        ("half", TypeError, "got str"),
        (True, TypeError, "got bool"),
    ],
)
def test_weights_of_ids_that_do_not_fit_are_refused(weight, error, says):
    ted, ids = opened(labelled(N)), torch.arange(2)
    z = torch.ones(2, 4, requires_grad=True) * 1
    with pytest.raises(error, match=f"the weights of `ids` must .*{says}"):
        ted.loss(z.sum(1), mask=z, ids=[(ids, weight)])
    with pytest.raises(TypeError, match="`ids` must be an integer tensor, or pairs"):
        ted.loss(z.sum(1), mask=z, ids=[ids, ids])
