"""Any signal by its name, from what a training step has at hand."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ted_core.reductions import Count, Mean, Polyak, Reduction
from ted_core.signals import _formulas
from ted_core.signals._formulas import Array
from ted_core.signals.classification import (
    el2n,
    forgetting,
    grand,
    least_confidence,
    loss,
    margin,
)
from ted_core.signals.mask_gradient import cross_entropy_mask_gradient

__all__ = [
    "INPUTS",
    "SIGNALS",
    "check_signal",
    "compute",
    "default_reduction",
]

SIGNALS: Mapping[str, type[Any]] = MappingProxyType(
    {
        "mask_gradient": Polyak,
        "loss": Polyak,
        "el2n": Mean,
        "grand": Mean,
        "margin": Polyak,
        "least_confidence": Polyak,
        "forgetting": Count,
    }
)
"""Names of the signals a run may observe, with the kind of their own reduction."""


def default_reduction(signal: object) -> Reduction:
    """Return a signal's own reduction over time.

    Parameters
    ----------
    signal : str
        Its name; an unknown one gets ``Polyak``, and is refused later.

    Returns
    -------
    Reduction
        ``Polyak(0.9)``; ``Mean()`` for `el2n` and `grand`, whose papers average;
        ``Count()`` for `forgetting`.

    Examples
    --------
    >>> from ted_core.signals import default_reduction
    >>> default_reduction("grand")
    Mean()
    """
    kind = SIGNALS.get(signal, Polyak) if isinstance(signal, str) else Polyak
    made: Reduction = kind()
    return made


def check_signal(signal: object) -> None:
    """Refuse a name of no signal.

    Parameters
    ----------
    signal : str
        Name of what is observed.

    Raises
    ------
    ValueError
        There is no such signal.

    Examples
    --------
    >>> from ted_core.signals import check_signal
    >>> check_signal("el2n")
    """
    if not isinstance(signal, str) or signal not in SIGNALS:
        msg = f"`signal` must be one of {', '.join(SIGNALS)}, got {signal!r}"
        raise ValueError(msg)


INPUTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "mask_gradient": ("logits", "labels"),
        "loss": ("losses",),
        "el2n": ("logits", "labels"),
        "grand": ("logits", "labels", "hidden"),
        "margin": ("logits",),
        "least_confidence": ("logits",),
        "forgetting": ("logits", "labels"),
    }
)
"""What each signal is computed from, by the names of :func:`compute`."""

_CHECKED: dict[str, Any] = {
    "mask_gradient": cross_entropy_mask_gradient,
    "loss": loss,
    "el2n": el2n,
    "grand": grand,
    "margin": margin,
    "least_confidence": least_confidence,
    "forgetting": forgetting,
}


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
        There is no such signal, an input that it needs is None, or shapes do not match.
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
    check_signal(signal)
    given = {"losses": losses, "logits": logits, "labels": labels, "hidden": hidden}
    needed = [given[name] for name in INPUTS[signal]]
    for name, array in zip(INPUTS[signal], needed, strict=True):
        if array is None:
            msg = f"`{name}` must be given for the signal {signal!r}, got None"
            raise ValueError(msg)
    options = {"bias": bias} if signal == "grand" else {}
    if xp is None:
        return _CHECKED[signal](*needed, **options)
    return getattr(_formulas, signal)(xp, *needed, **options)
