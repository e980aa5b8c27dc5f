from __future__ import annotations

import json
import runpy
import sys

import harness_runs
import pytest
import torch
from harness_runs import FOLDER, Training, arguments_of, read_config

PAGES = FOLDER.parents[1] / "docs" / "results"


TINY = """
title = "Tiny"
about = "Generated pictures."
seeds = 1
methods = ["full", "full, equal steps", "Random", "TED", "TED, input", "by step",
  "InfoBatch", "TEDS"]
[variants]
"by step" = { normalize = true }
[data]
set = "generated"
samples = 96
[training]
network = "small"
network_options = { width = 2, side = 8 }
epochs = 8
batch = 32
optimizer = "sgd"
momentum = 0.9
weight_decay = 5e-4
rate = 0.05
schedule = "one cycle"
augment = "crop and flip"
probe_every = 2
"""
TIMES = ("seconds", "cpu_seconds", "epoch_seconds", "epoch_cpu_seconds")


def train(folder, *, limit=float("inf")):
    """Train all of the tiny configuration; return the record."""
    folder.mkdir(exist_ok=True)
    config = folder / "tiny.toml"
    config.write_text(TINY, encoding="utf-8")
    return harness_runs.train(arguments_of(folder, config), limit=limit)


def timeless(record):
    runs = [{k: v for k, v in r.items() if k not in TIMES} for r in record["runs"]]
    return record | {"runs": runs}


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return train(tmp_path_factory.mktemp("whole"))


def test_a_record_counts_the_samples_and_steps_of_every_run(record):
    runs = {run["method"]: run for run in record["runs"]}
    assert list(runs) == record["config"]["methods"]
    for run in runs.values():
        assert run["samples_forwarded"] == sum(run["epoch_samples"])
        assert len(run["epoch_loss"]) == len(run["epoch_samples"])
        assert 0 <= run["accuracy"] <= 1
    assert runs["full"]["samples_forwarded"] == 8 * 96 == runs["full"]["samples_full"]
    assert runs["TED"]["epoch_samples"] == runs["Random"]["epoch_samples"]
    assert runs["TED"]["epoch_samples"][-1] == 96  # the tail is counted
    assert runs["TED"]["samples_forwarded"] < 8 * 96
    assert runs["full, equal steps"]["steps"] == runs["TED"]["steps"]
    assert runs["TEDS"]["epoch_samples"] == 8 * [29]
    assert len(runs["TED"]["kept_loss"]) == len(runs["TED"]["pruned_loss"]) == 3


def test_runs_killed_in_any_epoch_go_on_to_the_same_record(
    record, tmp_path, monkeypatch
):
    trained, whole = [0], Training.train_epoch

    def dies_now_and_then(training):
        trained[0] += 1
        if trained[0] % 5 == 0:
            raise KeyboardInterrupt
        whole(training)

    monkeypatch.setattr(Training, "train_epoch", dies_now_and_then)
    monkeypatch.setattr("harness.pieces.SAVE_SECONDS", -1)
    kills = 0
    while True:
        try:
            again = train(tmp_path)
            break
        except KeyboardInterrupt:
            kills += 1
    assert kills > len(again["runs"])
    assert timeless(again) == timeless(record)
    assert not list((tmp_path / "work").rglob("*.pt"))


def test_no_epoch_begins_when_the_time_is_up(tmp_path):
    assert train(tmp_path, limit=-float("inf")) is None
    assert not (tmp_path / "records").exists()


def test_a_record_of_other_data_is_not_gone_on_with(record, tmp_path):
    changed = record | {"config": record["config"] | {"data": {"set": "another"}}}
    (tmp_path / "records").mkdir()
    path = tmp_path / "records" / "tiny.json"
    path.write_text(json.dumps(changed), encoding="utf-8")
    with pytest.raises(SystemExit, match="another data"):
        train(tmp_path)


@pytest.mark.parametrize(("limit", "status"), [("inf", None), ("0", 75)])
def test_the_script_trains_what_it_is_asked_for(tmp_path, monkeypatch, limit, status):
    config = tmp_path / "tiny.toml"
    config.write_text(TINY, encoding="utf-8")
    line = [FOLDER / "run.py", config, "--methods", "Random", "--out", tmp_path]
    line += ["--work", tmp_path / "work", "--limit-seconds", limit]
    line += ["--threads", torch.get_num_threads()]
    monkeypatch.setattr(sys, "argv", [str(word) for word in line])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    precision, ended = torch.get_float32_matmul_precision(), None
    try:
        runpy.run_path(str(FOLDER / "run.py"), run_name="__main__")
    except SystemExit as end:
        ended = end.code
    torch.set_float32_matmul_precision(precision)
    assert ended == status
    assert (tmp_path / "tiny.json").exists() is (status is None)


@pytest.fixture(scope="module")
def pages():
    return runpy.run_path(str(FOLDER.parent / "pages" / "results.py"))["pages"]


def test_the_pages_of_results_are_made_from_the_records(pages):
    made = pages(FOLDER / "records")
    assert len(made) > 1
    for name, text in made.items():
        assert (PAGES / name).read_text(encoding="utf-8") == text
    others = {"evidence.md", "hosts.md"}  # from records of their own, by own tests
    assert {path.name for path in PAGES.glob("*.md")} - others == set(made)


def test_a_page_has_a_row_for_every_method_and_is_made_alike_twice(
    record, pages, tmp_path
):
    (tmp_path / "tiny.json").write_text(json.dumps(record), encoding="utf-8")
    made = pages(tmp_path)
    assert made == pages(tmp_path)
    for run in record["runs"]:
        assert f"| {run['method']} | {100 * run['accuracy']:.2f} |" in made["runs.md"]


def test_the_records_were_made_with_the_committed_configurations():
    texts = [p.read_text(encoding="utf-8") for p in (FOLDER / "records").glob("*.json")]
    records = [json.loads(text) for text in texts]
    records = [r for r in records if "pruning" in r.get("config", ())]
    assert records
    for record in records:
        made_with_its_configuration(record)


def made_with_its_configuration(record):
    config = read_config(FOLDER / "configs" / f"{record['name']}.toml")
    for part in ("data", "training", "pruning"):
        assert record["config"][part] == config[part]
    names = {run["method"] for run in record["runs"]}
    assert names <= set(config["methods"])
