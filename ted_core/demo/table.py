"""The table of the demos: what was measured, over the seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ted_core.demo.training import Run
from ted_core.savings import save_ratio

__all__ = ["make_table"]


def make_table(runs: Mapping[str, Sequence[Run]]) -> str:
    """Return a plain-text table, one row a variant; the first is the full run.

    Parameters
    ----------
    runs : mapping of str to sequence of Run
        Runs over the same seeds in the same order, by variant.

    Returns
    -------
    str
        Accuracy (mean and sd over the seeds, in percent), samples forwarded, save
        ratio (Eq. 24), median seconds of the training loop, and the share of seconds
        saved over the share of samples saved, against the first variant.
    """
    lines = [
        "variant     accuracy %      sd   samples  saved %  seconds  time/samples saved"
    ]
    names = list(runs)
    base = float(np.median([run.seconds for run in runs[names[0]]]))
    for name in names:
        rows = runs[name]
        accuracy = 100 * np.array([run.accuracy for run in rows])
        spread = f"{accuracy.std(ddof=1):.2f}" if len(rows) > 1 else "-"
        saved = save_ratio(
            sum(run.full for run in rows), sum(run.forwarded for run in rows)
        )
        seconds = float(np.median([run.seconds for run in rows]))
        share = f"{(1 - seconds / base) / saved:.2f}" if saved else "-"
        lines.append(
            f"{name:10}{accuracy.mean():12.2f}{spread:>8}{rows[0].forwarded:10d}"
            f"{100 * saved:9.1f}{seconds:9.3f}{share:>20}"
        )
    lines.append(
        f"n = {len(runs[names[0]])} seeds on one split of the data; seconds: medians of"
        " the training loop, with its planning and scoring"
    )
    return "\n".join(lines)
