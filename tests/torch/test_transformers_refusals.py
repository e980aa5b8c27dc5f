from __future__ import annotations

import pytest
import torch
from ted_torch.integrations.transformers import TEDTrainer, TEDTrainerMixin
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
)
from trainer_runs import EPOCHS, Rows, classifier, language, trainer
from transformers import (
    BertConfig,
    BertForNextSentencePrediction,
    Trainer,
    default_data_collator,
)

from ted_core import InfoBatch


class Bare(Rows):
    def __getitem__(self, k):
        row = super().__getitem__(k)
        return {name: row[name] for name in ("input_ids", "labels")}


class Stream(IterableDataset):
    def __iter__(self):
        return iter(())

    def __repr__(self):
        return "Stream()"  # the names of tests hold no address


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"max_steps": 9}, ValueError, "`max_steps` must end in the last .* got 9: 2"),
        ({"num_train_epochs": 0.5}, ValueError, "`epochs` must be at least 2, got 1"),
        (
            {"max_steps": 30, "ted": {"strategy": InfoBatch(), "signal": "loss"}},
            ValueError,
            "`max_steps` must be a whole number of epochs, .* own counts, got 30",
        ),
        (
            {"num_train_epochs": 5.5, "ted": {"strategy": InfoBatch()}},
            ValueError,
            "`num_train_epochs` must be a whole number .* own counts, got 5.5",
        ),
        (
            {"train_sampling_strategy": "batch_rebalance"},
            ValueError,
            "`train_sampling_strategy` must be 'random' or 'group_by_length', got",
        ),
        ({"ignore_data_skip": True}, ValueError, "`ignore_data_skip` must be False"),
        ({"auto_find_batch_size": True}, ValueError, "`auto_find_batch_size` must"),
        ({"data": Stream()}, TypeError, "`train_dataset` must be a map-style"),
        ({"data": Stream(), "max_steps": 9}, TypeError, "`train_dataset` must be a"),
        ({"ted": {"epochs": 9}}, TypeError, "`ted` must leave 'epochs' to the trainer"),
        ({"ted": {"ids": "id"}}, TypeError, "`ted` must leave 'ids' to the trainer"),
        ({"ted": 0.7}, TypeError, "`ted` must be a mapping of options"),
        ({"ted": {"ratio": 0.7}}, TypeError, "`ratio` is no option"),
        (
            {"per_device_train_batch_size": 40},
            ValueError,
            "`train_dataset` must hold more samples than an optimizer step of 40",
        ),
    ],
    ids=str,
)
def test_arguments_that_leave_nothing_to_choose_are_refused(
    options, error, says, tmp_path
):
    with pytest.raises(error, match=says):
        trainer(tmp_path, **options)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_train_epochs", 9),
        ("per_device_train_batch_size", 2),
        ("gradient_accumulation_steps", 2),
        ("train_sampling_strategy", "sequential"),
    ],
)
def test_an_argument_that_was_planned_with_stays(name, value, tmp_path):
    run = trainer(tmp_path)
    setattr(run.args, name, value)
    with pytest.raises(ValueError, match=f"`{name}` must stay .*, got {value!r}; set"):
        run.train()


def test_the_size_of_a_batch_stays_in_a_second_run_too(tmp_path):
    run = trainer(tmp_path)
    run.train()
    run.args.per_device_train_batch_size = 2
    with pytest.raises(ValueError, match="`per_device_train_batch_size` must stay 4"):
        run.train()


def test_a_signal_that_the_losses_do_not_come_with_is_refused_by_the_method(tmp_path):
    run = trainer(tmp_path, ted={"signal": "grand"})
    says = "`sample_losses` must return 'hidden' for the signal 'grand', got losses"
    with pytest.raises(ValueError, match=says):
        run.train()


def test_several_data_sets_are_refused(tmp_path):
    with pytest.raises(TypeError, match="must be one data set, got a dict of 2; conc"):
        trainer(tmp_path, data={"a": Rows(20), "b": Rows(20)})


def test_one_number_for_a_batch_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`compute_loss_func` must be left out"):
        trainer(tmp_path, compute_loss_func=lambda *_, **__: torch.zeros(()))


def test_a_model_whose_losses_are_not_known_is_refused(tmp_path):
    net = BertForNextSentencePrediction(
        BertConfig(hidden_size=8, num_attention_heads=1)
    )
    with pytest.raises(TypeError, match="override `sample_losses`"):
        trainer(tmp_path, net)


@pytest.mark.parametrize(
    "name", ["_run_epoch", "_init_training_state", "_save_checkpoint"]
)
def test_a_version_without_a_private_hook_is_refused_by_name(
    name, monkeypatch, tmp_path
):
    monkeypatch.delattr(Trainer, name)
    with pytest.raises(ImportError, match=rf"must have Trainer\.{name}, got version"):
        trainer(tmp_path)


class Sequential(TEDTrainer):
    def _get_train_sampler(self, *_):
        return SequentialSampler(self.train_dataset)


class Plain(TEDTrainer):
    def get_train_dataloader(self):
        return super(TEDTrainerMixin, self).get_train_dataloader()


class Half(TEDTrainer):
    def get_train_dataloader(self):
        self.train_dataset = Rows(20)
        return super().get_train_dataloader()


def test_a_sampler_of_ones_own_is_refused(tmp_path):
    with pytest.raises(TypeError, match="random one, got SequentialSampler; TED"):
        trainer(tmp_path, kind=Sequential).train()


class ByLength(BatchSampler):
    """Batches of sentences of like lengths."""

    def __iter__(self):
        order = sorted(self.sampler, key=lambda k: k % 7)
        yield from (order[k : k + 4] for k in range(0, len(order), 4))


class Grouped(TEDTrainer):
    def _get_dataloader(self, dataset, *_, **__):
        batches = ByLength(RandomSampler(dataset), 4, drop_last=False)
        return self.accelerator.prepare(DataLoader(dataset, batch_sampler=batches))


def test_batches_of_like_lengths_are_refused_by_name(tmp_path):
    says = "made by its own BatchSampler, got ByLength, which would be replaced; TED"
    with pytest.raises(TypeError, match=says):
        trainer(tmp_path, kind=Grouped).train()


def sorting_in_place(rows):
    rows.sort(key=lambda row: int(row["input_ids"][1]))
    return default_data_collator(rows)


def sorting_a_copy(rows):
    return default_data_collator(sorted(rows, key=lambda row: int(row["input_ids"][1])))


class Told(TEDTrainer):
    """Hold each row against the sample whose id it has."""

    def compute_loss(self, model, inputs, *args, **kwargs):
        if model.training:
            words = self.train_dataset.words[inputs["ted_ids"]]
            assert torch.equal(inputs["input_ids"], words)
        return super().compute_loss(model, inputs, *args, **kwargs)


@pytest.mark.parametrize("unused", [False, True])
def test_ids_follow_the_rows_that_a_collator_sorts_in_place(unused, tmp_path):
    options = {"data_collator": sorting_in_place, "remove_unused_columns": unused}
    data = Rows() if unused else Bare()
    trainer(tmp_path, data=data, kind=Told, **options).train()


def test_a_collator_that_sorts_a_copy_is_refused(tmp_path):
    run = trainer(tmp_path, data_collator=sorting_a_copy, kind=Told)
    with pytest.raises(ValueError, match="row"):
        run.train()


def test_a_loader_without_ids_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must have the column 'ted_ids'"):
        trainer(tmp_path, kind=Plain).train()


def test_a_data_set_of_another_length_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`train_dataset` must keep its 37 samples"):
        trainer(tmp_path, kind=Half).train()


def test_another_number_of_epochs_is_refused(tmp_path):
    run = trainer(tmp_path)
    run.args.num_train_epochs = EPOCHS + 2
    with pytest.raises(ValueError, match="`num_train_epochs` must stay 5, got 7"):
        run.train()


@pytest.mark.parametrize(
    ("collate", "error", "says"),
    [
        (
            lambda rows: {
                "input_ids": torch.cat([row["input_ids"] for row in rows])[None],
                "labels": torch.zeros(1, dtype=torch.long),
            },
            ValueError,
            "each row of a batch must be one sample, got 1 rows for 4 samples",
        ),
        (lambda rows: [len(rows)], TypeError, "`data_collator` must give a mapping"),
        (
            lambda rows: {"input_ids": torch.stack([row["input_ids"] for row in rows])},
            ValueError,
            "must have the column 'labels'",
        ),
    ],
)
def test_batches_without_a_row_and_a_label_a_sample_are_refused(
    collate, error, says, tmp_path
):
    with pytest.raises(error, match=says):
        trainer(tmp_path, language(), data_collator=collate).train()


class Own(TEDTrainer):
    """A loss of one's own, for a model whose loss is not known."""

    def sample_losses(self, outputs, labels, hidden):
        assert not hidden
        logits, y = outputs["logits"], labels["labels"]
        losses = torch.nn.functional.cross_entropy(logits, y, reduction="none")
        return {"losses": losses, "mask": logits}


def test_a_loss_of_ones_own_takes_its_place(tmp_path):
    net = BertForNextSentencePrediction(
        BertConfig(vocab_size=13, hidden_size=8, num_attention_heads=1)
    )
    run = trainer(tmp_path, net, Rows(classes=2), kind=Own)
    run.train()
    assert run.state.global_step == run.ted.total_steps(4)


def test_a_second_training_starts_over(tmp_path):
    run = trainer(tmp_path, classifier())
    run.train()
    first, steps = run.ted, run.state.global_step
    run.train()
    assert run.ted is not first
    assert run.state.global_step == steps
