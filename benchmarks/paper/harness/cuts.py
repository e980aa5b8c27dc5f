"""What each method cuts away: losses on both sides of the last cut, and classes."""

from __future__ import annotations

from statistics import fmean

__all__ = ["cut_table"]


def cut_table(groups):
    """Return a Markdown table of the runs that were probed; nothing if none was.

    `groups` are the runs by (prune ratio, method).
    """
    head = [
        "s",
        "method",
        "probed after",
        "loss, kept",
        "loss, pruned",
        "least class, %",
    ]
    lines = [head, ["---"] * len(head)]
    for (ratio, method), runs in groups.items():
        probed = [run for run in runs if run.get("pruned_loss")]
        if not probed:
            continue
        kept, pruned = (
            fmean(run[side][-1][1] for run in probed)
            for side in ("kept_loss", "pruned_loss")
        )
        share = fmean(run["least_class_share"][-1] for run in probed)
        after = f"{probed[0]['kept_loss'][-1][0]} epochs"
        numbers = [f"{kept:.2f}", f"{pruned:.2f}", f"{100 * share:.0f}"]
        lines.append([f"{ratio:g}", method, after, *numbers])
    if len(lines) == 2:
        return ""
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
