"""The record of the core's cost as a page."""

from __future__ import annotations

import statistics

__all__ = ["goals", "page"]

STRATEGIES = {"TopScore": 0.8, "SoftTop": 2, "Random": 1.2}
SAMPLER = "torch.randperm(n).tolist()"
TEXT = """# Cost at growing n

<!-- made by benchmarks/pages/scale.py -->

What planning, observing, saving and restoring cost for n samples of which half are
kept, beside what a loader does without pruning: `torch.randperm(n).tolist()` is the
order of PyTorch's `RandomSampler`, a permutation that of NumPy's. One process a case
and a repeat, medians of {repeats} repeats; one thread.

![Seconds and peak bytes against n, both logarithmic](core.svg)

## Seconds

Seconds of processor time, and in brackets those of the clock.

{seconds}

## Peak bytes a sample

Peak memory while the case runs, less that of the process after its imports: the
per-sample state, where there is one, is in it.

{bytes}

## Goals

Plan and order are to take at most 0.8 (TopScore), 2 (SoftTop) and 1.2 (Random) times as
long as the loader's `torch.randperm(n).tolist()`, and no more memory; a checkpoint and
a restore at most twice the memory of the state; a checkpoint no longer than a plain
sequential write of as many bytes, flushed to the disk. Ratios are of processor time,
but for the checkpoint, which waits for the disk.

{goals}

{missed}

## 10^9 samples, computed

From the bytes a sample and the seconds at n = {largest}, as if both grew with n alone.
Nothing of this was run. Ids are int32 up to 2^31 samples.

{billion}

## To repeat

```bash
{commands}
python benchmarks/pages/scale.py
```

{machine}; load average {load:.0f} before the last run.
Linux only: memory is read from `/proc`. The file is in the page cache when it is read
back. At n = {largest} the loader's list peaks at {most} GiB, all else at {ours} GiB.
"""


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def power(n):
    return f"10^{len(str(n)) - 1}" if str(n).strip("0") == "1" else f"{n:,}"


def median(record, case, n, key="processor seconds"):
    (row,) = (r for r in record["results"] if (r["case"], r["n"]) == (case, n))
    return statistics.median(row[key])


def sizes(record):
    return sorted({row["n"] for row in record["results"]})


def seconds_of(record, case, n):
    """Return processor time and, in brackets, the clock's."""
    used, clock = (
        median(record, case, n, key) for key in ("processor seconds", "seconds")
    )
    return f"{used:.2g} ({clock:.2g})"


def goals(record, n):
    """Return each goal's ratio at n: strategies' time and memory, checkpoint's time."""
    found = {}
    for name in STRATEGIES:
        for what, key in (
            ("seconds", "processor seconds"),
            ("peak bytes", "peak bytes"),
        ):
            own = median(record, f"{name}: plan and order", n, key)
            found[f"{name}: {what} / the loader's"] = own / median(
                record, SAMPLER, n, key
            )
    plain = median(record, "plain write and fsync", n, "seconds")
    found["checkpoint: seconds / plain write"] = (
        median(record, "checkpoint", n, "seconds") / plain
    )
    for name in ("checkpoint", "restore"):
        state = median(record, "checkpoint", n, "state bytes")
        peak = median(record, name, n, "peak bytes") / state
        found[f"{name}: peak bytes / bytes that stay"] = peak
    return found


def bound(name):
    """Return the most that a goal's ratio may be."""
    if "that stay" in name:
        return 2
    strategy = name.partition(":")[0]
    return STRATEGIES.get(strategy, 1) if "seconds" in name else 1


def missed(record):
    """Say which goals are missed at which n, and by how much."""
    found = [
        f"- {name.partition(' / ')[0]} at n = {power(n)}: {ratio:.2f} instead of "
        f"{bound(name)}"
        for n in sizes(record)
        for name, ratio in goals(record, n).items()
        if round(ratio, 2) > bound(name)
    ]
    return "\n".join(["Missed:", "", *found]) if found else "None is missed."


def billion(record):
    """Return the rows for 10^9 samples, from the largest n measured."""
    n = sizes(record)[-1]
    factor = 10**9 / n
    rows = []
    plan = "TopScore: plan and order"
    for label, case, key in (
        ("state", plan, "state bytes"),
        ("order", plan, "order bytes"),
        ("peak of TopScore's plan", plan, "peak bytes"),
        ("peak of SoftTop's plan", "SoftTop: plan and order", "peak bytes"),
        ("peak of closing an epoch", "close an epoch", "peak bytes"),
        ("file of a checkpoint", "checkpoint", "bytes"),
        ("peak of a restore", "restore", "peak bytes"),
        (f"peak of `{SAMPLER}`", SAMPLER, "peak bytes"),
    ):
        each = median(record, case, n, key) / n
        rows.append([label, f"{each:.1f}", f"{each:.1f} GB"])
    for label, case in (
        ("TopScore's plan and order", plan),
        ("SoftTop's plan and order", "SoftTop: plan and order"),
        ("checkpoint", "checkpoint"),
        (f"`{SAMPLER}`", SAMPLER),
    ):
        rows.append([label, "", f"{factor * median(record, case, n):.0f} s"])
    return table(["what", "bytes a sample", "at 10^9"], rows)


def page(record):
    """Return the page.

    Parameters
    ----------
    record : dict
        What `core.py` wrote.

    Returns
    -------
    str
        Markdown.
    """
    results, all_n = record["results"], sizes(record)
    cases = list(dict.fromkeys(row["case"] for row in results))
    head = ["case", *(f"n = {power(n)}" for n in all_n)]
    seconds = [[c, *(seconds_of(record, c, n) for n in all_n)] for c in cases]
    memory = [
        [c, *(f"{median(record, c, n, 'peak bytes') / n:.1f}" for n in all_n)]
        for c in cases
    ]
    by_n = [goals(record, n) for n in all_n]
    ratios = [[name, *(f"{found[name]:.2f}" for found in by_n)] for name in by_n[0]]
    counts = {r["n"]: len(r["seconds"]) for r in results}
    versions = ", ".join(f"{k} {v}" for k, v in record["versions"].items())
    machine, last = record["machine"], all_n[-1]
    peaks = {c: median(record, c, last, "peak bytes") / 2**30 for c in cases}
    most = peaks.pop(SAMPLER)
    return TEXT.format(
        repeats=", ".join(f"{counts[n]} (n = {power(n)})" for n in all_n),
        seconds=table(head, seconds),
        bytes=table(head, memory),
        goals=table(["ratio", *head[1:]], ratios),
        missed=missed(record),
        largest=power(last),
        billion=billion(record),
        commands="\n".join(
            f"python benchmarks/scale/core.py --sizes {n:.0e}".replace("e+0", "e")
            for n in all_n
        ),
        machine=f"{machine['processor']}, {machine['cores']} cores, "
        f"{machine['arch']}; {versions}",
        load=machine["load before"],
        most=f"{most:.1f}",
        ours=f"{max(peaks.values()):.1f}",
    )
