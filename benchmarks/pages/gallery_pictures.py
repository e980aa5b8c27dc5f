"""The gallery's pictures, drawn from its record."""

from __future__ import annotations

from itertools import cycle

import numpy as np
from gallery_pages import grouped
from matplotlib.figure import Figure

import ted_core as ted

__all__ = ["PICTURES"]

BLUE, GREEN, ORANGE = "#0072B2", "#009E73", "#D55E00"
PINK, SKY = "#CC79A7", "#56B4E9"
COLOURS = {
    "random": (BLUE, "--"),
    "ted_loss": (GREEN, "-."),
    "ted": (ORANGE, "-"),
    "ted, reversed": (PINK, ":"),
    "full": ("ink", (0, (6, 1))),
}
MARKS = ("o", "s", "^", "D", "v", "P")


def pruned_loss(record, ink):
    """Fig. 1: one row a method."""
    rows = record["pruned_loss"]
    methods = list(dict.fromkeys(row["method"] for row in rows))
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for shift, name, label, colour, mark in (
        (0.21, "retained", "kept most often, 30 %", BLUE, "o"),
        (0.07, "pruned", "kept least often, 70 %", ORANGE, "s"),
        (-0.07, "all", "all training samples", ink, "|"),
        (-0.21, "test", "test samples", GREEN, "^"),
    ):
        values = [
            [row[name] for row in rows if row["method"] == method] for method in methods
        ]
        axes.errorbar(
            np.mean(values, axis=1),
            np.arange(len(methods)) + shift,
            xerr=np.std(values, axis=1, ddof=1),
            fmt=mark,
            color=colour,
            markersize=9 if mark == "|" else 5,
            elinewidth=1,
            label=label,
        )
    axes.set_yticks(range(len(methods)), methods)
    axes.set(xlabel="mean loss after training (mean and sd over seeds)", xscale="log")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def retained_and_pruned(record, ink):
    """Fig. 2: one panel a network."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    panels = figure.subplots(1, 2)
    titles = {0: "no hidden layer", 64: "64 hidden units"}
    for axes, (hidden, title) in zip(panels, titles.items(), strict=True):
        rows = [r for r in record["during_training"] if r["hidden"] == hidden]
        for name, label, colour, style in (
            ("retained", "retained, 40 %", BLUE, "-"),
            ("pruned", "pruned, 60 %", ORANGE, "--"),
            ("test", "test", ink, ":"),
        ):
            band(axes, [r[name] for r in rows], label=label, color=colour, ls=style)
        axes.set(title=title, xlabel="epochs trained", yscale="log")
    panels[0].set_ylabel("mean loss")
    panels[0].legend()
    return figure


def when_to_prune(record, ink):
    """Fig. 3: the loss's change, with the steps' length made up for and without."""
    config = record["config"]["when_to_prune"]
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color=ink, lw=1)
    for scaled, label, colour, mark in (
        (False, "loss as it is", BLUE, "o"),
        (True, "loss divided by $r_t$", ORANGE, "s"),
    ):
        losses = {
            start: np.array([run["loss"] for run in runs if run["scaled"] == scaled])
            for start, runs in grouped(record["when_to_prune"], "start")
        }
        change = [100 * (losses[t] / losses[None] - 1) for t in config["starts"]]
        axes.errorbar(
            config["starts"],
            np.mean(change, axis=1),
            np.std(change, axis=1, ddof=1),
            color=colour,
            marker=mark,
            ms=5,
            capsize=3,
            label=label,
        )
    axes.set(
        xlabel=f"first of {config['sessions']} epochs that prune 70 % at random",
        ylabel="loss on all data,\nchange in % to no pruning",
        xticks=config["starts"],
    )
    axes.legend(loc="upper right")
    return figure


def gradients(record, ink):
    """Fig. 4: correlation, and lengths beside 1 / r_t."""
    rows = record["gradients"]
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for method in record["config"]["gradients"]:
        own = [r for r in rows if r["method"] == method]
        colour, style = COLOURS[method]
        for axes, name in ((left, "correlation"), (right, "norm_ratio")):
            band(axes, [r[name] for r in own], label=method, color=colour, ls=style)
    scale = rows[0]["inverse_keep_ratio"]
    right.step(range(len(scale)), scale, where="mid", color=ink, lw=1, label="$1/r_t$")
    left.set(xlabel="epochs trained", ylabel="Pearson correlation")
    right.set(xlabel="epochs trained", ylabel="length, retained / full")
    right.legend()
    return figure


def schedules(record, ink):
    """Fig. 9: the curves."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    epochs = 80
    ratio = record["config"]["prune_ratio"]
    shades = (BLUE, SKY, GREEN, ORANGE, PINK)
    styles = ("-", "--", "-.", ":", (0, (6, 1)))
    betas = (0.1, 0.25, 0.5, 1.0)
    for beta, colour, style in zip(betas, shades, styles, strict=False):
        curve(left, ted.RollerCoaster(ratio, beta=beta), epochs, f"β = {beta:g}")
        left.lines[-1].set(color=colour, ls=style)
    for name, colour, style in zip(
        ("Constant", "RollerCoaster", "Cosine", "Linear"),
        (ink, ORANGE, BLUE, GREEN),
        styles,
        strict=False,
    ):
        curve(right, getattr(ted, name)(ratio), epochs, name)
        right.lines[-1].set(color=colour, ls=style)
    left.set(title="roller coaster", xlabel="epoch t", ylabel="keep ratio $r_t$")
    right.set(title="others", xlabel="epoch t", ylim=(0, 1.04))
    for axes in (left, right):
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    return figure


def curve(axes, schedule, epochs, name):
    """Draw one schedule, with the share of the samples that it saves."""
    saved = ted.planned_save_ratio(schedule, epochs)
    ratios = ted.keep_ratios(schedule, epochs)
    axes.plot(ratios, label=f"{name}, saves {saved:.0%}", drawstyle="steps-post")


def schedule_accuracy(record, ink):
    """Fig. 7: accuracy beside the samples saved."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    colours = cycle((BLUE, GREEN, SKY, ORANGE, PINK, ink))
    for name, mark in zip(record["config"]["schedules"], MARKS, strict=True):
        rows = [r for r in record["schedules"] if r["schedule"] == name]
        accuracy = 100 * np.array([r["accuracy"] for r in rows])
        axes.errorbar(
            100 * np.mean([r["saved"] for r in rows]),
            accuracy.mean(),
            accuracy.std(ddof=1),
            fmt=mark,
            color=next(colours),
            capsize=3,
            label=name,
        )
    axes.set(xlabel="samples saved in %, counted", ylabel="test accuracy in %")
    axes.margins(0.1)
    figure.legend(loc="outside right center")
    return figure


def line(record, ink):
    """Fig. 8: train and test loss."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, part in zip(panels, ("train", "test"), strict=True):
        for method in record["config"]["line"]:
            rows = [r[part] for r in record["line"] if r["method"] == method]
            colour, style = COLOURS[method]
            colour = ink if colour == "ink" else colour
            x = record["config"]["alphas"]
            band(axes, rows, x=x, label=method, color=colour, ls=style)
        axes.axvline(1, color=ink, lw=0.8)
        axes.set(title=f"{part} data", xlabel=r"$\alpha$", yscale="log")
        axes.minorticks_off()
    panels[0].set_ylabel(r"mean loss at $(1 - \alpha)\, \theta_1 + \alpha\, \theta_T$")
    panels[0].legend()
    return figure


def band(axes, rows, *, x=None, **style):
    """Draw the mean over the seeds, and one sd around it where there is one."""
    rows = np.array(rows, float)
    x = np.arange(rows.shape[1]) if x is None else x
    mean, sd = rows.mean(axis=0), rows.std(axis=0, ddof=1)
    axes.plot(x, mean, lw=1.6, **style)
    axes.fill_between(x, mean - sd, mean + sd, color=style["color"], alpha=0.15, lw=0)


PICTURES = {
    "pruned_loss": pruned_loss,
    "retained_and_pruned": retained_and_pruned,
    "when_to_prune": when_to_prune,
    "gradients": gradients,
    "schedules": schedules,
    "schedule_accuracy": schedule_accuracy,
    "line": line,
}
