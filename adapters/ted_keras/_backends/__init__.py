"""The backend that Keras was started with: one module for each."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from keras import backend

_MODULES = ("tensorflow", "jax", "torch")


def adapt() -> Any:
    """Return the module of the backend in use, which holds what differs."""
    name = backend.backend()
    if name not in _MODULES:
        msg = f"`KERAS_BACKEND` must be one of {', '.join(_MODULES)}, got {name!r}"
        raise ValueError(msg)
    return import_module(f"ted_keras._backends.{name}")
