"""The table of the LoRA steps, made from their record."""

from __future__ import annotations

import statistics

__all__ = ["markdown"]


def markdown(record):
    """Return the record's table."""
    head = [
        "mask at",
        "ms a step",
        "ratio of times, 95 % interval",
        "peak MiB",
        "ratio",
    ]
    lines = [head, ["---"] * len(head)]
    for row in record["result"]["sites"]:
        cpu = row["cpu"]
        ratio = cpu.get("ratio, 95 % interval")
        shown = "{:.3f} ({:.3f} to {:.3f})".format(*ratio) if ratio else ""
        peaks_of = row["peak MiB"]
        line = [row["site"], f"{cpu['median ms']:.0f}", shown]
        line += [f"{statistics.fmean(peaks_of):.0f}", f"{row['peak ratio']:.4f}"]
        lines.append(line)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
