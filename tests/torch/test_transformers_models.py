"""Models whose names do not say what their loss is, and losses that differ."""

from __future__ import annotations

import copy
from functools import wraps

import numpy as np
import pytest
import torch
import transformers
from ted_torch.integrations.transformers import TEDTrainer, TEDTrainerMixin
from torch.nn import functional as F  # noqa: N812
from trainer_runs import (
    NO_DROPOUT,
    PAPER,
    SMALL,
    WORDS,
    Rows,
    Texts,
    arguments,
    language,
    trainer,
)
from transformers import LlamaConfig, LlamaForCausalLM, Trainer

from ted_core import TedWarning

SHORT = {"num_train_epochs": 2, "per_device_train_batch_size": 12}
GPT = {"vocab_size": WORDS, "n_positions": 8, "n_embd": 8, "n_layer": 1, "n_head": 2}
XLM = {"vocab_size": WORDS, "emb_dim": 8, "n_layers": 1, "n_heads": 2, "n_words": WORDS}
BERT = {**SMALL, **NO_DROPOUT, "max_position_embeddings": 8}
MARIAN = {
    "vocab_size": WORDS,
    "d_model": 8,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "max_position_embeddings": 16,
    "pad_token_id": 0,
    "decoder_start_token_id": 0,
}
SEAMLESS = {
    "vocab_size": WORDS,
    "t2u_vocab_size": WORDS,
    "hidden_size": 8,
    "max_position_embeddings": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "pad_token_id": 0,
    "decoder_start_token_id": 0,
}
CASES = {
    "GPT2LMHeadModel": ("GPT2Config", GPT),
    "OpenAIGPTLMHeadModel": ("OpenAIGPTConfig", GPT),
    "CTRLLMHeadModel": ("CTRLConfig", GPT | {"dff": 16}),
    "XLNetLMHeadModel": (
        "XLNetConfig",
        {"vocab_size": WORDS, "d_model": 8, "n_layer": 1, "n_head": 2, "d_inner": 16},
    ),
    "XLMWithLMHeadModel": ("XLMConfig", XLM),
    "FlaubertWithLMHeadModel": ("FlaubertConfig", XLM),
    "BertLMHeadModel": ("BertConfig", BERT | {"is_decoder": True}),
    "BertGenerationDecoder": (
        "BertGenerationConfig",
        BERT | {"is_decoder": True, "pad_token_id": 0},
    ),
    "BartForCausalLM": ("BartConfig", MARIAN),
    "MarianMTModel": ("MarianConfig", MARIAN),
    "SeamlessM4TForTextToText": ("SeamlessM4TConfig", SEAMLESS),
}


def made(name, config, options):
    torch.manual_seed(1)
    return getattr(transformers, name)(getattr(transformers, config)(**options))


@pytest.mark.parametrize("name", CASES)
def test_a_model_is_looked_up_and_its_loss_is_the_trainers(name, tmp_path):
    net = made(name, *CASES[name])
    heads = []
    net.get_output_embeddings().register_forward_hook(lambda *_: heads.append(1))
    # A warning that the losses differ would be an error.
    run = trainer(tmp_path, net, Texts(), **SHORT)
    run.train()
    assert heads
    assert run.state.global_step == run.ted.total_steps(12)
    assert (run.ted.pruner.scores > 0).all()


@pytest.mark.parametrize("name", ["BartForCausalLM", "XLNetLMHeadModel"])
def test_labels_that_a_model_does_not_shift_are_all_counted(name, tmp_path):
    config, options = CASES[name]
    losses = []
    for kind, given in ((Trainer, {}), (TEDTrainer, {"ted": {"prune_ratio": 0}})):
        net = made(name, config, {**options, "dropout": 0.0})
        args = arguments(tmp_path, per_device_train_batch_size=12)
        run = kind(model=net, args=args, train_dataset=Texts(), **given)
        batch = run.data_collator([Texts()[k] for k in range(12)])
        items = run._get_num_items_in_batch([batch], args.device)
        if kind is TEDTrainer:
            run.ted.set_epoch(0)
            batch["ted_ids"] = torch.arange(12)
        loss = run.compute_loss(net.train(), batch, num_items_in_batch=items)
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


class Choices(Rows):
    """Questions of three answers each."""

    def __getitem__(self, k):
        words = self.words[k]
        return {"input_ids": torch.stack([words, words.flip(0), 0 * words + 1 + k % 9])}

    def __init__(self):
        super().__init__(classes=3)


class Labelled(Choices):
    def __getitem__(self, k):
        return {**super().__getitem__(k), "labels": self.labels[k]}


@pytest.mark.parametrize("ted", [PAPER, {"signal": "el2n"}, {"method": "soft_margin"}])
def test_the_choices_of_a_question_are_its_classes(ted, tmp_path):
    net = made("BertForMultipleChoice", "BertConfig", BERT)
    run = trainer(tmp_path, net, Labelled(), ted=ted, **SHORT)
    run.train()
    assert (run.ted.pruner.scores > 0).all()


class Pretraining(TEDTrainer):
    """A loss of one's own, at the head of a model whose loss is not known."""

    def sample_losses(self, outputs, labels, hidden):
        z, y = outputs["prediction_logits"], labels["labels"]
        losses = F.cross_entropy(z.mT, y, reduction="none")
        (site,) = hidden
        return {"losses": losses, "valid": y != -100, "mask": site}


def test_a_loss_of_ones_own_has_the_head_of_a_pretraining_model(tmp_path):
    net = made("BertForPreTraining", "BertConfig", BERT)
    with pytest.raises(TypeError, match="BertForPreTraining with None; override `sam"):
        trainer(tmp_path, net, Texts())
    run = trainer(tmp_path, net, Texts(), kind=Pretraining, **SHORT)
    run.train()
    assert (run.ted.pruner.scores > 0).all()


def fuse(model, _, *, always=False):
    """Let a model return one number of a batch and no logits, as Liger's do."""
    plain = model.forward

    @wraps(plain)
    def forward(*args, labels=None, num_items_in_batch=None, **kwargs):
        found = plain(*args, **kwargs)
        if not model.training or labels is None:
            return type(found)(logits=None if always else found.logits)
        total = F.cross_entropy(found.logits[:, :-1].mT, labels[:, 1:], reduction="sum")
        return type(found)(loss=total / num_items_in_batch)

    model.forward = forward


def test_a_fused_loss_without_logits_trains_as_the_models_own(tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.trainer.apply_liger_kernel", fuse)
    runs = []
    for fused in (False, True):
        # A warning that the losses differ would be an error.
        run = trainer(tmp_path, language(), Texts(), use_liger_kernel=fused, **SHORT)
        run.train()
        assert ("forward" in vars(run.model)) == fused
        runs.append(run)
    one, other = runs
    np.testing.assert_array_equal(one.ted.pruner.scores, other.ted.pruner.scores)
    for mine, theirs in zip(
        one.model.parameters(), other.model.parameters(), strict=True
    ):
        assert torch.equal(mine, theirs)


def test_a_model_that_never_makes_logits_is_refused_by_name(tmp_path, monkeypatch):
    def never(model, config):
        fuse(model, config, always=True)

    monkeypatch.setattr("transformers.trainer.apply_liger_kernel", never)
    run = trainer(tmp_path, language(), Texts(), use_liger_kernel=True, **SHORT)
    says = "LlamaForCausalLM must return 'logits' for `sample_losses`, got .*; switch"
    with pytest.raises(ValueError, match=says):
        run.train()


class Mine(LlamaForCausalLM):
    """A model of one's own name, whose loss is not what its kind says."""

    def forward(self, input_ids, attention_mask=None, labels=None):
        found = super().forward(input_ids, attention_mask)
        if labels is not None:
            z = found.logits.flatten(0, 1)
            found.loss = F.cross_entropy(z, labels.flatten()) + 0.1
        return found


def test_a_loss_that_the_samples_do_not_make_is_warned_of_once(tmp_path):
    torch.manual_seed(1)
    net = Mine(LlamaConfig(**SMALL, pad_token_id=0))
    run = trainer(tmp_path, net, Texts(), **SHORT)
    says = r"must make the loss of the trainer and its Mine, [\d.]+ in the first step,"
    with pytest.warns(TedWarning, match=says) as found:
        run.train()
    assert len(found) == 1


def test_an_auxiliary_loss_that_is_not_known_is_warned_of(tmp_path):
    options = {
        "vocab_size": WORDS,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_key_value_heads": 2,
        "kv_channels": 4,
        "intermediate_size": 16,
        "num_local_experts": 2,
        "num_experts_per_tok": 1,
        "output_router_logits": True,
        "aux_loss_coef": 0.1,
        "pad_token_id": 0,
    }
    run = trainer(
        tmp_path, made("JetMoeForCausalLM", "JetMoeConfig", options), Texts(), **SHORT
    )
    with pytest.warns(TedWarning, match="weighs, shifts or adds is not trained on"):
        run.train()


def test_the_comparison_leaves_the_first_step_as_it_was(tmp_path):
    """Dropout draws in it, and running statistics move in it."""

    class Norm(torch.nn.BatchNorm1d):
        def forward(self, hidden):
            return super().forward(hidden.flatten(0, 1)).view_as(hidden)

    class Once(TEDTrainer):
        def compute_loss(self, *args, **kwargs):
            self._compared = True
            return super().compute_loss(*args, **kwargs)

    torch.manual_seed(1)
    net = language(attention_dropout=0.5)
    net.model.norm = Norm(8)
    runs = []
    for kind in (TEDTrainer, Once):
        run = trainer(tmp_path, copy.deepcopy(net), Texts(), kind=kind, **SHORT)
        run.train()
        runs.append(run.model.state_dict())
    for name, one in runs[0].items():
        assert torch.equal(one, runs[1][name])


class Heavy(Trainer):
    """Class weights, as in transformers' own documentation."""

    def compute_loss(self, model, inputs, *, return_outputs=False, **_):
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        weights = torch.tensor([1.0, 2.0, 3.0])
        loss = F.cross_entropy(outputs["logits"], labels, weight=weights)
        return (loss, outputs) if return_outputs else loss


class HeavyTED(TEDTrainerMixin, Heavy):
    pass


class HeavyParts(HeavyTED):
    def sample_losses(self, outputs, labels, _):
        z, y = outputs["logits"], labels["labels"]
        weights = torch.tensor([1.0, 2.0, 3.0])
        losses = F.cross_entropy(z, y, weight=weights, reduction="none")
        return {"losses": losses, "mask": z}


def test_a_loss_of_the_other_base_class_is_trained_on(tmp_path):
    """Its class weights are divided by their sum, which is no mean of samples."""
    run = trainer(tmp_path, kind=HeavyTED, **SHORT)
    run.train()
    assert (run.ted.pruner.scores > 0).all()
    says = "must make the loss of the trainer and its BertForSequenceClassification"
    with pytest.warns(TedWarning, match=says):
        trainer(tmp_path, kind=HeavyParts, **SHORT).train()


class Hiding(TEDTrainer):
    def compute_loss(self, model, inputs, *, return_outputs=False, **_):
        loss = model(**inputs).loss
        return (loss, None) if return_outputs else loss


def test_a_loss_method_that_hides_teds_is_refused_by_name(tmp_path):
    says = "`compute_loss` of Hiding must call `super"
    with pytest.raises(TypeError, match=says):
        trainer(tmp_path, kind=Hiding)


def test_the_mixin_behind_the_trainer_is_refused_by_name():
    says = "`Late` must have TEDTrainerMixin first among its base classes, got Trainer"
    with pytest.raises(TypeError, match=says):

        class Late(Trainer, TEDTrainerMixin):
            pass
