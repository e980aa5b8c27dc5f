from __future__ import annotations

import errno
import os
import pickle
import zipfile

import numpy as np
import pytest
from damaged_files import flipped, lengths

import ted_core as ted


def pruner():
    return ted.Pruner(20, epochs=8, seed=2**63, signal="forgetting")


def state_of(epochs=3):
    run = pruner()
    for _ in range(epochs):
        order = run.plan().order
        run.observe(order, order % 2)
        run.advance()
    run.observe(run.plan().order[:4], [1.0, 0.0, 1.0, 0.0])
    return run.state_dict()


def assert_same(one, other):
    assert sorted(one) == sorted(other)
    for name, value in one.items():
        assert type(other[name]) is type(value), name
        if isinstance(value, np.ndarray):
            assert other[name].dtype == value.dtype, name
            assert other[name].tobytes() == value.tobytes(), name
        else:
            assert other[name] == value, name


@pytest.fixture
def path(tmp_path):
    target = tmp_path / "run.ted"
    ted.save_state(target, state_of())
    return target


@pytest.mark.parametrize("kind", [str, os.fspath, lambda p: p])
def test_a_pruner_goes_on_in_mid_epoch_from_a_file_by_any_kind_of_path(path, kind):
    run = pruner()
    run.load_state_dict(ted.load_state(kind(path)))
    assert_same(run.state_dict(), state_of())


def test_every_plain_value_keeps_its_type_and_its_bits(tmp_path):
    state = {
        "format": "ted_core.Pruner",
        "version": 1,
        "text": "na\N{LATIN SMALL LETTER I WITH DIAERESIS}ve",
        "empty text": "",
        "truth": True,
        "real": 0.1,
        "negative": -(2**63),
        "empty": np.empty(0, "<i8"),
        "signed zero": np.array([np.nan, -0.0], "<f4"),
    }
    ted.save_state(tmp_path / "s", state)
    assert_same(ted.load_state(tmp_path / "s"), state)


def test_saving_again_replaces_the_file_and_leaves_no_other(path):
    ted.save_state(path, state_of(epochs=5))
    assert ted.load_state(path)["epoch"] == 5
    assert [file.name for file in path.parent.iterdir()] == ["run.ted"]


@pytest.mark.parametrize("start", range(8))
def test_a_file_cut_anywhere_is_refused_with_its_name(path, start):
    for _ in lengths(path, range(start * 7, path.stat().st_size, 97)):
        with pytest.raises(ted.CheckpointError, match=r"run\.ted"):
            ted.load_state(path)


def test_every_flipped_byte_of_the_scores_is_refused(path):
    whole = path.read_bytes()
    scores = state_of()["scores.score"].tobytes()
    start = whole.index(scores)
    for at in range(start, start + len(scores)):
        with (
            flipped(path, 8 * at + at % 8),
            pytest.raises(ted.CheckpointError, match="must be a whole saved state"),
        ):
            ted.load_state(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"no state at all", b"PK\x03\x04", pickle.dumps({"n": 1}), bytes(4096)],
    ids=["empty", "text", "zip header", "pickle", "zeros"],
)
def test_a_foreign_file_is_refused_with_its_name(tmp_path, content):
    target = tmp_path / "foreign"
    target.write_bytes(content)
    with pytest.raises(ted.CheckpointError, match="foreign"):
        ted.load_state(target)


class Bomb:
    def __reduce__(self):
        return os.abort, ()


def test_an_object_in_the_archive_is_never_unpickled(tmp_path):
    target = tmp_path / "bomb.npz"
    objects = np.array([Bomb()], object)
    np.savez(target, format="ted_core.Pruner", version=1, x=objects)
    with pytest.raises(ted.CheckpointError, match="bomb"):
        ted.load_state(target)


@pytest.mark.parametrize("version", [3, 0, -1, 1.0, "1", True])
def test_a_newer_or_senseless_version_is_refused(tmp_path, version):
    ted.save_state(tmp_path / "s", state_of() | {"version": version})
    with pytest.raises(ted.CheckpointError, match=r"`version` must be in \[1, 2\]"):
        ted.load_state(tmp_path / "s")


def test_a_missing_folder_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        ted.save_state(tmp_path / "none" / "s", state_of())


@pytest.mark.parametrize(
    "place", [(os, "fsync"), (zipfile.ZipFile, "open"), (os, "fdopen")]
)
def test_a_failure_at_any_point_leaves_the_older_file_whole_and_no_litter(
    path, monkeypatch, place
):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(*place, full)
        with pytest.raises(OSError, match="No space left"):
            ted.save_state(path, state_of(epochs=5))
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["run.ted"]


def test_a_value_that_cannot_be_saved_is_refused_before_a_file_is_touched(tmp_path):
    with pytest.raises(TypeError, match="`x` must be an array"):
        ted.save_state(tmp_path / "s", {"x": None})
    assert not list(tmp_path.iterdir())
