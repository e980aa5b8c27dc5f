from __future__ import annotations

import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning_runs import EPOCHS, Classifier, fit, make_ted
from ted_torch.integrations.torchdata import stateful_loader
from torch.utils.data import DataLoader
from torch_runs import labelled
from workers import WORKERS

from ted_core import CheckpointError, EpochError, TedWarning

pytestmark = [
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many"),
    # The callback that saved is not needed to go on.
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* is not empty"),
]


class Validated(Classifier):
    """A module that is validated twice an epoch, or at its end."""

    def val_dataloader(self):
        return DataLoader(labelled(8), 8)

    def validation_step(self, batch, index):
        del batch, index
        self.log("same", 1.0, batch_size=8)


class Workers(Classifier):
    """A module whose loader has workers."""

    def train_dataloader(self):
        return self.ted.loader(**self.loading, **WORKERS)


class Stateful(Classifier):
    """A module whose loader Lightning saves, and loads, too."""

    def train_dataloader(self):
        return stateful_loader(self.ted, **self.loading)


def saved(folder, **options):
    """Give the checkpoints by optimizer step."""
    files = folder.glob("*.ckpt")
    found = {int(file.stem.split("=")[1].split("-")[0]): file for file in files}
    assert len(found) > 1, options
    return dict(sorted(found.items()))


def keeper(folder, **options):
    return ModelCheckpoint(folder, filename="{step}", save_top_k=-1, **options)


def outcome(net, ted):
    """Give weights, scores and savings, all bits of them."""
    weights = b"".join(p.detach().numpy().tobytes() for p in net.parameters())
    savings = ted.savings()
    return weights, ted.pruner.scores.tobytes(), savings, ted.pruner.finished


def same(whole, rest, *, indices=True):
    """Whether the rest of a run is that of the whole one, bit for bit."""
    net, ted, trainer = whole
    again, other, went_on = rest
    assert outcome(again, other) == outcome(net, ted)
    assert went_on.global_step == trainer.global_step
    assert again.rate.get_last_lr() == net.rate.get_last_lr()
    for epoch, order in again.orders().items():
        assert order == net.orders()[epoch][-len(order) :]
        if indices:
            there = net.indices()[epoch]
            assert again.indices()[epoch] == there[-len(again.indices()[epoch]) :]


@pytest.fixture(scope="module")
def every_step(tmp_path_factory):
    """Train once, and save after every step."""
    folder = tmp_path_factory.mktemp("steps")
    whole = fit(keeper(folder, every_n_train_steps=1))
    return whole, saved(folder)


def test_a_run_goes_on_bit_for_bit_from_any_step(every_step):
    whole, files = every_step
    assert list(files) == list(range(1, whole[2].global_step + 1))
    ends = [len(batches) for batches in whole[0].seen.values()]
    near = {sum(ends[:k]) + d for k in range(1, EPOCHS) for d in (-1, 0, 1)}
    for step in sorted(near | {1, 5, whole[2].global_step}):
        same(whole, fit(ckpt_path=files[step]))


@pytest.mark.parametrize("module", [Workers, Stateful])
def test_loaders_with_workers_and_with_a_state_go_on_alike(
    every_step, tmp_path, module
):
    whole, _ = every_step
    fit(keeper(tmp_path, every_n_train_steps=13), module=module)
    for file in saved(tmp_path).values():
        same(whole, fit(ckpt_path=file, module=module))


class Dropped(Classifier):
    """A module with dropout; its generator is saved, and the loader has another."""

    def __init__(self, ted, **loading):
        super().__init__(ted, **loading)
        self.net = torch.nn.Sequential(torch.nn.Dropout(0.3), self.net)

    def train_dataloader(self):
        generator = torch.Generator().manual_seed(self.current_epoch)
        return self.ted.loader(**self.loading, generator=generator)

    def on_save_checkpoint(self, checkpoint):
        checkpoint["generator"] = torch.get_rng_state()

    def on_load_checkpoint(self, checkpoint):
        torch.set_rng_state(checkpoint["generator"])


def test_dropout_goes_on_in_the_middle_of_an_epoch(tmp_path):
    whole = fit(keeper(tmp_path, every_n_train_steps=3), module=Dropped)
    files = saved(tmp_path)
    for step in list(files)[:4]:
        same(whole, fit(ckpt_path=files[step], module=Dropped))


def test_checkpoints_at_the_ends_of_epochs_go_on(tmp_path):
    whole = fit(keeper(tmp_path, save_on_train_epoch_end=True))
    files = saved(tmp_path)
    assert len(files) == EPOCHS
    for file in files.values():
        same(whole, fit(ckpt_path=file))


@pytest.mark.parametrize("interval", [0.5, 1.0])
def test_checkpoints_beside_a_validation_go_on(tmp_path, interval):
    options = {
        "module": Validated,
        "num_sanity_val_steps": 0,
        "val_check_interval": interval,
    }
    whole = fit(keeper(tmp_path, save_on_train_epoch_end=False), **options)
    for file in saved(tmp_path).values():
        same(whole, fit(ckpt_path=file, **options))


def test_accumulation_goes_on_in_the_middle_of_an_epoch(tmp_path):
    options = {"accumulate_grad_batches": 3}
    whole = fit(keeper(tmp_path, every_n_train_steps=2), **options)
    for file in saved(tmp_path).values():
        same(whole, fit(ckpt_path=file, **options))


def test_a_run_killed_between_two_steps_goes_on_twice(every_step, tmp_path):
    class Kill(Callback):
        def on_train_batch_start(self, trainer, *_):
            if trainer.global_step == self.step:
                raise KeyboardInterrupt

    whole, _ = every_step
    path = None
    for step in (14, 19):
        kill = Kill()
        kill.step = step
        with pytest.raises(SystemExit):
            fit(kill, keeper(tmp_path, every_n_train_steps=1), ckpt_path=path)
        path = saved(tmp_path)[step]
    same(whole, fit(ckpt_path=path))


def test_a_checkpoint_holds_tensors_and_plain_values(every_step):
    _, files = every_step
    state = torch.load(files[13], weights_only=True)["callbacks"]["TEDCallback"]
    plain = {str, int, float, bool, torch.Tensor}
    (own,) = state.pop("ranks")
    assert {type(value) for value in (*state.values(), *own.values())} <= plain
    assert own["position"] == 3 * 8


def test_a_checkpoint_without_the_callback_is_refused(tmp_path, every_step):
    _, files = every_step
    checkpoint = torch.load(files[13], weights_only=True)
    del checkpoint["callbacks"]["TEDCallback"]
    torch.save(checkpoint, tmp_path / "without.ckpt")
    with pytest.raises(EpochError, match="a checkpoint that was saved with this callb"):
        fit(ckpt_path=tmp_path / "without.ckpt")


def test_another_schedule_is_refused_by_name(every_step):
    _, files = every_step
    with pytest.raises(CheckpointError, match="`epochs` must equal the saved one"):
        fit(ckpt_path=files[13], max_epochs=9)
    with pytest.raises(CheckpointError, match="`seed` must equal the saved one"):
        fit(ted=make_ted(seed=4), ckpt_path=files[13])


def test_a_validation_from_a_checkpoint_needs_no_session(every_step):
    _, files = every_step
    net, ted, trainer = fit(module=Validated, num_sanity_val_steps=0)
    before = outcome(net, ted)[1:]
    trainer.validate(net, ckpt_path=files[13], verbose=False, weights_only=True)
    assert outcome(net, ted)[1:] == before


def test_a_finished_run_is_extended_where_it_is_allowed(tmp_path):
    fit(keeper(tmp_path, save_on_train_epoch_end=True))
    files = list(saved(tmp_path).values())
    longer = {"max_epochs": EPOCHS + 3}
    for file, epoch in ((files[-1], EPOCHS), (files[3], 4)):
        with pytest.raises(
            CheckpointError, match=r"`epochs` must .*, saved 6, here 9; "
        ):
            fit(ckpt_path=file, **longer)
        ted = make_ted(allow=("epochs",))
        net, _, trainer = fit(ted=ted, ckpt_path=file, **longer)
        assert sorted(net.seen) == list(range(epoch, EPOCHS + 3))
        assert trainer.global_step == ted.total_steps(8)
        assert ted.savings().full == (EPOCHS + 3) * 80


def test_a_run_that_stops_early_warns_with_its_epochs():
    class Stop(Callback):
        def on_train_epoch_end(self, trainer, *_):
            trainer.should_stop = trainer.current_epoch == 2

    with pytest.warns(TedWarning, match="must have 6 epochs as planned, got 3: 3 more"):
        fit(Stop())
