"""What a session does in a training step: score each sample, scale the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import backend, ops

from ted_core.config import RunConfig
from ted_core.signals import INPUTS
from ted_keras._backends import adapt
from ted_keras._batch_columns import Columns
from ted_keras._objective import Objective
from ted_keras._signals import signal_values
from ted_keras.masks import Mask, mask_gradient, pre_activation

SEEN, VALID = 1, 256
"""What a sample adds to its code: when it comes by, and when its value counts."""


class Recorder:
    """Write each sample's value to the store, from within the compiled step.

    The store holds a sum of values and a code that counts, 8 bytes a sample. A strategy
    that ranks nothing keeps values too, for reports. Without a `mask` the site is the
    pre-activation of the scored output. `recording` says whether steps are a
    training's: Keras looks at a first batch before.
    """

    def __init__(
        self, model: Any, objective: Objective, config: RunConfig, *, mask: Mask | None
    ) -> None:
        self._backend = adapt()
        self.store = self._backend.Store(config.n, model)
        self.objective, self._signal = objective, config.signal
        strategy = getattr(model, "distribute_strategy", None)
        self._replicas = getattr(strategy, "num_replicas_in_sync", 1)
        # Whether the last layer adds a bias: as good as yes where nothing is known.
        layers = getattr(model, "layers", None) or [model]
        self._bias = bool(getattr(layers[-1], "use_bias", True))
        self._inner = self._signal == "mask_gradient" and mask is not None
        used = self._inner or "hidden" in INPUTS[self._signal]
        self.mask = mask if used else None
        self.recording = False
        self._open: tuple[Columns, Any] | None = None
        self._hidden = self._upstream = None

    def step(
        self, total: Callable[..., Any], x: Any, y: Any, y_pred: Any, columns: Columns
    ) -> Any:
        """Record a batch, and return the scaled loss (Eq. 23) that is trained on.

        `total` is the model's own loss, of x, y, y_pred and weights. At the output one
        more evaluation of the loss and its gradient there, never of the network.
        """
        weights = self.objective.broadcast_weights(y, y_pred, columns.weights)
        made = total(x, y, y_pred, weights)
        if not self._inner:
            zero = self._write(columns, self._values(total, x, y, y_pred))
            return made + ops.cast(zero, made.dtype)
        share = self._share(columns.scale, y, self.objective.pick(y_pred))
        self._open = columns, ops.cast(columns.weights, "float32") * share
        return self._backend.tap(made, self._see_total)

    def tap(self, hidden: Any) -> Any:
        """Return a mask layer's input, whose backward records."""
        if not self._inner:
            self._hidden = ops.stop_gradient(hidden)
            return hidden
        return self._backend.tap(hidden, self._see_mask)

    def release_tensors(self) -> None:
        """Let go of the last step's tensors."""
        self._open = self._upstream = self._hidden = None

    def _values(self, total: Callable[..., Any], x: Any, y: Any, y_pred: Any) -> Any:
        """Return the signal at the scored output, shape (B,)."""
        objective, outputs = self.objective, self.objective.pick(y_pred)
        tokens = objective.tokens(y, outputs)
        outputs = _wide(outputs)
        if self._signal == "loss":
            return objective.losses(y, outputs, tokens)
        if self._signal != "mask_gradient":
            hidden = None if self._hidden is None else _wide(self._hidden)
            kind, target = objective.activation(y, outputs), objective.pick(y)
            return signal_values(
                self._signal, target, outputs, kind, hidden, bias=self._bias
            )

        def scored(at: Any) -> Any:
            if not objective.overridden:
                return ops.sum(objective.losses(y, at, tokens))
            batch = ops.cast(ops.shape(at)[0] * self._replicas, at.dtype)
            return total(x, y, objective.replace(y_pred, at), None) * batch

        at, gradient = self._backend.gradient(scored, outputs)
        kind = objective.activation(y, at)
        if kind != "linear":
            at, gradient = pre_activation(at, gradient, activation=kind)
        return mask_gradient(at, gradient)

    def _share(self, rows: Any, y: Any, outputs: Any) -> Any:
        """Return what the total's reduction multiplies each sample's loss with."""
        if not self.objective.overridden and self.objective.reduction == "sum":
            return 1.0
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
        columns, weights = self._open
        factor = weights * ops.cast(self._upstream, "float32")
        some = ops.not_equal(factor, 0)
        values = mask_gradient(hidden, gradient)
        values = values / ops.where(some, ops.absolute(factor), 1.0)
        return self._write(columns, values)

    def _write(self, columns: Columns, values: Any) -> Any:
        """Write values to the store; return a 0 for the step's result to depend on."""
        values = ops.cast(values, "float32")
        code = ops.ones_like(values) * (SEEN + VALID)
        if columns.user_weights is not None:
            some = ops.not_equal(columns.user_weights, 0)
            values = ops.where(some, values, 0.0)
            code = ops.where(some, code, float(SEEN))
        return self.store.add(columns.ids, ops.stack([values, code], axis=1))


def _wide(values: Any) -> Any:
    """Return half precision as float32."""
    kind = backend.standardize_dtype(values.dtype)
    return values if kind == "float64" else ops.cast(values, "float32")
