"""The index of the records of text: one row each, whatever the metric."""

from __future__ import annotations

from harness.tables import FULL, cell, comparisons, group, plus_minus, shown, values_of

__all__ = ["text_index"]

TRIED = (
    "full, equal steps",
    "TED",
    "TED, feature",
    "TED-loss",
    "SoftTop 1, margin",
    "InfoBatch",
)
INDEX = """
## Text

{table}

The differences are to Random at the same s, paired by seed, with p as in the
record's section.
"""


def text_index(records):
    """Return the section of the index; nothing if there are no records."""
    head = ["data", "s", "metric", FULL, "Random"]
    head += [f"{method} over Random" for method in TRIED]
    lines = [head, ["---"] * len(head), *(row(record) for record in records)]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return INDEX.format(table=table) if records else ""


def row(record):
    """Return a record's row."""
    groups, compared = group(record), comparisons(record, group(record))
    ratio = max(ratio for ratio, _ in groups)
    line = [f"[{record['config']['title']}](runs.md#{record['name']})", f"{ratio:g}"]
    line.append(shown(record)[0])
    for key in ((0.0, FULL), (ratio, "Random")):
        runs = groups.get(key)
        values = values_of(record, runs).values() if runs else ()
        line.append(plus_minus(list(values)) if values else "")
    found = (compared.get(((ratio, m), "Random"), (None, None)) for m in TRIED)
    return [*line, *(cell(*each) for each in found)]
