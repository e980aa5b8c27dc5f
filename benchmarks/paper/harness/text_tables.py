"""The index of the records of text: one row each, whatever the metric."""

from __future__ import annotations

from harness.tables import FULL, cell, comparisons, group, plus_minus, shown, values_of

__all__ = ["text_index"]

TRIED = ("full, equal steps", "TED", "TED-loss", "SoftTop 1, margin")


def text_index(records, majority):
    """Return the table of the records of text; nothing if there are none.

    `majority` holds the share of the most frequent class by task.
    """
    head = ["data, metric", "most frequent class", FULL, "Random"]
    head += [f"{method} over Random" for method in TRIED]
    lines = [head, ["---"] * len(head), *(row(record, majority) for record in records)]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return table if records else ""


def row(record, majority):
    """Return a record's row."""
    config, groups = record["config"], group(record)
    compared = comparisons(record, groups)
    ratio = max(ratio for ratio, _ in groups)
    heading, factor, _ = shown(record)
    line = [f"[{config['title']}](runs.md#{record['name']}), {heading}"]
    share = majority.get(config["data"]["set"]) if heading.startswith("acc") else None
    line.append(f"{factor * share:.2f}" if share else "")
    for key in ((0.0, FULL), (ratio, "Random")):
        runs = groups.get(key)
        values = values_of(record, runs).values() if runs else ()
        line.append(plus_minus(list(values)) if values else "")
    return [*line, *(cell(compared.get(((ratio, m), "Random"))) for m in TRIED)]
