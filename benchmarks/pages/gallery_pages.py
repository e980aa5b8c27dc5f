"""The tables of the gallery's pages, made from its record."""

from __future__ import annotations

import numpy as np

__all__ = [
    "BEGIN",
    "END",
    "grouped",
    "markdown",
    "spread",
    "tables",
    "with_table",
    "write_pages",
]

BEGIN = "<!-- table: benchmarks/pages/{script} --pictures -->\n"
END = "<!-- end of table -->"
EPOCHS_SHOWN = (1, 2, 5, 10, 20, 30, 34)
ALPHAS_SHOWN = (0.0, 0.5, 0.9, 1.0, 1.1, 1.25, 1.5)


def tables(record):
    """Return the Markdown table of each page, by the page's name."""
    return {
        "pruned_loss": pruned_loss(record),
        "retained_and_pruned": retained_and_pruned(record),
        "when_to_prune": when_to_prune(record),
        "gradients": gradients(record),
        "schedules": schedules(record),
        "line": line(record),
    }


def pruned_loss(record):
    """Fig. 1."""
    names = ("retained", "pruned", "all", "test")
    head = ["method", "kept most, 30 %", "kept least, 70 %", "all", "test", "saved"]
    rows = []
    for method, runs in grouped(record["pruned_loss"], "method"):
        cells = [spread([run[name] for run in runs]) for name in names]
        rows.append([method, *cells, f"{np.mean([r['saved'] for r in runs]):.1%}"])
    return markdown(record, head, rows, seeds=record["config"]["seeds"])


def retained_and_pruned(record):
    """Fig. 2."""
    head = ["network", "retained, 40 %", "pruned, 60 %", "test"]
    titles = {0: "no hidden layer", 64: "64 hidden units"}
    rows = [
        [titles[hidden]]
        + [spread([run[name][-1] for run in runs]) for name in ("retained", "pruned")]
        + [spread([run["test"][-1] for run in runs])]
        for hidden, runs in grouped(record["during_training"], "hidden")
    ]
    return markdown(record, head, rows, seeds=record["config"]["seeds"])


def when_to_prune(record):
    """Fig. 3."""
    head = ["first pruned epoch"]
    for words in ("loss as it is", "loss divided by r_t"):
        head += [f"{words}: loss on all data", "change to no pruning, %"]
    losses = {
        (start, scaled): np.array([run["loss"] for run in own])
        for start, runs in grouped(record["when_to_prune"], "start")
        for scaled, own in grouped(runs, "scaled")
    }
    rows = []
    for start, _ in grouped(record["when_to_prune"], "start"):
        row = ["none" if start is None else str(start)]
        for scaled in (False, True):
            loss, never = losses[start, scaled], losses[None, scaled]
            change = spread(100 * (loss / never - 1), digits=1)
            row += [spread(loss), "-" if start is None else change]
        rows.append(row)
    return markdown(record, head, rows, seeds=losses[None, False].size)


def gradients(record):
    """Fig. 4."""
    head = ["epochs trained", "1 / r_t"]
    groups = list(grouped(record["gradients"], "method"))
    for method, _ in groups:
        head += [f"{method}: correlation", "length, retained / full"]
    rows = []
    for epoch in EPOCHS_SHOWN:
        row = [str(epoch), f"{groups[0][1][0]['inverse_keep_ratio'][epoch]:.2f}"]
        for _, runs in groups:
            row.append(spread([run["correlation"][epoch] for run in runs]))
            row.append(spread([run["norm_ratio"][epoch] for run in runs], digits=2))
        rows.append(row)
    return markdown(record, head, rows, seeds=record["config"]["seeds"])


def schedules(record):
    """Fig. 7."""
    head = ["schedule", "test accuracy, %", "samples saved, %"]
    rows = [
        [name]
        + [
            spread([100 * run[key] for run in runs], digits=2)
            for key in ("accuracy", "saved")
        ]
        for name, runs in grouped(record["schedules"], "schedule")
    ]
    return markdown(record, head, rows, seeds=record["config"]["seeds"])


def line(record):
    """Fig. 8."""
    alphas = record["config"]["alphas"]
    head = ["method", *(f"alpha = {alpha:g}" for alpha in ALPHAS_SHOWN)]
    rows = [
        [method]
        + [spread([run["test"][alphas.index(a)] for run in runs]) for a in ALPHAS_SHOWN]
        for method, runs in grouped(record["line"], "method")
    ]
    return markdown(record, head, rows, seeds=record["config"]["seeds"])


def grouped(runs, key):
    """Yield each value of `key`, in order, and its runs."""
    for value in dict.fromkeys(run[key] for run in runs):
        yield value, [run for run in runs if run[key] == value]


def spread(values, digits=3):
    """Return mean ± sd."""
    return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}"


def markdown(record, head, rows, *, seeds):
    """Return a table and where it was measured."""
    lines = [head, ["---"] * len(head), *rows]
    versions = ", ".join(f"{k} {v}" for k, v in record["versions"].items())
    machine = f"{record['machine']['cpu']}, {record['machine']['cores']} cores"
    body = "\n".join("| " + " | ".join(row) + " |" for row in lines)
    return f"{body}\n\nMean ± sd over n = {seeds} seeds; {versions}; {machine}.\n"


def with_table(text, table, script="gallery.py"):
    """Return a page's text with its table made anew."""
    begin = BEGIN.format(script=script)
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(END)
    return f"{before}{begin}\n{table}\n{END}{after}"


def write_pages(record, folder):
    """Rewrite the table of every page in `folder`."""
    for name, table in tables(record).items():
        path = folder / f"{name}.md"
        text = path.read_text(encoding="utf-8")
        path.write_text(with_table(text, table), encoding="utf-8")
