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


def test_a_compiled_step_takes_tokens_and_refuses_mixed_batches():
    data, parts = labelled(N), two_parts()
    x, y = data.tensors

    def step(ted, ids):
        z = parts[1](parts[0](x))
        losses = torch.stack([cross_entropy(z, y), cross_entropy(z, y.flip(0))], 1)
        return ted.loss(losses, mask=z, ids=ids, valid=losses > 1)

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    scores = []
    for run in (step, compiled):
        ted = opened(data)
        run(ted, torch.arange(N)).backward()
        scores.append(recorded(ted))
    torch.testing.assert_close(*scores)
    with pytest.raises(Exception, match="a tensor in a compiled step, got pairs"):
        compiled(opened(data), [(torch.arange(N), 1.0)])
