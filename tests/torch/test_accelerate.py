from __future__ import annotations

import warnings
from collections import Counter
from unittest.mock import patch

import pytest
import torch
from accelerate import Accelerator, DataLoaderConfiguration
from accelerate.data_loader import BatchSamplerShard
from accelerate.tracking import GeneralTracker
from accelerate_runs import ACCUMULATION, BATCH, EPOCHS, LOADING, N, Run, data, saved
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from ted_torch.integrations.accelerate import AcceleratedTED
from torch.utils.data import BatchSampler, DataLoader

from ted_core import CheckpointError, EpochError, Random, TedWarning, run_metrics


@pytest.fixture(scope="module")
def whole():
    return Run()().facts()


@pytest.fixture
def ranks(rank_records):
    return rank_records["accelerate"]


@pytest.mark.parametrize("workers", [0, 2])
def test_ids_stay_with_their_batches_although_one_is_read_ahead(workers):
    run = Run(workers=workers)()
    assert run.together
    kept = run.ted.pruner.report().planned.tolist()
    for epoch, batches in run.seen.items():
        ids = [sample for batch in batches for sample in batch]
        assert len(ids) == len(set(ids)) == kept[epoch]


def test_steps_and_schedule_end_where_the_run_does(whole):
    assert whole["steps"] == whole["total"]
    assert whole["rate"] == [0.0]
    assert all(kept in {N, 16, 24, 32} for kept in whole["kept"])


def test_a_check_knows_the_accelerators_accumulation():
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    samples = torch.arange(96.0)
    ted = AcceleratedTED(accelerator, samples, epochs=5, batch_size=8)
    loader = DataLoader(ted.dataset, batch_size=8, sampler=ted.sampler)
    steps = ted.total_steps(8)
    assert f"steps: {steps} in the whole run, of 2 batches each" in str(
        ted.check(loader)
    )


# Accumulation is cut by no save: the even batches of an epoch.
@pytest.mark.parametrize("place", [(0, 2), (0, 10), (1, 0), (2, 2), (4, 0), (4, 8)])
def test_a_resumed_run_is_the_run_never_stopped(place, whole, tmp_path):
    again = saved(Run, place, tmp_path)
    for name in ("scores", "visits", "weights", "rate"):
        assert again[name] == whole[name]
    visited = dict(whole["seen"])
    assert dict(again["seen"])[EPOCHS - 1] == visited[4][-len(again["seen"][-1][1]) :]


@pytest.mark.parametrize("name", LOADING)
def test_processes_share_the_batches_and_agree_on_the_scores(name, ranks):
    records = [record[name] for record in ranks]
    one = records[0]
    for record in records:
        assert record["together"]
        assert record["scores"] == one["scores"]
        assert record["weights"] == one["weights"]
    assert one["rate"] == [pytest.approx(0.0, abs=1e-9)]
    for kept, *shares in zip(one["kept"], *(r["seen"] for r in records), strict=True):
        (length,) = {len(batches) for _, batches in shares}
        assert length
        times = Counter(k for _, batches in shares for ids in batches for k in ids)
        assert len(times) == kept
        # Shares are made even with samples from the epoch's start.
        assert sum(times.values()) - len(times) < len(ranks) * BATCH


def test_processes_step_as_often_as_planned(ranks):
    for record in ranks:
        assert record["plain"]["steps"] == record["plain"]["total"]


@pytest.mark.parametrize(
    ("place", "unstopped"),
    [("between", "plain"), ("at an end", "plain"), ("dealt, between", "dealt")],
)
def test_processes_resume_between_epochs_bit_for_bit(place, unstopped, ranks):
    for record in ranks:
        for name in ("scores", "visits", "weights", "rate"):
            assert record[place][name] == record[unstopped][name]


def test_processes_resume_within_an_epoch_where_all_have_stopped(ranks):
    for record in ranks:
        visited, again = dict(record["plain"]["seen"]), dict(record["within"]["seen"])
        assert again[3] == visited[3][2:] != []
        assert again[4] == visited[4]
        for name in ("scores", "visits", "weights"):
            assert record["within"][name] == record["plain"][name]


def test_an_open_epoch_of_another_world_is_refused(ranks):
    for record in ranks:
        says = "`world_size` must be the saved one while an epoch is open, saved 2, "
        assert record["another world"].startswith(says + "here 1;")


class Tracker(GeneralTracker):
    name, requires_logging_directory = "kept", False

    def __init__(self):
        super().__init__()
        self.logged = []

    @property
    def tracker(self):
        return self.logged

    def store_init_configuration(self, values):
        pass

    def log(self, values, step=None):
        self.logged.append((step, values))


def test_accelerates_tracker_takes_keep_ratio_and_savings():
    tracker = Tracker()
    accelerator = Accelerator(cpu=True, log_with=tracker)
    accelerator.init_trackers("run")
    ted = AcceleratedTED(accelerator, data(), epochs=EPOCHS, batch_size=BATCH)
    ted.set_epoch(0)
    accelerator.log(run_metrics(ted.pruner), step=0)
    zero = dict.fromkeys(("ted/samples_saved", "ted/nonfinite_dropped"), 0.0)
    assert tracker.logged == [(0, {"ted/keep_ratio": 1.0} | zero)]


def make(accelerator=None, **options):
    settings = {"epochs": EPOCHS, "batch_size": BATCH} | options
    if accelerator is None:
        accelerator = Accelerator(cpu=True)
    return AcceleratedTED(accelerator, data(), **settings)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"accelerator": 3}, TypeError, "`accelerator` must be a Accelerator, got"),
        ({"batch_size": 4.0}, TypeError, "`batch_size` must be an integer, got 4.0"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be at least 1, got 0"),
        (
            {"batches": 2},
            TypeError,
            "`batches` is no option, did you mean `batch_size`",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused(options, error, says):
    with pytest.raises(error, match=says):
        make(**options)


def test_a_loader_that_resumes_itself_is_refused():
    loading = DataLoaderConfiguration(use_stateful_dataloader=True)
    with pytest.raises(ValueError, match="`use_stateful_dataloader` must be False"):
        make(Accelerator(cpu=True, dataloader_config=loading))


def test_a_state_that_is_none_is_refused():
    with pytest.raises(TypeError, match="`state` must be a mapping"):
        make().load_state_dict([])
    state = make().state_dict()
    del state["ranks"][0]["position"]
    with pytest.raises(CheckpointError, match="must have 'position'"):
        make().load_state_dict(state)


def test_a_forgotten_set_epoch_is_refused():
    losses = torch.ones(1, requires_grad=True) * 1
    with pytest.raises(EpochError, match="call `set_epoch`"):
        make().loss(losses, mask=losses, ids=torch.zeros(1, dtype=torch.int))


@given(
    n=st.integers(40, 150),
    batch=st.integers(1, 8),
    processes=st.integers(1, 4),
    accumulation=st.integers(1, 3),
    drop_last=st.booleans(),
    split=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_steps_are_those_of_the_batches_that_accelerate_deals_out(  # noqa: PLR0917
    n, batch, processes, accumulation, drop_last, split
):
    loading = DataLoaderConfiguration(split_batches=split)
    size = batch * processes if split else batch
    with patch.object(Accelerator, "num_processes", processes):
        accelerator = Accelerator(
            cpu=True,
            gradient_accumulation_steps=accumulation,
            dataloader_config=loading,
        )
        options = {"epochs": 5, "strategy": Random(), "multiple_of": 1}
        ted = AcceleratedTED(accelerator, range(n), batch_size=size, **options)
    kept = ted.pruner.schedule_table()["kept"].tolist()
    assume(min(kept) >= batch * processes)
    totals = {0: 0} | dict.fromkeys(range(processes), 0)
    for count in kept:
        batches = BatchSampler(range(count), size, drop_last)
        for process in range(processes):
            share = BatchSamplerShard(batches, processes, process, split_batches=split)
            totals[process] += -(-len(list(share)) // accumulation)
    (steps,) = set(totals.values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TedWarning)
        assert ted.total_steps(size, drop_last=drop_last) == steps
    times = 1 if split else processes
    assert ted.scheduler_steps(drop_last=drop_last) == steps * times


def test_a_finished_state_is_extended_by_load_state_where_it_is_allowed(tmp_path):
    run = Run()()
    run.accelerator.save_state(tmp_path)

    def load(**options):
        accelerator = Accelerator(cpu=True)
        ted = make(accelerator, epochs=EPOCHS + 3, prune_ratio=0.6, **options)
        accelerator.register_for_checkpointing(ted)
        accelerator.prepare(run.net, run.optimizer, run.rates)
        accelerator.load_state(tmp_path)
        return ted

    same = {"multiple_of": run.ted.pruner.config.multiple_of}
    with pytest.raises(CheckpointError, match=r"`epochs` must .*, saved 5, here 8; "):
        load(**same)
    ted = load(allow=("epochs",), **same)
    ted.set_epoch(EPOCHS)
    assert (ted.epoch, ted.pruner.finished) == (EPOCHS, False)
    ran = run.ted.total_steps(BATCH, accumulation=1)
    assert ted.total_steps(BATCH) > ran


def test_a_script_that_plans_fewer_epochs_than_the_session_is_warned():
    """As transformers' scripts without a trainer recompute their epochs."""
    run = Run()
    steps_an_epoch = len(run.loader) // ACCUMULATION
    epochs = -(-(EPOCHS - 1) * steps_an_epoch // steps_an_epoch)
    for epoch in range(epochs):
        run.ted.set_epoch(epoch)
        run.seen[epoch] = []
        for ids, (x, y) in run.loader:
            run.step(ids, x, y)
    with pytest.warns(TedWarning, match="must have 5 epochs as planned, got 4: 1 more"):
        run.ted.finish()
