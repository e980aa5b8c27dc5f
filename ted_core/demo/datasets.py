"""Data of the demos: generated, the digits, or pictures of one's own."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ted_core.history import import_optional

__all__ = ["load_digits"]

_NAMES = ("x_train", "y_train", "x_test", "y_test")
_MIN_SIDE = 8
_MIN_BATCH, MAX_BATCH = 8, 256
_RGB_DIMENSIONS = 4
_KEPT, _FEATURES = 16_000, 20  # of the generated samples; the others are for the test


@dataclass(frozen=True, eq=False)
class Images:
    """Pictures (n, H, W), (n, H, W, 3) or flat, and their classes from 0 on, split."""

    x_train: NDArray[Any]
    y_train: NDArray[np.int64]
    x_test: NDArray[Any]
    y_test: NDArray[np.int64]

    @property
    def classes(self) -> int:
        """Number of classes: the largest label, plus 1."""
        return 1 + int(max(self.y_train.max(), self.y_test.max()))

    @property
    def batch_size(self) -> int:
        """Samples of a step: an epoch has 40 steps or more, save of the fewest data."""
        size = MAX_BATCH
        while size > _MIN_BATCH and 40 * size > len(self.y_train):
            size //= 2
        return size


@dataclass(frozen=True, eq=False)
class Task(Images):
    """What the demos learn: flat standardised features in float32, and classes."""

    name: str


def load_digits() -> Images:
    """Load scikit-learn's digits in a fixed random split.

    Returns
    -------
    Images
        The 1,797 pictures, of which a quarter is held out: ``x_train`` and ``x_test``,
        float64 of shape (n, 64) in [0, 1], ``y_train`` and ``y_test``, int64 (n,).

    Raises
    ------
    ModuleNotFoundError
        The extra ``demo`` is not installed.

    References
    ----------
    E. Alpaydin, C. Kaynak, Optical recognition of handwritten digits, UCI Machine
    Learning Repository, 1998.

    Examples
    --------
    >>> from ted_core.demo import load_digits
    >>> load_digits().x_train.shape
    (1348, 64)
    """
    loaded = _sklearn_datasets().load_digits()
    order = np.random.default_rng(0).permutation(len(loaded.target))
    kept = len(order) - round(len(order) / 4)
    x, y = loaded.data[order] / 16, loaded.target[order]
    return Images(x[:kept], y[:kept], x[kept:], y[kept:])


def _sklearn_datasets() -> Any:
    return import_optional("sklearn.datasets", needed_by="demo", extra="demo")


def make_task() -> Task:
    """Return the demos' own data: plenty, hard, and without a wrong label."""
    x, y = _sklearn_datasets().make_classification(
        n_samples=22_000,
        n_features=_FEATURES,
        n_informative=12,
        n_classes=10,
        n_clusters_per_class=3,
        class_sep=1.6,
        flip_y=0,
        random_state=0,
    )
    mean, sd = x[:_KEPT].mean(axis=0), x[:_KEPT].std(axis=0)
    scaled = ((x - mean) / sd).astype(np.float32)
    first, last = slice(_KEPT), slice(_KEPT, None)
    return Task(scaled[first], y[first], scaled[last], y[last], "generated clusters")


def task_of(images: Images, name: str) -> Task:
    """Return the task to tell the classes of these pictures."""
    # Vectors as long as those of the generated data, for which the rates were tuned.
    mean, sd = images.x_train.mean(), max(images.x_train.std(), 1.0)
    scale = sd * np.sqrt(images.x_train[0].size / _FEATURES)
    x_train, x_test = (
        (x.reshape(len(x), -1).astype(np.float32) - np.float32(mean))
        / np.float32(scale)
        for x in (images.x_train, images.x_test)
    )
    return Task(x_train, images.y_train, x_test, images.y_test, name)


def digits_as_images() -> Images:
    """Return scikit-learn's digits as 8 x 8 pictures, split as in `load_digits`."""
    digits = load_digits()
    train, test = (
        (16 * x).astype(np.uint8).reshape(-1, 8, 8)
        for x in (digits.x_train, digits.x_test)
    )
    return Images(train, digits.y_train, test, digits.y_test)


def load_images(path: str | Path) -> Images:
    """Read the four arrays from a ``.npz`` file, or from a folder of ``.npy`` files."""
    where = Path(path)
    if not (where.is_dir() or where.suffix == ".npz"):
        msg = f"`data` must be a folder or a .npz file, got {path}"
        raise ValueError(msg)
    arrays = _read(where)
    for part in ("train", "test"):
        _check(part, arrays[f"x_{part}"], arrays[f"y_{part}"])
    x_train, y_train, x_test, y_test = (arrays[name] for name in _NAMES)
    if x_train.shape[1:] != x_test.shape[1:]:
        msg = (
            "`x_test` must have pictures of the shape of `x_train`'s, "
            f"{x_train.shape[1:]}, got {x_test.shape[1:]}"
        )
        raise ValueError(msg)
    last, last_test = int(y_train.max()), int(y_test.max())
    if last_test > last:
        msg = f"`y_test` must have labels of `y_train`, up to {last}, got {last_test}"
        raise ValueError(msg)
    return Images(x_train, y_train.astype(np.int64), x_test, y_test.astype(np.int64))


def _read(where: Path) -> dict[str, NDArray[Any]]:
    try:
        root = where if where.is_dir() else zipfile.Path(where)
        return {name: _read_array(root / f"{name}.npy", name) for name in _NAMES}
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        msg = f"`data` must be a .npz file that can be read, got {where}: {error}"
        raise ValueError(msg) from None


def _read_array(file: Path | zipfile.Path, name: str) -> NDArray[Any]:
    if not file.is_file():
        msg = f"`{name}` is missing; `data` must hold {', '.join(_NAMES)}"
        raise ValueError(msg)
    try:
        with file.open("rb") as stream:
            array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    except (ValueError, EOFError) as error:
        msg = f"`{name}` must be an array without pickled objects: {error}"
        raise ValueError(msg) from None
    return array


def _check(part: str, x: NDArray[Any], y: NDArray[Any]) -> None:
    if x.dtype != np.uint8:
        msg = f"`x_{part}` must be uint8, got {x.dtype}"
    elif not (x.ndim == 3 or (x.ndim == _RGB_DIMENSIONS and x.shape[3] == 3)):  # noqa: PLR2004 - (n, H, W) or (n, H, W, 3)
        msg = f"`x_{part}` must have shape (n, H, W) or (n, H, W, 3), got {x.shape}"
    elif min(x.shape[1:3]) < _MIN_SIDE:
        msg = f"`x_{part}` must have sides of at least 8 pixels, got {x.shape[1:3]}"
    elif y.dtype.kind not in "iu" or y.shape != x.shape[:1]:
        msg = (
            f"`y_{part}` must hold {x.shape[0]} integers, one for each picture of "
            f"`x_{part}`, got {y.dtype} of shape {y.shape}"
        )
    elif y.size == 0:
        msg = f"`x_{part}` must hold at least one picture, got none"
    elif int(y.min()) < 0:
        msg = f"`y_{part}` must hold labels from 0 on, got {int(y.min())}"
    else:
        return
    raise ValueError(msg)
