"""The mask gradient on the tensors of any Keras backend."""

from __future__ import annotations

from typing import Any

from keras import ops
from keras.backend import standardize_dtype

__all__ = ["mask_gradient"]


def mask_gradient(hidden: Any, gradient: Any) -> Any:
    r"""Return each sample's mask gradient, |<h_k, dl_k/dh_k>| (Eq. 12).

    Parameters
    ----------
    hidden : tensor of float, shape (B, ...)
        The masked tensor.
    gradient : tensor of float, shape (B, ...)
        Gradient of the sum of the per-sample losses with respect to `hidden`.

    Returns
    -------
    tensor of float32 or float64, shape (B,)
        Values; half precision accumulates in float32.

    Raises
    ------
    ValueError
        The shapes differ.

    Notes
    -----
    O(size of `hidden`), traceable, no synchronisation with the host.

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Eq. 12.
    """
    if tuple(hidden.shape) != tuple(gradient.shape):
        msg = (
            "`hidden` and `gradient` must have one shape, got shapes "
            f"{tuple(hidden.shape)} and {tuple(gradient.shape)}"
        )
        raise ValueError(msg)
    half = {"float16", "bfloat16"}
    wide = (
        "float32"
        if {standardize_dtype(t.dtype) for t in (hidden, gradient)} & half
        else None
    )
    if wide:
        hidden, gradient = ops.cast(hidden, wide), ops.cast(gradient, wide)
    axes = tuple(range(1, len(hidden.shape)))
    products = hidden * gradient
    return ops.absolute(ops.sum(products, axis=axes) if axes else products)
