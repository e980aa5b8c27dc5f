"""What a session does in a training step: score each sample, scale the loss."""

from __future__ import annotations

from typing import Any

from keras import backend, ops, tree

from ted_core import EpochError
from ted_core.config import RunConfig
from ted_core.signals import INPUTS
from ted_keras._backends import adapt
from ted_keras._batch_columns import Columns
from ted_keras._objective import Objective
from ted_keras._signals import signal_values
from ted_keras._validation import own_train_step
from ted_keras.masks import Mask, mask_gradient, pre_activation

SEEN, VALID = 1, 256
"""What a sample adds to its code: when it comes by, and when its value counts."""


class Recorder:
    """Write each sample's value to the store, from within the compiled step.

    The store holds a sum of values and a code that counts, 8 bytes a sample. A strategy
    that ranks nothing keeps values too, for reports. Without a `mask` the site is the
    pre-activation of the scored output.
    """

    def __init__(
        self, model: Any, objective: Objective, config: RunConfig, *, mask: Mask | None
    ) -> None:
        self._backend = adapt()
        self.store = self._backend.Store(config.n, model)
        self.objective, self._signal, self._model = objective, config.signal, model
        strategy = getattr(model, "distribute_strategy", None)
        self._replicas = getattr(strategy, "num_replicas_in_sync", 1)
        # Whether the last layer adds a bias: as good as yes where nothing is known.
        layers = getattr(model, "layers", None) or [model]
        self._bias = bool(getattr(layers[-1], "use_bias", True))
        self._inner = self._signal == "mask_gradient" and mask is not None
        used = self._inner or "hidden" in INPUTS[self._signal]
        self._mask = mask if used else None
        if self._mask is not None:
            self._mask._recorder = self  # noqa: SLF001 - our own layer
        self.recording = self._sums = False
        self._open: tuple[Columns, Any, Any] | None = None
        self._hidden = self._upstream = self._last_rows = None

    def start(self) -> None:
        """Record from now on: Keras looks at a first batch before it trains."""
        self.recording, self._sums = True, self.objective.reduction == "sum"

    def step(self, x: Any, y: Any, y_pred: Any, columns: Columns) -> Any:
        """Record a batch, and return the scaled loss (Eq. 23) that is trained on.

        At the output one more evaluation of the loss and its gradient there, never of
        the network.
        """
        if columns.rows is self._last_rows:
            msg = (
                "`train_step` must call `compute_loss` once a step, got a second call "
                "for the same batch; a step with two passes (SAM, say) computes the "
                "loss of one of them without it"
            )
            raise EpochError(msg)
        self._last_rows = columns.rows
        objective, outputs = self.objective, self.objective.pick(y_pred)
        weights = objective.broadcast_weights(y, y_pred, columns.weights)
        made = objective.total(x, y, y_pred, weights)
        tokens = objective.tokens(y, outputs)
        if not self._inner:
            zero = self._write(columns, self._values(x, y, y_pred, tokens), tokens)
            return made + ops.cast(zero, made.dtype)
        factor = ops.cast(columns.weights, "float32")
        self._open = columns, factor * self._share(factor, tokens), tokens
        return self._backend.tap(made, self._see_total)

    def tap(self, hidden: Any) -> Any:
        """Return a mask layer's input, whose backward records."""
        if not self._inner:
            self._hidden = ops.stop_gradient(hidden)
            return hidden
        return self._backend.tap(hidden, self._see_mask)

    def release(self) -> None:
        """Let go of the mask layer and of the last step's tensors."""
        if self._mask is not None:
            self._mask._recorder = None  # noqa: SLF001
        self._open = self._upstream = self._hidden = self._last_rows = None

    @property
    def silence(self) -> str:
        """Why the steps of a whole epoch may have written nothing."""
        if own_train_step(self._model):
            return (
                f"`train_step` of {type(self._model).__name__} must call "
                "`self.compute_loss(x, y, y_pred, sample_weight)` with the weights "
                "that its data came with"
            )
        if self._mask is not None:
            return (
                "a Mask where no gradient arrives, on the model's input say, records "
                "nothing: put it behind a trained layer"
            )
        return "`fit` must call the model's `compute_loss` with its data's weights"

    def _values(self, x: Any, y: Any, y_pred: Any, tokens: Any) -> Any:
        """Return the signal at the scored output, shape (B,)."""
        objective, picked = self.objective, self.objective.pick(y_pred)
        outputs = _wide(picked)
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
            made = tree.map_structure(lambda z: at if z is picked else z, y_pred)
            return objective.total(x, y, made, None) * batch

        at, gradient = self._backend.gradient(scored, outputs)
        kind = objective.activation(y, at)
        if kind != "linear":
            at, gradient = pre_activation(at, gradient, activation=kind)
        return mask_gradient(at, gradient)

    def _share(self, rows: Any, tokens: Any) -> Any:
        """Return what the total's reduction multiplies each sample's loss with."""
        if self._sums:
            return 1.0
        if tokens is None:
            return 1 / ops.cast(ops.shape(rows)[0] * self._replicas, "float32")
        counts = _counted(tokens)
        return counts / (ops.sum(counts) * self._replicas)

    def _see_total(self, total: Any, upstream: Any) -> Any:
        del total
        self._upstream = upstream  # 1, times the factor of mixed precision
        return 0.0

    def _see_mask(self, hidden: Any, gradient: Any) -> Any:
        if self._open is None:
            return 0.0  # not a step of a session
        columns, weights, tokens = self._open
        factor = weights * ops.cast(self._upstream, "float32")
        some = ops.not_equal(factor, 0)
        values = mask_gradient(hidden, gradient)
        values = values / ops.where(some, ops.absolute(factor), 1.0)
        return self._write(columns, values, tokens)

    def _write(self, columns: Columns, values: Any, tokens: Any) -> Any:
        """Write values to the store; return a 0 for the step's result to depend on.

        A sample of weight 0, or without a token that counts, comes without a value.
        """
        values = ops.cast(values, "float32")
        code = ops.ones_like(values) * (SEEN + VALID)
        given = columns.user_weights, None if tokens is None else _counted(tokens)
        for weight in given:
            if weight is not None:
                some = ops.not_equal(weight, 0)
                values = ops.where(some, values, 0.0)
                code = ops.where(some, code, float(SEEN))
        return self.store.add(columns.ids, ops.stack([values, code], axis=1))


def _counted(tokens: Any) -> Any:
    """Return how many tokens of each sample count, shape (B,)."""
    return ops.sum(tokens, axis=tuple(range(1, len(tokens.shape))))


def _wide(values: Any) -> Any:
    """Return half precision as float32."""
    kind = backend.standardize_dtype(values.dtype)
    return values if kind == "float64" else ops.cast(values, "float32")
