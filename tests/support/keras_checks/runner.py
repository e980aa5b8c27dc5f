"""Run named checks in one process and print how each ended, as JSON."""

from __future__ import annotations

import json
import sys
import time
import traceback
import warnings
from importlib import import_module

MODULES = ("values",)


def checks(modules=MODULES):
    """Return every check by name."""
    found = {}
    for name in modules:
        module = import_module(f"keras_checks.{name}")
        found |= {f"{name}.{check.__name__}": check for check in module.CHECKS}
    return found


def run(names):
    """Return for each check None or its traceback, and the seconds."""
    known = checks(sorted({name.partition(".")[0] for name in names}))
    ended = {}
    for name in names:
        begun = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)
                known[name]()
            said = None
        except Exception:  # noqa: BLE001 - whatever it was is the result
            said = traceback.format_exc()
        ended[name] = said, round(time.perf_counter() - begun, 2)
    return ended


if __name__ == "__main__":
    results = run(sys.argv[1:] or list(checks()))
    sys.stdout.write("\n" + json.dumps(results) + "\n")
