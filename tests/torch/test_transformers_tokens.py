from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from trainer_runs import PAPER, SMALL, N, Rows, Texts, language, trainer
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForTokenClassification,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
)

SCORED = {"ted": PAPER, "learning_rate": 0.0}
PLAIN = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def oracle(net, data):
    """Differentiate each sample's loss, alone, by a delta on the head's input."""
    net = net.double().eval()
    head, values = net.get_output_embeddings(), []
    for row in (data[k] for k in range(len(data))):
        words, labels = row["input_ids"][None], row["labels"][1:]
        delta = torch.ones((), dtype=torch.float64, requires_grad=True)
        handle = head.register_forward_pre_hook(lambda _, h, d=delta: (h[0] * d,))
        z = net(input_ids=words, attention_mask=row["attention_mask"][None]).logits
        handle.remove()
        losses = F.cross_entropy(z[0, :-1], labels, ignore_index=-100)
        (gradient,) = torch.autograd.grad(losses, delta)
        values.append(abs(gradient.item()))
    return np.array(values)


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ({}, 1e-4),
        ({"gradient_accumulation_steps": 3}, 1e-4),
        ({"activation_checkpointing": True}, 1e-4),
        ({"bf16": True}, 0.05),
        ({"torch_compile": True, "torch_compile_backend": "eager"}, 1e-4),
    ],
    ids=str,
)
def test_a_texts_score_is_the_slow_one_at_the_heads_input(options, tolerance, tmp_path):
    net, data = language(), Texts()
    run = trainer(tmp_path, net, data, **SCORED, **options)
    run.train()
    want = oracle(net, data)
    np.testing.assert_allclose(
        run.ted.pruner.scores, want, rtol=tolerance, atol=tolerance * want.max()
    )


# Few, and so many that the scores of the other tokens are copied.
@pytest.mark.parametrize("ignored", [3, 40])
def test_padding_and_ignored_tokens_leave_a_score_alone(ignored, tmp_path):
    class Longer(Texts):
        def __getitem__(self, k):
            row = super().__getitem__(k)
            return {
                "input_ids": F.pad(row["input_ids"], (0, ignored)),
                "attention_mask": F.pad(row["attention_mask"], (0, ignored)),
                "labels": F.pad(row["labels"], (0, ignored), value=-100),
            }

    runs = [
        trainer(tmp_path, language(), data, **SCORED) for data in (Texts(), Longer())
    ]
    for run in runs:
        run.train()
    one, other = (run.ted.pruner.scores for run in runs)
    np.testing.assert_allclose(one, other, rtol=1e-4)


class Largest(TorchDispatchMode):
    """Note the numbers of the largest float32 tensor that is made."""

    size = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        del types
        made = function(*args, **(kwargs or {}))
        for one in tree_leaves(made):
            if isinstance(one, torch.Tensor) and one.dtype == torch.float32:
                self.size = max(self.size, one.numel())
        return made


def test_scores_of_tokens_that_do_not_count_are_not_taken_to_float(tmp_path):
    config = LlamaConfig(**SMALL | {"vocab_size": 512}, pad_token_id=0)
    net = LlamaForCausalLM(config).bfloat16()
    run = trainer(tmp_path, net, Texts(), ted=PAPER)
    run._compared = True  # the framework's own loss takes all of them
    run.ted.set_epoch(0)
    words = torch.randint(1, 512, (4, 32))
    labels = words.masked_fill(torch.arange(32) < 28, -100)
    batch = {"input_ids": words, "labels": labels, "ted_ids": torch.arange(4)}
    with Largest() as largest:
        run.compute_loss(net.train(), batch).backward()
    assert 0 < largest.size <= 4 * 4 * 512


def test_a_text_without_a_token_to_tell_ranks_last(tmp_path):
    class Silent(Texts):
        def __getitem__(self, k):
            row = super().__getitem__(k)
            return row | {"labels": row["labels"] * 0 - 100} if k == 5 else row

    run = trainer(tmp_path, language(), Silent(), **SCORED)
    run.train()
    assert run.ted.pruner.update_counts[5] == 0
    assert run.ted.report().weightless[0] == 1
    assert 5 not in [k for ids in run.seen[2] for k in ids]


@pytest.mark.filterwarnings(
    # PEFT asks by the name that transformers is leaving.
    "ignore:`(is_)?gradient_checkpointing:FutureWarning"
)
def test_adapters_of_low_rank_are_scored_at_the_head_of_the_model_inside(tmp_path):
    from peft import LoraConfig, get_peft_model  # noqa: PLC0415 - slow to import

    data = Texts()
    lora = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    net = get_peft_model(language(), lora)
    frozen = {
        name: p.clone() for name, p in net.named_parameters() if "lora" not in name
    }
    run = trainer(tmp_path, net, data, save_strategy="epoch")
    run.train()
    assert run.state.global_step == run.state.max_steps
    for name, p in net.named_parameters():
        assert "lora" in name or torch.equal(p, frozen[name])
    still = trainer(tmp_path, net, data, **SCORED)
    still.train()
    want = oracle(net, data)
    np.testing.assert_allclose(still.ted.pruner.scores, want, rtol=1e-4)


@pytest.mark.parametrize("kind", [BertForMaskedLM, BertForTokenClassification])
def test_labels_of_tokens_that_are_not_shifted_are_known(kind, tmp_path):
    net = kind(BertConfig(**SMALL, **PLAIN, num_labels=13, max_position_embeddings=8))
    data = Texts()
    run = trainer(
        tmp_path, net, data, ted=PAPER | {"signal": "loss"}, learning_rate=0.0
    )
    run.train()
    with torch.no_grad():
        rows = [data[k] for k in range(N)]
        columns = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
        labels = columns.pop("labels")
        z = net.eval()(**columns).logits
    losses = F.cross_entropy(z.mT, labels, reduction="none", ignore_index=-100)
    want = losses.sum(1) / (labels != -100).sum(1)
    np.testing.assert_allclose(run.ted.pruner.scores, want, rtol=1e-4)


def test_what_balances_experts_is_added_and_not_divided_by_the_keep_ratio(tmp_path):
    config = MixtralConfig(
        **SMALL,
        num_key_value_heads=2,
        num_local_experts=2,
        output_router_logits=True,
        router_aux_loss_coef=0.5,
    )
    run = trainer(tmp_path, MixtralForCausalLM(config), Texts())
    run.ted.set_epoch(0)
    batch = next(iter(run.get_train_dataloader()))
    batch = {k: v for k, v in batch.items() if k != "row"}
    run.model.train()
    run.ted.set_epoch(0)
    loss, outputs = run.compute_loss(run.model, batch, return_outputs=True)
    plain = {k: v for k, v in batch.items() if k != "ted_ids"}
    want = run.model(**plain)
    assert want.aux_loss > 0
    torch.testing.assert_close(loss, want.loss)
    assert outputs.logits.shape == want.logits.shape


def test_a_signal_of_classes_is_refused_for_tokens(tmp_path):
    said = (
        r"`signal='margin'` needs an output of classes, .* got a model of tokens; take "
        r"method='ted' or method='ted_loss', or override `sample_losses`"
    )
    with pytest.raises(ValueError, match=said):
        trainer(tmp_path, language(), Texts(), ted={"signal": "margin"})


def test_labels_of_another_shape_are_refused(tmp_path):
    with pytest.raises(ValueError, match="`labels` must have the shape of the tokens"):
        trainer(tmp_path, language(), Rows()).train()
