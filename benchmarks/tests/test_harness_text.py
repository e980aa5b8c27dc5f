from __future__ import annotations

import json
import runpy
import sys

import pytest
import tiny_models
import torch
from harness_runs import FOLDER, Training, arguments_of, train

# peft's own call of a property that transformers has renamed
pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)
COMMON = """
title = "Tiny"
about = "Generated text."
seeds = 1
[pruning]
prune_ratios = [0.5]
beta = 0.25
anneal = 0.0
"""
SENTENCES = """
metric = "{metric}"
methods = ["full", "full, equal steps", "Random", "TED-loss", "InfoBatch", "TED",
  "TED, feature"{more}]
[data]
kind = "sentences"
set = "task"
length = 12
[training]
model = "tiny"
epochs = 5
batch = 16
by_length = true
optimizer = "adam"
rate = 1e-3
schedule = "linear"
{training}
"""
INSTRUCTIONS = """
metric = "{metric}"
methods = ["zero-shot", "full", "Random", "InfoBatch", "TED"]
[data]
kind = "instructions"
set = "alpaca"
samples = 40
tests = 12
length = 40
[training]
model = "tiny"
epochs = 5
batch = 16
micro_batch = 8
optimizer = "adamw"
rate = 1e-2
schedule = "cosine"
warmup_steps = 3
rank = 2
targets = ["q_proj", "v_proj"]
{training}
"""
INPUT, UPPER = ', "TED, input"', "trained_layers = 1"


def setting(folder, kind, **fields):
    """Write a data folder, a model and a configuration; return run.py's arguments."""
    fields = {"metric": "accuracy", "more": "", "training": "", **fields}
    bert = kind is SENTENCES
    if bert:
        tiny_models.sentences(folder, scored=fields["metric"] == "pearson")
    else:
        tiny_models.instructions(folder)
    config = folder / "tiny.toml"
    head, tail = COMMON.split("[pruning]")
    site = "" if bert else 'site = "feature"'
    config.write_text(head + kind.format(**fields) + "[pruning]" + tail + site)
    return arguments_of(
        folder,
        config,
        model=tiny_models.save(folder / "model", "bert" if bert else "llama"),
    )


def without_times(record):
    return [{k: v for k, v in r.items() if "seconds" not in k} for r in record["runs"]]


CASES = {
    "matthews": (SENTENCES, {"metric": "matthews", "more": INPUT}),
    "pearson": (SENTENCES, {"metric": "pearson", "training": UPPER}),
    "packed": (INSTRUCTIONS, {"metric": "response_loss", "training": "packing = 48"}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_text_task_is_trained_by_every_method_alike_when_killed(
    case, tmp_path, monkeypatch
):
    kind, fields = CASES[case]
    arguments = setting(tmp_path, kind, **fields)
    record = train(arguments)
    assert [run["method"] for run in record["runs"]] == record["config"]["methods"]
    runs = {run["method"]: run for run in record["runs"]}
    for run in runs.values():
        assert isinstance(run[fields["metric"]], float)
        assert run["samples_forwarded"] == sum(run.get("epoch_samples", []))
    assert runs["TED"]["epoch_samples"] == runs["Random"]["epoch_samples"]
    assert "transformers" in record["versions"]
    pages = runpy.run_path(str(FOLDER.parent / "pages" / "results.py"))["pages"](
        arguments.out
    )
    assert "| TED | " in pages["runs.md"]
    assert "[Tiny](runs.md#tiny)" in pages["README.md"]
    calls, whole = [0], Training.train_epoch

    def dies_now_and_then(training):
        calls[0] += 1
        if calls[0] % 13 == 0:
            raise KeyboardInterrupt
        whole(training)

    monkeypatch.setattr(Training, "train_epoch", dies_now_and_then)
    monkeypatch.setattr("harness.pieces.SAVE_SECONDS", -1)
    arguments.out, arguments.work = tmp_path / "again", tmp_path / "other"
    while True:
        try:
            again = train(arguments)
            break
        except KeyboardInterrupt:
            continue
    assert calls[0] > 13
    assert without_times(again) == without_times(record)


def test_what_lower_layers_gave_serves_as_they_would_and_packing_changes_nothing(
    tmp_path,
):
    found = []
    for name, more in (("whole", ""), ("packed", "packing = 64"), ("upper", UPPER)):
        arguments = setting(
            tmp_path / name, INSTRUCTIONS, metric="response_loss", training=more
        )
        found.append(
            {r["method"]: r["response_loss"] for r in train(arguments)["runs"]}
        )
    whole, packed, upper = found
    assert packed == pytest.approx(whole, abs=2e-3)
    assert upper["zero-shot"] == pytest.approx(whole["zero-shot"], abs=1e-4)
    assert whole["full"] < whole["zero-shot"]


def test_mmlu_is_asked_after_each_run_if_a_configuration_wants_it(tmp_path):
    more = "checkpointing = true\nmmlu_shots = 1"
    arguments = setting(tmp_path, INSTRUCTIONS, metric="mmlu", training=more)
    record = train(arguments)
    for run in record["runs"]:
        assert run["mmlu_groups"]["questions"] == 6
        assert 0 <= run["mmlu"] <= 1


def test_a_model_that_is_nowhere_is_asked_for(tmp_path):
    arguments = setting(tmp_path, SENTENCES)
    arguments.model = None
    with pytest.raises(SystemExit, match=r"tiny needs its package.*--model FOLDER"):
        train(arguments)


def test_mmlu_is_asked_of_any_model_and_kept_in_a_record(tmp_path, monkeypatch, capsys):
    arguments = setting(tmp_path, INSTRUCTIONS)
    line = [FOLDER / "mmlu.py", "tiny", "--data-dir", tmp_path, "--out", tmp_path]
    line += ["--model", arguments.model, "--shots", 1, "--each", 2]
    line += ["--precision", "float32", "--threads", torch.get_num_threads()]
    monkeypatch.setattr(sys, "argv", [str(word) for word in line])
    runpy.run_path(str(FOLDER / "mmlu.py"), run_name="__main__")
    record = json.loads((tmp_path / "mmlu_tiny.json").read_text(encoding="utf-8"))
    assert record["result"] == json.loads(capsys.readouterr().out)
    assert record["result"]["questions"] == 4
    assert record["config"]["shots"] == 1
