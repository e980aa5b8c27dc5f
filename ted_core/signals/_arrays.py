"""Validation of arrays of any library; no value is read, so no call waits."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from array_api_compat import (
    array_namespace,
    device,
    is_array_api_obj,
    is_torch_namespace,
)

from ted_core._validation import check_shape
from ted_core.signals._formulas import Array, one_hot

_MIN_CLASSES = 2
_HALF = frozenset({"float16", "bfloat16"})
_FLOATING = _HALF | {"float32", "float64"}
_INTEGER = frozenset({f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64)})


def dtype_name(array: Array) -> str:
    """Return the name of a dtype without its library: ``"float32"``."""
    dtype = array.dtype
    return str(getattr(dtype, "name", dtype)).rpartition(".")[2]


def as_floating(name: str, value: object, *, minimum_ndim: int = 1) -> Array:
    """Return a floating array without its autograd graph, half precision as float32."""
    array = _as_array(name, value, minimum_ndim)
    dtype = dtype_name(array)
    if dtype not in _FLOATING:
        msg = f"`{name}` must be real floating point, got dtype {dtype}"
        raise TypeError(msg)
    if hasattr(array, "detach"):
        array = array.detach()
    if dtype in _HALF:
        xp = array_namespace(array)
        array = xp.astype(array, xp.float32)
    return array


def as_index(name: str, value: object) -> Array:
    """Return an integer array in the library's own index dtype."""
    array = _as_array(name, value, 1)
    dtype = dtype_name(array)
    if dtype not in _INTEGER:
        msg = f"`{name}` must hold integers, got dtype {dtype}"
        raise TypeError(msg)
    xp = array_namespace(array)
    return xp.astype(array, xp.arange(1).dtype)


def as_token_mask(name: str, value: object) -> Array:
    """Return a boolean array; integers such as an attention mask count if not 0."""
    array = _as_array(name, value, 1)
    dtype = dtype_name(array)
    if dtype == "bool":
        return array
    if dtype not in _INTEGER:
        msg = f"`{name}` must hold booleans or integers, got dtype {dtype}"
        raise TypeError(msg)
    return array != 0


def namespace(**arrays: Array) -> Any:
    """Return the one array library of all arguments."""
    try:
        return array_namespace(*arrays.values())
    except TypeError:
        names = " and ".join(f"`{name}`" for name in arrays)
        kinds = " and ".join(type(a).__module__.split(".")[0] for a in arrays.values())
        msg = f"{names} must be arrays of one library, got {kinds}"
        raise TypeError(msg) from None


def quiet(xp: Any) -> AbstractContextManager[None]:
    """Keep NumPy from warning of overflow; torch.compile can not trace its switch."""
    if is_torch_namespace(xp):
        return nullcontext()
    return np.errstate(over="ignore", invalid="ignore")


def _as_array(name: str, value: object, minimum_ndim: int) -> Array:
    array: Array = value
    if isinstance(value, type) or not is_array_api_obj(array):
        msg = (
            f"`{name}` must be an array of NumPy, PyTorch, JAX or another array-API "
            f"library, got {type(value).__name__}"
        )
        raise TypeError(msg)
    if array.ndim < minimum_ndim:
        msg = (
            f"`{name}` must have at least {minimum_ndim} axis(es), samples first, "
            f"got shape {tuple(array.shape)}"
        )
        raise ValueError(msg)
    return array


def as_logits(logits: Array) -> Array:
    """Return logits (B, C) of at least two classes."""
    z = as_floating("logits", logits, minimum_ndim=2)
    if z.ndim != 2:  # noqa: PLR2004 - samples and classes
        msg = (
            f"`logits` must have shape (B, C), got shape {tuple(z.shape)}; for tokens "
            "and pixels observe the loss or the mask gradient"
        )
        raise ValueError(msg)
    check_classes(z)
    return z


def check_classes(z: Array) -> None:
    """Refuse fewer than two classes: their softmax is 1, whatever the logit."""
    if z.shape[-1] is not None and z.shape[-1] < _MIN_CLASSES:
        msg = (
            f"`logits` must have at least {_MIN_CLASSES} classes, got shape "
            f"{tuple(z.shape)}; for the one logit of a binary head give the columns "
            "0 and `logits`, or observe the loss or the mask gradient"
        )
        raise ValueError(msg)


def as_soft_labels(z: Array, labels: Array) -> Array:
    """Return labels of the shape of z as floating point."""
    xp = namespace(logits=z, labels=labels)
    check_shape("labels", labels, z.shape, " like `logits`")
    if dtype_name(labels).startswith(("int", "uint", "bool")):
        return xp.astype(labels, z.dtype)
    return as_floating("labels", labels)


def as_labels(z: Array, labels: Array) -> Array:
    """Return labels (B, C) in the dtype of z; NaN for a class out of range."""
    if getattr(labels, "ndim", None) == z.ndim:
        y = as_soft_labels(z, labels)
        return namespace(logits=z, labels=y).astype(y, z.dtype)
    y = as_index("labels", labels)
    xp = namespace(logits=z, labels=y)
    check_shape("labels", y, z.shape[:-1], " like `logits` without its classes")
    classes = xp.arange(z.shape[-1], dtype=y.dtype, device=device(z))
    return one_hot(xp, z, y, classes)
