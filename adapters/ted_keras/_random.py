"""Random numbers of a model's layers in a saved state: no file of Keras has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

from ted_core.checkpoint import array_field
from ted_core.errors import warn_caller
from ted_core.typing import State
from ted_keras._backends import adapt

_LAYERS, _GENERATOR = "ted_keras.random.layers", "ted_keras.random.generator"
FIELDS = frozenset({_LAYERS, _GENERATOR})


def _layers(model: Any) -> list[Any]:
    """Return the variables in which dropout, noise and augmentation layers count."""
    return [one for one in model.variables if one.name == "seed_generator_state"]


def random_fields(model: Any) -> State:
    """Return the random states of a model's layers, and of the backend if it has one.

    PyTorch's dropout draws from the generator of the process. A model without random
    layers has no fields.
    """
    layers = [ops.convert_to_numpy(one) for one in _layers(model)]
    if not layers:
        return {}
    state: State = {_LAYERS: np.array(layers, "<i8")}
    generator = adapt().random_state()
    return state if generator is None else {**state, _GENERATOR: generator}


def check_random(fields: Mapping[str, Any]) -> None:
    """Refuse fields that no random layer can have."""
    if _LAYERS in fields:
        rows = np.shape(fields[_LAYERS])[:1] or (0,)
        array_field(fields, _LAYERS, np.empty((*rows, 2), np.int64))
    if _GENERATOR in fields:
        size = np.size(fields[_GENERATOR])
        array_field(fields, _GENERATOR, np.empty(size, np.uint8))


def restore_random(model: Any, fields: Mapping[str, Any]) -> None:
    """Let the layers go on as they were, or warn that there are more or fewer."""
    if _LAYERS not in fields:
        return  # of an older version, or of a model without random layers
    layers, saved = _layers(model), fields[_LAYERS]
    if len(layers) != len(saved):
        msg = (
            f"`model` should have {len(saved)} random layers, as when the session was "
            f"saved, got {len(layers)}: dropout, noise and augmentation begin anew"
        )
        warn_caller(msg)
        return
    for layer, value in zip(layers, saved, strict=True):
        layer.assign(value)
    if _GENERATOR in fields:
        adapt().set_random_state(fields[_GENERATOR])
