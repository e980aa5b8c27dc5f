"""Validation of a session's model and fit, and what depends on the backend."""

from __future__ import annotations

import warnings
from typing import Any

import keras
from keras import backend

from ted_core import EpochError, TedWarning
from ted_core._validation import check_int


def check_model(model: object) -> None:
    """Refuse what is no model."""
    if not isinstance(model, keras.Model):
        msg = f"`model` must be a keras.Model, got {type(model).__name__}"
        raise TypeError(msg)


def check_count(name: str, value: object, *, minimum: int = 1) -> int:
    """Return a count as int, or refuse it."""
    return check_int(name, value, minimum=minimum, maximum=2**31 - 1)


def check_fit(model: object, fitted: object, fit_epochs: int, epochs: int) -> None:
    """Refuse a fit of another model, or of another number of epochs."""
    if fitted is not model:
        msg = "`fit` must be that of the model given to TED, got another model's"
        raise EpochError(msg)
    if fit_epochs != epochs:
        msg = (
            f"`epochs` of `fit` must be those of TED, {epochs}, got {fit_epochs}; "
            "the schedule ends with the run"
        )
        raise EpochError(msg)


def warn_of_shapes(model: Any, multiple_of: int, batch_size: int) -> None:
    """Warn of a step that will be compiled for many batch shapes."""
    if model.jit_compile and multiple_of % batch_size:
        msg = (
            f"`multiple_of`={multiple_of} makes a last batch of another size in many "
            "an epoch, for each of which the step is compiled; give "
            f"multiple_of={batch_size}, the batch size"
        )
        warnings.warn(msg, TedWarning, stacklevel=2)


def default_multiple(model: Any, batch_size: int) -> int:
    """Return the batch size where each batch shape is compiled, 1 elsewhere."""
    if backend.backend() == "jax":
        return batch_size
    if model.compiled:
        return batch_size if model.jit_compile else 1
    # On an accelerator, TensorFlow will compile by itself.
    tensorflow = backend.backend() == "tensorflow"
    compiles = tensorflow and keras.distribution.list_devices("gpu")
    return batch_size if compiles else 1


def probes_data(model: Any) -> bool:
    """Tell whether Keras reads a batch before it trains."""
    if backend.backend() != "tensorflow":
        return True
    return bool(model.distribute_strategy.num_replicas_in_sync > 1)
