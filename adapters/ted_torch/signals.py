"""The values of a run's signal, from what a step has at hand."""

from __future__ import annotations

from typing import Any, TypedDict

import array_api_compat.torch as _xp
import torch
from torch import Tensor

from ted_core import signals
from ted_core.config import RunConfig

__all__ = ["SignalInputs", "Values"]


class SignalInputs(TypedDict, total=False):
    """What signals other than the mask gradient and the loss are computed from.

    See :func:`ted_core.signals.compute`.
    """

    logits: Tensor
    labels: Tensor
    hidden: Tensor
    bias: bool


class Values:
    """Compute a value for each sample of a step that has no mask.

    Parameters
    ----------
    config : RunConfig
        The run: its signal, and whether its strategy ranks at all.

    Attributes
    ----------
    masked : bool
        Whether the signal is the mask gradient, which comes with the backward.

    Examples
    --------
    >>> import torch
    >>> from ted_core import Pruner
    >>> from ted_torch.signals import Values
    >>> values = Values(Pruner(8, epochs=9, signal="least_confidence").config)
    >>> values(torch.ones(1), {"logits": torch.tensor([[0.0, 0.0]])})
    tensor([0.5000])
    """

    def __init__(self, config: RunConfig) -> None:
        self.masked = config.signal == "mask_gradient"
        self._signal, self._ranks = config.signal, config.strategy.uses_scores

    def __call__(self, losses: Tensor, inputs: SignalInputs) -> Tensor:
        """Return the values; zeros for a strategy that ranks nothing.

        Parameters
        ----------
        losses : Tensor of float, shape (B,)
            Unscaled loss of each sample.
        inputs : SignalInputs
            What the caller gave.

        Returns
        -------
        Tensor of float, shape (B,)
            Values, without a graph.

        Raises
        ------
        TypeError, ValueError
            An input that the signal needs is missing or does not fit.
        """
        if not self._ranks and (self.masked or self._signal != "loss"):
            return torch.zeros_like(losses)
        if self.masked:
            msg = (
                "`mask` must be a tensor of this forward pass, got None; give the "
                "logits, or call `ted.mask` before with the same `ids`"
            )
            raise ValueError(msg)
        given: dict[str, Any] = {"losses": losses, **inputs}
        if torch.compiler.is_compiling():
            given = _traceable(given)
        with torch.no_grad():
            values: Tensor = signals.compute(self._signal, **given)
        return values.detach()


def _traceable(given: dict[str, Any]) -> dict[str, Any]:
    """Return the inputs as the unchecked formulas take them, for the compiler."""
    floats = {k: v for k, v in given.items() if k in {"losses", "logits", "hidden"}}
    wide = torch.float64 if floats["losses"].dtype == torch.float64 else torch.float32
    out = {**given, **{k: v.to(wide) for k, v in floats.items()}, "xp": _xp}
    labels, logits = given.get("labels"), out.get("logits")
    if labels is not None and logits is not None:
        if labels.ndim < logits.ndim:
            classes = torch.arange(logits.shape[-1], device=labels.device)
            hot = labels[:, None] == classes
            none = ~hot.any(dim=1, keepdim=True)
            labels = hot.to(wide).masked_fill(none, float("nan"))
        out["labels"] = labels.to(wide)
    return out
