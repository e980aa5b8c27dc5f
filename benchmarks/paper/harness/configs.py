"""A configuration: one TOML file, a table's data, training, methods and ratios."""

from __future__ import annotations

import tomllib
from pathlib import Path

from harness.methods import METHODS

__all__ = ["read_config", "rows"]

PRUNING = {"prune_ratios": [0.7], "beta": 0.25, "anneal": 0.125}


def read_config(path):
    """Return the configuration with its name, pruning defaults filled in."""
    path = Path(path)
    config = tomllib.loads(path.read_text(encoding="utf-8"))
    config["pruning"] = PRUNING | config.get("pruning", {})
    unknown = [
        name
        for name in config["methods"]
        if name not in METHODS and name not in config.get("variants", {})
    ]
    if unknown:
        message = f"`methods` must be among {', '.join(METHODS)}, got {unknown[0]!r}"
        raise ValueError(message)
    return {"name": path.stem, "metric": "accuracy"} | config


def rows(config):
    """Return the table's rows: (prune ratio, method name, spec), the full run once.

    A variant is a method with other options: ``of`` names the method, TED if it is
    not given.
    """
    pruning = dict(config["pruning"])
    ratios = pruning.pop("prune_ratios")
    variants = config.get("variants", {})
    out = []
    for ratio in ratios:
        for name in config["methods"]:
            own = dict(variants.get(name, {}))
            spec = METHODS[own.pop("of", "TED")] if own else METHODS[name]
            spec = pruning | {"prune_ratio": ratio} | spec | own
            if spec.get("source") == "plain" and "steps of" not in spec:
                row = (
                    0.0,
                    name,
                    {k: spec[k] for k in ("source", "steps") if k in spec},
                )
            else:
                row = (spec["prune_ratio"], name, spec)
            if row not in out:
                out.append(row)
    return out
