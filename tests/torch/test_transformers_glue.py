from __future__ import annotations

import numpy as np
import pytest
import tiny_models
import torch
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import Dataset
from trainer_runs import EPOCHS, NO_DROPOUT, PAPER, SMALL, trainer
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DataCollatorWithPadding,
)

from ted_core import signals


class Sentences(Dataset):
    """Tokenised sentences as ``datasets`` gives them: lists, read a batch at a time.

    The text is still among the columns, and the label's is called ``label``.
    """

    def __init__(self, n, *, numbers=False, seed=0):
        dice = np.random.default_rng(seed)
        texts = [tiny_models.text(dice, ("efgh", "hijk")[k % 2], 8) for k in range(n)]
        labels = [
            float(text.count("h")) if numbers else k % 2 for k, text in enumerate(texts)
        ]
        made = tiny_models.tokenizer()(texts)
        self.columns = {**made, "label": labels, "sentence": texts}
        self.asked = []

    def __len__(self):
        return len(self.columns["label"])

    def __getitem__(self, k):
        return {name: column[k] for name, column in self.columns.items()}

    def __getitems__(self, ids):
        self.asked.append(list(ids))
        return [self[k] for k in ids]


def letters(**options):
    """Give a model of the tokenizer's letters."""
    size = {"vocab_size": len(tiny_models.WORDS), "max_position_embeddings": 16}
    torch.manual_seed(1)
    config = BertConfig(**SMALL | NO_DROPOUT | size | options)
    return BertForSequenceClassification(config)


@pytest.mark.parametrize("collator", ["given", "the tokenizer's own"])
def test_a_sample_keeps_its_id_through_padding_and_columns_left_out(collator, tmp_path):
    data, net, words = Sentences(37), letters(num_labels=2), tiny_models.tokenizer()
    given = {"processing_class": words}
    if collator == "given":
        given = {"data_collator": DataCollatorWithPadding(words, pad_to_multiple_of=8)}
    run = trainer(tmp_path, net, data, learning_rate=0.0, **given)
    assert run.args.remove_unused_columns
    run.train()
    # Before the first batch two reads look whether the data set keeps the order.
    asked = [ids for batches in run.seen.values() for ids in batches]
    assert data.asked[2:] == asked
    assert len(set(map(len, data.columns["input_ids"]))) > 3
    want = []
    for tokens, label in zip(
        data.columns["input_ids"], data.columns["label"], strict=True
    ):
        with torch.no_grad():
            z = net(torch.tensor([tokens])).logits.double()
        y = torch.tensor([label])
        want.append(abs(signals.compute("mask_gradient", logits=z, labels=y).item()))
    np.testing.assert_allclose(run.ted.pruner.scores, want, rtol=1e-3, atol=1e-6)


def accuracy(found):
    return {"accuracy": float(np.mean(found.predictions.argmax(1) == found.label_ids))}


def pearson(found):
    x, y = found.predictions.ravel(), found.label_ids.ravel()
    return {"pearson": float(np.corrcoef(x, y)[0, 1])}


CASES = {
    "accuracy": (accuracy, {"num_labels": 2}, PAPER),
    "pearson": (pearson, {"num_labels": 1}, PAPER | {"signal": "loss"}),
}


@pytest.mark.parametrize("metric", CASES)
def test_the_metric_is_reported_and_its_best_model_kept(metric, tmp_path):
    compute, head, ted = CASES[metric]
    numbers = metric == "pearson"
    test = Sentences(16, numbers=numbers, seed=1)
    run = trainer(
        tmp_path,
        letters(**head),
        Sentences(37, numbers=numbers),
        ted=ted,
        eval_dataset=test,
        compute_metrics=compute,
        processing_class=tiny_models.tokenizer(),
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model=metric,
        greater_is_better=False,  # so that the last model is not the best
        learning_rate=0.02,
    )
    run.train()
    logs = [log for log in run.state.log_history if f"eval_{metric}" in log]
    found = [log[f"eval_{metric}"] for log in logs]
    assert len(found) == EPOCHS
    assert not [name for log in logs for name in log if name.startswith("ted/")]
    assert run.state.best_metric == min(found) < found[-1]
    again = run.evaluate()
    assert again[f"eval_{metric}"] == pytest.approx(min(found))
    predicted = run.predict(test)
    assert predicted.metrics[f"test_{metric}"] == pytest.approx(min(found))
    z, y = map(torch.as_tensor, (predicted.predictions, predicted.label_ids))
    loss = F.mse_loss(z[:, 0], y) if numbers else F.cross_entropy(z, y)
    assert again["eval_loss"] == pytest.approx(float(loss), rel=1e-4)
    assert run.ted.pruner.finished
    assert run.ted.savings().ratio > 0.2
