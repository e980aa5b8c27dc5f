"""How many tokens a run pads and forwards: shuffled or by length, full or pruned.

``python benchmarks/pages/padded_tokens.py --texts FILE`` counts and writes the record,
with the lengths of a file of instructions, one JSON object a line, compressed by xz;
``--page`` rewrites the table of ``docs/adapters/huggingface.md`` from the record.
"""

from __future__ import annotations

import argparse
import json
import lzma
import platform
import re
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ted_core import Pruner, __version__

__all__ = ["PAGE", "RECORD", "count", "page", "table"]

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "benchmarks/overhead/records/padded_tokens.json"
PAGE = ROOT / "docs/adapters/huggingface.md"
BEGIN = "<!-- table: benchmarks/pages/padded_tokens.py --page -->\n"
END = "<!-- end of table -->"
CONFIG = {
    "epochs": 10,
    "prune_ratio": 0.7,
    "batch": 16,
    "seeds": [0, 1, 2, 3, 4],
    "values": "normal, of no relation to the lengths",
    "log_normal": {"samples": 50_000, "mean": 5.0, "sigma": 0.8},
    "words": r"\w+|[^\w\s]",
}
ARMS = {
    "all samples, shuffled": (0.0, False),
    "all samples, by length": (0.0, True),
    "pruned, shuffled": (CONFIG["prune_ratio"], False),
    "pruned, by length": (CONFIG["prune_ratio"], True),
}
DATA = {
    "log-normal": "lengths drawn, log-normal",
    "instructions": "instructions with answers (Alpaca, cleaned), words and signs",
}


def lengths_of(name, seed, texts):
    """Return the length of each sample."""
    if name == "log-normal":
        made = CONFIG["log_normal"]
        drawn = np.random.default_rng(seed).lognormal(
            made["mean"], made["sigma"], made["samples"]
        )
        return np.maximum(drawn, 1).astype(np.int64)
    token = re.compile(CONFIG["words"])
    with lzma.open(texts, "rt", encoding="utf-8") as lines:
        rows = [" ".join(json.loads(line).values()) for line in lines]
    return np.array([len(token.findall(row)) for row in rows])


def count(lengths, arm, seed):
    """Return the tokens of a run: padded to each batch's longest, and its own."""
    prune_ratio, by_length = ARMS[arm]
    batch = CONFIG["batch"]
    grouped = {"lengths": lengths} if by_length else {}
    pruner = Pruner(
        lengths.size,
        epochs=CONFIG["epochs"],
        prune_ratio=prune_ratio,
        multiple_of=batch,
        seed=seed,
        **grouped,
    )
    values = np.random.default_rng([seed, 1]).normal(size=lengths.size)
    padded = own = 0
    while not pruner.finished:
        order = pruner.plan().order
        visited = lengths[order]
        starts = np.arange(0, order.size, batch)
        longest = np.maximum.reduceat(visited, starts)
        sizes = np.minimum(order.size - starts, batch)
        padded += int((longest * sizes).sum())
        own += int(visited.sum())
        pruner.observe(order, values[order])
        pruner.advance()
    return padded, own


def measure(texts):
    """Count every arm on every distribution, and write the record."""
    results = []
    for name in DATA:
        runs = {arm: [] for arm in ARMS}
        for seed in CONFIG["seeds"]:
            lengths = lengths_of(name, seed, texts)
            for arm, found in runs.items():
                found.append(count(lengths, arm, seed))
        baseline = np.array(runs["all samples, shuffled"])[:, 0]
        for arm, found in runs.items():
            padded, own = np.array(found).T
            share = padded / baseline
            row = {"data": name, "samples": int(lengths.size), "arm": arm}
            row |= {"padded": padded.tolist(), "own": own.tolist(), "n": padded.size}
            row |= {"share": round(float(share.mean()), 5)}
            results.append(row | {"sd": round(float(share.std(ddof=1)), 5)})
    versions = {"ted-core": __version__, "numpy": version("numpy")}
    record = {
        "name": "Padded tokens",
        "config": CONFIG,
        "versions": versions | {"python": platform.python_version()},
        "machine": platform.machine(),
        "results": results,
    }
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def table(record):
    """Return the record as a table of Markdown."""
    head = "| | padded, millions | share of the first row | sd | padding in it |"
    lines = []
    for name, text in DATA.items():
        rows = [row for row in record["results"] if row["data"] == name]
        lines += ["" if lines else None, f"{rows[0]['samples']} {text}:", ""]
        lines += [head, "| --- | --- | --- | --- | --- |"]
        for row in rows:
            padded, own = np.mean(row["padded"]), np.mean(row["own"])
            lines.append(
                f"| {row['arm']} | {padded / 1e6:.1f} | {row['share']:.3f} | "
                f"{row['sd']:.4f} | {1 - own / padded:.1%} |"
            )
    return "\n".join(line for line in lines if line is not None)


def page(text, record):
    """Return the page's text with its table made anew from the record."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table(record)}\n\n{END}{after}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=Path, help="instructions to count, .jsonl.xz")
    parser.add_argument("--page", action="store_true", help="only rewrite the page")
    arguments = parser.parse_args()
    if not arguments.page:
        measure(arguments.texts)
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(page(text, record), encoding="utf-8")


if __name__ == "__main__":
    main()
