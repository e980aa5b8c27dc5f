"""The digits, split and standardised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Digits", "load_digits"]


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
