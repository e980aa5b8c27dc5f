"""Which output of a model is scored, with which loss, made by what."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops, tree

from ted_keras.losses import per_sample, rank_of, reduction_of, resolve, tokens_of

__all__ = [
    "ACTIVATIONS",
    "Objective",
    "expected_activation",
    "last_activation",
]

ACTIVATIONS = ("auto", "linear", "softmax", "sigmoid")


"""What may have made an output."""


_SOFTMAX = {
    "categorical_crossentropy",
    "sparse_categorical_crossentropy",
    "categorical_focal_crossentropy",
    "kl_divergence",
}


_SIGMOID = {"binary_crossentropy", "binary_focal_crossentropy"}


def expected_activation(loss: Any, y: Any, outputs: Any) -> str | None:
    """Return what a loss takes its inputs for.

    Parameters
    ----------
    loss : str, callable or keras.losses.Loss
        What a model is compiled with.
    y, outputs : tensor, shape (B, ...)
        Targets and outputs; only their shapes count.

    Returns
    -------
    {"linear", "softmax", "sigmoid"} or None
        "linear" for logits; None where the loss does not tell.

    Examples
    --------
    >>> import keras
    >>> from ted_keras.objective import expected_activation
    >>> expected_activation("binary_crossentropy", None, None)
    'sigmoid'
    """
    found = resolve(loss, y, outputs)
    name = getattr(getattr(found, "fn", found), "__name__", "")
    if name not in _SOFTMAX | _SIGMOID:
        return None
    if isinstance(found, keras.losses.Loss) and found.get_config().get("from_logits"):
        return "linear"
    return "softmax" if name in _SOFTMAX else "sigmoid"


def last_activation(model: Any, output: str | None = None) -> str:
    """Return the activation of the layer that an output comes from.

    Parameters
    ----------
    model : keras.Model
        A Sequential or Functional model; of another nothing is known.
    output : str, optional
        Name of the output; the last layer's without one.

    Returns
    -------
    {"linear", "softmax", "sigmoid"}
        "linear" where it is none of the others.

    Examples
    --------
    >>> import keras
    >>> from ted_keras.objective import last_activation
    >>> last_activation(keras.Sequential([keras.layers.Dense(3, "softmax")]))
    'softmax'
    """
    if not isinstance(model, keras.Sequential) and not hasattr(model, "output_names"):
        return "linear"
    layer = model.layers[-1]
    if output is not None and output in {one.name for one in model.layers}:
        layer = model.get_layer(output)
    if isinstance(layer, keras.layers.Softmax):
        return "softmax"
    if isinstance(layer, keras.layers.Wrapper):
        layer = layer.layer
    if isinstance(layer, keras.Model):
        return last_activation(layer)
    function = getattr(layer, "activation", None)
    for name in ("softmax", "sigmoid"):
        if function is getattr(keras.activations, name):
            return name
    return "linear"


class Objective:
    """One output of a compiled model, its loss and its activation.

    Parameters
    ----------
    model : keras.Model
        Compiled.
    output : str, optional
        Name of the output; needed if there are several.
    activation : {"auto", "linear", "softmax", "sigmoid"}, default "auto"
        What made the output. "auto" asks the loss, then the model's last layer.

    Attributes
    ----------
    overridden : bool
        Whether the model's class has a ``compute_loss`` of its own.
    reduction : {"mean", "sum"}
        How Keras reduces the losses over the batch.

    Raises
    ------
    ValueError
        There is no such output, or the loss cancels 1 / r_t.

    Examples
    --------
    >>> import keras
    >>> from ted_keras.objective import Objective
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> model.compile(loss="mse")
    >>> Objective(model).reduction
    'mean'
    """

    def __init__(
        self, model: Any, *, output: str | None = None, activation: str = "auto"
    ) -> None:
        self._model, self._output, self._activation = model, output, activation
        self._names = list(getattr(model, "output_names", None) or [])
        self.overridden = type(model).compute_loss is not keras.Model.compute_loss
        losses = [] if self.overridden else tree.flatten(model.loss)
        kinds = {reduction_of(loss) for loss in losses if loss is not None}
        if len(kinds) > 1:
            msg = "`reduction` must be the same for all losses, got 'sum' and a mean"
            raise ValueError(msg)
        self.reduction = kinds.pop() if kinds else "mean"

    def pick(self, values: Any) -> Any:
        """Return the scored output's part of outputs, targets or losses.

        Parameters
        ----------
        values : tensor, or dict, list or tuple of tensors
            One part for each output.

        Returns
        -------
        tensor
            The part.

        Raises
        ------
        ValueError
            `output` names none of them.
        """
        if isinstance(values, dict):
            names = list(values)
        elif isinstance(values, list | tuple):
            names = self._names
            if len(names) != len(values):
                names = [str(place) for place in range(len(values))]
        else:
            return values
        if self._output is None and len(names) == 1:
            name = names[0]
        elif self._output in names:
            name = self._output
        else:
            msg = f"`output` must be one of {', '.join(names)}, got {self._output!r}"
            raise ValueError(msg)
        return values[name] if isinstance(values, dict) else values[names.index(name)]

    def put(self, values: Any, part: Any) -> Any:
        """Return outputs with the scored one replaced.

        Parameters
        ----------
        values : tensor, or nested structure of tensors
            Outputs.
        part : tensor
            Takes the place of the scored one.

        Returns
        -------
        tensor, or nested structure of tensors
            A new structure.
        """
        old = self.pick(values)
        return tree.map_structure(lambda leaf: part if leaf is old else leaf, values)

    def spread(self, y: Any, y_pred: Any, weights: Any) -> Any:
        """Return weights of the samples in the shapes that Keras multiplies with.

        Parameters
        ----------
        y, y_pred : tensor, or nested structure of tensors
            Targets and outputs.
        weights : tensor of float, shape (B,), or None
            Weight of each sample.

        Returns
        -------
        tensor of float, shape (B, 1, ...), or structure of them, or None
            As many axes as the losses of each output have.
        """
        if weights is None or self.overridden:
            return weights
        if isinstance(y_pred, dict):
            names = list(y_pred)
        elif isinstance(y_pred, list | tuple):
            names = self._names or [str(place) for place in range(len(y_pred))]
        else:
            loss, target = self._loss(), self._target(y)
            return _widen(weights, y_pred, rank_of(loss, target, y_pred))
        parts = []
        for name in names:
            one = Objective(self._model, output=name)
            loss = one.pick(self._model.loss)
            rank = 1
            if loss is not None:
                rank = rank_of(loss, one.pick(y), one.pick(y_pred))
            parts.append(_widen(weights, one.pick(y_pred), rank))
        if all(part is weights for part in parts):
            return weights
        return tree.pack_sequence_as(y_pred, parts)

    def tokens(self, y: Any, outputs: Any) -> Any:
        """Return which elements of the loss count; see `tokens.tokens_of`.

        Parameters
        ----------
        y : tensor, or nested structure of tensors
            Targets of the batch.
        outputs : tensor of float, shape (B, ...)
            The scored output.

        Returns
        -------
        tensor of float32, shape (B, T), or None
            1 where an element counts; None for all.
        """
        return tokens_of(self._loss(), self._target(y), outputs)

    def losses(self, y: Any, outputs: Any, tokens: Any) -> Any:
        """Return each sample's loss; see :func:`ted_keras.losses.per_sample`.

        Parameters
        ----------
        y : tensor, or nested structure of tensors
            Targets of the batch.
        outputs : tensor of float, shape (B, ...)
            The scored output.
        tokens : tensor of float, shape (B, ...), or None
            What :meth:`tokens` returned.

        Returns
        -------
        tensor of float, shape (B,)
            Losses.
        """
        return per_sample(self._loss(), self._target(y), outputs, tokens)

    def activation(self, y: Any, outputs: Any) -> str:
        """Return what made the scored output.

        Parameters
        ----------
        y : tensor, or nested structure of tensors
            Targets of the batch.
        outputs : tensor of float, shape (B, ...)
            The scored output.

        Returns
        -------
        {"linear", "softmax", "sigmoid"}
            What the mask gradient has to undo.
        """
        if self._activation != "auto":
            return self._activation
        told = None
        if not self.overridden:
            told = expected_activation(self._loss(), self._target(y), outputs)
        return told or last_activation(self._model, self._output)

    def _loss(self) -> Any:
        loss = self.pick(self._model.loss)
        if loss is None:
            msg = f"`output` must have a loss, got {self._output!r} with None"
            raise ValueError(msg)
        return loss

    def _target(self, y: Any) -> Any:
        return self.pick(y)


def _widen(weights: Any, outputs: Any, rank: int) -> Any:
    if rank == 1:
        return weights
    for _ in range(rank - 1):
        weights = ops.expand_dims(weights, axis=-1)
    return ops.broadcast_to(weights, ops.shape(outputs)[:rank]) * 1.0
