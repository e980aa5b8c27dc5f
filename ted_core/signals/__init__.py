"""What may be observed of a sample in a step, on arrays of any library.

High means keep. Beside these stands the mask gradient, TED's own signal, in
:func:`ted_core.mask_gradient`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ted_core.reductions import Count, Mean, Polyak
from ted_core.signals import _formulas
from ted_core.signals._arrays import check_classes
from ted_core.signals._formulas import Array
from ted_core.signals.classification import (
    el2n,
    forgetting,
    grand,
    least_confidence,
    loss,
    margin,
    normalize,
)
from ted_core.signals.mask_gradient import cross_entropy_mask_gradient

__all__ = [
    "INPUTS",
    "SIGNALS",
    "compute",
    "el2n",
    "forgetting",
    "grand",
    "least_confidence",
    "loss",
    "margin",
    "normalize",
]


class _Signal(NamedTuple):
    function: Callable[..., Array]
    inputs: tuple[str, ...]
    reduction: type[Any]


_REGISTRY = {
    "mask_gradient": _Signal(cross_entropy_mask_gradient, ("logits", "labels"), Polyak),
    "loss": _Signal(loss, ("losses",), Polyak),
    "el2n": _Signal(el2n, ("logits", "labels"), Mean),  # its paper averages over runs
    "grand": _Signal(grand, ("logits", "labels", "hidden"), Mean),  # so does this one
    "margin": _Signal(margin, ("logits",), Polyak),
    "least_confidence": _Signal(least_confidence, ("logits",), Polyak),
    "forgetting": _Signal(forgetting, ("logits", "labels"), Count),
}

SIGNALS: Mapping[str, type[Any]] = MappingProxyType(
    {name: signal.reduction for name, signal in _REGISTRY.items()}
)
"""Names of the signals a run may observe, with the kind of their own reduction."""

INPUTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {name: signal.inputs for name, signal in _REGISTRY.items()}
)
"""What each signal is computed from, by the names of :func:`compute`."""


def compute(
    signal: str,
    *,
    losses: Array | None = None,
    logits: Array | None = None,
    labels: Array | None = None,
    hidden: Array | None = None,
    bias: bool = True,
    xp: Any = None,
) -> Array:
    """Return the values of the signal of this name.

    Parameters
    ----------
    signal : str
        A name of :data:`SIGNALS`; `mask_gradient` is that at the logits of softmax
        cross entropy, from the forward pass alone.
    losses : array of floating point, shape (B,), optional
        Unscaled loss of each sample.
    logits : array of floating point, shape (B, C), optional
        Unnormalised class scores.
    labels : array, shape (B,) or (B, C), optional
        Class indices, or one-hot or soft labels.
    hidden : array of floating point, shape (B, D), optional
        Input of the linear head whose output the logits are.
    bias : bool, default True
        Whether the head has a bias, for `grand`.
    xp : module, optional
        The functions of a library that is not of the array API, ``keras.ops`` say; its
        tensors are taken unchecked, floating point all of one dtype, and labels have
        the shape of `logits`.

    Returns
    -------
    array of float32 or float64, shape (B,)
        High is kept. What the signal is not computed from is not looked at.

    Raises
    ------
    ValueError
        There is no such signal, an input that it needs is None, shapes do not match, or
        `logits` have one class alone: only `mask_gradient` takes that.
    TypeError
        An input is no array, has the wrong dtype or another library.

    Notes
    -----
    O(size of the inputs), no value read back from the device. :data:`INPUTS` tells what
    a signal needs, before there is any.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core import signals
    >>> logits, labels = np.array([[2.0, 0.0], [0.0, 0.0]]), np.array([1, 0])
    >>> for name in ("mask_gradient", "el2n", "margin"):
    ...     signals.compute(name, logits=logits, labels=labels).round(3).tolist()
    [1.762, 0.0]
    [1.246, 0.707]
    [0.238, 1.0]
    """
    if not isinstance(signal, str) or signal not in SIGNALS:
        msg = f"`signal` must be one of {', '.join(SIGNALS)}, got {signal!r}"
        raise ValueError(msg)
    given = {"losses": losses, "logits": logits, "labels": labels, "hidden": hidden}
    needed = {name: given[name] for name in INPUTS[signal]}
    for name, array in needed.items():
        if array is None:
            msg = f"`{name}` must be given for the signal {signal!r}, got None"
            raise ValueError(msg)
    options = {"bias": bias} if signal == "grand" else {}
    if xp is None:
        return _REGISTRY[signal].function(*needed.values(), **options)
    if signal != "mask_gradient" and "logits" in INPUTS[signal]:
        check_classes(logits)
    return getattr(_formulas, signal)(xp, *needed.values(), **options)
