"""A record as a section: its table, and what measured it."""

from __future__ import annotations

from statistics import fmean, stdev

from harness.configs import rows
from harness.cuts import cut_table
from harness.methods import ranking_samples

from ted_core.comparison._statistics import paired_difference

__all__ = ["comparisons", "group", "section", "shown"]

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
    """Return {(key, reference): the values of both, paired by seed}."""
    found = {}
    for key, runs in groups.items():
        for name in record["config"].get("references", [FULL, "Random"]):
            others = reference(record, groups, key, name)
            if others is not None and runs[0]["method"] != FULL:
                mine, theirs = values_of(record, runs), values_of(record, others)
                seeds = sorted(mine.keys() & theirs)
                if seeds:
                    found[key, name] = (
                        [mine[s] for s in seeds],
                        [theirs[s] for s in seeds],
                    )
    return found


def saved(record, key, runs):
    """Return the mean share of the samples of full training that was not forwarded.

    What was forwarded to rank the samples of a static method counts.
    """
    config, full = record["config"], runs[0]["samples_full"]
    specs = {(ratio, method): spec for ratio, method, spec in rows(config)}
    ranking = ranking_samples(config, specs[key], full)
    return 1 - (ranking + fmean(run["samples_forwarded"] for run in runs)) / full


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
            f"{100 * saved(record, key, runs):.1f}",
            f"{fmean(run['steps'] for run in runs):.0f}",
            f"{fmean(run['seconds'] for run in runs):.1f}",
        ]
        if published:
            line.insert(3, in_paper(record["config"], *key))
        line += [cell(compared.get((key, name))) for name in names]
        lines.append(line)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def in_paper(config, ratio, method):
    """Return the metric that the paper reports, or nothing."""
    ratios = config["pruning"]["prune_ratios"] if ratio else [0.0]
    values = dict(zip(ratios, config["paper"].get(method, []), strict=False))
    return f"{values[ratio]:g}" if ratio in values else ""


def cell(pairs):
    """Return a mean difference with its 95 % interval."""
    if pairs is None:
        return ""
    if len(pairs[0]) == 1:
        return f"{pairs[0][0] - pairs[1][0]:+.2f}"
    found = paired_difference(*pairs)
    return f"{found.mean:+.2f} ({found.low:+.2f} to {found.high:+.2f})"


def plus_minus(values):
    """Return mean ± standard deviation."""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{fmean(values):.2f} ± {stdev(values):.2f}"


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

{cutoffs}Measured with {versions}; {made}.
"""
