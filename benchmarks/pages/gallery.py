"""The paper's pictures of the method, remade on scikit-learn's digits.

``python benchmarks/pages/gallery.py`` trains, writes the record, and from it the
pictures and the tables of ``docs/gallery``; ``--only PART`` measures one part anew,
``--pictures`` none, and ``--png FOLDER`` writes the pictures there as PNG, light and
dark, to look at.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from gallery_pages import write_pages
from gallery_themes import write_pictures, write_previews
from gallery_training import EPOCHS, METHODS, PRUNE_RATIO, TRAINING, load, losses, train
from ted_torch.analysis import (
    flat_gradient,
    flat_weights,
    load_flat_weights,
    sample_losses,
)
from torch.utils.data import Subset

import ted_core as ted
from ted_core.analysis import gradient_correlation, loss_along, prune_from, split_losses
from ted_core.demo.engine import machine

__all__ = ["CONFIG", "RECORD"]

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "benchmarks/paper/records/gallery.json"
CONFIG = TRAINING | {
    "seeds": 5,
    "when_to_prune": {
        "seeds": 10,
        "sessions": 4,
        "starts": list(range(0, EPOCHS - 3, 4)),
    },
    "static_prune_ratio": 0.6,
    "gradients": ["random", "ted_loss", "ted"],
    "line": ["full", "random", "ted_loss", "ted", "ted, reversed"],
    "alphas": np.linspace(0, 1.5, 31).round(3).tolist(),
    "schedules": ["Constant", "Linear", "Cosine", "RollerCoaster", "InfoBatch", "full"],
}


def pruned_loss(train_set, test_set):
    """Losses of each method's least visited samples after training (Fig. 1)."""
    n = len(train_set)
    for method in METHODS:
        if method == "full":
            continue
        for seed in range(CONFIG["seeds"]):
            run = train(train_set, method, seed)
            most = ted.top_ids(run.visits, ted.keep_count(n, 1 - PRUNE_RATIO))
            found = sample_losses(run.model, train_set, losses)
            parts = split_losses(found, most)
            yield {
                "method": method,
                "seed": seed,
                "retained": parts.retained.mean,
                "pruned": parts.pruned.mean,
                "all": found.mean(),
                "test": sample_losses(run.model, test_set, losses).mean(),
                "saved": ted.save_ratio(n * EPOCHS, run.forwarded),
            }


def during_training(train_set, test_set):
    """Losses after each epoch with a random 60 % pruned (Fig. 2)."""
    schedule = ted.Constant(CONFIG["static_prune_ratio"], anneal=0)
    for hidden in (0, 64):
        for seed in range(CONFIG["seeds"]):
            rows, test = [], []

            def look(model, plan=None):
                rows.append(sample_losses(model, train_set, losses))  # noqa: B023
                test.append(sample_losses(model, test_set, losses).mean())  # noqa: B023
                if plan is not None:
                    kept[:] = plan.kept  # noqa: B023

            kept = np.empty(ted.keep_count(len(train_set), schedule(0)), int)
            run = train(
                train_set,
                "static random",
                seed,
                schedule=schedule,
                hidden=hidden,
                each_epoch=look,
            )
            look(run.model)
            parts = split_losses(rows, kept)
            yield {
                "hidden": hidden,
                "seed": seed,
                "retained": parts.retained.mean,
                "pruned": parts.pruned.mean,
                "test": test,
            }


def when_to_prune(train_set, _):
    """Loss on all data after a few pruned epochs from t on (Fig. 3)."""
    config = CONFIG["when_to_prune"]
    for start in [None, *config["starts"]]:
        schedule = ted.Constant(0)
        if start is not None:
            options = {"sessions": config["sessions"], "prune_ratio": PRUNE_RATIO}
            schedule = prune_from(start, EPOCHS, **options)
        for seed in range(config["seeds"]):
            for scaled in (False, True):
                run = train(
                    train_set, "random", seed, schedule=schedule, scale_loss=scaled
                )
                loss = sample_losses(run.model, train_set, losses).mean()
                yield {"start": start, "scaled": scaled, "seed": seed, "loss": loss}


def gradients(train_set, _):
    """Correlation of retained and full gradient before each epoch (Fig. 4)."""
    for method in CONFIG["gradients"]:
        for seed in range(CONFIG["seeds"]):
            correlation, norms, scale = [], [], []

            def look(model, plan):
                full = flat_gradient(model, train_set, losses)
                kept = flat_gradient(model, Subset(train_set, plan.kept), losses)
                correlation.append(gradient_correlation(kept, full))  # noqa: B023
                norms.append(np.linalg.norm(kept) / np.linalg.norm(full))  # noqa: B023
                scale.append(1 / plan.keep_ratio)  # noqa: B023

            train(train_set, method, seed, each_epoch=look)
            yield {
                "method": method,
                "seed": seed,
                "correlation": correlation,
                "norm_ratio": norms,
                "inverse_keep_ratio": scale,
            }


def schedules(train_set, test_set):
    """Accuracy and samples saved under each schedule (Fig. 7)."""
    x, y = test_set.tensors
    for name in CONFIG["schedules"]:
        method = name if name in METHODS else "ted"
        own = None if name in METHODS else getattr(ted, name)(PRUNE_RATIO)
        for seed in range(CONFIG["seeds"]):
            run = train(train_set, method, seed, schedule=own)
            with torch.no_grad():
                right = (run.model(x).argmax(1) == y).double().mean()
            saved = ted.save_ratio(len(train_set) * EPOCHS, run.forwarded)
            yield {
                "schedule": name,
                "seed": seed,
                "accuracy": float(right),
                "saved": saved,
            }


def line(train_set, test_set):
    """Train and test loss on the line from theta_1 to theta_T (Fig. 8)."""
    for method in CONFIG["line"]:
        for seed in range(CONFIG["seeds"]):
            run = train(train_set, method, seed)

            def evaluate(theta):
                load_flat_weights(run.model, theta)  # noqa: B023
                return [
                    sample_losses(run.model, data, losses).mean()  # noqa: B023
                    for data in (train_set, test_set)
                ]

            last = flat_weights(run.model)
            both = loss_along(evaluate, run.first, last, CONFIG["alphas"])
            yield {
                "method": method,
                "seed": seed,
                "train": both[:, 0],
                "test": both[:, 1],
            }


PARTS = (pruned_loss, during_training, when_to_prune, gradients, schedules, line)


def plain(value):
    """Return arrays and numbers as JSON has them, to six digits."""
    if isinstance(value, str | int | None):
        return value
    return np.round(value, 6).tolist()


def measure(only):
    """Train, and write the record: one run a line."""
    begun, sets, old = time.perf_counter(), load(), {}
    if only:
        old = json.loads(RECORD.read_text(encoding="utf-8"))
    record = {
        "name": "gallery",
        "config": CONFIG,
        "versions": {"ted-core": ted.__version__, "python": platform.python_version()}
        | {name: version(name) for name in ("numpy", "torch", "scikit-learn")},
        "machine": machine(),
    }
    lines = [f'"{key}": {json.dumps(value)}' for key, value in record.items()]
    for part in PARTS:
        runs = old.get(part.__name__)
        if only in {None, part.__name__}:
            runs = [{k: plain(v) for k, v in run.items()} for run in part(*sets)]
        rows = ",\n ".join(json.dumps(run, ensure_ascii=False) for run in runs)
        lines.append(f'"{part.__name__}": [\n {rows}\n]')
        print(part.__name__, round(time.perf_counter() - begun, 1), "s", flush=True)
    RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=[part.__name__ for part in PARTS])
    parser.add_argument("--pictures", action="store_true", help="do not train anew")
    parser.add_argument("--png", type=Path, help="folder for pictures to look at")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if not (arguments.pictures or arguments.png):
        measure(arguments.only)
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    if arguments.png:
        write_previews(record, arguments.png)
        return
    write_pictures(record, ROOT / "docs/gallery")
    write_pages(record, ROOT / "docs/gallery")


if __name__ == "__main__":
    main()
