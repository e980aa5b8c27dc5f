"""Tiny models and data for runs of TRL's and sentence-transformers' trainers."""

from __future__ import annotations

import warnings
from importlib import import_module

import datasets
import torch
import trl
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.base.modules import Transformer as Encoder
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.sentence_transformer.modules import Pooling
from ted_torch.integrations.transformers import TEDTrainerMixin
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from torch import nn
from torch.nn import functional as F  # noqa: N812
from trainer_runs import QUIET
from transformers import (
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
)
from trl import (
    DPOConfig,
    DPOTrainer,
    KTOConfig,
    KTOTrainer,
    RewardConfig,
    RewardTrainer,
    SFTConfig,
    SFTTrainer,
)

from ted_core import TopScore

N, EPOCHS, BATCH = 24, 4, 4
PAPER = {"prune_ratio": 0.6, "signal": "mask_gradient", "strategy": TopScore()}
WORDS = 24
_NAMES = ["<pad>", "<eos>", "<unk>", *(f"w{k}" for k in range(WORDS - 3))]
SMALL = {
    "vocab_size": WORDS,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}


def tokenizer():
    made = Tokenizer(WordLevel({name: k for k, name in enumerate(_NAMES)}))
    made.pre_tokenizer = Whitespace()
    names = ("pad_token", "eos_token", "unk_token")
    special = dict(zip(names, _NAMES[:3], strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=made, **special)


def texts(seed):
    """Give texts of many lengths."""
    draw = torch.Generator().manual_seed(seed)
    for k in range(N):
        words = torch.randint(3, WORDS, (2 + k * 5 % 7,), generator=draw)
        yield " " + " ".join(_NAMES[word] for word in words)


def columns(*names):
    """Give a data set of columns of texts."""
    return {name: list(texts(seed)) for seed, name in enumerate(names)}


class Noting:
    """Note the ids of each batch, by epoch."""

    def __init__(self, *args, **kwargs):
        self.seen = {}
        super().__init__(*args, **kwargs)

    def compute_loss(self, model, inputs, *args, **kwargs):
        if model.training:
            ids = inputs["ted_ids"].tolist()
            self.seen.setdefault(self.ted.epoch, []).append(ids)
        return super().compute_loss(model, inputs, *args, **kwargs)


class SFT(Noting, TEDTrainerMixin, SFTTrainer):
    pass


class DPO(Noting, TEDTrainerMixin, DPOTrainer):
    pass


class Reward(Noting, TEDTrainerMixin, RewardTrainer):
    pass


class KTO(Noting, TEDTrainerMixin, KTOTrainer):
    pass


class Sentences(Noting, TEDTrainerMixin, SentenceTransformerTrainer):
    pass


class Ranking(Sentences):
    """One loss for each first text, among the second ones of its batch."""

    def sample_losses(self, outputs, inputs, hidden):
        del inputs, hidden
        one, other = (output["sentence_embedding"] for output in outputs)
        scores = self.loss.scale * self.loss.similarity_fct(one, other)
        found = F.cross_entropy(scores, torch.arange(len(one)), reduction="none")
        return {"losses": found, "mask": scores}


class Distilling(Trainer):
    """A student learns from a teacher; the loss is a mean, or one of each sample."""

    reduction = "batchmean"

    def compute_loss(self, model, inputs, *, return_outputs=False, **_):
        outputs = model(**inputs)
        with torch.no_grad():
            teacher = language(seed=9)(**inputs).logits.softmax(-1)
        found = F.kl_div(
            outputs.logits.log_softmax(-1), teacher, reduction=self.reduction
        )
        found = found.flatten(1).mean(1) if found.ndim else found
        return (found, outputs) if return_outputs else found


class Distilled(Noting, TEDTrainerMixin, Distilling):
    pass


class DistilledOnes(Distilled):
    reduction = "none"


def language(kind=LlamaForCausalLM, seed=1, **options):
    torch.manual_seed(seed)
    return kind(LlamaConfig(**SMALL, eos_token_id=1, **options))


def sentences(folder):
    """Make a model of sentences by way of files, as there is no other."""
    torch.manual_seed(1)
    BertModel(BertConfig(**SMALL)).save_pretrained(folder / "bert")
    tokenizer().save_pretrained(folder / "bert")
    parts = [Encoder(str(folder / "bert")), Pooling(SMALL["hidden_size"])]
    return SentenceTransformer(modules=parts, device="cpu")


def _rows(names, *, label):
    data = columns(*names)
    if label:
        data["label"] = [k % 3 > 0 for k in range(N)]
    return data


def _of_trl(kind, settings, *names, model=None, reference=False, label=False):
    def make(_, args, ted, **own):
        data = _rows(names, label=label)
        if reference:  # a copy of the model is found by its name alone
            own["ref_model"] = language()
        return kind(
            model=model() if model else language(),
            args=settings(**args),
            train_dataset=Dataset.from_dict(data),
            processing_class=tokenizer(),
            ted=ted,
            **own,
        )

    return make


def _of_sentences(kind, loss, *, score=False, **loss_options):
    def make(folder, args, ted, **own):
        data, model = columns("one", "other"), sentences(folder)
        if score:
            data["score"] = [k % 4 / 3 for k in range(N)]
        return kind(
            model=model,
            args=SentenceTransformerTrainingArguments(**args),
            train_dataset=Dataset.from_dict(data),
            loss=own.pop("loss", None) or loss(model, **loss_options),
            ted=ted,
            **own,
        )

    return make


def _distilling(kind):
    def make(_, args, ted):
        rows = [
            {"input_ids": torch.tensor(tokenizer()(text)["input_ids"] * 9)[:9]}
            for text in texts(0)
        ]
        return kind(
            model=language(),
            args=TrainingArguments(**args),
            train_dataset=rows,
            ted=ted,
        )

    return make


_QUIET = {
    "num_train_epochs": EPOCHS,
    "per_device_train_batch_size": BATCH,
    **QUIET,
}
_OF_TRL = {"bf16": False, "gradient_checkpointing": False}
PAIR = ("prompt", "chosen", "rejected")
COLUMNS = {
    "sft": ("prompt", "completion"),
    "dpo": PAIR,
    "reward": PAIR,
    "kto": ("prompt", "completion"),
}
"""Columns of the data of TRL's trainers."""
_ONES = {"loss_fct": nn.MSELoss(reduction="none")}
HOSTS = {
    "sft": _of_trl(SFT, SFTConfig, *COLUMNS["sft"]),
    "dpo": _of_trl(DPO, DPOConfig, *PAIR, reference=True),
    "reward": _of_trl(
        Reward,
        RewardConfig,
        *PAIR,
        model=lambda: language(LlamaForSequenceClassification, num_labels=1),
    ),
    "kto": _of_trl(KTO, KTOConfig, *COLUMNS["kto"], reference=True, label=True),
    "similarity": _of_sentences(
        Sentences, losses.CosineSimilarityLoss, score=True, **_ONES
    ),
    "ranking": _of_sentences(Ranking, losses.MultipleNegativesRankingLoss),
    "distillation": _distilling(Distilled),
    "distillation, unreduced": _distilling(DistilledOnes),
}
SCRIPTS = {
    "sft": ("SFTTrainer", SFT),
    "dpo": ("DPOTrainer", DPO),
    "reward": ("RewardTrainer", Reward),
    "kto": ("KTOTrainer", KTO),
}
"""TRL's own scripts: what each imports, and the class of the page in its place."""


def run_script(host, folder, monkeypatch, *arguments, out):
    """Run TRL's own script on files of `folder`, its import of a trainer exchanged."""
    if not folder.exists():
        if host == "reward":
            net = language(LlamaForSequenceClassification, num_labels=1)
        else:
            net = language()
        net.save_pretrained(folder / "model")
        tokenizer().save_pretrained(folder / "model")
        (folder / "data").mkdir()
        rows = Dataset.from_dict(_rows(COLUMNS[host], label=host == "kto"))
        rows.to_json(folder / "data" / "train.jsonl")
    (name, kind), made = SCRIPTS[host], []

    def make(**given):
        made.append(kind(**given, ted=PAPER))
        return made[0]

    monkeypatch.setattr(trl, name, make)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(folder / "cache"))
    options = {**_QUIET, **_OF_TRL, "output_dir": out}
    options |= {"dataset_name": folder / "data", "model_name_or_path": folder / "model"}
    line = [f"--{name}={value}" for name, value in options.items()]
    script = import_module(f"trl.scripts.{host}")
    script.main(*script.make_parser().parse_args_and_config([*line, *arguments]))
    return made[0]


PACKED = {"packing": True, "packing_strategy": "bfd", "max_length": 16}
LOOSE = {"padding_free": True, "max_length": None}


def run_of(host, folder, *, ted=None, own=None, **options):
    """Make a host's trainer."""
    args = {"output_dir": str(folder), **_QUIET, **options}
    if host in COLUMNS:
        args = {**_OF_TRL, **args}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return HOSTS[host](folder, args, PAPER if ted is None else ted, **own or {})
