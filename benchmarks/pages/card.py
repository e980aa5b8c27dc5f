"""Make the table of ``docs/method/card.md`` from the records of the evidence."""

from __future__ import annotations

from pathlib import Path

from evidence import FULL, HALF, load, table

__all__ = ["CARD", "with_table"]

CARD = Path(__file__).resolve().parents[2] / "docs" / "method" / "card.md"
BEGIN, END = "<!-- made by benchmarks/pages/card.py -->", "<!-- end -->"
ARMS = {
    "all data": (FULL, 1.0),
    "all data, half the epochs": (FULL, HALF),
    "`soft_margin`": ("soft_margin", HALF),
    "`ted_loss`": ("ted_loss", HALF),
}


def measured(found):
    """Return the table: accuracy and seconds of each arm, one row a setting."""
    rows = []
    for name, (result, _) in found.items():
        by = {(row.arm, row.budget): row for row in result.rows}
        own = [by[key] for key in ARMS.values()]
        cells = [f"{row.mean:.2f} %, {row.seconds:.0f} s" for row in own]
        rows.append([f"[{name}](../results/evidence.md#evidence-{name})", *cells])
    seeds = sorted({len(result.seeds) for result, _ in found.values()})
    n = " or ".join(map(str, seeds))
    return f"{table(['setting', *ARMS], rows)}\n\nMeans over {n} seeds."


def with_table(text, found):
    """Return the page with its table made anew."""
    before, rest = text.split(BEGIN, 1)
    return f"{before}{BEGIN}\n\n{measured(found)}\n\n{rest[rest.index(END) :]}"


if __name__ == "__main__":
    page = with_table(CARD.read_text(encoding="utf-8"), load())
    CARD.write_text(page, encoding="utf-8")
