from __future__ import annotations

import pytest
import tiny_models
from harness_runs import arguments_of, train

CONFIG = """
title = "Tiny"
about = "Generated text."
seeds = 1
metric = "{metric}"
methods = {methods}
[data]
kind = "sentences"
set = "task"
length = 12
samples = 30
[training]
model = "tiny"
epochs = 5
batch = 8
optimizer = "adam"
rate = 1e-2
schedule = "linear"
{training}
[pruning]
prune_ratios = [0.5]
beta = 0.25
anneal = 0.0
"""
METHODS = ["full", "full, equal steps", "zero-shot", "Random", "TED-loss", "TED"]
METHODS += ["TED, feature"]
TRAINER = 'loop = "trainer"\n'
EXACT = ("test_loss", "epoch_loss", "score_quantiles", "kept_loss", "pruned_loss")


def setting(folder, training, *, metric="accuracy", methods=METHODS):
    """Write data, a model without dropout, a configuration; return run.py's words."""
    folder.mkdir(exist_ok=True)
    tiny_models.sentences(folder, scored=metric == "pearson")
    model = tiny_models.save(folder / "model", "bert")
    path = model / "config.json"
    text = path.read_text(encoding="utf-8").replace(
        'dropout_prob": 0.1', 'dropout_prob": 0.0'
    )
    path.write_text(text, encoding="utf-8")
    config = folder / "tiny.toml"
    fields = {"metric": metric, "methods": methods}
    config.write_text(CONFIG.format(training=training, **fields), encoding="utf-8")
    return arguments_of(folder, config, model=model)


def runs_of(arguments):
    """Train all; return the runs by method, and the record."""
    record = train(arguments)
    return {run["method"]: run for run in record["runs"]}, record


CASES = {
    "classes, every layer": ("accuracy", ""),
    "classes, upper layer": ("accuracy", "trained_layers = 1\n"),
    "numbers, upper layer": ("pearson", "trained_layers = 1\n"),
}


@pytest.fixture(scope="module", params=CASES)
def both(request, tmp_path_factory):
    """Give the runs of the plain loop, those of the Trainer, and its record."""
    metric, training = CASES[request.param]
    training += "probe_every = 2\n"
    folders = [tmp_path_factory.mktemp(name) for name in ("plain", "trainer")]
    plain, _ = runs_of(setting(folders[0], training, metric=metric))
    trainer, record = runs_of(setting(folders[1], TRAINER + training, metric=metric))
    return plain, trainer, record


def test_the_trainer_takes_the_steps_and_samples_of_the_plain_loop(both):
    plain, trainer, record = both
    assert list(trainer) == record["config"]["methods"]
    assert "accelerate" in record["versions"]
    for method, run in plain.items():
        for name in ("steps", "samples_forwarded", "epoch_samples"):
            assert trainer[method].get(name) == run.get(name), (method, name)
    assert trainer["full"]["steps"] == 5 * 4
    assert trainer["TED"]["samples_forwarded"] < 5 * 30


def test_where_the_order_is_the_same_so_is_every_number(both):
    plain, trainer, record = both
    metric = record["config"]["metric"]
    for method in ("zero-shot", "Random", "TED-loss", "TED", "TED, feature"):
        ours, theirs = plain[method], trainer[method]
        assert theirs.keys() == ours.keys()
        assert theirs[metric] == pytest.approx(ours[metric], abs=1e-3)
        for name in EXACT:
            for mine, other in zip(
                flat(ours.get(name)), flat(theirs.get(name)), strict=True
            ):
                assert other == pytest.approx(mine, rel=2e-3, abs=2e-4), (method, name)


def flat(values):
    if isinstance(values, list):
        return [each for part in values for each in flat(part)]
    return [] if values is None else [values]


def test_a_half_precision_is_the_trainers_own(tmp_path):
    training = 'precision = "bf16"\ntrained_layers = 1'
    given = {"methods": ["full", "TED, feature"]}
    plain, _ = runs_of(setting(tmp_path / "plain", training, **given))
    trainer, _ = runs_of(setting(tmp_path / "trainer", TRAINER + training, **given))
    for method, run in trainer.items():
        assert run["test_loss"] == pytest.approx(plain[method]["test_loss"], abs=0.2)


@pytest.mark.parametrize(
    ("training", "given", "says"),
    [
        ("by_length = true", {}, "`by_length` must be left out"),
        ("micro_batch = 2", {}, "`micro_batch` must be left out"),
        ("", {"methods": ["InfoBatch"]}, "`strategy` must know its steps ahead"),
        ("", {"methods": ["TED, signed"]}, "`signed` must be left out"),
        ("", {"methods": ["TED, input"]}, "`site` must be among logits, feature"),
    ],
)
def test_what_the_trainer_does_otherwise_is_refused(training, given, says, tmp_path):
    arguments = setting(tmp_path, TRAINER + training, **given)
    with pytest.raises(ValueError, match=says):
        runs_of(arguments)


def test_an_unknown_loop_is_refused(tmp_path):
    arguments = setting(tmp_path, 'loop = "another"')
    with pytest.raises(ValueError, match="`loop` must be among plain, trainer"):
        train(arguments)
