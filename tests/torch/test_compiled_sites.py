from __future__ import annotations

import pytest
import torch
from torch_runs import cross_entropy, labelled, opened, recorded, two_parts

N = 24


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def at_the_input(ted, parts, x, ids):
    return parts[0](ted.mask(x, ids=ids))


def at_a_feature(ted, parts, x, ids):
    return ted.mask(parts[0](x), ids=ids)


def at_both(ted, parts, x, ids):
    h, x = ted.mask([parts[0](x), x], ids=ids)
    return h + x.sum(1, keepdim=True)


@pytest.mark.parametrize("site", [at_the_input, at_a_feature, at_both])
def test_a_mask_put_in_by_a_compiled_step_gives_the_same_values(site):
    data, parts = labelled(N), two_parts()
    x, y = data.tensors

    def step(ted, x, y, ids):
        z = parts[1](site(ted, parts, x, ids))
        return ted.loss(cross_entropy(z, y), ids=ids)

    scores = []
    for run in (step, torch.compile(step, fullgraph=True, backend="aot_eager")):
        ted = opened(data)
        for ids in torch.arange(N).split(8):
            run(ted, x[ids], y[ids], ids).backward()
        scores.append(recorded(ted))
    torch.testing.assert_close(*scores)
    assert scores[0].min() > 0


def test_a_compiled_step_takes_mixed_batches_and_tokens_after_an_eager_one():
    data, parts = labelled(N), two_parts()
    x, y = data.tensors
    share = torch.linspace(0.1, 0.9, N)
    other = torch.arange(N).flip(0)

    def step(ted, ids):
        z = parts[1](parts[0](x))
        losses = torch.stack([cross_entropy(z, y), cross_entropy(z, y[other])], 1)
        pairs = [(ids, share), (ids[other], 1 - share)]
        return ted.loss(losses, mask=z, ids=pairs, valid=losses > 1)

    scores = []
    for run in (step, torch.compile(step, fullgraph=True, backend="aot_eager")):
        ted = opened(data)
        step(ted, torch.arange(N)).backward()
        run(ted, torch.arange(N)).backward()
        scores.append(recorded(ted))
    torch.testing.assert_close(*scores)
