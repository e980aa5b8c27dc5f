"""All confirmations on one page: what was chosen elsewhere, on fresh seeds."""

from __future__ import annotations

from statistics import fmean

from harness.paired import difference, holm
from harness.tables import ALPHA, cell, group

__all__ = ["confirmation_page"]

PREFIX, RIVAL = "confirm_", "Random"
METHODS = ("TED", "TED-loss", "margin", "SoftTop 1, margin")


def compared(records):
    """Return {(record's name, method): (difference to the rival, corrected p)}."""
    found = {}
    for record in records:
        by = {method: runs for (_, method), runs in group(record).items()}
        for method in METHODS:
            if method in by and RIVAL in by:
                found[record["name"], method] = difference(
                    accuracy(by[method]), accuracy(by[RIVAL])
                )
    corrected = holm([each.p for each in found.values()])
    return {k: (d, p) for (k, d), p in zip(found.items(), corrected, strict=True)}


def accuracy(runs):
    """Return accuracy in percent by seed."""
    return {run["seed"]: 100 * run["accuracy"] for run in runs}


def verdict(cells, method):
    """Return a line of a method: how often above, below, and its worst mean."""
    mine = [(found, p) for (_, name), (found, p) in cells.items() if name == method]
    above = sum(p < ALPHA and found.mean > 0 for found, p in mine)
    below = sum(p < ALPHA and found.mean < 0 for found, p in mine)
    means = [found.mean for found, _ in mine]
    return (
        f"| {method} | {len(mine)} | {above} | {below} | {fmean(means):+.2f} | "
        f"{min(means):+.2f} | {max(means):+.2f} |"
    )


def confirmation_page(records):
    """Return the page, or None without such records."""
    records = [each for each in records if each["name"].startswith(PREFIX)]
    cells = compared(records)
    if not cells:
        return None
    head = ["data", "n", *(f"{method} over Random" for method in METHODS)]
    lines = [head, ["---"] * len(head)]
    for record in records:
        title = record["config"]["title"].removeprefix("Confirmation on fresh seeds")
        row = [cells.get((record["name"], m), (None, None)) for m in METHODS]
        seeds = max(found.n for found, _ in row if found is not None)
        link = f"[{title.lstrip(',: ')}](runs.md#{record['name']})"
        lines.append([link, str(seeds), *(cell(*each) for each in row)])
    return PAGE.format(
        table="\n".join("| " + " | ".join(line) + " |" for line in lines),
        verdicts="\n".join(verdict(cells, method) for method in METHODS),
        tests=len(cells),
        alpha=ALPHA,
    )


PAGE = """# Confirmation: what was chosen, on fresh seeds

<!-- made by benchmarks/pages/results.py -->

The signals and strategies that looked best in the screenings, again: on seeds that had
no part in choosing them, and on other amounts of data. Each pruned run forwards as many
samples as `Random` does; half of the full training's, or a little more.

{table}

Points of accuracy, mean ± standard deviation over n paired seeds; p is that of the
two-sided paired t-test, by Holm's method over all {tests} comparisons of this page,
bold below {alpha}. `SoftTop 1, margin` is `method="soft_margin"`. So corrected, over
Random:

| method | data sets | above | below | mean of the means | worst mean | best mean |
| --- | --- | --- | --- | --- | --- | --- |
{verdicts}
"""
