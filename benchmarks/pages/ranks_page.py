"""The page docs/results/scale/ranks.md, made from the record of `ranks.py`."""

from __future__ import annotations

from pathlib import Path

__all__ = ["PAGE", "markdown"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "results" / "scale" / "ranks.md"

HEAD = """# What many processes cost

<!-- made by benchmarks/scale/ranks.py -->

Seconds of processor time of `set_epoch` between two pruned epochs, mean ± standard
deviation of {closings} closings, of the slowest process, and in brackets those of the
clock; and what passes through the collectives in that time, on each process. Nothing is
trained: this is the merge, the scores, the selection and the next epoch's order.
{kept:.0%} of n samples are kept. "Resident" is what a process holds of scores, update
counts and flags between epochs, "repeated" the share of an epoch's samples that repeat
one to keep in step.

"replicated" is `TED(dataset)` on every process, the others are
`TED(part, shard=find_shard(part, balance=...))`; see
[many processes](../../adapters/ranks.md). All run on one machine and share its {cores}
cores, also with other work where "load", the machine's load average just before, is
above their number: the clock then tells more of the machine than of the library.

"""

FOOT = """
ted-core {ted-core}, Python {python}, NumPy {numpy}, PyTorch {torch}; {arch}, {cores}
cores, {backend}, {threads of a rank} thread a process. Repeat it with
`python benchmarks/scale/ranks.py`.
"""


def bytes_of(number):
    for unit, size in (("MB", 1e6), ("kB", 1e3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} B"


def row(cells):
    return "| " + " | ".join(map(str, cells)) + " |"


def markdown(record):
    """Give the page.

    Parameters
    ----------
    record : dict
        What `ranks.py` wrote.

    Returns
    -------
    str
        Markdown.
    """
    results, machine = record["results"], record["machine"]
    heads = ["n", "processes", "mode", "seconds", "collectives", "bytes", "largest"]
    lines = [row([*heads, "resident", "repeated", "load"]), row(["---"] * 10)]
    for result in results:
        cells = [f"{result['n']:,}", result["ranks"], result["mode"]]
        used = f"{result['mean processor seconds']:.3f} ± {result['sd']:.3f}"
        cells.append(f"{used} ({result['mean seconds']:.3f})")
        cells.append(result["collectives"])
        cells += [bytes_of(result[name]) for name in ("bytes", "largest")]
        cells.append(bytes_of(result["resident bytes"]))
        cells.append(f"{result['imbalance']:.2%}")
        cells.append(result["load average"])
        lines.append(row(cells))
    counts = {result["closings"] for result in results}
    closings = " or ".join(map(str, sorted(counts)))
    head = HEAD.format(closings=closings, kept=record["kept"], **machine)
    foot = FOOT.format(**record["versions"], **machine)
    return head + "\n".join(lines) + "\n" + foot
