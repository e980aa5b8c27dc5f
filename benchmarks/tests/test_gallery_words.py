"""What the pages of scores and of kept samples say in words, in their record."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "pages"


@pytest.fixture(scope="module")
def samples():
    return script("samples")


@pytest.fixture(scope="module")
def record(samples):
    return json.loads(samples.RECORD.read_text(encoding="utf-8"))


def script(name):
    sys.path.insert(0, str(FOLDER))
    try:
        return import_module(f"gallery_{name}")
    finally:
        sys.path.remove(str(FOLDER))


def of(record, method):
    runs = [run for run in record["runs"] if run["method"] == method]
    assert len(runs) == record["config"]["seeds"] >= 5
    return runs


def test_the_record_of_samples_was_made_with_the_committed_configuration(
    samples, record
):
    assert record["config"] == json.loads(json.dumps(samples.CONFIG))


def test_what_is_said_of_scores_holds(record):
    for run in of(record, "ted_loss"):
        quantiles = np.array(run["quantiles"])
        assert (quantiles[0, 30] / run["cuts"][30]) > 0.9
        assert (quantiles[-1, 30] / run["cuts"][30]) < 1.1
    for run in of(record, "ted"):
        lowest = np.array(run["quantiles"])[0]
        assert (lowest[:34] == lowest[0]).all()
        assert lowest[0] < run["cuts"][30] / 3
    for method in ("ted", "ted_loss"):
        early = [run["to_last"][:20] for run in of(record, method)]
        assert np.mean(early, axis=0).max() < 0.6


def test_what_is_said_of_kept_samples_holds(record):
    def mean(method, value):
        return np.mean([run[value] for run in of(record, method)])

    for method in ("ted", "ted_loss"):
        assert mean(method, "fewest") == 6
        own = [set(run["highest"]) for run in of(record, method)]
        same = [len(a & b) / len(a) for i, a in enumerate(own) for b in own[i + 1 :]]
        assert 0.6 < np.mean(same) < 0.73
    assert mean("ted_loss", "in_every_epoch") < 0.01
    assert mean("ted", "in_every_epoch") > 0.05
    assert mean("ted", "in_a_third") > 2 * mean("ted_loss", "in_a_third")
