"""Watch a JAX training: the calls of its jitted step, and what the last returned."""

from __future__ import annotations

import functools
import inspect
import os

import jax
import numpy as np


def watch(killed_after):
    """Count the rows of the step's `batch`, and return what makes the account."""
    steps, samples, last, jit = 0, 0, [], jax.jit

    def watched(function, *args, **kwargs):
        compiled = jit(function, *args, **kwargs)
        if getattr(function, "__name__", "") != os.environ["TED_STEP"]:
            return compiled
        of_step = inspect.signature(function)

        @functools.wraps(function)
        def step(*args, **kwargs):
            nonlocal steps, samples
            given = of_step.bind(*args, **kwargs).arguments["batch"]
            found = compiled(*args, **kwargs)
            last[:] = jax.tree.leaves(found)
            steps, samples = steps + 1, samples + len(jax.tree.leaves(given)[0])
            killed_after(steps)
            return found

        return step

    jax.jit = watched
    return lambda: {
        "forwarded": samples,
        "steps": steps,
        "rate": [],
        "weights": [np.asarray(leaf) for leaf in last],
    }
