"""Scripts of Hugging Face: transformers, Accelerate and sentence-transformers."""

from __future__ import annotations

import json

import numpy as np
import torch
from run import Script
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)
from vision import folders

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SIZES = {"hidden_size": 16, "intermediate_size": 24}
SIZES |= {"num_hidden_layers": 2, "num_attention_heads": 2}
METRIC = '''
class Accuracy:
    """Stand in for a metric that is downloaded: the share that is equal."""

    def __init__(self):
        self.right = []

    def add_batch(self, *, predictions, references):
        self.right += [float(a == b) for a, b in zip(predictions, references)]

    def compute(self, *, predictions=(), references=()):
        self.add_batch(predictions=predictions, references=references)
        right, self.right = self.right, []
        return {"accuracy": sum(right) / len(right), "f1": sum(right) / len(right)}


def load(*names, **options):
    return Accuracy()
'''


def model(folder, kind):
    """Write a tiny model, and a tokenizer of single letters or a processor."""
    torch.manual_seed(0)
    if kind is ViTConfig:
        config = ViTConfig(**SIZES, image_size=16, patch_size=8, num_labels=6)
        ViTForImageClassification(config).save_pretrained(folder)
        size = {"height": 16, "width": 16}
        ViTImageProcessor(size=size).save_pretrained(folder)
        return
    words = {word: k for k, word in enumerate(["[PAD]", "[UNK]", "[EOS]", *LETTERS])}
    letters = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))  # noqa: S106
    letters.pre_tokenizer = pre_tokenizers.Whitespace()
    named = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "eos")}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=letters, **named)
    tokenizer.save_pretrained(folder)
    config = kind(**SIZES, vocab_size=len(words), max_position_embeddings=64)
    of = {BertConfig: BertForSequenceClassification, LlamaConfig: LlamaForCausalLM}
    of[kind](config).save_pretrained(folder)


def rows(count):
    """Give pairs of texts; the label says whether they use the same letters."""
    dice = np.random.default_rng(0)
    for k in range(count):
        halves = LETTERS[:13], LETTERS[13:]
        pair = [halves[k // 2 % 2], halves[(k // 2 + k) % 2]]
        one, two = (" ".join(dice.choice([*h], dice.integers(3, 12))) for h in pair)
        yield {"sentence1": one, "sentence2": two, "label": int(k % 2 == 0), "idx": k}


def write(path, parts):
    """Write a JSON object a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(part) + "\n" for part in parts))


def metric(folder):
    """Write what stands in for the metrics that a script downloads."""
    (folder / "modules").mkdir(parents=True)
    (folder / "modules" / "evaluate.py").write_text(METRIC)


def pairs(folder):
    """Write pairs of texts with labels."""
    metric(folder)
    model(folder / "model", BertConfig)
    for name, count in (("train", 96), ("validation", 16)):
        parts = ({k: v for k, v in row.items() if k != "idx"} for row in rows(count))
        write(folder / f"{name}.json", parts)


def lines(folder):
    """Write texts."""
    metric(folder)
    model(folder / "model", LlamaConfig)
    for name, count in (("train", 200), ("validation", 16)):
        texts = "".join(f"{row['sentence1']}\n" for row in rows(count))
        (folder / f"{name}.txt").write_text(texts)


def pictures(folder):
    """Write pictures in folders of their classes."""
    metric(folder)
    model(folder / "model", ViTConfig)
    folders(folder)


def paraphrases(folder):
    """Write GLUE's MRPC, and a model, where the script looks for them by name."""
    metric(folder)
    model(folder / "cwd" / "bert-base-cased", BertConfig)
    for name, count in (("train", 1000), ("validation", 16)):
        write(folder / "cwd" / "nyu-mll" / "glue" / f"{name}.jsonl", rows(count))
    card = ["---", "configs:", "- config_name: mrpc", "  data_files:"]
    for name in ("train", "validation"):
        card += [f"  - split: {name}", f"    path: {name}.jsonl"]
    card = "\n".join([*card, "---", ""])
    (folder / "cwd" / "nyu-mll" / "glue" / "README.md").write_text(card)


def similarities(folder):
    """Write the benchmark of similarities where the script looks for it by name."""
    model(folder / "model", BertConfig)
    stsb = folder / "cwd" / "sentence-transformers" / "stsb"
    for name, count in (("train", 320), ("validation", 16), ("test", 16)):
        parts = list(rows(count))
        for part in parts:
            part["score"] = float(part.pop("label"))
            del part["idx"]
        write(stsb / f"{name}.jsonl", parts)


TRAINER = "from ted_torch.integrations.transformers import TEDTrainer"
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_HOME": "{data}/hf"}
TRANSFORMERS = {
    "page": "huggingface",
    "repository": "huggingface/transformers",
    "commit": "3fa4da70f5d1da3ab1a8304bd2339eab7004b157",  # of the branch v5.1-release
    "environment": OFFLINE,
}
OPTIONS = (
    "--model_name_or_path {data}/model --output_dir {out}/run --do_train --do_eval "
    "--report_to none --per_device_train_batch_size 8 --num_train_epochs 5 "
    "--learning_rate 1e-3 --save_strategy steps --save_steps 7 "
)


def trained(method):
    """Return the edits of a script with a Trainer."""
    return [
        ("after", "^from transformers.utils import check_min_version$", TRAINER),
        ("at", "^    Trainer,$"),
        (
            "at",
            r"^    trainer = Trainer\($",
            "trainer = TEDTrainer(",
            f"    ted={{'prune_ratio': 0.7, 'method': '{method}'}},",
        ),
    ]


GLUE = [
    (
        "after",
        "^from transformers.utils import check_min_version$",
        "from ted_torch.integrations.accelerate import AcceleratedTED",
    ),
    (
        "at",
        r"^        train_dataset, shuffle=True, collate_fn=data_collator",
        "ted.dataset, sampler=ted.sampler, collate_fn=ted.collate(data_collator),",
        "batch_size=args.per_device_train_batch_size,",
        "generator=torch.Generator().manual_seed(0),",
    ),
    (
        "before",
        r"^    train_dataloader = DataLoader\($",
        "ted = AcceleratedTED(",
        "    accelerator, train_dataset, epochs=args.num_train_epochs,",
        "    batch_size=args.per_device_train_batch_size, method='soft_margin',",
        ")",
    ),
    (
        "at",
        r"^    overrode_max_train_steps = False\n(.*\n){3}.*overrode.* = True",
        "args.max_train_steps = ted.total_steps(args.per_device_train_batch_size)",
    ),
    (
        "at",
        "^        num_training_steps=args.max_train_steps",
        "num_training_steps=ted.scheduler_steps(),",
    ),
    (
        "at",
        r"^    if overrode_max_train_steps:\n(.*\n){2}    args.num_train_epochs = ",
        "accelerator.register_for_checkpointing(ted)",
    ),
    (
        "at",
        r"^    for epoch in range\(starting_epoch",
        "for epoch in range(ted.epoch, args.num_train_epochs):",
        "    ted.set_epoch(epoch)",
    ),
    (
        "at",
        r"completed_steps = starting_epoch \* num_update_steps_per_epoch",
        "completed_steps = lr_scheduler.scheduler.last_epoch",
    ),
    (
        "at",
        r"active_dataloader = accelerator.skip_first_batches",
        "active_dataloader = train_dataloader",
    ),
    (
        "at",
        r"for step, batch in enumerate\(active_dataloader\)",
        "for step, (ids, batch) in enumerate(active_dataloader):",
    ),
    (
        "at",
        "^            loss = outputs.loss$",
        "logits, labels = outputs.logits, batch['labels']",
        "each = torch.nn.functional.cross_entropy(logits, labels, reduction='none')",
        "loss = ted.loss(each, ids=ids, logits=logits, labels=labels)",
    ),
    (
        "before",
        r"^        if args.checkpointing_steps == .epoch.:",
        "ted.close_epoch()",
    ),
    (
        "before",
        r"^    if args.output_dir is not None:\n        accelerator.wait_for_everyone",
        "ted.finish()",
    ),
]

NLP = [
    (
        "after",
        "^from accelerate import Accelerator, DataLoaderConfiguration",
        "from ted_torch.integrations.accelerate import AcceleratedTED",
    ),
    (
        "before",
        r"^    train_dataloader = DataLoader\($",
        "ted = AcceleratedTED(",
        "    accelerator, tokenized_datasets['train'], epochs=num_epochs,",
        "    batch_size=batch_size, method='soft_margin',",
        ")",
    ),
    (
        "at",
        r"tokenized_datasets\[.train.\], shuffle=True",
        "ted.dataset, sampler=ted.sampler, collate_fn=ted.collate(collate_fn),",
        "batch_size=batch_size, generator=torch.Generator().manual_seed(0),",
    ),
    (
        "at",
        r"^        num_training_steps=\(len\(train_dataloader\)",
        "num_training_steps=ted.scheduler_steps(),",
    ),
    ("before", "^    overall_step = 0$", "accelerator.register_for_checkpointing(ted)"),
    (
        "at",
        r"^    for epoch in range\(starting_epoch",
        "for epoch in range(ted.epoch, num_epochs):",
        "    ted.set_epoch(epoch)",
    ),
    (
        "at",
        r"active_dataloader = accelerator.skip_first_batches",
        "active_dataloader = train_dataloader",
    ),
    (
        "at",
        r"for step, batch in enumerate\(active_dataloader\)",
        "for step, (ids, batch) in enumerate(active_dataloader):",
    ),
    (
        "at",
        "^            loss = outputs.loss$",
        "logits, labels = outputs.logits, batch['labels']",
        "each = torch.nn.functional.cross_entropy(logits, labels, reduction='none')",
        "loss = ted.loss(each, ids=ids, logits=logits, labels=labels)",
    ),
    ("before", r"^    accelerator.end_training\(\)$", "ted.finish()"),
]
STSB = [
    (
        "after",
        "^from sentence_transformers.util.similarity import SimilarityFunction$",
        "from torch.nn import MSELoss",
        "from ted_torch.integrations.transformers import TEDTrainerMixin",
        "",
        "class Pruned(TEDTrainerMixin, SentenceTransformerTrainer):",
        "    pass",
    ),
    (
        "at",
        r"^train_loss = CosineSimilarityLoss\(model=model\)$",
        "train_loss = CosineSimilarityLoss(model, loss_fct=MSELoss(reduction='none'))",
    ),
    (
        "at",
        r"^trainer = SentenceTransformerTrainer\($",
        "trainer = Pruned(",
        "    ted={'prune_ratio': 0.7, 'signal': 'loss'},",
    ),
]
NEEDED_STSB = [
    ("at", r"^output_dir = \(\n.*\n\)$", "output_dir = 'output'"),
    ("at", "^    fp16=True,", "fp16=False,"),
    ("at", "^    save_steps=100,", "save_steps=10,"),
    (
        "at",
        r"^trainer.train\(\)$",
        "trainer.train(resume_from_checkpoint=len(sys.argv) > 2)",
    ),
]

SCRIPTS = {
    "run_glue": Script(
        **TRANSFORMERS,
        path="examples/pytorch/text-classification/run_glue.py",
        edits={"run_glue.py": trained("soft_margin")},
        arguments=OPTIONS + "--train_file {data}/train.json --max_seq_length 32 "
        "--validation_file {data}/validation.json",
        data=pairs,
        resume="--resume_from_checkpoint {out}/run/checkpoint-14",
        packages=("torch", "transformers"),
    ),
    "run_clm": Script(
        **TRANSFORMERS,
        path="examples/pytorch/language-modeling/run_clm.py",
        edits={"run_clm.py": trained("ted")},
        arguments=OPTIONS + "--train_file {data}/train.txt --block_size 16 "
        "--validation_file {data}/validation.txt",
        data=lines,
        resume="--resume_from_checkpoint {out}/run/checkpoint-14",
        packages=("torch", "transformers"),
    ),
    "run_image_classification": Script(
        **TRANSFORMERS,
        path="examples/pytorch/image-classification/run_image_classification.py",
        edits={"run_image_classification.py": trained("soft_margin")},
        arguments=OPTIONS + "--train_dir {data}/train --validation_dir {data}/val "
        "--remove_unused_columns False --save_strategy epoch",
        data=pictures,
        resume="--resume_from_checkpoint {out}/run/checkpoint-12",
        remark="It does not resume to the same weights as it is, within an epoch and "
        "between two.",
        packages=("torch", "transformers"),
    ),
    "run_glue_no_trainer": Script(
        **TRANSFORMERS | {"page": "accelerate"},
        path="examples/pytorch/text-classification/run_glue_no_trainer.py",
        edits={"run_glue_no_trainer.py": GLUE},
        arguments="--model_name_or_path {data}/model --train_file {data}/train.json "
        "--validation_file {data}/validation.json --output_dir {out}/run "
        "--max_length 32 --learning_rate 1e-3 --num_train_epochs 5 "
        "--checkpointing_steps epoch --seed 1",
        data=pairs,
        resume="--resume_from_checkpoint {out}/run/epoch_1",
        packages=("torch", "transformers", "accelerate"),
    ),
    "complete_nlp_example": Script(
        page="accelerate",
        repository="huggingface/accelerate",
        commit="16cb6eb80dd9aa8b4df1a63ef57863e455d53b83",
        path="examples/complete_nlp_example.py",
        edits={"complete_nlp_example.py": NLP},
        arguments="--cpu --checkpointing_steps 20 --output_dir {out}/run",
        data=paraphrases,
        resume="--resume_from_checkpoint {out}/run/step_40",
        packages=("torch", "transformers", "accelerate"),
        environment=OFFLINE,
    ),
    "training_stsbenchmark": Script(
        page="huggingface",
        repository="huggingface/sentence-transformers",
        commit="cad211983f36ce458e9b3360f3e11b29fc54cbd8",
        path="examples/sentence_transformer/training/sts/training_stsbenchmark.py",
        edits={"training_stsbenchmark.py": STSB},
        needed={"training_stsbenchmark.py": NEEDED_STSB},
        arguments="{data}/model",
        data=similarities,
        resume="resume",
        packages=("torch", "transformers", "sentence-transformers"),
        environment=OFFLINE,
    ),
}
