"""Classes of the samples, for class floors: checked, and told apart."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["check_labels", "labels_checksum"]


def check_labels(labels: NDArray[np.signedinteger[Any]] | None, n: int) -> None:
    """Refuse what is no class of each sample.

    Parameters
    ----------
    labels : ndarray of int, shape (n,), or None
        Class of each sample, if there are any.
    n : int
        Samples.

    Raises
    ------
    ValueError
        They have another shape or dtype.
    """
    if labels is None:
        return
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        msg = (
            f"`labels` must hold integers of shape ({n},), got {labels.dtype} of shape "
            f"{labels.shape}"
        )
        raise ValueError(msg)


def labels_checksum(labels: NDArray[np.signedinteger[Any]] | None) -> int:
    """Return the CRC-32 of the labels as little-endian int64, or -1 without any.

    Parameters
    ----------
    labels : ndarray of int, shape (n,), or None
        Class of each sample.

    Returns
    -------
    int
        The same for the same classes in any dtype.
    """
    return -1 if labels is None else zlib.crc32(labels.astype("<i8").tobytes())
