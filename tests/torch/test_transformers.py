from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from trainer_runs import EPOCHS, PAPER, N, Rows, flat, frozen_classifier, trainer
from transformers import EarlyStoppingCallback

from ted_core import InfoBatch, Random, TedWarning, signals

pytestmark = pytest.mark.filterwarnings(
    "ignore:BertForSequenceClassification returns the mean of a batch"
)


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


def test_a_check_of_the_trainers_session_knows_its_steps(tmp_path):
    run = trainer(tmp_path, data=Rows(36), gradient_accumulation_steps=3)
    report = run.ted.check(run.get_train_dataloader())
    steps = run.ted.total_steps(4, accumulation=3)
    assert f"steps: {steps} in the whole run, of 3 batches each" in report.lines
    assert not any(line.startswith("mask") for line in report.lines)


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


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    """Give a run whose weights stay as they are."""
    folder = tmp_path_factory.mktemp("frozen")
    options = {"learning_rate": 0.0, "gradient_accumulation_steps": 3}
    run = trainer(folder, frozen_classifier(), **options)
    run.train()
    return run


def test_the_next_epoch_visits_the_samples_of_the_highest_scores(frozen):
    run = frozen
    scores, last = run.ted.pruner.scores, flat(run.seen[3])
    assert len(last) < N
    pruned = np.delete(scores, last)
    assert scores[last].min() >= pruned.max()


def test_the_score_of_a_class_is_that_of_its_logits(frozen):
    run, data = frozen, frozen.train_dataset
    net = copy.deepcopy(run.model).double()
    with torch.no_grad():
        z = net(data.words).logits
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


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """Give a run that is evaluated, logged and saved each epoch, and its metrics."""
    run = trainer(
        tmp_path_factory.mktemp("evaluated"),
        eval_dataset=Rows(8),
        logging_strategy="epoch",
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=True,
        learning_rate=0.3,
    )
    return run, run.train().metrics


def test_logs_and_metrics_tell_keep_ratio_and_savings(evaluated):
    run, found = evaluated
    logs = [log for log in run.state.log_history if "loss" in log]
    kept = run.ted.pruner.report().planned / N
    assert [log["ted/keep_ratio"] for log in logs] == kept.tolist()
    # Of the epoch that has just closed: not the savings before it.
    saved = 1 - np.cumsum(kept) / np.arange(1, EPOCHS + 1)
    assert [log["ted/samples_saved"] for log in logs] == pytest.approx(saved)
    assert found["ted/samples_saved"] == run.ted.savings().ratio > 0
    evaluations = [log for log in run.state.log_history if "eval_loss" in log]
    assert len(evaluations) == EPOCHS
    assert not [log for log in evaluations if "ted/keep_ratio" in log]


def test_the_best_model_is_loaded_at_the_end(evaluated):
    run, _ = evaluated
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
    with pytest.warns(TedWarning, match="must have .* epochs as planned|must deliver"):
        run.train()
    assert run.state.global_step == 12
    assert run.ted.pruner.finished
    visited = sum(len(ids) for batches in run.seen.values() for ids in batches)
    assert run.ted.savings().forwarded == visited == N + 2 * 4
