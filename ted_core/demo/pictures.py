"""The demos' picture: keep ratio, scores over time, samples kept most and least."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ted_core.checkpoint import atomic_write
from ted_core.demo.results import Run

_QUANTILES = (0.1, 0.5, 0.9)
_SHOWN = 18


def draw(path: Path, run: Run, images: NDArray[Any]) -> None:
    """Write the picture of one run on these training pictures, grey or RGB."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra

    figure = Figure(figsize=(9, 6), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.1, 1), hspace=0.04)
    left, right = parts[0].subplots(1, 2)
    keep_ratios = np.array(run.epoch_samples) / run.n
    edges = np.arange(len(keep_ratios) + 1)
    left.stairs(keep_ratios, edges, baseline=None, color="#0072B2", linewidth=1.5)
    left.set(xlabel="epoch t", ylabel="keep ratio $r_t$", ylim=(0, 1.05))
    bands = np.nanquantile(np.stack(run.scores), _QUANTILES, axis=1)
    right.fill_between(
        edges[1:], bands[0], bands[2], color="#E69F00", alpha=0.35, label="10 % to 90 %"
    )
    right.plot(edges[1:], bands[1], color="#D55E00", label="median")
    right.set(xlabel="epochs trained", ylabel="score", yscale="log")
    right.legend(frameon=False, loc="best")
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
    order = np.lexsort((run.scores[-1], run.times_kept))
    rows: Any = parts[1].subfigures(1, 2, wspace=0.06)
    for title, ids, part in (
        ("kept most often", order[::-1][:_SHOWN], rows[0]),
        ("kept least often", order[:_SHOWN], rows[1]),
    ):
        low, high = run.times_kept[ids].min(), run.times_kept[ids].max()
        times = f"{low}" if low == high else f"{low} to {high}"
        part.suptitle(f"{title}: {times} of {edges[-1]} epochs", fontsize=10)
        part.get_layout_engine().set(w_pad=0.02, h_pad=0.04)
        grid = part.subplots(3, 6).flat
        for axes, sample in itertools.zip_longest(grid, ids):
            axes.set_axis_off()
            if sample is not None:
                axes.imshow(images[sample], cmap="gray_r", interpolation="nearest")
    with atomic_write(path) as file:
        figure.savefig(file, dpi=130, format=path.suffix[1:] or "png")
