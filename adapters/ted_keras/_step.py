"""What a session does in a training step: score each sample, scale the loss."""

from __future__ import annotations

from typing import Any

import keras
from keras import backend, ops, tree

from ted_core import EpochError, signals
from ted_core.config import RunConfig
from ted_core.signals import INPUTS, _formulas
from ted_keras._backends import adapt
from ted_keras._batch_columns import Columns
from ted_keras._objective import Objective
from ted_keras._validation import own_train_step
from ted_keras.masks import Mask, mask_gradient, pre_activation, wide

SEEN, WEIGHTLESS = 1, 256
"""What a sample adds to its code: when it comes by, and when it has no value."""

_CLASS_AXES = 2


class Recorder:
    """Write each sample's value to the store, from within the compiled step."""

    # The store holds a sum of values, a code that counts and the sum of the values'
    # weights. A strategy that ranks nothing keeps values too, for reports.

    def __init__(
        self, model: Any, objective: Objective, config: RunConfig, *, mask: Mask | None
    ) -> None:
        self._backend = adapt()
        self.store = self._backend.Store(config.n, model)
        self.objective, self._signal, self._model = objective, config.signal, model
        self._config = config
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
        self.recording = self._sums = self.mixes = False
        self._open: tuple[Columns, Any, Any] | None = None
        self._hidden = self._upstream = self._last_rows = None

    def start(self) -> None:
        """Record from now on: Keras looks at a first batch before it trains."""
        self.recording, self._sums = True, self.objective.reduction == "sum"

    def step(self, x: Any, y: Any, y_pred: Any, columns: Columns) -> Any:
        """Record a batch, and return the scaled loss (Eq. 23) that is trained on."""
        if columns.rows is self._last_rows:
            msg = (
                "`train_step` must call `compute_loss` once a step, got a second call "
                "for the same batch; a step with two passes (SAM, say) computes the "
                "loss of one of them without it"
            )
            raise EpochError(msg)
        self._last_rows = columns.rows
        objective, outputs = self.objective, self.objective.pick(y_pred)
        weights = objective.weigh(y, y_pred, columns.scale, columns.given)
        made = objective.total(x, y, y_pred, weights)
        of_samples, of_elements = objective.given(columns.given)
        tokens, weighed = objective.tokens(y, outputs, of_elements)
        sums = None if weighed is None else _sums(weighed)
        heavy = [ops.not_equal(w, 0) for w in (of_samples, sums) if w is not None]
        if not self._inner:
            # Weights of samples stand in no sample's own loss, those of elements do.
            own = None if of_elements is None else columns.given
            values = self._values(x, y, y_pred, weighed, own)
            return made + ops.cast(self._write(columns, values, heavy), made.dtype)
        factor = columns.scale * self._share(columns.scale, tokens, sums)
        factor = factor if of_samples is None else factor * of_samples
        self._open = columns, ops.cast(factor, "float32"), heavy
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

    def _values(self, x: Any, y: Any, y_pred: Any, tokens: Any, own: Any) -> Any:
        """Return the signal at the scored output, shape (B,)."""
        objective, picked = self.objective, self.objective.pick(y_pred)
        (outputs,) = wide(picked)
        if self._signal == "loss":
            return objective.losses(y, outputs, tokens)
        if self._signal != "mask_gradient":
            hidden = None if self._hidden is None else wide(self._hidden)[0]
            kind, target = objective.activation(y, outputs), objective.pick(y)
            return signal_values(
                self._config, target, outputs, kind, hidden, bias=self._bias
            )

        def scored(at: Any) -> Any:
            if not objective.overridden:
                return ops.sum(objective.losses(y, at, tokens))
            batch = ops.cast(ops.shape(at)[0] * self._replicas, at.dtype)
            made = tree.map_structure(lambda z: at if z is picked else z, y_pred)
            return objective.total(x, y, made, objective.relative(own)) * batch

        kind = objective.activation(y, outputs)
        logits = getattr(picked, "_keras_logits", None)
        if logits is not None and kind in {"softmax", "sigmoid"}:
            # Keras may train from what the activation was given: probabilities near 0
            # would have lost what it is.
            activate = getattr(keras.activations, kind)
            (logits,) = wide(logits)
            at, gradient = self._backend.gradient(lambda z: scored(activate(z)), logits)
            return mask_gradient(at, gradient)
        at, gradient = self._backend.gradient(scored, outputs)
        if kind != "linear":
            at, gradient = pre_activation(at, gradient, activation=kind)
        return mask_gradient(at, gradient)

    def _share(self, rows: Any, tokens: Any, sums: Any) -> Any:
        """Return what the total's reduction multiplies each sample's loss with."""
        if self._sums:
            return 1.0 if sums is None else sums
        if sums is None:
            return 1 / ops.cast(ops.shape(rows)[0] * self._replicas, "float32")
        return sums / (ops.sum(tokens) * self._replicas)

    def _see_total(self, total: Any, upstream: Any) -> Any:
        del total
        self._upstream = upstream  # 1, times the factor of mixed precision
        return 0.0

    def _see_mask(self, hidden: Any, gradient: Any) -> Any:
        if self._open is None:
            return 0.0  # not a step of a session
        columns, factor, heavy = self._open
        factor = factor * ops.cast(self._upstream, "float32")
        some = ops.not_equal(factor, 0)
        values = mask_gradient(hidden, gradient)
        values = values / ops.where(some, ops.absolute(factor), 1.0)
        return self._write(columns, values, heavy)

    def _write(self, columns: Columns, values: Any, heavy: list[Any]) -> Any:
        """Write values to the store; return a 0 for the step's result to depend on."""
        # A sample of weight 0, or without a token that counts, comes without a value.
        values = ops.cast(values, "float32")
        counted, code = ops.ones_like(values), ops.ones_like(values) * SEEN
        for some in heavy:
            values, counted = (ops.where(some, v, 0.0) for v in (values, counted))
        if heavy:
            code = code + WEIGHTLESS * (1 - counted)
        ids, rows = [], []
        for part, share in columns.parts:
            found = [values, code, counted]
            if share is not None:
                self.mixes = True  # known once the step is traced
                drawn = ops.not_equal(share, 0)
                found[0] = ops.where(drawn, values * share, 0.0)
                found[2] = counted * share
                code = ops.zeros_like(code)  # a partner was not forwarded for itself
            ids.append(part)
            rows.append(ops.stack(found, axis=1))
        if len(ids) > 1:
            ids, rows = [ops.concatenate(ids)], [ops.concatenate(rows)]
        return self.store.add(ids[0], rows[0])


def _sums(weights: Any) -> Any:
    """Return the sum of each sample's weights, shape (B,)."""
    return ops.sum(weights, axis=tuple(range(1, len(weights.shape))))


def check_classes(
    config: RunConfig, outputs: Any, activation: str, *, masked: bool
) -> None:
    """Refuse outputs that a signal of classes can't be made of."""
    signal, shape = config.signal, tuple(outputs.shape)
    if signal in {"mask_gradient", "loss"}:
        return
    if len(shape) != _CLASS_AXES or shape[-1] < 2:  # noqa: PLR2004
        raise ValueError(config.no_classes(f"one of shape {shape}"))
    if activation == "sigmoid":
        raise ValueError(config.no_classes(f"sigmoids of shape {shape}"))
    if "hidden" in INPUTS[signal] and not masked:
        msg = f"`model` must have a `ted_keras.Mask()` before its head for {signal!r}"
        raise ValueError(msg)


def signal_values(
    config: RunConfig, y: Any, outputs: Any, activation: str, hidden: Any, *, bias: bool
) -> Any:
    """Return a signal of classes from outputs (B, C); `hidden` is the head's input."""
    check_classes(config, outputs, activation, masked=hidden is not None)
    signal, logits = config.signal, outputs
    if activation == "softmax":
        tiny = 1e-38  # log 0 is none of a class's logits
        logits = ops.log(ops.maximum(outputs, tiny))
    return signals.compute(
        signal,
        logits=logits,
        labels=_one_hot(y, logits) if "labels" in INPUTS[signal] else None,
        hidden=hidden,
        bias=bias,
        xp=ops,
    )


def _one_hot(labels: Any, logits: Any) -> Any:
    """Return labels in the shape of the logits; NaN for a class out of range."""
    labels = ops.convert_to_tensor(labels)
    kind = backend.standardize_dtype(logits.dtype)
    if len(labels.shape) == len(logits.shape) and labels.shape[-1] != 1:
        return ops.cast(labels, kind)
    index = ops.cast(ops.reshape(labels, (-1,)), "int32")
    classes = ops.arange(logits.shape[-1], dtype="int32")
    return _formulas.one_hot(ops, logits, index, classes)
