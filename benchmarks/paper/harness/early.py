"""The early warning held against the records: when it spoke, and what came of it."""

from __future__ import annotations

import warnings
from collections import Counter
from statistics import fmean, stdev

from harness.paired import difference

from ted_core.reports.early_warning import LOSS_LEFT, early_warning

__all__ = ["early_page"]

METHOD, RIVAL = "TED-loss", "Random"
FRESH = 100
"""Seeds from here on had no part in choosing the bound."""


def runs_of(records):
    """Return (record, seed, share of the loss left, alarm, points over Random)."""
    found = []
    for record in records:
        by = {}
        for run in record["runs"]:
            by[run["method"], run["seed"]] = run
        epochs = record["config"]["training"]["epochs"]
        for (method, seed), run in by.items():
            if method != METHOD or (RIVAL, seed) not in by:
                continue
            losses = run["epoch_loss"]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                alarm = early_warning(losses, epochs=epochs)
            left = losses[max(1, epochs // 8)] / losses[0]
            over = 100 * (run["accuracy"] - by[RIVAL, seed]["accuracy"])
            found.append((record, seed, left, alarm, over))
    return found


def row(record, runs):
    """Return one record's line of the table."""
    lefts = [left for _, _, left, _, _ in runs]
    overs = {seed: over for _, seed, _, _, over in runs}
    found = difference(overs, dict.fromkeys(overs, 0.0))
    spread = f" ± {stdev(lefts):.2f}" if len(lefts) > 1 else ""
    sd = f" ± {found.sd:.2f}, p {found.p:.2g}" if found.n > 1 else ""
    return [
        f"[{record['config']['title']}](runs.md#{record['name']})",
        str(len(runs)),
        f"{fmean(lefts):.2f}{spread}",
        f"{sum(alarm for _, _, _, alarm, _ in runs)} of {len(runs)}",
        f"{found.mean:+.2f}{sd}",
    ]


def counted(runs):
    """Return how often it warned and was silent, and what came of each, as cells."""
    counts = Counter((alarm, over < 0) for _, _, _, alarm, over in runs)
    cells = []
    for alarm in (True, False):
        lost = counts[alarm, True]
        cells += [str(lost + counts[alarm, False]), str(lost)]
    return " | ".join(cells)


def early_page(records):
    """Return the page, or None if no record trains both methods."""
    runs = runs_of(records)
    if not runs:
        return None
    head = ["data", "n", "loss left", "warned", "over Random, points"]
    lines = [head, ["---"] * len(head)]
    for record in records:
        here = [each for each in runs if each[0] is record]
        if here:
            lines.append(row(record, here))
    chosen = [each for each in runs if each[1] < FRESH]
    means = {}
    for record, _, left, _, over in chosen:
        means.setdefault(record["name"], []).append((left, over))
    lost, gained = [], []
    for pairs in means.values():
        side = lost if fmean(over for _, over in pairs) < 0 else gained
        side.append(fmean(left for left, _ in pairs))
    return PAGE.format(
        method=METHOD,
        bound=LOSS_LEFT,
        table="\n".join("| " + " | ".join(line) + " |" for line in lines),
        lost=min(lost, default=float("nan")),
        gained=max(gained, default=float("nan")),
        chosen=counted(chosen),
        fresh=counted([each for each in runs if each[1] >= FRESH]),
    )


PAGE = """# An early warning

<!-- made by benchmarks/pages/results.py -->

Whether keeping the samples of highest loss ({method}) will beat a random selection of
as many shows after an eighth of the epochs. Where the mean loss of the samples trained
on has fallen clearly since the first epoch, the hardest are worth keeping; where it has
not, they are what the network can't learn yet, and it loses to that selection.
`ted_core.reports.early_warning` warns where more than {bound:g} of the loss is left:

```python
from ted_core import early_warning

losses = [2.3, 1.4, 1.1]  # mean loss of the samples trained on, before 1 / r_t
early_warning(losses, epochs=16)
```

{table}

Loss left: share of the first epoch's loss at epoch T // 8, mean ± standard deviation
over n seeds. Over Random: paired by seed, with the uncorrected p of the two-sided
paired t-test.

The bound was chosen from the records whose seeds are below 100: the least share of a
record that lost on average is {lost:.2f}, the highest of one that gained is
{gained:.2f}.

| seeds | warned | of these below Random | silent | of these below Random |
| --- | --- | --- | --- | --- |
| that chose the bound | {chosen} |
| fresh | {fresh} |

It speaks of rankings by difficulty (`loss`, and what follows it: `el2n`, `grand`).
Under `margin` the loss stays as high without harm, and the mask gradient at the logits
lost whether the loss fell or not: see the [results](README.md). One small network,
three data sets: a sign, not a proof.
"""
