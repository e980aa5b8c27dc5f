from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential
from torch.utils.data import DataLoader
from torch_runs import cross_entropy, labelled, opened, oracle, recorded, two_parts

N = 23
KINDS = pytest.mark.parametrize("reentrant", [False, True], ids=["plain", "reentrant"])


@pytest.fixture
def data():
    return labelled(N)


@pytest.fixture
def parts():
    return two_parts()


def each(data, size=8):
    for ids in torch.arange(N).split(size):
        x, y = (tensor[ids] for tensor in data.tensors)
        # The older kind sends gradients only through inputs that require one.
        yield ids, x.requires_grad_(), y


def gradients(parts):
    return [p.grad for part in parts for p in part.parameters()]


def plain_gradients(parts, data):
    """Give the parameters' gradients of the batches' means, added up."""
    for part in parts:
        part.zero_grad()
    for _, x, y in each(data):
        cross_entropy(nn.Sequential(*parts)(x), y).mean().backward()
    return [gradient.clone() for gradient in gradients(parts)]


def trunk_then_logits(ted, parts, batch, reentrant):
    ids, x, y = batch
    z = parts[1](checkpoint(parts[0], x, use_reentrant=reentrant))
    return ted.loss(cross_entropy(z, y), mask=z, ids=ids)


def whole_network(ted, parts, batch, reentrant):
    ids, x, y = batch
    z = checkpoint(nn.Sequential(*parts), x, use_reentrant=reentrant)
    return ted.loss(cross_entropy(z, y), mask=z, ids=ids)


def mask_between_blocks(ted, parts, batch, reentrant):
    ids, x, y = batch
    h = ted.mask(checkpoint(parts[0], x, use_reentrant=reentrant), ids=ids)
    z = checkpoint(parts[1], h, use_reentrant=reentrant)
    return ted.loss(cross_entropy(z, y), ids=ids)


def head_and_losses_in_a_block(ted, parts, batch, reentrant):
    ids, x, y = batch
    h = ted.mask(parts[0](x), ids=ids)

    def head(h):
        return cross_entropy(parts[1](h), y)

    return ted.loss(checkpoint(head, h, use_reentrant=reentrant), ids=ids)


def sequential(ted, parts, batch, reentrant):
    ids, x, y = batch
    layers = nn.Sequential(*parts[0], parts[1])
    z = checkpoint_sequential(layers, 2, x, use_reentrant=reentrant)
    return ted.loss(cross_entropy(z, y), mask=z, ids=ids)


@KINDS
@pytest.mark.parametrize(
    ("step", "site"),
    [
        (trunk_then_logits, "logits"),
        (whole_network, "logits"),
        (sequential, "logits"),
        (mask_between_blocks, "feature"),
        (head_and_losses_in_a_block, "feature"),
    ],
)
def test_a_mask_outside_the_blocks_records_what_it_records_without_them(
    data, parts, step, site, reentrant
):
    ted = opened(data)
    for batch in each(data):
        step(ted, parts, batch, reentrant).backward()
    ours = [gradient.clone() for gradient in gradients(parts)]
    cut = (nn.Sequential(*parts), nn.Identity()) if site == "logits" else parts
    torch.testing.assert_close(recorded(ted), oracle(*cut, *data.tensors))
    assert ted.pruner.report().observed.tolist() == [N]
    for mine, theirs in zip(ours, plain_gradients(parts, data), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_a_mask_inside_a_block_is_recorded_once_with_the_same_value(data, parts):
    ted = opened(data)
    for ids, x, y in each(data):

        def block(x, ids=ids):
            return parts[1](ted.mask(parts[0](x), ids=ids))

        z = checkpoint(block, x, use_reentrant=False)
        ted.loss(cross_entropy(z, y), ids=ids).backward()
    torch.testing.assert_close(recorded(ted), oracle(*parts, *data.tensors))
    assert ted.pruner.report().observed.tolist() == [N]


def test_a_mask_inside_a_reentrant_block_is_refused_at_the_loss(data, parts):
    ted = opened(data)
    ids, x, y = next(each(data))

    def block(x):
        return parts[1](ted.mask(parts[0](x), ids=ids))

    # Its forward runs without gradients, and its graph is made in the backward only.
    z = checkpoint(block, x, use_reentrant=True)
    with pytest.raises(ValueError, match="`mask` must be a tensor of this forward"):
        ted.loss(cross_entropy(z, y), ids=ids)


def test_a_dropout_that_is_run_again_has_the_values_of_its_first_run(data, parts):
    before = nn.Sequential(parts[0], nn.Dropout(0.5))
    scores = []
    for wrapped in (False, True):
        torch.manual_seed(7)
        ted = opened(data)
        for ids, x, y in each(data):
            h = checkpoint(before, x, use_reentrant=False) if wrapped else before(x)
            h = ted.mask(h, ids=ids)
            ted.loss(cross_entropy(parts[1](h), y), ids=ids).backward()
        scores.append(recorded(ted))
    assert torch.equal(*scores)


def test_a_step_run_again_as_a_whole_keeps_the_position_in_the_epoch(data, parts):
    ted = opened(data)
    for ids, (x, y) in DataLoader(ted.dataset, batch_size=8, sampler=ted.sampler):

        def step(x, ids=ids, y=y):
            z = nn.Sequential(*parts)(x).tanh()
            return ted.loss(cross_entropy(z, y), mask=z, ids=ids)

        checkpoint(step, x, use_reentrant=False).backward()
        break
    again = opened(data)
    again.load_state_dict(ted.state_dict())
    again.set_epoch(0)
    assert len(again.sampler) == N - len(ids)
