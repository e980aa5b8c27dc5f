"""Make ``docs/results/scale/core.md`` and its picture from ``records/core.json``.

``python benchmarks/pages/scale.py`` writes them, ``--previews FOLDER`` the picture as
PNG, light and dark.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

from matplotlib.figure import Figure

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from core_page import page  # noqa: E402 - the folder is known
from gallery_pictures import BLUE, GREEN, ORANGE, PINK, SKY  # noqa: E402
from gallery_themes import write_pictures, write_previews  # noqa: E402

RECORD = HERE.parent / "scale" / "records" / "core.json"
PAGE = HERE.parents[1] / "docs" / "results" / "scale" / "core.md"
CURVES = {
    "TopScore: plan and order": ("TopScore, plan and order", ORANGE, "o-"),
    "SoftTop: plan and order": ("SoftTop, plan and order", PINK, "s-"),
    "Random: plan and order": ("Random, plan and order", BLUE, "^-"),
    "checkpoint": ("checkpoint", GREEN, "D-"),
    "torch.randperm(n).tolist()": ("torch.randperm(n).tolist()", "ink", "v--"),
    "Generator.permutation of n": ("Generator.permutation(n)", SKY, "x--"),
}


def cost(record, ink):
    """Draw seconds and peak bytes a sample against n."""
    figure = Figure(figsize=(8, 3.9), layout="constrained")
    panels = figure.subplots(1, 2)
    for case, (label, colour, style) in CURVES.items():
        rows = [row for row in record["results"] if row["case"] == case]
        sizes = [row["n"] for row in rows]
        look = {"color": ink if colour == "ink" else colour, "ms": 4, "lw": 1.2}
        for axes, key in zip(panels, ("processor seconds", "peak bytes"), strict=True):
            values = [statistics.median(row[key]) for row in rows]
            axes.loglog(sizes, values, style, label=label, **look)
    panels[0].set(title="seconds of processor time", xlabel="samples n")
    panels[1].set(title="peak bytes", xlabel="samples n")
    for axes in panels:
        axes.minorticks_off()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


PICTURES = {"core": cost}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--previews", type=Path)
    arguments = parser.parse_args()
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    if arguments.previews:
        write_previews(record, arguments.previews, PICTURES)
        return
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(record), encoding="utf-8")
    write_pictures(record, PAGE.parent, PICTURES)


if __name__ == "__main__":
    main()
