"""Pictures of the demos: the digits, or arrays of one's own."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Digits",
    "Images",
    "digits_as_images",
    "load_digits",
    "load_images",
]


@dataclass(frozen=True, eq=False)
class Digits:
    """Handwritten digits, 8 x 8 pixels.

    Parameters
    ----------
    x_train, x_test : ndarray of float64, shape (n, 64)
        Pixels, scaled to [0, 1].
    y_train, y_test : ndarray of int64, shape (n,)
        Digit of each picture.
    """

    x_train: NDArray[np.float64]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.float64]
    y_test: NDArray[np.int64]


def load_digits(*, test_share: float = 0.25, seed: int = 0) -> Digits:
    """Load scikit-learn's digits in a fixed random split.

    Parameters
    ----------
    test_share : float, default 0.25
        Share of the 1,797 pictures that is held out.
    seed : int, default 0
        Seed of the split.

    Returns
    -------
    Digits
        The split.

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
    try:
        from sklearn import datasets  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        msg = "the demo needs scikit-learn: pip install 'ted-core[demo]'"
        raise ModuleNotFoundError(msg, name="sklearn") from None
    loaded: Any = datasets.load_digits()
    order = np.random.default_rng(seed).permutation(len(loaded.target))
    cut = len(order) - round(test_share * len(order))
    x, y = loaded.data[order] / 16, loaded.target[order]
    return Digits(x[:cut], y[:cut], x[cut:], y[cut:])


_NAMES = ("x_train", "y_train", "x_test", "y_test")


_RANKS = (3, 4)


_LEAST_SIDE = 8


@dataclass(frozen=True, eq=False)
class Images:
    """Pictures and their labels, split.

    Parameters
    ----------
    x_train, x_test : ndarray of uint8, shape (n, H, W) or (n, H, W, 3)
        Pixels, grey or RGB.
    y_train, y_test : ndarray of int64, shape (n,)
        Classes, from 0 on.
    """

    x_train: NDArray[np.uint8]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.uint8]
    y_test: NDArray[np.int64]

    @property
    def classes(self) -> int:
        """Number of classes: the largest label, plus 1."""
        return 1 + int(max(self.y_train.max(), self.y_test.max()))


def digits_as_images() -> Images:
    """Return scikit-learn's digits as 8 x 8 pictures, split as in `load_digits`.

    Returns
    -------
    Images
        1,348 pictures to train on and 449 to test on, pixels in [0, 16].

    Raises
    ------
    ModuleNotFoundError
        The extra ``demo`` is not installed.

    Examples
    --------
    >>> from ted_core.demo import digits_as_images
    >>> digits_as_images().x_train.shape
    (1348, 8, 8)
    """
    digits = load_digits()
    train, test = (
        (16 * x).astype(np.uint8).reshape(-1, 8, 8)
        for x in (digits.x_train, digits.x_test)
    )
    return Images(train, digits.y_train, test, digits.y_test)


def load_images(path: str | Path) -> Images:
    """Read four arrays from a ``.npz`` file, or from a folder of ``.npy`` files.

    Parameters
    ----------
    path : str or Path
        A ``.npz`` with arrays ``x_train``, ``y_train``, ``x_test`` and ``y_test``, or
        a folder with a ``.npy`` of each name. Pictures are uint8 of shape (n, H, W, 3)
        or (n, H, W), of at least 8 x 8 pixels; labels are integers from 0 on, of shape
        (n,). CIFAR-10 is (50000, 32, 32, 3). Pickled arrays are not read.

    Returns
    -------
    Images
        The arrays, labels as int64.

    Raises
    ------
    ValueError
        An array is missing, can't be read, or does not fit; it is named.
    """
    where = Path(path)
    if not (where.is_dir() or where.suffix == ".npz"):
        msg = f"`data` must be a folder or a .npz file, got {path}"
        raise ValueError(msg)
    arrays = _from_folder(where) if where.is_dir() else _from_npz(where)
    for part in ("train", "test"):
        _check(arrays, part)
    shapes = {arrays[name].shape[1:] for name in ("x_train", "x_test")}
    if len(shapes) > 1:
        msg = (
            "`x_test` must have pictures of the shape of `x_train`'s, "
            f"{arrays['x_train'].shape[1:]}, got {arrays['x_test'].shape[1:]}"
        )
        raise ValueError(msg)
    most = int(arrays["y_train"].max())
    if int(arrays["y_test"].max()) > most:
        msg = (
            f"`y_test` must have labels of `y_train`, up to {most}, "
            f"got {int(arrays['y_test'].max())}"
        )
        raise ValueError(msg)
    return Images(
        arrays["x_train"],
        arrays["y_train"].astype(np.int64),
        arrays["x_test"],
        arrays["y_test"].astype(np.int64),
    )


def _from_folder(folder: Path) -> dict[str, NDArray[Any]]:
    return {name: _read(folder / f"{name}.npy", name) for name in _NAMES}


def _from_npz(file: Path) -> dict[str, NDArray[Any]]:
    try:
        with file.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            names = archive.namelist()
            return {name: _member(archive, names, name) for name in _NAMES}
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        msg = f"`data` must be a .npz file that can be read, got {file}: {error}"
        raise ValueError(msg) from None


def _member(
    archive: zipfile.ZipFile, names: Collection[str], name: str
) -> NDArray[Any]:
    if f"{name}.npy" not in names:
        msg = f"`{name}` is missing; the file must hold {', '.join(_NAMES)}"
        raise ValueError(msg)
    with archive.open(f"{name}.npy") as stream:
        return _parse(stream, name)


def _read(file: Path, name: str) -> NDArray[Any]:
    if not file.is_file():
        msg = f"`{name}` is missing; the folder must hold {file.name}"
        raise ValueError(msg)
    with file.open("rb") as stream:
        return _parse(stream, name)


def _parse(stream: IO[bytes], name: str) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    except (ValueError, EOFError) as error:
        msg = f"`{name}` must be an array without pickled objects: {error}"
        raise ValueError(msg) from None
    return array


def _check(arrays: Mapping[str, NDArray[Any]], part: str) -> None:
    x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
    if x.dtype != np.uint8:
        msg = f"`x_{part}` must be uint8, got {x.dtype}"
        raise ValueError(msg)
    if x.ndim not in _RANKS or x.shape[3:] not in {(), (3,)}:
        msg = f"`x_{part}` must have shape (n, H, W) or (n, H, W, 3), got {x.shape}"
        raise ValueError(msg)
    if min(x.shape[1:3]) < _LEAST_SIDE:
        msg = f"`x_{part}` must have sides of at least 8 pixels, got {x.shape[1:3]}"
        raise ValueError(msg)
    if y.dtype.kind not in "iu" or y.shape != x.shape[:1]:
        msg = (
            f"`y_{part}` must hold {x.shape[0]} integers, one for each picture of "
            f"`x_{part}`, got {y.dtype} of shape {y.shape}"
        )
        raise ValueError(msg)
    if y.size == 0:
        msg = f"`x_{part}` must hold at least one picture, got none"
        raise ValueError(msg)
    if int(y.min()) < 0:
        msg = f"`y_{part}` must hold labels from 0 on, got {int(y.min())}"
        raise ValueError(msg)
