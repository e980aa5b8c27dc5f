"""The picture of the samples kept most often, with their labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ted_core.checkpoint import atomic_write

_COLUMNS = 8


def draw_suspects(
    path: Path,
    images: NDArray[np.uint8],
    given: NDArray[np.int64],
    true: NDArray[np.int64],
    title: str,
) -> None:
    """Write a grid of pictures; above each the label it had, and the true one."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra

    rows = -(-len(images) // _COLUMNS)
    figure = Figure(figsize=(9, 0.6 + 1.3 * rows), layout="constrained")
    figure.suptitle(title, fontsize=11)
    grid: Any = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, image, label, right in zip(grid, images, given, true, strict=False):
        axes.imshow(image, cmap="gray_r", interpolation="nearest")
        planted = label != right
        text = f"given {label}, true {right}" if planted else f"given {label}"
        axes.set_title(text, fontsize=8, color="#D55E00" if planted else "#000000")
    with atomic_write(path) as file:
        figure.savefig(file, dpi=130, format=path.suffix[1:] or "png")
