from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
import trainer_runs
from ted_torch.integrations.transformers import TEDTrainer
from trainer_runs import (
    NO_DROPOUT,
    PAPER,
    N,
    Rows,
    Texts,
    flat,
    frozen_classifier,
    language,
    trainer,
)
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    T5Config,
    T5ForConditionalGeneration,
    Trainer,
)

from ted_core import TedWarning


class Numbers(Rows):
    """Sentences with a number each."""

    def __getitem__(self, k):
        words = self.words[k]
        return {"input_ids": words, "labels": words[:1].float() / trainer_runs.WORDS}


class Tags(Rows):
    """Sentences with several classes each."""

    def __getitem__(self, k):
        words = self.words[k]
        return {"input_ids": words, "labels": (words[:3] > 6).float()}


class Spans(Rows):
    """Sentences with a span each; the end of some lies outside."""

    def __getitem__(self, k):
        words = self.words[k]
        start = words[0] % 4
        return {
            "input_ids": words,
            "start_positions": start,
            "end_positions": start + 2,
        }


class Ordered(Trainer):
    """The trainer itself, on batches in a given order."""

    def __init__(self, *args, ted, **kwargs):
        self.orders = ted
        super().__init__(*args, **kwargs)

    def _get_train_sampler(self, *_):
        return Listed(self.orders)


class Listed:
    """Give out each epoch's ids in turn."""

    def __init__(self, orders):
        self.orders = iter(orders)

    def __len__(self):
        return N

    def __iter__(self):
        return iter(next(self.orders))


def translator():
    torch.manual_seed(1)
    config = T5Config(
        vocab_size=trainer_runs.WORDS,
        d_model=8,
        d_kv=4,
        d_ff=16,
        num_layers=1,
        num_heads=2,
        dropout_rate=0.0,
        decoder_start_token_id=0,
    )
    return T5ForConditionalGeneration(config)


def configured(kind):
    torch.manual_seed(1)
    config = BertConfig(**trainer_runs.SMALL, **NO_DROPOUT, max_position_embeddings=8)
    return kind(config)


CASES = {
    "classes": (frozen_classifier, Rows, {}),
    "classes, smoothed": (frozen_classifier, Rows, {"label_smoothing_factor": 0.1}),
    "numbers": (lambda: frozen_classifier(num_labels=1), Numbers, {}),
    "several classes": (
        lambda: frozen_classifier(problem_type="multi_label_classification"),
        Tags,
        {},
    ),
    "spans": (lambda: configured(BertForQuestionAnswering), Spans, {}),
    "texts": (language, Texts, {}),
    "texts, accumulated": (language, Texts, {"gradient_accumulation_steps": 3}),
    "texts, smoothed": (language, Texts, {"label_smoothing_factor": 0.1}),
    "translations": (translator, Texts, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_prunes_nothing_is_the_trainers_own(case, tmp_path):
    make, data, options = CASES[case]
    paper = PAPER | {"prune_ratio": 0.0}
    if case == "numbers":
        paper["signal"] = "loss"
    ted = trainer(tmp_path, make(), data(), ted=paper, **options)
    ted.train()
    orders = [flat(batches) for batches in ted.seen.values()]
    plain = trainer(tmp_path, make(), data(), ted=orders, kind=Ordered, **options)
    plain.train()
    assert ted.state.global_step == plain.state.global_step
    theirs = dict(plain.model.named_parameters())
    for name, mine in ted.model.named_parameters():
        torch.testing.assert_close(mine, theirs[name], rtol=1e-4, atol=1e-5)


def test_the_mask_gradient_of_a_number_is_warned_of(tmp_path):
    make, data, _ = CASES["numbers"]
    given = {"args": trainer_runs.arguments(tmp_path), "train_dataset": data()}
    with pytest.warns(TedWarning, match=r"is 2 z \(z - y\), low for each prediction"):
        TEDTrainer(make(), **given, ted=PAPER)


@pytest.mark.parametrize("case", ["numbers", "several classes"])
@pytest.mark.parametrize("ted", [{"method": "soft_margin"}, {"signal": "el2n"}])
def test_a_signal_of_classes_is_refused_without_one_class_a_sample(case, ted, tmp_path):
    make, data, _ = CASES[case]
    run = trainer(tmp_path, make(), data(), ted=ted)
    says = "got a model of numbers or several labels; take method='ted' or method='ted"
    with pytest.raises(ValueError, match=says):
        run.train()


@pytest.mark.parametrize(
    ("make", "data", "says"),
    [
        (frozen_classifier, Rows, "adds up those of a step's 3 batches; here a step"),
        (language, Texts, None),
    ],
)
def test_accumulated_batches_make_the_step_of_one_large_batch(
    make, data, says, tmp_path
):
    runs = []
    for batch, accumulation in ((12, 1), (4, 3)):
        warned = says if accumulation > 1 else None
        run = trainer(
            tmp_path,
            make(),
            data(),
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulation,
        )
        with pytest.warns(TedWarning, match=warned) if warned else nullcontext():
            run.train()
        runs.append(run)
    large, small = runs
    assert small.state.global_step == large.state.global_step
    for one, other in zip(
        large.model.parameters(), small.model.parameters(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
