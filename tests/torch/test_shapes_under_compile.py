from __future__ import annotations

import pytest
import torch
from ted_torch import TED
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils.data import DataLoader
from torch_runs import cross_entropy, labelled, two_parts

N, EPOCHS = 45, 6


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def run(*, compile_step=False, compile_model=False, dynamic=False, **loading):
    """Train; give the session, the compiler's calls, and the batches' sizes."""
    counter = CompileCounterWithBackend("aot_eager")

    def compiled(function):
        # Not dynamic there is a graph for each shape, so that shapes are counted.
        return torch.compile(function, fullgraph=True, backend=counter, dynamic=dynamic)

    net = nn.Sequential(*two_parts())
    model = compiled(net) if compile_model else net
    ted = TED(labelled(N), epochs=EPOCHS, prune_ratio=0.6, **loading.pop("options", {}))
    loader = DataLoader(ted.dataset, batch_size=8, sampler=ted.sampler, **loading)

    def step(ids, x, y):
        z = model(x)
        return ted.loss(cross_entropy(z, y), mask=z, ids=ids)

    if compile_step:
        step = compiled(step)
    optimizer, sizes, ratios = torch.optim.SGD(net.parameters(), lr=0.1), [], set()
    for epoch in range(EPOCHS):
        ted.set_epoch(epoch)
        ratios.add(ted.pruner.plan().keep_ratio)
        for ids, (x, y) in loader:
            optimizer.zero_grad()
            step(ids, x, y).backward()
            optimizer.step()
            sizes.append(len(ids))
    ted.finish()
    assert len(ratios) > 3
    return ted, counter.frame_count, sizes


def assert_alike(ours, theirs):
    ours, theirs = (torch.from_numpy(ted.pruner.scores) for ted in (ours, theirs))
    torch.testing.assert_close(ours, theirs, equal_nan=True, rtol=1e-4, atol=1e-6)


def test_a_compiled_step_is_compiled_once_a_shape_and_never_for_a_keep_ratio():
    ted, compiled, sizes = run(compile_step=True, drop_last=True)
    assert (compiled, set(sizes)) == (1, {8})
    assert_alike(ted, run(drop_last=True)[0])


def test_counts_rounded_to_whole_batches_leave_two_shapes():
    # Only the full epochs end in a short batch: n itself is no multiple of 8.
    options = {"multiple_of": 8}
    ted, compiled, sizes = run(compile_step=True, options=options)
    assert set(sizes) == {8, N % 8}
    assert compiled == 2
    assert_alike(ted, run(options=options)[0])


def test_open_shapes_need_two_graphs_and_one_for_a_batch_of_one_sample():
    ted, compiled, sizes = run(compile_step=True, dynamic=None)
    assert len(set(sizes)) > 2
    # PyTorch itself never leaves a size of 1 open.
    assert compiled == 2 + (1 in sizes)
    assert_alike(ted, run()[0])


def test_a_compiled_model_is_compiled_once_a_shape():
    options = {"multiple_of": 8}
    ted, compiled, sizes = run(compile_model=True, options=options)
    assert compiled == len(set(sizes)) == 2
    assert_alike(ted, run(options=options)[0])
