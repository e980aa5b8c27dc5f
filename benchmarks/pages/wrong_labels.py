"""How many of the samples kept most often have a wrong label: digits, labels planted.

``python benchmarks/pages/wrong_labels.py`` trains, writes the record, and from it the
picture and the table of ``docs/method/wrong_labels.md``; ``--page`` does not train.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from gallery_pages import grouped, markdown, spread
from gallery_records import write_record
from gallery_themes import write_pictures
from gallery_training import PRUNE_RATIO, TRAINING, epoch, load, network
from matplotlib.figure import Figure
from torch.utils.data import TensorDataset

import ted_core as ted

__all__ = ["CONFIG", "PAGE", "RECORD", "page"]

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "benchmarks/paper/records/wrong_labels.json"
PAGE = ROOT / "docs/method/wrong_labels.md"
PICTURE = PAGE.with_suffix(".svg")
BEGIN = "<!-- table: benchmarks/pages/wrong_labels.py --page -->\n"
END = "<!-- end of table -->"
RUNS = {
    "TED": {"signal": "mask_gradient", "strategy": ted.TopScore()},
    "TED on loss": {"signal": "loss", "strategy": ted.TopScore()},
    "random draw": {
        "signal": "loss",
        "strategy": ted.Random(),
        "reduction": ted.Mean(),
    },
    "all data": {
        "signal": "loss",
        "strategy": ted.Random(),
        "reduction": ted.Mean(),
        "schedule": ted.Constant(0),
    },
}
ROWS = {
    "TED, kept most often": ("TED", "kept"),
    "TED, highest score": ("TED", "score"),
    "TED on loss, kept most often": ("TED on loss", "kept"),
    "TED on loss, highest score": ("TED on loss", "score"),
    "random selection, highest mean loss": ("random draw", "score"),
    "all data, highest mean loss": ("all data", "score"),
}
CONFIG = {key: TRAINING[key] for key in ("data", "batch_size", "optimizer")} | {
    "network": "64 inputs, 64 ReLU, 10 logits",
    "epochs": TRAINING["epochs"],
    "prune_ratio": PRUNE_RATIO,
    "seeds": 5,
    "shares": [0.05, 0.1],
    "k": [10, 30],
    "pictures": 24,
}


def plant(labels, share, seed):
    """Return labels of which a share is wrong, and which those are."""
    rng = np.random.default_rng([seed, 7])
    wrong = rng.choice(labels.size, round(share * labels.size), replace=False)
    planted = labels.copy()
    planted[wrong] = (labels[wrong] + rng.integers(1, 10, size=wrong.size)) % 10
    return planted, np.sort(wrong)


def train(data, name, seed):
    """Train a network and return its run's table of samples."""
    options = {"prune_ratio": PRUNE_RATIO} | RUNS[name]
    if "schedule" in options:
        del options["prune_ratio"]
    epochs = CONFIG["epochs"]
    pruner = ted.Pruner(len(data), epochs=epochs, seed=seed, **options)
    torch.manual_seed(seed)
    model = network(64)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4
    )
    while not pruner.finished:
        plan = pruner.plan()
        observed = epoch(model, optimizer, data, plan)
        pruner.observe(plan.order, ted.signals.compute(options["signal"], **observed))
        pruner.advance()
    return ted.sample_table(pruner)


def measure():
    """Train every run and write the record."""
    train_set, _ = load()
    pixels, labels = train_set.tensors[0], train_set.tensors[1].numpy()
    runs, shown = [], []
    for share in CONFIG["shares"]:
        for seed in range(CONFIG["seeds"]):
            planted, wrong = plant(labels, share, seed)
            data = TensorDataset(pixels, torch.tensor(planted))
            for name in RUNS:
                table = train(data, name, seed)
                bad = np.isin(table.ids, wrong)
                visits = [
                    round(float(table.update_counts[part].mean()), 3)
                    for part in (bad, ~bad)
                ]
                orders = {
                    "kept": table.ids,
                    "score": table.ids[np.argsort(-table.scores, kind="stable")],
                }
                for order, ids in orders.items():
                    found = np.isin(ids, wrong)
                    at = [*CONFIG["k"], wrong.size]
                    precision = [round(float(found[:k].mean()), 4) for k in at]
                    keys = {"share": share, "run": name, "order": order, "seed": seed}
                    runs.append(keys | {"precision": precision, "visits": visits})
                if (name, seed, share) == ("TED on loss", 0, CONFIG["shares"][0]):
                    shown = table.ids[: CONFIG["pictures"]].tolist()
            print(share, seed, flush=True)
    write_record(RECORD, CONFIG, shown, runs)


def table(record):
    """Return the page's table: a line for each ranking and share."""
    head = ["wrong labels", "ranking"]
    head += [f"precision at {k}, %" for k in CONFIG["k"]] + ["at their number, %"]
    head += ["epochs kept, wrong labels", "others"]
    rows = []
    for share, runs in grouped(record["runs"], "share"):
        for title, (name, order) in ROWS.items():
            own = [r for r in runs if (r["run"], r["order"]) == (name, order)]
            columns = zip(*(run["precision"] for run in own), strict=True)
            cells = [spread([100 * p for p in column], 1) for column in columns]
            kept = np.mean([run["visits"] for run in own], axis=0)
            cells += [f"{value:.1f}" for value in kept]
            rows.append([f"{share:.0%}", title, *cells])
    return markdown(record, head, rows, seeds=record["config"]["seeds"])


def draw(record, ink):
    """Draw the samples that were kept most often, with the labels they had."""
    train_set, _ = load()
    labels = train_set.tensors[1].numpy()
    planted, _ = plant(labels, record["config"]["shares"][0], 0)
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    for axes, k in zip(figure.subplots(3, 8).flat, record["shown"], strict=True):
        axes.imshow(train_set.tensors[0][k].reshape(8, 8), cmap="gray_r")
        axes.set_axis_off()
        wrong = planted[k] != labels[k]
        text = f"{planted[k]}, was {labels[k]}" if wrong else f"{planted[k]}"
        colour = {"color": "#D55E00", "weight": "bold"} if wrong else {"color": ink}
        axes.set_title(text, **colour)
    return figure


def page(text, record):
    """Return the page's text with its table made anew from the record."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table(record)}\n{END}{after}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--page", action="store_true", help="do not train anew")
    torch.set_num_threads(1)
    if not parser.parse_args().page:
        measure()
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(page(text, record), encoding="utf-8")
    write_pictures(record, PAGE.parent, {PAGE.stem: draw})


if __name__ == "__main__":
    main()
