"""The backend that Keras was started with: one module for each."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from keras import backend

__all__ = ["adapt"]

_MODULES = ("tensorflow", "jax", "torch")


def adapt() -> Any:
    """Return the module that speaks to the backend in use.

    Returns
    -------
    module
        Has ``gradient``, ``tap`` and ``Store``.

    Raises
    ------
    ValueError
        The backend is none of TensorFlow, JAX and PyTorch.

    Examples
    --------
    >>> from ted_keras.backends import adapt
    >>> hasattr(adapt(), "Store")
    True
    """
    name = backend.backend()
    if name not in _MODULES:
        msg = f"`KERAS_BACKEND` must be one of {', '.join(_MODULES)}, got {name!r}"
        raise ValueError(msg)
    return import_module(f"ted_keras.backends.{name}")
