"""What `ted.check` finds before the first step."""

# The global generators are what is looked at.
# ruff: noqa: NPY002

from __future__ import annotations

import random
import warnings

import numpy as np
import pytest
import torch
from ted_torch import TED
from torch import nn
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LambdaLR,
    LinearLR,
    OneCycleLR,
)
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    TensorDataset,
)
from torch_items import GlobalNoise
from torch_runs import cross_entropy
from workers import WORKERS

import ted_core
from ted_core import TedWarning

N = 96
DATA = TensorDataset(torch.arange(float(N)), torch.arange(N) % 3)


def session(n=N, **options):
    data = TensorDataset(torch.arange(float(n)), torch.arange(n) % 3)
    return TED(data, **{"epochs": 5, "multiple_of": 32, **options})


with warnings.catch_warnings():
    warnings.simplefilter("ignore", TedWarning)
    _ted = session(prune_ratio=0.8)
    STEPS, ACCUMULATED = _ted.total_steps(32), _ted.total_steps(32, accumulation=2)


def loader_of(ted, batch_size=32, **loading):
    return DataLoader(ted.dataset, batch_size, sampler=ted.sampler, **loading)


def sgd():
    return SGD(nn.Linear(1, 3).parameters(), lr=0.1)


def test_a_loop_as_in_the_quickstart_has_no_problem():
    ted, optimizer = session(), sgd()
    scheduler = OneCycleLR(optimizer, 0.1, total_steps=ted.total_steps(32))
    found = ted.check(loader_of(ted), optimizer=optimizer, scheduler=scheduler)
    assert found.problems == ()
    report = str(found)
    steps = ted.total_steps(32)
    assert "sampler: the session's" in report
    assert "5, of 64 to 96 samples, 2 to 3 batches of 32" in report
    assert f"steps: {steps}" in report
    assert f"OneCycleLR over {steps} steps" in report
    assert "ids: 32 in the first batch" in report
    assert "the logits as `logits=`" in report
    assert len(report.splitlines()) == len(found.lines)


def states():
    return (
        torch.get_rng_state().tolist(),
        np.random.get_state()[1].tolist(),
        random.getstate(),
    )


@pytest.mark.parametrize(
    "loading",
    [
        {},
        WORKERS,
        {**WORKERS, "num_workers": 1, "persistent_workers": True},
    ],
    ids=["here", "workers", "persistent"],
)
def test_a_check_leaves_sampler_and_random_states_as_they_were(loading):
    def run(*, check):
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        ted = TED(GlobalNoise(N), epochs=5, prune_ratio=0.5)
        generator = torch.Generator().manual_seed(3)
        loader = loader_of(ted, 32, generator=generator, **loading)
        if check:
            before = states()
            ted.check(loader)
            assert (ted.sampler.start, ted.sampler.passes) == (0, 0)
            assert states() == before
        ted.set_epoch(0)
        return [(ids.tolist(), x.tolist()) for ids, x in loader]

    assert run(check=True) == run(check=False)


def test_a_check_in_mid_epoch_leaves_the_position():
    ted = session(signal="loss")
    ted.set_epoch(0)
    ids, (x, _) = next(iter(loader_of(ted)))
    ted.loss(x * nn.Parameter(torch.ones(())), ids=ids).backward()
    again = session(signal="loss")
    again.load_state_dict(ted.state_dict())
    again.check(loader_of(again))
    assert again.sampler.start == 32
    assert len(again.sampler) == N - 32


def shuffled(ted):
    return DataLoader(ted.dataset, 32, shuffle=True)


def replaced(ted):
    sampler = DistributedSampler(ted.dataset, num_replicas=1, rank=0)
    return DataLoader(ted.dataset, 32, sampler=sampler)


@pytest.mark.parametrize(
    ("make", "kind"), [(shuffled, "RandomSampler"), (replaced, "DistributedSampler")]
)
def test_a_loader_that_a_framework_gave_another_sampler_is_refused(make, kind):
    ted = session()
    with pytest.raises(ValueError, match=f"`loader` must visit .*{kind}.*ted.sampler"):
        ted.check(make(ted))


def without_ids(pairs):
    x, y = zip(*[item for _, item in pairs], strict=True)
    return torch.stack(x), torch.stack(y)


def labels_first(pairs):
    return torch.stack([item[1] for _, item in pairs]) + 1000, pairs


def of_items(items):
    return torch.stack([x for x, y in items]), torch.stack([y for x, y in items])


@pytest.mark.parametrize("collate", [without_ids, labels_first, of_items])
def test_a_collate_function_that_loses_the_ids_is_refused_with_the_remedy(collate):
    ted = session()
    with pytest.raises(ValueError, match=r"`collate_fn=ted\.collate\(fn\)`"):
        ted.check(loader_of(ted, collate_fn=collate))


def test_a_data_set_without_ids_is_refused_with_the_remedy():
    ted = session()
    with pytest.raises(ValueError, match=r"begin with the ids .* `ted\.dataset`"):
        ted.check(DataLoader(DATA, 32, sampler=ted.sampler))


@pytest.mark.parametrize("kind", ["wrapped", "own", "batches", "lists"])
def test_loaders_of_every_kind_pass(kind):
    ted = session()
    batches = BatchSampler(ted.sampler, 32, drop_last=False)
    loader = {
        "wrapped": lambda: loader_of(ted, collate_fn=ted.collate(of_items)),
        "own": lambda: loader_of(
            ted, collate_fn=lambda p: (torch.tensor([k for k, _ in p]), p)
        ),
        "batches": lambda: DataLoader(ted.dataset, batch_sampler=batches),
        "lists": lambda: DataLoader(ted.dataset, batch_size=None, sampler=batches),
    }[kind]()
    assert "batches of 32" in str(ted.check(loader))


def test_a_last_batch_of_one_is_named_with_its_epochs_and_the_remedy():
    ted = session(n=97, multiple_of=1, prune_ratio=0.5)
    kept = ted.pruner.schedule_table()["kept"]
    batch_size = int(kept[kept < 97][0]) - 1
    with pytest.warns(TedWarning, match="last batch of one sample|fill a batch"):
        found = ted.check(loader_of(ted, batch_size))
    (problem,) = [one for one in found.problems if "BatchNorm1d" in one]
    assert f"`multiple_of={batch_size}`" in problem
    numbers = np.flatnonzero(kept % batch_size == 1)
    assert all(str(number) in problem for number in numbers[:5])


def test_a_multiple_that_takes_the_savings_and_a_batch_above_the_data_are_named():
    ted = session(n=320, multiple_of=500)
    with pytest.warns(TedWarning):
        found = ted.check(loader_of(ted, 500))
    rounding, fills = found.problems
    assert "save 0.0%" in rounding
    assert "smaller batches" in rounding
    assert fills.endswith("take batches of at most 320")
    quiet = session(n=320, multiple_of=64)
    assert not quiet.check(loader_of(quiet, 64)).problems


def test_where_all_data_leave_one_over_only_dropping_it_helps():
    ted = session(n=97)
    with pytest.warns(TedWarning, match=r"all data .* epochs 0, .* `drop_last=True`"):
        ted.check(loader_of(ted))
    ted.check(loader_of(ted, drop_last=True))


def test_an_epoch_below_one_batch_is_named_and_with_drop_last_refused():
    ted = session(multiple_of=1, prune_ratio=0.8)
    with pytest.warns(TedWarning, match="should fill a batch of 64, got"):
        ted.check(loader_of(ted, 64))
    with pytest.raises(
        ValueError, match=r"must be at most .* with `drop_last`, .*got 64"
    ):
        ted.check(loader_of(ted, 64, drop_last=True))


@pytest.mark.filterwarnings("ignore::ted_core.TedWarning")
def test_more_than_two_batch_sizes_are_counted_and_multiple_of_leaves_two():
    run = {"prune_ratio": 0.8, "epochs": 9, "strategy": ted_core.Random()}
    ted = session(multiple_of=1, **run)
    dropped = loader_of(ted, 16, drop_last=True)
    assert "shapes:" not in str(ted.check(dropped))
    loader = loader_of(ted, 36)
    report = str(ted.check(loader))
    sizes = set()
    for epoch in range(9):
        ted.set_epoch(epoch)
        for ids, (x, _) in loader:
            sizes.add(len(ids))
            ted.loss(x * nn.Parameter(torch.ones(())), ids=ids).backward()
    assert len(sizes) > 2
    assert f"shapes: batches of {len(sizes)} sizes;" in report
    assert "wants `multiple_of=36`" in report
    whole = session(multiple_of=36, **run)
    assert "shapes:" not in str(whole.check(loader_of(whole, 36)))


def test_processes_share_what_an_epoch_keeps():
    ted = session(num_replicas=2, rank=1, multiple_of=1, prune_ratio=0.5)
    with pytest.raises(ValueError, match=r"samples of a process .*got 32"):
        ted.check(loader_of(ted, 32, drop_last=True))


def check_scheduler(ted, make):
    optimizer = sgd()
    return ted.check(loader_of(ted), scheduler=make(optimizer))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda o: OneCycleLR(o, 0.1, total_steps=15), "never gets to its end"),
        (lambda o: OneCycleLR(o, 0.1, total_steps=STEPS - 1), "it ends too early"),
        (lambda o: CosineAnnealingLR(o, T_max=15), "never gets to its end"),
        (lambda o: LinearLR(o, total_iters=40), "never gets to its end"),
    ],
    ids=["one cycle", "short cycle", "cosine", "linear"],
)
def test_a_scheduler_of_full_data_is_named_with_the_runs_steps(make, says):
    ted = session(prune_ratio=0.8)
    assert STEPS < 15
    with pytest.warns(TedWarning, match=rf"{STEPS} steps, .*{says}.*total_steps\(32\)"):
        check_scheduler(ted, make)


@pytest.mark.parametrize(
    "make",
    [
        lambda o: CosineAnnealingLR(o, T_max=5),
        lambda o: CosineAnnealingLR(o, T_max=STEPS),
        lambda o: CosineAnnealingLR(o, T_max=2),
        lambda o: OneCycleLR(o, 0.1, total_steps=STEPS),
        lambda o: LambdaLR(o, lambda step: 0.9**step),
        lambda o: LinearLR(o, total_iters=3),
    ],
    ids=["epochs", "steps", "restarts", "cycle", "lambda", "warm-up"],
)
def test_schedulers_that_fit_or_do_not_tell_their_end_are_no_problem(make):
    ted = session(prune_ratio=0.8)
    found = check_scheduler(ted, make)
    assert found.problems == ()
    assert any(line.startswith("scheduler: ") for line in found.lines)


def test_the_report_says_what_the_factor_does_to_an_optimizer():
    ted, net = session(prune_ratio=0.8), nn.Linear(1, 3)
    loader = loader_of(ted)
    adam = str(ted.check(loader, optimizer=AdamW(net.parameters())))
    assert "AdamW hardly feels" in adam
    assert "`scale_loss=False`" in adam
    assert "steps of SGD by up to" in str(ted.check(loader, optimizer=sgd()))
    off = session(scale_loss=False)
    found = off.check(loader_of(off), optimizer=sgd())
    assert "not divided" in str(found)


def test_a_run_that_has_finished_has_nothing_to_check():
    ted = TED(DATA, epochs=2, prune_ratio=0.0)
    for epoch in range(2):
        ted.set_epoch(epoch)
        for ids, (x, y) in loader_of(ted):
            z = nn.Linear(1, 3)(x[:, None])
            ted.loss(cross_entropy(z, y), logits=z, ids=ids).backward()
    ted.finish()
    again = TED(DATA, epochs=2, prune_ratio=0.0)
    again.load_state_dict(ted.state_dict())
    found = again.check(loader_of(again))
    assert str(found) == "run: finished after 2 epochs, nothing to train"


def test_a_state_saved_after_an_epochs_last_batch_is_no_problem():
    ted = session()
    ted.set_epoch(0)
    for ids, (x, y) in loader_of(ted):
        z = nn.Linear(1, 3)(x[:, None])
        ted.loss(cross_entropy(z, y), logits=z, ids=ids).backward()
    again = session()
    again.load_state_dict(ted.state_dict())
    found = again.check(loader_of(again))
    assert found.problems == ()
    assert "ids: no batch drawn after the last one of epoch 0" in str(found)


@pytest.mark.parametrize("carried", [False, True], ids=["flushed", "carried over"])
def test_a_scheduler_of_accumulated_steps_fits_either_way_of_a_loop(carried):
    ted, optimizer = session(192), sgd()
    steps = ted.total_steps(32, accumulation=2)
    if carried:
        steps = ted.total_steps(32) // 2
    scheduler = OneCycleLR(optimizer, 0.1, total_steps=steps)
    found = ted.check(loader_of(ted), scheduler=scheduler, accumulation=2)
    assert found.problems == ()
    assert f"OneCycleLR over {steps} steps" in str(found)


@pytest.mark.filterwarnings("ignore:.scheduler. must be planned")
def test_a_scheduler_of_single_batches_is_named_where_a_step_takes_several():
    ted, optimizer = session(prune_ratio=0.8), sgd()
    scheduler = OneCycleLR(optimizer, 0.1, total_steps=STEPS)
    found = ted.check(loader_of(ted), scheduler=scheduler, accumulation=2)
    (problem,) = found.problems
    assert f"the run's {ACCUMULATED} steps, got OneCycleLR for {STEPS}" in problem
    assert problem.endswith("use `ted.total_steps(32, accumulation=2)`")
    assert f"steps: {ACCUMULATED} in the whole run, of 2 batches each" in str(found)
    # Without a word of accumulation a step is of one batch, and the remedy has it.
    for length in (STEPS + 1, ACCUMULATED):
        scheduler = OneCycleLR(optimizer, 0.1, total_steps=length)
        (problem,) = ted.check(loader_of(ted), scheduler=scheduler).problems
        assert "`accumulation=k` for `check`, too, if a step takes k" in problem


def test_the_report_of_a_resumed_run_tells_the_epochs_to_come():
    ted = session()
    ted.set_epoch(0)
    for ids, (x, y) in loader_of(ted):
        z = nn.Linear(1, 3)(x[:, None])
        ted.loss(cross_entropy(z, y), logits=z, ids=ids).backward()
    ted.close_epoch()
    report = str(ted.check(loader_of(ted)))
    assert "epochs: 4 to come, of" in report
    assert f"steps: {ted.total_steps(32)} in the whole run" in report


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"signal": "el2n"}, "the losses, `ids=`, `logits=`, `labels=`"),
        ({"signal": "loss"}, "the losses, `ids=`"),
        ({"strategy": ted_core.Random()}, "the losses, `ids=`; the strategy ranks no"),
    ],
)
def test_the_report_says_what_the_loss_is_to_be_given(options, says):
    ted = session(**options)
    (line,) = (x for x in ted.check(loader_of(ted)).lines if x.startswith("loss:"))
    assert line.startswith(f"loss: `ted.loss` needs {says}")


def test_the_report_tells_what_workers_that_live_on_keep():
    ted = session()
    says = "workers: persistent; a resumed run augments with other random numbers wh"
    assert says not in str(ted.check(loader_of(ted)))
    persistent = {**WORKERS, "num_workers": 1, "persistent_workers": True}
    assert says in str(ted.check(loader_of(ted, **persistent)))


def test_counts_that_depend_on_the_scores_are_not_in_the_report():
    ted = session(strategy=ted_core.InfoBatch(), signal="loss", multiple_of=1)
    optimizer = sgd()
    scheduler = OneCycleLR(optimizer, 0.1, total_steps=15)
    found = ted.check(loader_of(ted), scheduler=scheduler)
    assert found.problems == ()
    assert "depend on the scores" in str(found)
