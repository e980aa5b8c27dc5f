from __future__ import annotations

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger
from lightning_runs import (
    BATCH,
    EPOCHS,
    Classifier,
    FromOutside,
    N,
    fit,
    make_ted,
    make_trainer,
)
from ted_torch import TED
from torch.utils.data import BatchSampler, DataLoader
from torch_runs import cross_entropy, labelled
from workers import SERVER

from ted_core import TedWarning

pytestmark = [
    pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many"),
    pytest.mark.filterwarnings("ignore:The 'val_dataloader' does not have many"),
]


@pytest.fixture(scope="module")
def plain():
    """Train the same run in a loop of one's own: orders, scores, weights."""
    ted = TED(
        labelled(N), epochs=EPOCHS, prune_ratio=0.6, signal="mask_gradient", seed=3
    )
    torch.manual_seed(0)
    net = torch.nn.Linear(6, 4)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.9)
    rate = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 1e-9, ted.total_steps(BATCH))
    orders = {}
    for epoch in range(EPOCHS):
        ted.set_epoch(epoch)
        orders[epoch] = ted.pruner.plan().order.tolist()
        for ids, (x, y) in DataLoader(ted.dataset, BATCH, sampler=ted.sampler):
            z = net(x)
            optimizer.zero_grad()
            ted.loss(cross_entropy(z, y), mask=z, ids=ids).backward()
            optimizer.step()
            rate.step()
    ted.finish()
    return orders, ted.pruner.scores.tobytes(), net.weight.detach()


def same(plain, net, ted):
    orders, scores, weight = plain
    assert net.orders() == orders
    assert ted.pruner.scores.tobytes() == scores
    assert torch.equal(net.net.weight, weight)


@pytest.fixture(scope="module")
def whole():
    return fit()


def test_a_fit_is_bit_for_bit_the_loop_of_ones_own(plain, whole):
    net, ted, trainer = whole
    same(plain, net, ted)
    assert ted.pruner.finished
    assert trainer.global_step == ted.total_steps(BATCH)
    # Lightning's own estimate takes every epoch for as long as the first.
    assert trainer.estimated_stepping_batches == EPOCHS * -(-N // BATCH)
    assert net.rate.get_last_lr()[0] < 1e-8


def test_the_last_full_epoch_is_whole(whole):
    net, ted, _ = whole
    kept = ted.pruner.schedule_table()["kept"].tolist()
    assert {epoch: len(ids) for epoch, ids in net.orders().items()} == dict(
        enumerate(kept)
    )
    assert kept[-1] == N > kept[-2]


def test_lengths_group_the_batches_that_an_epoch_keeps():
    lengths = 1 + torch.arange(N) * 13 % 17
    ted = make_ted(lengths=lengths.numpy(), multiple_of=BATCH)
    net, ted, trainer = fit(ted=ted)
    longest = [
        [int(lengths[ids].max()) for _, ids in batches] for batches in net.seen.values()
    ]
    assert all(one[0] == max(one) for one in longest)
    shuffled = [lengths[torch.randperm(N)].view(-1, BATCH).amax(1) for _ in range(20)]
    assert sum(longest[0]) < min(int(one.sum()) for one in shuffled)
    tokens = [int(lengths[ids].sum()) for ids in net.orders().values()]
    assert ted.report().forwarded_tokens.tolist() == tokens
    assert trainer.global_step == ted.total_steps(BATCH)


def test_a_loader_may_be_made_before_the_fit(plain):
    ted = make_ted()
    net = FromOutside(ted)
    make_trainer(ted).fit(net, ted.loader(batch_size=BATCH))
    same(plain, net, ted)


def test_workers_of_one_loader_live_on_from_epoch_to_epoch(plain):
    ted = make_ted()
    net = FromOutside(ted)
    loader = ted.loader(
        batch_size=BATCH,
        num_workers=1,
        persistent_workers=True,
        multiprocessing_context=SERVER,
    )
    alive = set()

    class Note(Callback):
        def on_train_batch_end(self, *_):
            alive.update(worker.pid for worker in loader._iterator._workers)

    make_trainer(ted, Note()).fit(net, loader)
    same(plain, net, ted)
    assert len(alive) == 1


def test_a_data_module_may_hold_the_loader(plain):
    ted = make_ted()

    class Data(LightningDataModule):
        def train_dataloader(self):
            return DataLoader(ted.dataset, BATCH, sampler=ted.sampler)

    net = FromOutside(ted)
    make_trainer(ted).fit(net, datamodule=Data())
    same(plain, net, ted)


def test_data_that_setup_makes_come_from_a_function(plain):
    class Late(Classifier):
        def setup(self, stage):
            del stage
            self.data = labelled(N)

        def configure_callbacks(self):
            self.ted = make_ted(lambda: self.data)
            return self.ted

    net = Late(None)
    make_trainer().fit(net)
    same(plain, net, net.ted)


@pytest.mark.parametrize("accumulate", [3, 4])
def test_accumulation_steps_on_each_epochs_rest_and_is_counted(accumulate):
    net, ted, trainer = fit(accumulate_grad_batches=accumulate)
    assert trainer.global_step == ted.total_steps(BATCH)
    assert trainer.global_step == sum(
        -(-len(batches) // accumulate) for batches in net.seen.values()
    )
    assert net.rate.get_last_lr()[0] < 1e-8


class StopAfter(Callback):
    """Ask for an early stop after an epoch, as ``EarlyStopping`` does."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_epoch_end(self, trainer, module):
        del module
        trainer.should_stop = trainer.current_epoch == self.epoch


@pytest.mark.filterwarnings("ignore:the run must have 6 epochs as planned")
def test_half_precision_records_the_scores_of_half_precision():
    _, ted, _ = fit(StopAfter(0), precision="bf16-mixed")
    _, exact, _ = fit(StopAfter(0))
    np.testing.assert_allclose(ted.pruner.scores, exact.pruner.scores, atol=0.05)
    assert not np.array_equal(ted.pruner.scores, exact.pruner.scores)


class Validated(Classifier):
    """A module that counts its validations."""

    validations = 0

    def val_dataloader(self):
        return DataLoader(labelled(8), 8)

    def validation_step(self, batch, index):
        del batch, index
        self.validations += 1


def test_a_validation_follows_each_epoch_however_short(plain):
    net, ted, _ = fit(module=Validated, num_sanity_val_steps=0)
    same(plain, net, ted)
    assert net.validations == EPOCHS


def test_manual_optimization_trains_alike(plain):
    class Manual(Classifier):
        def __init__(self, ted):
            super().__init__(ted)
            self.automatic_optimization = False

        def training_step(self, batch, index):
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(super().training_step(batch, index))
            optimizer.step()
            self.rate.step()

    net, ted, _ = fit(module=Manual)
    same(plain, net, ted)


def test_logger_and_progress_bar_tell_what_an_epoch_keeps_and_saves(tmp_path):
    shown = []

    class Bar(TQDMProgressBar):
        def get_metrics(self, trainer, module):
            shown.append(super().get_metrics(trainer, module))
            return shown[-1]

    logger = CSVLogger(tmp_path)
    _, ted, trainer = fit(
        Bar(), logger=logger, enable_progress_bar=True, log_every_n_steps=1
    )
    kept = ted.pruner.schedule_table()["kept"]
    lines = (tmp_path / "lightning_logs/version_0/metrics.csv").read_text().split()
    head, *rows = (line.split(",") for line in lines)
    ratios = [float(row[head.index("ted/keep_ratio")]) for row in rows]
    saved = [float(row[head.index("ted/samples_saved")]) for row in rows]
    assert ratios == pytest.approx(kept / N)
    whole = N * np.arange(1, EPOCHS + 1)
    assert saved == pytest.approx(1 - np.cumsum(kept) / whole)
    assert trainer.callback_metrics["ted/samples_saved"] == pytest.approx(saved[-1])
    assert ted.report().planned.tolist() == kept.tolist()
    assert shown[-1]["ted/samples_saved"] == pytest.approx(
        ted.savings().ratio, abs=1e-3
    )


def test_an_early_stop_leaves_the_run_open_and_a_second_fit_goes_on():
    ted = make_ted()
    net = Classifier(ted)
    trainer = make_trainer(ted, StopAfter(2))
    with pytest.warns(TedWarning, match="must have 6 epochs as planned, got 3: 3 more"):
        trainer.fit(net)
    assert (ted.session.epoch, ted.pruner.finished) == (3, False)
    trainer.should_stop = False
    trainer.fit(net)
    assert ted.pruner.finished
    assert net.orders().keys() == set(range(EPOCHS))


def test_a_batch_sampler_of_ones_own_may_hold_the_sampler(plain):
    ted = make_ted()
    batches = BatchSampler(ted.sampler, BATCH, drop_last=False)
    net = FromOutside(ted)
    make_trainer(ted).fit(net, DataLoader(ted.dataset, batch_sampler=batches))
    same(plain, net, ted)
