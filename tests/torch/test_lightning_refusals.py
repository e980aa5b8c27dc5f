from __future__ import annotations

import pytest
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.tuner import Tuner
from lightning_runs import BATCH, Classifier, FromOutside, fit, make_ted, make_trainer
from ted_torch.integrations.lightning import TEDCallback
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler

from ted_core import EpochError

pytestmark = pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have m")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"reload_dataloaders_every_n_epochs": 0},
            "every_n_epochs` .* must be 1, got 0",
        ),
        (
            {"reload_dataloaders_every_n_epochs": 2},
            "every_n_epochs` .* must be 1, got 2",
        ),
        ({"limit_train_batches": 3}, "`limit_train_batches` .* must be 1.0, got 3;"),
        ({"limit_train_batches": 1}, "`limit_train_batches` .* must be 1.0, got 1;"),
        ({"limit_train_batches": 0.5}, "`limit_train_batches` .* must be 1.0, got 0.5"),
        ({"overfit_batches": 2}, "`overfit_batches` .* must be 0.0, got 2"),
        ({"max_steps": 9}, "`max_steps` .* must be -1, got 9; say `max_epochs`"),
        ({"fast_dev_run": True}, "`fast_dev_run` .* must be False, got (True|1)"),
        ({"max_epochs": -1}, "`max_epochs` .* must be at least 1, got -1"),
        ({"max_epochs": 1}, "`epochs` must be at least 2, got 1"),
    ],
)
@pytest.mark.filterwarnings("ignore:You requested to overfit")
@pytest.mark.filterwarnings("ignore:.max_epochs. was not set")
def test_a_trainer_that_cuts_epochs_is_refused_with_the_remedy(options, says):
    with pytest.raises(ValueError, match=says):
        fit(**options)


def test_a_trainer_without_the_callback_is_refused_with_the_remedy():
    ted = make_ted()
    with pytest.raises(EpochError, match=r"give it `Trainer\(callbacks=\[ted\]\)`"):
        make_trainer().fit(Classifier(ted))


@pytest.mark.parametrize(
    "make",
    [
        lambda ted: DataLoader(ted.dataset, BATCH, shuffle=True),
        lambda ted: [ted.loader(batch_size=BATCH)],
        lambda ted: DataLoader(
            ted.dataset,
            batch_sampler=BatchSampler(
                DistributedSampler(ted.dataset, 1, 0), BATCH, drop_last=False
            ),
        ),
    ],
    ids=["shuffled", "a list", "another sampler"],
)
def test_another_loader_is_refused_with_the_remedy(make):
    ted = make_ted()
    with pytest.raises(EpochError, match=r"the training loader must be `ted.loader"):
        make_trainer(ted).fit(FromOutside(ted), make(ted))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"epochs": 5}, "`TEDCallback` must leave 'epochs' to the trainer, got 5; its"),
        ({"device": "cpu"}, "`TEDCallback` must leave 'device' to the trainer"),
        ({"prune_ration": 0.5}, "no option, did you mean `prune_ratio`"),
    ],
    ids=str,
)
def test_an_option_that_is_the_trainers_or_nobodys_is_refused_at_once(options, says):
    with pytest.raises(TypeError, match=says):
        TEDCallback(range(40), **options)


@pytest.mark.parametrize("search", ["lr_find", "scale_batch_size"])
def test_a_search_before_the_run_is_refused_by_name(search):
    class Tuned(Classifier):
        learning_rate = 0.5
        batch_size = BATCH

    ted = make_ted()
    tuner = Tuner(make_trainer(ted))
    says = "must have no (LearningRateFinder|BatchSizeFinder) beside TED's callback, "
    with pytest.raises(ValueError, match=says):
        getattr(tuner, search)(Tuned(ted))


def test_a_second_fit_in_the_middle_of_an_epoch_needs_the_checkpoint():
    class Kill(Callback):
        def on_train_batch_start(self, trainer, *_):
            if trainer.global_step == 13:
                raise KeyboardInterrupt

    ted = make_ted()
    net, trainer = Classifier(ted), make_trainer(ted, Kill())
    with pytest.raises(SystemExit):
        trainer.fit(net)
    assert ted.session.epoch == 1
    with pytest.raises(EpochError, match="must begin at the session's epoch 0, got 1;"):
        trainer.fit(net)
