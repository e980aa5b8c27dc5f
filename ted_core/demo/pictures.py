"""The demos' picture: keep ratio, scores over time, digits kept most and least."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ted_core.demo.training import Run

__all__ = ["draw"]

_QUANTILES = (0.1, 0.5, 0.9)


def draw(path: Path, run: Run, images: NDArray[np.float64]) -> None:
    """Write the picture of one run.

    Parameters
    ----------
    path : Path
        File to write; its suffix chooses the format.
    run : Run
        The run to show.
    images : ndarray of float, shape (n, 8, 8)
        Training pictures.

    Raises
    ------
    ModuleNotFoundError
        The extra ``demo`` is not installed.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        msg = "the demo needs Matplotlib: pip install 'ted-core[demo]'"
        raise ModuleNotFoundError(msg, name="matplotlib") from None
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.2, 1))
    top, bottom = parts
    left, right = top.subplots(1, 2)
    epochs = np.arange(len(run.keep_ratios))
    left.step(epochs, run.keep_ratios, where="post", color="#0072B2")
    left.set(xlabel="epoch t", ylabel="keep ratio $r_t$", ylim=(0, 1.05))
    bands = np.nanquantile(np.stack(run.scores), _QUANTILES, axis=1)
    right.fill_between(
        epochs, bands[0], bands[2], color="#E69F00", alpha=0.35, label="10 % to 90 %"
    )
    right.plot(epochs, bands[1], color="#D55E00", label="median")
    right.set(xlabel="epoch t", ylabel="score", yscale="log")
    right.legend(frameon=False)
    order = np.argsort(run.visits, kind="stable")
    rows: Any = bottom.subfigures(1, 2, wspace=0.08)
    for title, ids, part in (
        ("kept most often", order[::-1][:18], rows[0]),
        ("kept least often", order[:18], rows[1]),
    ):
        part.suptitle(title, fontsize=10)
        for axes, sample in zip(part.subplots(3, 6).flat, ids, strict=False):
            axes.imshow(images[sample], cmap="gray_r")
            axes.set_axis_off()
    figure.savefig(path, dpi=130)
