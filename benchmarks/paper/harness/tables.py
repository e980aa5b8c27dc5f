"""A record as a section: its table, what it says after correction, what measured it."""

from __future__ import annotations

from statistics import fmean, stdev

from harness.cuts import cut_table
from harness.paired import difference, holm

__all__ = ["comparisons", "group", "section", "shown", "summary_row"]

ALPHA = 0.05
FULL = "full"
SHOWN = {
    "accuracy": ("accuracy, %", 100, "points"),
    "matthews": ("Matthews correlation, %", 100, "points"),
    "pearson": ("Pearson correlation, %", 100, "points"),
    "mmlu": ("MMLU, %", 100, "points"),
    "response_loss": ("held-out response loss, 1e-3", 1000, "1e-3"),
}
"""How a configuration's metric is shown: heading, factor, and what it then counts."""


def group(record):
    """Return the runs by (prune ratio, method), in the order of the configuration."""
    methods = record["config"]["methods"]
    runs = sorted(
        (run for run in record["runs"] if run["method"] in methods),
        key=lambda run: (
            run["prune_ratio"],
            methods.index(run["method"]),
            run["seed"],
        ),
    )
    out = {}
    for run in runs:
        out.setdefault((run["prune_ratio"], run["method"]), []).append(run)
    return out


def reference(record, groups, key, name):
    """Return the runs that `key` is compared with as `name`, or None for itself.

    They are those of the same prune ratio, or of the first that there is. A variant
    whose schedule differs names its own ``rival`` with the same samples.
    """
    ratio, method = key
    if name == "Random":
        variant = record["config"].get("variants", {}).get(method, {})
        name = variant.get("rival", name)
    found = [k for k in groups if k[1] == name]
    found = [k for k in found if k[0] == ratio] or found
    return groups[found[0]] if found and found[0] != key else None


def shown(record):
    """Return the heading of a record's metric, its factor and its unit."""
    return SHOWN[record["config"].get("metric", "accuracy")]


def values_of(record, runs):
    """Return the metric, as it is shown, by seed."""
    metric = record["config"].get("metric", "accuracy")
    return {run["seed"]: SHOWN[metric][1] * run[metric] for run in runs}


def comparisons(record, groups):
    """Return {(key, reference): (difference, corrected p)}, one family a record."""
    found = {}
    for key, runs in groups.items():
        for name in record["config"].get("references", [FULL, "Random"]):
            others = reference(record, groups, key, name)
            if others is not None and runs[0]["method"] != FULL:
                values = values_of(record, runs), values_of(record, others)
                if values[0].keys() & values[1]:
                    found[key, name] = difference(*values)
    corrected = holm([each.p for each in found.values()])
    return {k: (d, p) for (k, d), p in zip(found.items(), corrected, strict=True)}


def saved(runs):
    """Return the mean share of the samples of full training that was not forwarded."""
    return fmean(1 - run["samples_forwarded"] / run["samples_full"] for run in runs)


def table(record):
    """Return the Markdown table of a record."""
    groups = group(record)
    compared = comparisons(record, groups)
    names = record["config"].get("references", [FULL, "Random"])
    published = record["config"].get("paper", {})
    title, _, unit = shown(record)
    head = ["s", "method", title, "n", "saved, %", "steps", "seconds"]
    head[3:3] = ["paper, %"] if published else []
    lines = [head + [f"over {name}, {unit}" for name in names]]
    lines.append(["---"] * len(lines[0]))
    for key, runs in groups.items():
        values = list(values_of(record, runs).values())
        line = [
            f"{key[0]:g}",
            key[1],
            plus_minus(values),
            str(len(runs)),
            f"{100 * saved(runs):.1f}",
            f"{fmean(run['steps'] for run in runs):.0f}",
            f"{fmean(run['seconds'] for run in runs):.1f}",
        ]
        if published:
            line.insert(3, in_paper(record["config"], *key))
        line += [cell(*compared.get((key, name), (None, None))) for name in names]
        lines.append(line)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def in_paper(config, ratio, method):
    """Return the metric that the paper reports, or nothing."""
    ratios = config["pruning"]["prune_ratios"] if ratio else [0.0]
    values = dict(zip(ratios, config["paper"].get(method, []), strict=False))
    return f"{values[ratio]:g}" if ratio in values else ""


def cell(found, p):
    """Return a difference with its standard deviation and corrected p."""
    if found is None:
        return ""
    if found.n < 2:
        return f"{found.mean:+.2f}"
    text = f"{found.mean:+.2f} ± {found.sd:.2f}, p {p:.2g}"
    return f"**{text}**" if p < ALPHA else text


def plus_minus(values):
    """Return mean ± standard deviation."""
    if len(values) < 2:
        return f"{values[0]:.2f}"
    return f"{fmean(values):.2f} ± {stdev(values):.2f}"


def verdicts(record):
    """Return sentences: which method differs from which reference."""
    compared = comparisons(record, group(record))
    lines = []
    for name in record["config"].get("references", [FULL, "Random"]):
        here = {k[0]: v for k, v in compared.items() if k[1] == name}
        if not any(found.n > 1 for found, _ in here.values()):
            continue
        for word, sign in (("above", 1), ("below", -1)):
            hits = [
                f"{method} (s = {ratio:g})"
                for (ratio, method), (found, p) in here.items()
                if p < ALPHA and sign * found.mean > 0
            ]
            lines.append(f"- {word} {name}: {', '.join(hits) or 'none'}")
    return "\n".join(lines)


def section(record):
    """Return the section of a record, headed by its name: other pages link to that."""
    config, machine = record["config"], record["machine"]
    seeds = len({run["seed"] for run in record["runs"]})
    pruning = config["pruning"]
    versions = [f"{k} {v}" for k, v in record["versions"].items()]
    versions += sorted({run["version"] for run in record["runs"] if "version" in run})
    return SECTION.format(
        title=config["title"],
        about=config["about"],
        name=config["name"],
        seeds=seeds,
        setup=", ".join(setting(*pair) for pair in config["training"].items()),
        beta=pruning["beta"],
        gamma=pruning["anneal"],
        table=table(record),
        tests=len(comparisons(record, group(record))),
        verdicts=verdicts(record),
        cutoffs=f"{cutoffs}\n\n" if (cutoffs := cut_table(group(record))) else "",
        versions=", ".join(versions),
        made="{cpu}, {cores} cores, {threads} threads, {device}".format(**machine),
    )


def setting(name, value):
    """Return an entry of a configuration in words."""
    if isinstance(value, dict):
        return ", ".join(setting(*pair) for pair in value.items())
    return f"{name.replace('_', ' ')} {value}"


SECTION = """### {name}

**{title}.** {about}

Training: {setup}. Pruning: beta {beta:g}, gamma {gamma:g}.

`python benchmarks/paper/run.py {name} --data-dir DATA --seeds {seeds}`

{table}

With p corrected over the {tests} comparisons of this section:

{verdicts}

{cutoffs}Measured with {versions}; {made}.
"""


def summary_row(record):
    """Return a record's row of the index: how far it fits, and who won."""
    groups = group(record)
    ratio = max(ratio for ratio, _ in groups)
    picked = {m: groups.get((0.0 if m == FULL else ratio, m)) for m in HEADLINE}
    full, compared = picked[FULL], comparisons(record, groups)
    row = [f"[{record['config']['title']}](runs.md#{record['name']})", f"{ratio:g}"]
    row.append(f"{fmean(r['epoch_loss'][-1] for r in full):.2f}" if full else "")
    row.append(f"{fmean(r['test_loss'] for r in full):.2f}" if full else "")
    row += [f"{loss:.2f}" if loss else "" for loss in cut(groups.get((ratio, "TED")))]
    row += [cell(*compared.get(((ratio, m), "Random"), (None, None))) for m in TRIED]
    return row


def cut(runs):
    """Return TED's mean losses of kept and pruned samples at the last probe."""
    sides = "kept_loss", "pruned_loss"
    if not runs or not all(run.get("pruned_loss") for run in runs):
        return None, None
    return tuple(fmean(run[side][-1][1] for run in runs) for side in sides)


TRIED = ("full, equal steps", "TED", "TED-loss", "SoftTop 2, loss", "UCB", "InfoBatch")
HEADLINE = (FULL, *TRIED)
