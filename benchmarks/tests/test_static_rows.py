"""Each static row of Tables 1 and 2 runs, on tiny data."""

from __future__ import annotations

import json

import numpy as np
import pytest
from harness_runs import FOLDER, arguments_of, read_config, train

from ted_core import keep_count, rankings
from ted_core.comparison._statistics import paired_difference

TABLES = [read_config(FOLDER / "configs" / f"table{k}.toml") for k in (1, 2)]
ROWS = [name for name in TABLES[0]["methods"] if name.endswith(", static")]
TINY = f"""
title = "Tiny"
about = "Generated pictures."
seeds = 1
methods = {ROWS}
[data]
set = "generated"
samples = 96
[training]
network = "small"
network_options = {{ width = 2, side = 8 }}
epochs = 6
batch = 32
optimizer = "sgd"
momentum = 0.9
weight_decay = 5e-4
rate = 0.05
schedule = "one cycle"
augment = "crop and flip"
"""
KEPT = keep_count(96, 0.3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("static")


@pytest.fixture(scope="module")
def record(folder):
    config = folder / "tiny.toml"
    config.write_text(TINY, encoding="utf-8")
    return train(arguments_of(folder, config))


@pytest.fixture(scope="module")
def layer(folder, record):
    """Give what the surrogate's last layer gave for each sample."""
    assert record
    (path,) = (folder / "work").rglob("*.npz")  # one surrogate serves all these rows
    return np.load(path)


def test_the_tables_and_their_twins_have_a_row_for_each_static_method_of_the_paper():
    assert len(ROWS) == 10
    twins = [
        read_config(FOLDER / "configs" / f"{name}.toml")
        for name in ("gpu_cifar10", "gpu_cifar100", "cpu_static")
    ]
    for config in (*TABLES, *twins):
        assert set(ROWS) <= set(config["methods"])
    for config in TABLES:
        assert set(ROWS) <= set(config["paper"])


def test_every_static_row_trains_on_as_many_samples_in_every_epoch(record):
    assert [run["method"] for run in record["runs"]] == ROWS
    for run in record["runs"]:
        assert run["epoch_samples"] == 6 * [KEPT]


def test_the_rows_of_the_last_layer_differ(record):
    losses = {run["method"]: tuple(run["epoch_loss"]) for run in record["runs"]}
    assert len(set(losses.values())) == len(ROWS)


def test_the_last_layer_is_that_of_the_network_without_augmentation(layer):
    bias = layer["logits"] - layer["features"] @ layer["weights"].T
    np.testing.assert_allclose(bias, np.tile(bias[0], (96, 1)), atol=1e-5)
    assert layer["labels"].shape == (96,)


def test_a_row_keeps_what_its_ranking_says(layer, record):
    """The run's least share of a class is that of the ranking made here."""
    given = (layer[name] for name in ("features", "logits", "labels"))
    kept = rankings.craig(*given, count=KEPT) > 0
    shares = [kept[layer["labels"] == k].mean() for k in np.unique(layer["labels"])]
    (run,) = [run for run in record["runs"] if run["method"] == "Craig, static"]
    assert set(run["least_class_share"]) == {round(float(min(shares)), 4)}


def test_what_the_page_of_the_rankings_says_in_words_holds_in_the_record():
    from harness.tables import comparisons, group  # noqa: PLC0415 - found now

    path = FOLDER / "records" / "cpu_static.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    compared = comparisons(record, group(record))
    chance = "Random, static"
    for method in ROWS:
        if method != chance:
            found = paired_difference(*compared[(0.7, method), chance])
            assert found.n == 5
            assert found.high < 0
    assert paired_difference(*compared[(0.7, "Random"), chance]).low > 0
