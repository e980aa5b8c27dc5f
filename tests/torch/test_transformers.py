from __future__ import annotations

import numpy as np
import pytest
import torch
import trainer_runs
from trainer_runs import (
    EPOCHS,
    PAPER,
    N,
    Rows,
    Texts,
    classifier,
    flat,
    language,
    trainer,
)
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    EarlyStoppingCallback,
    T5Config,
    T5ForConditionalGeneration,
    Trainer,
)

from ted_core import InfoBatch, Random, signals

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


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


def frozen_classifier(**options):
    return classifier(**NO_DROPOUT, **options)


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
    ted = trainer(tmp_path, make(), data(), ted=PAPER | {"prune_ratio": 0.0}, **options)
    ted.train()
    orders = [flat(batches) for batches in ted.seen.values()]
    plain = trainer(tmp_path, make(), data(), ted=orders, host=Ordered, **options)
    plain.train()
    assert ted.state.global_step == plain.state.global_step
    theirs = dict(plain.model.named_parameters())
    for name, mine in ted.model.named_parameters():
        torch.testing.assert_close(mine, theirs[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "data"), [(frozen_classifier, Rows), (language, Texts)]
)
def test_accumulated_batches_make_the_step_of_one_large_batch(make, data, tmp_path):
    runs = []
    for batch, accumulation in ((12, 1), (4, 3)):
        run = trainer(
            tmp_path,
            make(),
            data(),
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulation,
        )
        run.train()
        runs.append(run)
    large, small = runs
    assert small.state.global_step == large.state.global_step
    for one, other in zip(
        large.model.parameters(), small.model.parameters(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("size", [(37, 4, 1), (37, 4, 3), (41, 5, 2), (32, 8, 2)])
def test_steps_and_schedule_end_where_the_run_does(size, tmp_path):
    n, batch, accumulation = size
    run = trainer(
        tmp_path,
        data=Rows(n),
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        logging_strategy="epoch",
    )
    run.train()
    steps = run.ted.total_steps(batch, accumulation=accumulation)
    assert run.state.global_step == run.state.max_steps == steps
    assert run.lr_scheduler.get_last_lr() == [0.0, 0.0]
    kept = [sum(map(len, run.seen[epoch])) for epoch in range(EPOCHS)]
    assert kept == run.ted.pruner.schedule_table()["kept"].tolist()
    assert all(count in {n, *range(0, n, batch * accumulation)} for count in kept)
    lengths = [log["epoch"] for log in run.state.log_history if "loss" in log]
    assert lengths == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("options", [{"dataloader_drop_last": True}, {}])
def test_counts_may_stay_as_the_schedule_gives_them(options, tmp_path):
    run = trainer(
        tmp_path,
        ted=PAPER | {"multiple_of": 1},
        gradient_accumulation_steps=3,
        **options,
    )
    run.train()
    steps = run.ted.total_steps(4, accumulation=3, drop_last=bool(options))
    assert run.state.global_step == run.state.max_steps == steps


def test_the_next_epoch_visits_the_samples_of_the_highest_scores(tmp_path):
    run = trainer(tmp_path, frozen_classifier(), learning_rate=0.0)
    run.train()
    scores, last = run.ted.pruner.scores, flat(run.seen[3])
    assert len(last) < N
    pruned = np.delete(scores, last)
    assert scores[last].min() >= pruned.max()


def test_the_score_of_a_class_is_that_of_its_logits(tmp_path):
    net = frozen_classifier()
    data = Rows()
    run = trainer(tmp_path, net, data, learning_rate=0.0, gradient_accumulation_steps=3)
    run.train()
    with torch.no_grad():
        z = net.double()(data.words).logits
    want = signals.compute("mask_gradient", logits=z, labels=data.labels).abs()
    np.testing.assert_allclose(run.ted.pruner.scores, want, rtol=1e-4)


@pytest.mark.parametrize(
    ("signal", "strategy"), [("loss", None), ("margin", None), (None, Random())]
)
def test_any_signal_and_strategy_goes_the_same_way(signal, strategy, tmp_path):
    data, net = Rows(), frozen_classifier()
    options = {"strategy": strategy} | ({"signal": signal} if signal else {})
    run = trainer(tmp_path, net, data, learning_rate=0.0, ted=options)
    run.train()
    assert run.ted.savings().ratio > 0.2
    if signal is None:
        return
    with torch.no_grad():
        z = net.double()(data.words).logits
    losses = torch.nn.functional.cross_entropy(z, data.labels, reduction="none")
    want = signals.compute(signal, losses=losses, logits=z, labels=data.labels)
    np.testing.assert_allclose(run.ted.pruner.scores, want, rtol=1e-4)


def test_a_strategy_that_finds_its_own_count_ends_within_its_bound(tmp_path):
    run = trainer(tmp_path, ted={"strategy": InfoBatch(), "signal": "loss"})
    run.train()
    visited = sum(len(ids) for batches in run.seen.values() for ids in batches)
    assert visited == run.ted.savings().forwarded < N * EPOCHS
    assert run.state.global_step < run.state.max_steps == 10 * EPOCHS


def test_logs_and_metrics_tell_keep_ratio_and_savings(tmp_path):
    options = {"logging_strategy": "epoch", "eval_strategy": "epoch"}
    run = trainer(tmp_path, eval_dataset=Rows(8), **options)
    found = run.train().metrics
    logs = [log for log in run.state.log_history if "loss" in log]
    kept = run.ted.pruner.report().planned / N
    assert [log["ted/keep_ratio"] for log in logs] == kept.tolist()
    assert found["ted/samples_saved"] == run.ted.savings().ratio > 0
    evaluations = [log for log in run.state.log_history if "eval_loss" in log]
    assert len(evaluations) == EPOCHS
    assert not [log for log in evaluations if "ted/keep_ratio" in log]


def test_the_best_model_is_loaded_at_the_end(tmp_path):
    run = trainer(
        tmp_path,
        eval_dataset=Rows(8),
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=True,
        learning_rate=0.3,
    )
    run.train()
    best = run.state.best_model_checkpoint
    assert run.state.best_global_step < run.state.global_step
    there = type(run.model).from_pretrained(best).state_dict()
    for name, weights in run.model.state_dict().items():
        torch.testing.assert_close(weights, there[name], rtol=0, atol=0)
    assert run.ted.pruner.finished


def test_an_early_stop_closes_the_run(tmp_path):
    run = trainer(
        tmp_path,
        eval_dataset=Rows(8),
        eval_strategy="steps",
        eval_steps=6,
        metric_for_best_model="eval_loss",
        callbacks=[EarlyStoppingCallback(1, early_stopping_threshold=9.0)],
    )
    run.train()
    assert run.state.global_step == 12
    assert run.ted.pruner.finished
    visited = sum(len(ids) for batches in run.seen.values() for ids in batches)
    assert run.ted.savings().forwarded == visited == N + 2 * 4
