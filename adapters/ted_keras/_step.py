"""What a session does in a training step: score each sample, scale the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import backend, ops

from ted_core.config import RunConfig
from ted_core.signals import INPUTS
from ted_keras.backends import adapt
from ted_keras.batch_columns import Slot
from ted_keras.masks import Mask, mask_gradient, pre_activation
from ted_keras.objective import Objective
from ted_keras.signals import head_has_bias, observe

__all__ = ["SEEN", "VALID", "Recorder"]

SEEN, VALID = 1, 256
"""What a sample adds to its code: when it comes by, and when its value counts."""


class Recorder:
    """Write each sample's value to the store, from within the compiled step.

    Parameters
    ----------
    model : keras.Model
        Compiled.
    objective : Objective
        Output and loss.
    config : RunConfig
        Samples and signal; a strategy that ranks nothing keeps values for reports.
    mask : Mask, optional
        Inner site; the pre-activation of the scored output without one.

    Attributes
    ----------
    store : Store
        Shape (n, 2), float32: sum of values, and a code that counts; 8 bytes a sample.
    objective : Objective
        Output and loss; to be renewed after a new ``compile``.
    recording : bool
        Whether steps are a training's; Keras looks at a first batch before.
    """

    def __init__(
        self,
        model: Any,
        objective: Objective,
        config: RunConfig,
        *,
        mask: Mask | None = None,
    ) -> None:
        self._backend = adapt()
        self.store = self._backend.Store(config.n, model)
        self.objective, self._bias = objective, head_has_bias(model)
        self._signal = config.signal
        strategy = getattr(model, "distribute_strategy", None)
        self._replicas = getattr(strategy, "num_replicas_in_sync", 1)
        inner = self._signal == "mask_gradient" and mask is not None
        reads = "hidden" in INPUTS[self._signal]
        self.mask = mask if inner or reads else None
        self._inner, self._hidden = inner, None
        self.recording = False
        self._open: tuple[Slot, Any] | None = None
        self._upstream: Any = None

    def step(
        self, total: Callable[..., Any], x: Any, y: Any, y_pred: Any, slot: Slot
    ) -> Any:
        """Record a batch, and return the loss that is trained on.

        Parameters
        ----------
        total : callable
            The model's own loss: of x, y, y_pred and weights.
        x, y, y_pred : tensor, or nested structure of tensors
            Inputs, targets and outputs.
        slot : Slot
            Ids, scale, weights.

        Returns
        -------
        tensor of float, shape ()
            The scaled loss (Eq. 23).

        Notes
        -----
        At the output: one more evaluation of the loss and its gradient there,
        never of the network.
        """
        weights = self.objective.spread(y, y_pred, slot.weights)
        made = total(x, y, y_pred, weights)
        if not self._inner:
            zero = self._write(slot, self._values(total, x, y, y_pred))
            return made + ops.cast(zero, made.dtype)
        share = self._share(slot.scale, y, self.objective.pick(y_pred))
        self._open = slot, ops.cast(slot.weights, "float32") * share
        return self._backend.tap(made, self._see_total)

    def tap(self, hidden: Any) -> Any:
        """Return `hidden`, whose backward records.

        Parameters
        ----------
        hidden : tensor of float, shape (B, ...)
            The inner site.

        Returns
        -------
        tensor of float, shape (B, ...)
            The same numbers.
        """
        if not self._inner:
            self._hidden = ops.stop_gradient(hidden)
            return hidden
        return self._backend.tap(hidden, self._see_mask)

    def forget(self) -> None:
        """Let go of the last step's tensors."""
        self._open = self._upstream = self._hidden = None

    def _values(self, total: Callable[..., Any], x: Any, y: Any, y_pred: Any) -> Any:
        outputs = self.objective.pick(y_pred)
        own = self.objective.overridden
        tokens = None if own else self.objective.tokens(y, outputs)
        outputs = _wide(outputs)
        if self._signal != "mask_gradient":
            needs = INPUTS[self._signal]
            return observe(
                self._signal,
                losses=self.objective.losses(y, outputs, tokens)
                if "losses" in needs
                else None,
                labels=self.objective.pick(y),
                outputs=outputs,
                activation=self.objective.activation(y, outputs),
                hidden=None if self._hidden is None else _wide(self._hidden),
                bias=self._bias,
            )

        def scored(at: Any) -> Any:
            if not own:
                return ops.sum(self.objective.losses(y, at, tokens))
            batch = ops.cast(ops.shape(at)[0] * self._replicas, at.dtype)
            return total(x, y, self.objective.put(y_pred, at), None) * batch

        at, gradient = self._backend.gradient(scored, outputs)
        kind = self.objective.activation(y, at)
        if kind != "linear":
            at, gradient = pre_activation(at, gradient, activation=kind)
        return mask_gradient(at, gradient)

    def _share(self, rows: Any, y: Any, outputs: Any) -> Any:
        """Return what the total's reduction multiplies each sample's loss with."""
        own, tokens = self.objective.overridden, None
        if not own and self.objective.reduction == "sum":
            return 1.0
        if not own:
            tokens = self.objective.tokens(y, outputs)
        if tokens is None:
            return 1 / ops.cast(ops.shape(rows)[0] * self._replicas, "float32")
        counts = ops.sum(tokens, axis=tuple(range(1, len(tokens.shape))))
        return counts / (ops.sum(counts) * self._replicas)

    def _see_total(self, total: Any, upstream: Any) -> Any:
        del total
        self._upstream = upstream  # 1, times the factor of mixed precision
        return 0.0

    def _see_mask(self, hidden: Any, gradient: Any) -> Any:
        if self._open is None:
            return 0.0  # not a step of a session
        slot, weights = self._open
        factor = weights * ops.cast(self._upstream, "float32")
        some = ops.not_equal(factor, 0)
        values = mask_gradient(hidden, gradient)
        values = values / ops.where(some, ops.absolute(factor), 1.0)
        return self._write(slot, values)

    def _write(self, slot: Slot, values: Any) -> Any:
        """Bring values to the store; return the 0 that a step's result has to need."""
        values = ops.cast(values, "float32")
        code = ops.ones_like(values) * (SEEN + VALID)
        if slot.base is not None:
            some = ops.not_equal(slot.base, 0)
            values = ops.where(some, values, 0.0)
            code = ops.where(some, code, float(SEEN))
        return self.store.add(slot.ids, ops.stack([values, code], axis=1))


def _wide(values: Any) -> Any:
    kind = backend.standardize_dtype(values.dtype)
    return values if kind == "float64" else ops.cast(values, "float32")
