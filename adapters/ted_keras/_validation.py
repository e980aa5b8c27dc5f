"""Checks at the door of a session, and defaults that depend on the backend."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Mapping
from typing import Any, Never

import keras
from keras import backend

from ted_core import EpochError, TedWarning
from ted_keras.objective import ACTIVATIONS

__all__ = [
    "check_activation",
    "check_count",
    "check_fit",
    "check_model",
    "check_workers",
    "default_multiple",
    "needs_short_look",
    "refuse_idle",
    "warn_shapes",
]


_MOST = 2**31


def check_model(model: object) -> None:
    """Refuse what is no model."""
    if not isinstance(model, keras.Model):
        msg = f"`model` must be a keras.Model, got {type(model).__name__}"
        raise TypeError(msg)


def check_activation(activation: object) -> None:
    """Refuse an activation that cannot be undone."""
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        msg = f"`activation` must be one of {', '.join(ACTIVATIONS)}, got "
        raise ValueError(msg + repr(activation))


def check_count(name: str, value: Any, *, minimum: int = 1) -> int:
    """Return a count as int, or refuse it."""
    try:
        count = operator.index(value)
    except TypeError:
        count = None
    if count is None or isinstance(value, bool):
        msg = f"`{name}` must be an integer, got {value!r}"
        raise TypeError(msg)
    if not minimum <= count < _MOST:
        msg = f"`{name}` must be in [{minimum}, 2^31), got {count}"
        raise ValueError(msg)
    return count


def check_workers(
    *,
    workers: object = 1,
    use_multiprocessing: object = False,
    max_queue_size: object = 10,
) -> None:
    """Refuse what Keras takes and fails over later."""
    check_count("workers", workers, minimum=0)
    check_count("max_queue_size", max_queue_size)
    if not isinstance(use_multiprocessing, bool):
        msg = (
            f"`use_multiprocessing` must be True or False, got {use_multiprocessing!r}"
        )
        raise TypeError(msg)


def check_fit(
    model: object, fitted: object, params: Mapping[str, Any], epochs: int
) -> None:
    """Refuse a fit of another model, or of another number of epochs."""
    if fitted is not model:
        msg = "`fit` must be that of the model given to TED, got another model's"
        raise EpochError(msg)
    if params["epochs"] != epochs:
        msg = (
            f"`epochs` of `fit` must be those of TED, {epochs}, got "
            f"{params['epochs']}; the schedule ends with the run"
        )
        raise EpochError(msg)


def default_multiple(model: Any, batch_size: int) -> int:
    """Return the batch size where each batch shape is compiled, 1 elsewhere."""
    if backend.backend() == "jax":
        return batch_size
    if model.compiled:
        return batch_size if model.jit_compile else 1
    # On an accelerator, TensorFlow will compile by itself.
    return batch_size if _has_accelerator() else 1


def warn_shapes(model: Any, multiple_of: int, batch_size: int) -> None:
    """Warn of a step that will be compiled for many a batch shape."""
    if model.jit_compile and multiple_of % batch_size:
        msg = (
            f"`multiple_of`={multiple_of} makes a last batch of another size in many "
            "an epoch, for each of which the step is compiled; give "
            f"multiple_of={batch_size}, the batch size"
        )
        warnings.warn(msg, TedWarning, stacklevel=2)


def needs_short_look(model: Any) -> bool:
    """Tell whether Keras reads a batch before training, and workers read on."""
    if backend.backend() != "tensorflow":
        return True
    return bool(model.distribute_strategy.num_replicas_in_sync > 1)


def _has_accelerator() -> bool:
    if backend.backend() != "tensorflow":
        return False
    return bool(keras.distribution.list_devices("gpu"))


def refuse_idle() -> Never:
    """Refuse an epoch that no callback has begun."""
    msg = (
        "`ted.data` must be read by `model.fit(ted.data, callbacks=[ted])`, got an "
        "epoch that no callback has begun; add `callbacks=[ted]`, or evaluate on "
        "data of your own"
    )
    raise EpochError(msg)
