"""The PyTorch demonstration measures what it prints."""

from __future__ import annotations

import itertools
import json
import struct
import sys
from functools import partial

import numpy as np
import pytest
import torch
from ted_torch.demo import Pictures, Settings, Training, main

import ted_core
from ted_core.demo import engine
from ted_core.demo.datasets import digits_as_images, load_images
from ted_core.demo.results import make_table, read_runs

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


def compare(images, settings, *, seed):
    return engine.compare(partial(Training, images, settings), seed=seed)


def rows_of(printed):
    lines = [line.split() for line in printed.splitlines() if line]
    return {line[0]: line for line in lines if line[0] in VARIANTS}


def planned(n, epochs):
    return int(ted_core.Pruner(n, epochs=epochs).schedule_table()["kept"].sum())


def test_table_picture_and_record_say_what_was_forwarded(capsys, stored, tmp_path):
    picture, record = tmp_path / "run.png", tmp_path / "run.json"
    line = f"--data {stored} --seeds 2 --epochs 5 --batch-size 16"
    assert main([*line.split(), "--out", str(picture), "--record", str(record)]) == 0
    rows, kept = rows_of(capsys.readouterr().out), planned(40, 5)
    assert [rows[name][3] for name in VARIANTS] == ["200", str(kept), str(kept)]
    assert rows["TED"][4] == f"{100 * (1 - kept / 200):.1f}"
    head = picture.read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    assert all(600 < side < 2000 for side in struct.unpack(">II", head[16:]))

    written = json.loads(record.read_text(encoding="utf-8"))
    assert set(written) == {"name", "config", "versions", "machine", "results"}
    assert written["config"]["x_train"] == [40, 8, 9, 3]
    assert written["config"]["threads"] == 1
    assert written["versions"]["torch"] == torch.__version__
    assert written["machine"]["cores"] >= 1
    results = written["results"]
    assert [(r["seed"], r["variant"]) for r in results] == list(
        itertools.product((0, 1), VARIANTS)
    )
    for result in results:
        assert sum(result["epoch_samples"]) == result["samples_forwarded"]
        assert len(result["epoch_seconds"]) == len(result["epoch_cpu_seconds"]) == 5
        assert result["seconds"] > 0
        assert len(result["load_average"]) == 15
    again = rows_of(make_table(read_runs(written)))
    assert [row[:5] for row in again.values()] == [row[:5] for row in rows.values()]


def test_the_digits_are_the_data_by_default(capsys, tmp_path):
    picture = tmp_path / "digits.png"
    line = ["--seeds", "1", "--epochs", "5", "--out", str(picture)]
    assert main(line) == 0
    rows, kept = rows_of(capsys.readouterr().out), planned(1348, 5)
    assert [rows[name][3] for name in VARIANTS] == ["6740", str(kept), str(kept)]
    assert all(float(row[1]) > 50 for row in rows.values())
    assert list(tmp_path.iterdir()) == [picture]


def test_grey_pictures_in_a_folder_are_read_as_from_one_file(tmp_path):
    found = arrays(shape=(8, 8))
    for name, array in found.items():
        np.save(tmp_path / f"{name}.npy", array)
    images = load_images(tmp_path)
    assert images.classes == 4
    for name, array in found.items():
        np.testing.assert_array_equal(getattr(images, name), array)


def test_random_and_ted_visit_as_many_in_each_epoch_and_not_the_same(images):
    runs = compare(images, SETTINGS, seed=3)
    assert runs["random"].epoch_samples == runs["TED"].epoch_samples
    assert runs["random"].times_kept.tolist() != runs["TED"].times_kept.tolist()
    assert runs["full"].times_kept.tolist() == [5] * 40
    assert int(runs["TED"].times_kept.sum()) == runs["TED"].forwarded


def test_the_scores_are_those_after_each_epoch(images):
    training = Training(images, SETTINGS, strategy=ted_core.TopScore())
    for _ in range(5):
        training.take_turn()
    scores = training.result().scores
    assert len(scores) == 5
    assert np.isfinite(scores[0]).all()
    assert not np.array_equal(scores[3], scores[4])
    np.testing.assert_array_equal(scores[4], training.ted.pruner.scores)


def test_the_turns_rotate_with_epoch_and_seed(images, monkeypatch):
    turns, train = [], Training.train_epoch

    def spy(self):
        turns.append(None if self.ted is None else self.ted.pruner.config.strategy)
        train(self)

    monkeypatch.setattr(Training, "train_epoch", spy)
    compare(images, SETTINGS, seed=1)
    names = [
        "full" if s is None else "TED" if s.uses_scores else "random" for s in turns
    ]
    assert [names[k] for k in range(0, 15, 3)] == [
        "random",
        "TED",
        "full",
        "random",
        "TED",
    ]
    assert all(set(names[k : k + 3]) == set(VARIANTS) for k in range(0, 15, 3))


def test_a_seed_decides_all_and_the_global_generator_is_left_alone(images):
    before = torch.get_rng_state()
    first, second = (compare(images, SETTINGS, seed=2) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    for name in VARIANTS:
        assert first[name].accuracy == second[name].accuracy
    assert first["TED"].scores[-1].tobytes() == second["TED"].scores[-1].tobytes()


def test_an_augmented_picture_is_a_crop_of_itself_flipped_or_not():
    x = arrays()["x_train"]
    plain = {"mean": np.zeros(3), "sd": np.ones(3)}
    data = Pictures(x, np.arange(40), **plain, seed=0)
    shown, labels = data.take(torch.arange(40))
    margin = np.pad(x, ((0, 0), (4, 4), (4, 4), (0, 0)))
    places = set()
    for k, picture in enumerate(shown.permute(0, 2, 3, 1).numpy()):
        found = [
            (down, right, flip)
            for down, right, flip in itertools.product(range(9), range(9), (1, -1))
            if np.array_equal(
                margin[k, down : down + 8, right : right + 9][:, ::flip], picture
            )
        ]
        assert len(found) == 1
        places.add(found[0])
    assert len(places) > 20
    assert labels.tolist() == list(range(40))


def test_the_digits_keep_their_pixels():
    pixels = digits_as_images().x_train
    assert (pixels.dtype, pixels.min(), pixels.max()) == (np.uint8, 0, 16)


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


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--seeds 0", "`--seeds` must be at least 1, got 0"),
        ("--threads 0", "`--threads` must be at least 1, got 0"),
        ("--batch-size 0", "`--batch-size` must be at least 1, got 0"),
        ("--epochs 1", "`epochs` must be at least 2, got 1"),
        ("--prune-ratio 1", "`prune_ratio` must be in [0, 1), got 1.0"),
        ("--device mars", "`--device` must be one that is there, got mars"),
        ("--out nowhere/x.png", "`--out` must be in a folder that is there"),
        ("--record nowhere/x.json", "`--record` must be in a folder that is there"),
        ("--data nowhere", "`data` must be a folder or a .npz file, got nowhere"),
        ("--data nowhere.npz", "`data` must be a .npz file that can be read"),
    ],
)
def test_bad_options_are_refused_with_the_rule(capsys, line, words):
    with pytest.raises(SystemExit) as end:
        main(line.split())
    assert end.value.code == 2
    assert words in capsys.readouterr().err
