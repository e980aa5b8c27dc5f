"""Validation that the analysis shares."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ted_core._validation import as_array


def check_real_array(name: str, value: object) -> NDArray[np.float64]:
    """Return `value` as a finite float64 array, or say why it is not one."""
    array = as_array(name, value, kinds="fiu")
    if not np.isfinite(array).all():
        msg = f"`{name}` must be finite, got {array[~np.isfinite(array)].flat[0]}"
        raise ValueError(msg)
    return array.astype(np.float64)


def check_broadcast(**arrays: NDArray[Any]) -> None:
    """Refuse two arrays whose shapes do not broadcast."""
    shapes = [array.shape for array in arrays.values()]
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        names = " and ".join(f"`{name}`" for name in arrays)
        msg = f"{names} must broadcast, got shapes {shapes[0]} and {shapes[1]}"
        raise ValueError(msg) from None


def check_labelled(
    x: object, y: object
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return inputs (n, d) and class indices (n,), or say what is wrong."""
    xs = check_real_array("x", x)
    ys: NDArray[Any] = as_array("y", y)
    if xs.ndim != 2 or 0 in xs.shape:  # noqa: PLR2004 - samples and features
        msg = f"`x` must have shape (n, d) with n, d >= 1, got shape {xs.shape}"
        raise ValueError(msg)
    if ys.dtype.kind not in "iu":
        msg = f"`y` must hold class indices, got dtype {ys.dtype}"
        raise TypeError(msg)
    if ys.shape != xs.shape[:1] or ys.min() < 0:
        msg = (
            f"`y` must have shape {xs.shape[:1]} and no negative index, got shape "
            f"{ys.shape}"
        )
        raise ValueError(msg)
    return xs, ys.astype(np.int64)
