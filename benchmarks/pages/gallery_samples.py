"""Which of the digits are kept, and how their scores move: two pages of the gallery.

``python benchmarks/pages/gallery_samples.py`` trains, writes the record, and from it
the pictures and the tables of ``docs/gallery``; ``--pictures`` does not train, and
``--png FOLDER`` writes the pictures there as PNG, light and dark, to look at.
"""

from __future__ import annotations

import argparse
import json
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from gallery_pages import grouped, markdown, spread, with_table
from gallery_pictures import BLUE, ORANGE
from gallery_records import write_record
from gallery_themes import write_pictures, write_previews
from gallery_training import (
    EPOCHS,
    METHODS,
    PRUNE_RATIO,
    TRAINING,
    epoch,
    load,
    network,
)
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

import ted_core as ted

__all__ = ["CONFIG", "PICTURES", "RECORD", "SCRIPT", "tables"]

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "benchmarks/paper/records/gallery_samples.json"
SCRIPT = "gallery_samples.py"
CONFIG = {key: TRAINING[key] for key in ("data", "batch_size", "optimizer")} | {
    "network": "64 inputs, 64 ReLU, 10 logits",
    "epochs": EPOCHS,
    "prune_ratio": PRUNE_RATIO,
    "seeds": 5,
    "methods": ["ted_loss", "ted"],
    "quantiles": [0.05, 0.25, 0.5, 0.75, 0.95],
    "pictures": 10,
    "top": 0.1,
}
EPOCHS_SHOWN = (1, 2, 5, 10, 20, 34)


def train(data, method, seed):
    """Train a network; return each epoch's scores and cut, and the visits."""
    strategy, signal, _ = METHODS[method]
    pruner = ted.Pruner(
        len(data),
        epochs=EPOCHS,
        prune_ratio=PRUNE_RATIO,
        strategy=strategy,
        signal=signal,
        seed=seed,
    )
    torch.manual_seed(seed)
    model, scores, cuts = network(64), [], []
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4
    )
    while not pruner.finished:
        plan = pruner.plan()
        if pruner.epoch:
            scores.append(pruner.scores)
            cuts.append(float(scores[-1][plan.kept].min()))
        observed = epoch(model, optimizer, data, plan)
        pruner.observe(plan.order, ted.signals.compute(signal, **observed))
        pruner.advance()
    return np.array(scores), cuts, pruner.update_counts


def rank_correlation(a, b):
    """Return Spearman's correlation of two arrays of scores."""
    a, b = (values.argsort().argsort() for values in (a, b))
    return float(np.corrcoef(a, b)[0, 1])


def measure():
    """Train every run and write the record: one run a line."""
    data, _ = load()
    runs, shown = [], {}
    for method in CONFIG["methods"]:
        for seed in range(CONFIG["seeds"]):
            scores, cuts, visits = train(data, method, seed)
            quantiles = np.quantile(scores, CONFIG["quantiles"], axis=1)
            order = ted.top_ids(visits, len(data), seed=seed)
            order = order[np.argsort(-visits[order].astype(int), kind="stable")]
            if seed == 0:
                k = CONFIG["pictures"]
                shown[method] = {
                    part: [[int(i), int(visits[i])] for i in ids]
                    for part, ids in (("most", order[:k]), ("least", order[-k:]))
                }
            highest = ted.top_ids(scores[-1], round(CONFIG["top"] * len(data)))
            runs.append(
                {
                    "method": method,
                    "seed": seed,
                    "quantiles": np.round(quantiles, 5).tolist(),
                    "cuts": np.round(cuts, 5).tolist(),
                    "to_last": [
                        round(rank_correlation(row, scores[-1]), 4) for row in scores
                    ],
                    "in_every_epoch": round(float((visits == EPOCHS).mean()), 4),
                    "in_a_third": round(float((visits <= EPOCHS / 3).mean()), 4),
                    "fewest": int(visits.min()),
                    "highest": sorted(int(i) for i in highest),
                }
            )
            print(method, seed, flush=True)
    write_record(RECORD, CONFIG, shown, runs)


def tables(record):
    """Return the Markdown table of each page, by the page's name."""
    seeds, runs = record["config"]["seeds"], list(grouped(record["runs"], "method"))
    head = ["scores after epoch", *(f"{method}: correlation" for method, _ in runs)]
    rows = [
        [str(t), *(spread([r["to_last"][t - 1] for r in own]) for _, own in runs)]
        for t in EPOCHS_SHOWN
    ]
    scores = markdown(record, head, rows, seeds=seeds)
    head = ["method", "kept in every epoch, %", "kept in a third or fewer, %"]
    head += ["fewest epochs", "same in the top tenth of two seeds, %"]
    rows = []
    for method, own in runs:
        pairs = combinations([set(run["highest"]) for run in own], 2)
        same = [100 * len(a & b) / len(a) for a, b in pairs]
        rows.append(
            [
                method,
                spread([100 * run["in_every_epoch"] for run in own], 1),
                spread([100 * run["in_a_third"] for run in own], 1),
                spread([run["fewest"] for run in own], 1),
                spread(same, 1),
            ]
        )
    return {
        "scores": scores,
        "kept_samples": markdown(record, head, rows, seeds=seeds),
    }


def draw_scores(record, ink):
    """Quantiles of the scores over the epochs, and the cut among them."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, (method, own) in zip(
        panels, grouped(record["runs"], "method"), strict=True
    ):
        run = own[0]
        low, lower, middle, upper, high = np.maximum(run["quantiles"], 1e-5)
        t = np.arange(1, middle.size + 1)
        wide = {"color": BLUE, "lw": 0}
        axes.fill_between(t, low, high, alpha=0.18, label="90 % of the samples", **wide)
        axes.fill_between(t, lower, upper, alpha=0.35, label="half of them", **wide)
        axes.plot(t, middle, color=BLUE, label="median")
        cuts = np.array(run["cuts"])
        tail = t <= EPOCHS - 6
        axes.plot(t[tail], cuts[tail], color=ORANGE, ls="--", label="lowest score kept")
        axes.set(title=method, xlabel="epochs trained", yscale="log")
        axes.tick_params(colors=ink)
        for axis in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            axis(FuncFormatter(short))
    panels[0].set_ylabel("score")
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4
    )
    return figure


def short(value, _):
    """Return a tick's label, at 1, 2 and 5 only."""
    return f"{value:g}" if f"{value:e}"[0] in "125" else ""


def draw_samples(record, ink):
    """Draw the samples that each method kept most and least often."""
    data, _ = load()
    pixels, labels = (tensor.numpy() for tensor in data.tensors)
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    rows = [
        (method, part)
        for method in record["config"]["methods"]
        for part in ("most", "least")
    ]
    panels = figure.subplots(len(rows), record["config"]["pictures"])
    for line, (method, part) in zip(panels, rows, strict=True):
        for axes, (k, visits) in zip(line, record["shown"][method][part], strict=True):
            axes.imshow(pixels[k].reshape(8, 8), cmap="gray_r", interpolation="none")
            axes.set_axis_off()
            axes.set_title(f"{labels[k]}: {visits}", color=ink)
        line[0].set(xticks=[], yticks=[], frame_on=False)
        line[0].set_axis_on()
        line[0].set_ylabel(f"{method},\n{part} often", color=ink)
    return figure


PICTURES = {"scores": draw_scores, "kept_samples": draw_samples}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", action="store_true", help="do not train anew")
    parser.add_argument("--png", type=Path, help="folder for pictures to look at")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if not (arguments.pictures or arguments.png):
        measure()
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    if arguments.png:
        write_previews(record, arguments.png, PICTURES)
        return
    write_pictures(record, ROOT / "docs/gallery", PICTURES)
    for name, table in tables(record).items():
        path = ROOT / f"docs/gallery/{name}.md"
        text = with_table(path.read_text(encoding="utf-8"), table, script=SCRIPT)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
