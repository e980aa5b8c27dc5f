"""Pictures that do not fit are refused, and the array is named."""

from __future__ import annotations

import re

import numpy as np
import pytest

from ted_core.demo.datasets import load_images


def arrays(n=12):
    x, y = np.zeros((n, 8, 8, 3), dtype=np.uint8), np.arange(n) % 3
    return {"x_train": x, "y_train": y, "x_test": x[:6], "y_test": y[:6]}


def write(folder, found, *, one_file):
    if one_file:
        np.savez(folder / "found.npz", **found)
        return folder / "found.npz"
    for name, array in found.items():
        np.save(folder / f"{name}.npy", array)
    return folder


BAD = [
    ({"x_train": None}, "`x_train` is missing"),
    ({"y_train": None}, "`y_train` is missing"),
    ({"x_test": None}, "`x_test` is missing"),
    ({"y_test": None}, "`y_test` is missing"),
    (
        {"x_train": np.zeros((12, 8, 8, 3))},
        "`x_train` must be uint8, got float64",
    ),
    (
        {"x_test": np.zeros((6, 8, 8, 4), np.uint8)},
        "`x_test` must have shape (n, H, W) or (n, H, W, 3), got (6, 8, 8, 4)",
    ),
    (
        {"x_train": np.zeros((12, 64), np.uint8)},
        "`x_train` must have shape (n, H, W) or (n, H, W, 3), got (12, 64)",
    ),
    (
        {"x_train": np.zeros((12, 7, 8), np.uint8)},
        "`x_train` must have sides of at least 8 pixels, got (7, 8)",
    ),
    (
        {"x_test": np.zeros((6, 9, 9, 3), np.uint8)},
        "`x_test` must have pictures of the shape of `x_train`'s, (8, 8, 3), got (9,",
    ),
    (
        {"y_train": np.zeros(11, int)},
        "one for each picture of `x_train`, got int64 of shape (11,)",
    ),
    ({"y_test": np.zeros(6)}, "`y_test` must hold 6 integers"),
    ({"y_train": np.arange(12) - 1}, "`y_train` must hold labels from 0 on, got -1"),
    (
        {"y_test": np.full(6, 3)},
        "`y_test` must have labels of `y_train`, up to 2, got 3",
    ),
    (
        {"x_test": np.zeros((0, 8, 8, 3), np.uint8), "y_test": np.zeros(0, int)},
        "`x_test` must hold at least one picture, got none",
    ),
    (
        {"y_train": np.array([0] * 12, dtype=object)},
        "`y_train` must be an array without pickled objects",
    ),
]


@pytest.mark.parametrize("one_file", [True, False], ids=["npz", "folder"])
@pytest.mark.parametrize(("change", "words"), BAD)
def test_what_does_not_fit_is_named(tmp_path, change, words, one_file):
    found = {k: v for k, v in (arrays() | change).items() if v is not None}
    path = write(tmp_path, found, one_file=one_file)
    with pytest.raises(ValueError, match=re.escape(words)):
        load_images(path)


@pytest.mark.parametrize("one_file", [True, False], ids=["npz", "folder"])
def test_what_fits_is_read(tmp_path, one_file):
    images = load_images(write(tmp_path, arrays(), one_file=one_file))
    assert images.classes == 3
    assert images.y_train.dtype == np.int64


def test_a_damaged_array_in_a_folder_is_named(tmp_path):
    path = write(tmp_path, arrays(), one_file=False)
    file = path / "x_test.npy"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ValueError, match="`x_test` must be an array"):
        load_images(path)


@pytest.mark.parametrize("content", [b"", b"not a zip file", b"PK\x03\x04broken"])
def test_a_file_that_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "broken.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"`data` must be a \.npz file that can"):
        load_images(path)


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "pictures.npy"
    np.save(path, np.zeros(3))
    with pytest.raises(ValueError, match=r"`data` must be a folder or a \.npz"):
        load_images(path)
