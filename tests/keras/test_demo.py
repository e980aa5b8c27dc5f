"""The Keras demonstration measures what it prints, on the backend it was given."""

from __future__ import annotations

import itertools
import json
import os
import struct
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from ted_keras.demo import Pictures, Shuffled, Training, main

import ted_core
from ted_core.demo.datasets import load_images
from ted_core.demo.engine import compare
from ted_core.demo.results import Settings, make_table, read_runs

VARIANTS = ["full", "random", "TED"]
SETTINGS = Settings(epochs=5, prune_ratio=0.7, batch_size=16, width=2)


def arrays(n=40, shape=(8, 9, 3)):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (n + 20, *shape), dtype=np.uint8)
    y = np.arange(n + 20) % 4
    return {"x_train": x[:n], "y_train": y[:n], "x_test": x[n:], "y_test": y[n:]}


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "pictures.npz"
    np.savez(path, **arrays())
    return path


@pytest.fixture
def images(stored):
    return load_images(stored)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Compare once: the runs of the three variants, and how many epochs ended."""
    path, ends = tmp_path_factory.mktemp("data") / "pictures.npz", []
    np.savez(path, **arrays())
    make_training = partial(Training, load_images(path), SETTINGS)
    found = compare(make_training, seed=3, after_epoch=lambda: ends.append(None))
    return found, len(ends)


def rows_of(printed):
    lines = [line.split() for line in printed.splitlines() if line]
    return {line[0]: line for line in lines if line[0] in VARIANTS}


def planned(n, epochs, **options):
    pruner = ted_core.Pruner(n, epochs=epochs, **options)
    return int(pruner.schedule_table()["kept"].sum())


def test_another_backend_trains_and_table_picture_and_record_say_so(stored, tmp_path):
    picture, record = tmp_path / "run.png", tmp_path / "run.json"
    line = f"--backend jax --data {stored} --seeds 1 --epochs 5 --batch-size 8"
    files = ["--out", str(picture), "--record", str(record)]
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-m", "ted_keras.demo", *line.split(), *files],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr
    rows, kept = rows_of(done.stdout), planned(40, 5, multiple_of=8)
    assert [rows[name][3] for name in VARIANTS] == ["200", str(kept), str(kept)]
    assert "Keras compiles" in done.stdout
    head = picture.read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    assert all(600 < side < 2000 for side in struct.unpack(">II", head[16:]))

    written = json.loads(record.read_text(encoding="utf-8"))
    assert written["name"] == "ted_keras.demo, jax"
    assert {"ted-core", "keras", "jax", "numpy"} <= set(written["versions"])
    assert written["config"]["x_train"] == [40, 8, 9, 3]
    assert written["config"]["threads"] == 1
    results = written["results"]
    assert [(r["seed"], r["variant"]) for r in results] == list(
        itertools.product((0,), VARIANTS)
    )
    for result in results:
        assert sum(result["epoch_samples"]) == result["samples_forwarded"]
        assert len(result["epoch_seconds"]) == len(result["epoch_cpu_seconds"]) == 5
        assert result["seconds"] > 0
        assert len(result["load_average"]) == 15
    again = rows_of(make_table(read_runs(written)))
    assert [row[:5] for row in again.values()] == [row[:5] for row in rows.values()]


def test_random_and_ted_visit_as_many_in_each_epoch_and_not_the_same(runs):
    found, ends = runs
    assert list(found) == VARIANTS
    assert ends == 15
    assert found["random"].epoch_samples == found["TED"].epoch_samples
    assert sum(found["TED"].epoch_samples) == planned(40, 5) == found["TED"].forwarded
    assert found["random"].times_kept.tolist() != found["TED"].times_kept.tolist()
    assert found["full"].times_kept.tolist() == [5] * 40
    assert int(found["TED"].times_kept.sum()) == found["TED"].forwarded


def test_the_scores_are_those_after_each_epoch(runs):
    scores = runs[0]["TED"].scores
    assert len(scores) == 5
    assert np.isfinite(scores[0]).all()
    assert not np.array_equal(scores[3], scores[4])
    assert runs[0]["full"].scores == []


def test_a_seed_decides_all_and_the_global_generators_are_left_alone(images, runs):
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - must not be touched
    training = Training(images, SETTINGS, strategy=ted_core.TopScore(), seed=3)
    training.take_turn()
    again = training.result()
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    first = runs[0]["TED"]
    assert again.accuracy == first.accuracy
    assert again.scores[-1].tobytes() == first.scores[-1].tobytes()


def test_an_augmented_picture_is_a_crop_of_itself_flipped_or_not():
    x = arrays()["x_train"]
    pictures = Pictures(x, np.arange(40), mean=np.zeros(3), sd=np.ones(3), seed=0)
    shown, labels = pictures(np.arange(40))
    margin = np.pad(x, ((0, 0), (4, 4), (4, 4), (0, 0)))
    positions = set()
    for k, picture in enumerate(shown):
        found = [
            (down, right, flip)
            for down, right, flip in itertools.product(range(9), range(9), (1, -1))
            if np.array_equal(
                margin[k, down : down + 8, right : right + 9][:, ::flip], picture
            )
        ]
        assert len(found) == 1
        positions.add(found[0])
    assert len(positions) > 20
    assert labels.tolist() == list(range(40))


def test_full_training_sees_all_pictures_in_an_order_of_each_epoch():
    x, y = arrays(shape=(8, 8))["x_train"], np.arange(40)
    pictures = Pictures(x, y, mean=np.zeros(1), sd=np.ones(1))
    data = Shuffled(pictures, batch_size=16, seed=0)
    orders = []
    for _ in range(2):
        orders.append(np.concatenate([data[k][1] for k in range(data.num_batches)]))
        data.on_epoch_end()
    assert orders[0].tolist() != orders[1].tolist()
    assert all(sorted(order) == list(range(40)) for order in orders)


@pytest.mark.parametrize("name", ["sklearn", "matplotlib", "tqdm"])
def test_a_missing_extra_is_one_sentence_before_anything_is_trained(
    capsys, monkeypatch, name
):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 2
    assert capsys.readouterr().err == (
        f"{name} is missing: pip install 'ted-core[demo]'\n"
    )


def test_a_missing_backend_is_named(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(SystemExit) as end:
        main(["--backend", "jax"])
    assert end.value.code == 2
    assert capsys.readouterr().err == "jax is missing: pip install jax\n"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--seeds 0", "`--seeds` must be at least 1, got 0"),
        ("--threads 0", "`--threads` must be at least 1, got 0"),
        ("--batch-size 0", "`--batch-size` must be at least 1, got 0"),
        ("--backend mars", "invalid choice: 'mars'"),
        ("--out nowhere/x.png", "`--out` must be in a folder that is there"),
        ("--record nowhere/x.json", "`--record` must be in a folder that is there"),
    ],
)
def test_bad_options_are_refused_with_the_rule(capsys, line, words):
    with pytest.raises(SystemExit) as end:
        main(line.split())
    assert end.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--epochs 1", "`epochs` must be at least 2, got 1"),
        ("--prune-ratio 1", "`prune_ratio` must be in [0, 1), got 1.0"),
        ("--data nowhere", "`data` must be a folder or a .npz file, got nowhere"),
    ],
)
def test_bad_settings_are_refused_with_the_rule(
    capsys, monkeypatch, stored, line, words
):
    monkeypatch.setattr("ted_keras.demo.environment", lambda *_: {})
    with pytest.raises(SystemExit) as end:
        main(["--data", str(stored), *line.split()])
    assert end.value.code == 2
    assert words in capsys.readouterr().err
