"""Make the table of ``docs/method/card.md`` from the records of the evidence."""

from __future__ import annotations

from pathlib import Path

from evidence import FULL, HALF, RANDOM, load, table

__all__ = ["CARD", "with_table"]

CARD = Path(__file__).resolve().parents[2] / "docs" / "method" / "card.md"
BEGIN, END = "<!-- made by benchmarks/pages/card.py -->", "<!-- end -->"
SETTINGS = {
    "plenty_pooled": "plenty of data, a small network",
    "short": "few epochs",
    "scarce": "scarce data",
}
OF_ANOTHER_DAY = "importance, constant half"
"""Its runs were added to records, and took no turns with the others."""
ARMS = {
    "all data": (FULL, 1.0),
    "all data, half the epochs": (FULL, HALF),
    "`random`, half the samples": (RANDOM, HALF),
    "`soft_margin`, half": ("soft_margin", HALF),
    "`ted_loss`, half": ("ted_loss", HALF),
    "`importance`, half in each epoch": (OF_ANOTHER_DAY, HALF),
}


def cell(row, full):
    """Return an arm's accuracy and share of the time, together on a phone."""
    accuracy = f"{row.mean:.2f}&nbsp;%"
    if row.arm == OF_ANOTHER_DAY:
        return accuracy
    return f"{accuracy} in {100 * row.seconds / full.seconds:.0f}&nbsp;%"


def measured(found):
    """Return the table: accuracy and time, a row for each arm."""
    results = [found[name][0] for name in SETTINGS]
    by = [{(row.arm, row.budget): row for row in each.rows} for each in results]
    rows = [
        [arm, *(cell(own[key], own[FULL, 1.0]) for own in by)]
        for arm, key in ARMS.items()
    ]
    heads = [
        f"[{words}](../results/evidence.md#evidence-{name})"
        for name, words in SETTINGS.items()
    ]
    n = " or ".join(map(str, sorted({len(each.seeds) for each in results})))
    return f"{table(['', *heads], rows)}\n\nMeans over {n} seeds."


def with_table(text, found):
    """Return the page with its table made anew."""
    before, rest = text.split(BEGIN, 1)
    return f"{before}{BEGIN}\n\n{measured(found)}\n\n{rest[rest.index(END) :]}"


if __name__ == "__main__":
    page = with_table(CARD.read_text(encoding="utf-8"), load())
    CARD.write_text(page, encoding="utf-8")
