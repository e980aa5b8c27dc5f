"""Run named checks in one process and print how each ended, as JSON."""

from __future__ import annotations

import json
import sys
import time
import traceback
import warnings
from importlib import import_module

MODULES = (
    "values",
    "observed",
    "epochs",
    "resume",
    "logs",
    "models",
    "inputs",
    "weighing",
    "compiling",
    "adapter",
)
# What differs with the backend: a step's values, its lengths of epochs, its states.
ON_EVERY_BACKEND = ("values", "weighing", "epochs", "resume", "adapter")


def checks(modules=MODULES):
    """Return every check by name."""
    found = {}
    for name in modules:
        module = import_module(f"keras_checks.{name}")
        found |= {f"{name}.{check.__name__}": check for check in module.CHECKS}
    return found


def run(names):
    """Return for each check its traceback or None, its seconds, what it returned."""
    known = checks(sorted({name.partition(".")[0] for name in names}))
    ended = {}
    for name in names:
        begun = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)
                returned = known[name]()
            said = None
        except Exception:  # noqa: BLE001 - whatever it was is the result
            said, returned = traceback.format_exc(), None
        ended[name] = said, round(time.perf_counter() - begun, 2), returned
    return ended


def split_the_cpu():
    """Give TensorFlow two CPUs; only before anything else uses it."""
    config = import_module("tensorflow").config
    config.set_logical_device_configuration(
        config.list_physical_devices("CPU")[0],
        [config.LogicalDeviceConfiguration()] * 2,
    )


if __name__ == "__main__":
    if any(name.startswith("replicas.") for name in sys.argv):
        split_the_cpu()
    results = run(sys.argv[1:] or list(checks()))
    sys.stdout.write("\n" + json.dumps(results) + "\n")
