from __future__ import annotations

import json
import re
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks" / "paper"
SCRIPTS = ROOT / "benchmarks" / "pages"
GALLERY = ROOT / "docs" / "gallery"
PAGES = sorted(path.stem for path in GALLERY.glob("*.md") if path.stem != "index")
PICTURES = sorted(GALLERY.glob("*.svg"))


@pytest.fixture(scope="module")
def record():
    return json.loads((FOLDER / "records/gallery.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def scripts():
    sys.path.insert(0, str(SCRIPTS))
    try:
        names = ("gallery", "gallery_samples")
        return [import_module(name) for name in names]
    finally:
        sys.path.remove(str(SCRIPTS))


@pytest.fixture(scope="module")
def script(scripts):
    return scripts[0]


@pytest.fixture(scope="module")
def pages(script):
    return import_module(script.write_pages.__module__)


def mean(record, part, keys, value, last=None):
    """Mean over the seeds of the runs that match `keys`."""
    runs = [r for r in record[part] if all(r[k] == v for k, v in keys.items())]
    assert len(runs) >= 5
    values = np.array([run[value] for run in runs])
    return values.mean(axis=0) if last is None else values[:, last].mean()


def test_the_record_was_made_with_the_committed_configuration(script, record):
    assert record["config"] == json.loads(json.dumps(script.CONFIG))


def test_each_page_has_the_table_of_its_record(scripts, pages, record):
    _, samples = scripts
    shown = json.loads(samples.RECORD.read_text(encoding="utf-8"))
    made = {
        "gallery.py": pages.tables(record),
        samples.SCRIPT: samples.tables(shown),
    }
    with_a_table = [
        name
        for name in PAGES
        if "<!-- table:" in (GALLERY / f"{name}.md").read_text(encoding="utf-8")
    ]
    assert sorted(name for tables in made.values() for name in tables) == with_a_table
    for own, tables in made.items():
        for name, table in tables.items():
            text = (GALLERY / f"{name}.md").read_text(encoding="utf-8")
            assert pages.with_table(text, table, own) == text


def test_each_page_shows_its_picture_and_the_index_names_each_page():
    index = (GALLERY / "index.md").read_text(encoding="utf-8")
    shown = set()
    for name in PAGES:
        assert f"]({name}.md)" in index
        text = (GALLERY / f"{name}.md").read_text(encoding="utf-8")
        shown |= set(re.findall(r"!\[[^]]+\]\((\w+\.svg)\)", text))
    assert shown == {path.name for path in PICTURES}


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_a_picture_is_small_and_has_a_dark_side(path):
    assert path.stat().st_size <= 60_000
    assert "prefers-color-scheme:dark" in path.read_text(encoding="utf-8")


def test_what_is_said_of_pruned_samples_holds(record):
    def loss(method, part):
        return mean(record, "pruned_loss", {"method": method}, part)

    for method in ("InfoBatch", "ε-greedy", "UCB", "ted_loss"):
        assert loss(method, "pruned") < loss(method, "retained")
    assert loss("ted", "pruned") > loss("ted", "retained")
    for part in ("pruned", "all", "test"):
        assert loss("ted_loss", part) < loss("ted", part)
    methods = {run["method"] for run in record["pruned_loss"]}
    assert max(methods, key=lambda m: loss(m, "test")) == "static random"


def test_what_is_said_of_the_loss_during_training_holds(record):
    gaps = []
    for hidden in (0, 64):
        first, last = (
            [
                mean(record, "during_training", {"hidden": hidden}, part, at)
                for part in ("retained", "test", "pruned")
            ]
            for at in (0, -1)
        )
        assert max(last) < min(first) / 5
        assert last == sorted(last)
        gaps.append(last[2] - last[0])
    assert 0 < gaps[0] < gaps[1]


def test_what_is_said_of_when_to_prune_holds(record):
    starts = record["config"]["when_to_prune"]["starts"]

    def change(scaled):
        def loss(start):
            keys = {"start": start, "scaled": scaled}
            return mean(record, "when_to_prune", keys, "loss")

        return [loss(start) / loss(None) - 1 for start in starts]

    plain, divided = change(scaled=False), change(scaled=True)
    assert min(plain) > 0
    assert plain == sorted(plain, reverse=True)
    assert divided[0] < 0
    assert divided[-1] > 0
    assert np.diff(divided).min() > -0.005


def test_what_is_said_of_gradients_holds(record):
    def curve(method, value):
        return mean(record, "gradients", {"method": method}, value)

    methods = ("random", "ted_loss", "ted")
    early = [curve(method, "correlation")[1:3].min() for method in methods]
    late = [curve(method, "correlation")[5:35].mean() for method in methods]
    assert min(early) > 0.9
    assert late[2] < min(late[:2])
    lengths = [curve(method, "norm_ratio")[1:30].mean() for method in methods]
    assert abs(lengths[0] - 1) < 0.15
    assert lengths[1] > 1.2
    np.testing.assert_allclose(curve("ted", "correlation")[35:], 1, atol=1e-6)


def test_what_is_said_of_schedules_holds(record):
    names = record["config"]["schedules"]
    saved = {n: mean(record, "schedules", {"schedule": n}, "saved") for n in names}
    assert 1.8 < saved["RollerCoaster"] / saved["Linear"] < 2.2
    assert 1.8 < saved["RollerCoaster"] / saved["Cosine"] < 2.2
    assert saved["Constant"] > saved["RollerCoaster"]
    right = [mean(record, "schedules", {"schedule": n}, "accuracy") for n in names]
    assert max(right) - min(right) < 0.01


def test_what_is_said_of_the_line_holds(record):
    at = record["config"]["alphas"].index(1.0)
    for part in ("train", "test"):
        ends = {
            method: mean(record, "line", {"method": method}, part, at)
            for method in record["config"]["line"]
        }
        assert min(ends, key=ends.get) == "ted_loss"
        assert ends["ted"] > ends["random"]
    beyond = [
        mean(record, "line", {"method": m}, "test", at + 2)
        < mean(record, "line", {"method": m}, "test", at)
        for m in record["config"]["line"]
    ]
    assert sum(beyond) > len(beyond) / 2
