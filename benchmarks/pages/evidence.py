"""Make ``docs/results/evidence.md`` and its pictures from the records.

``python benchmarks/pages/evidence.py`` writes them, ``--previews FOLDER`` the pictures
as PNG, light and dark. A setting without a whole record is left out.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import warnings
from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "evidence")]

from gallery_pictures import BLUE, GREEN, ORANGE, PINK, SKY  # noqa: E402 - the folder is known
from gallery_themes import write_pictures, write_previews  # noqa: E402
from trials.records import compared, refuse  # noqa: E402
from trials.settings import SETTINGS  # noqa: E402

from ted_core.comparison._statistics import (  # noqa: E402
    critical_t,
    holm,
    paired_difference,
)
from ted_core.errors import ComparisonError, TedWarning  # noqa: E402
from ted_core.reports.early_warning import LOSS_LEFT, early_warning  # noqa: E402

RECORDS = HERE.parent / "evidence" / "records"
FOLDER = HERE.parents[1] / "docs" / "results"
FULL, RATE, RANDOM = CONTROLS = ("full", "full, pruned rate", "random")
ALL, BELOW = "full on all", "below a control"
NAMES = {FULL: "full, fewer epochs"}
YELLOW = "#E69F00"
GREY, BROWN = "#7F7F7F", "#8C564B"
LOOKS = {
    FULL: ("ink", "s"),
    RATE: (SKY, "D"),
    RANDOM: (BLUE, "v"),
    "soft_margin": (GREEN, "o"),
    "ted_loss": (ORANGE, "^"),
    "importance": (PINK, "P"),
    "importance, constant half": (YELLOW, "X"),
    "ted": (GREY, "*"),
    "random, constant half": (BROWN, "<"),
}
SAFEST = "importance, constant half"
LEVEL = 0.05
HALF = 0.5
CLAIM = "scarce", "random, constant half", 8
"""Setting and method of a claim that the first so many seeds suggested."""
HALVES = "random, constant half", "all data in turn, constant half"
RATE_ROW = (
    "| full, pruned rate | all data in turn, in short epochs: as many steps as a "
    "pruned run, with the same effective rate (`Random(balanced=True)`) |"
)


SHOWN = {
    "plenty_pooled": "plenty of data, a small network",
    "scarce": "scarce data",
}
"""The settings of the table on the front pages."""
TOLD = {
    (FULL, 1.0): "all data",
    (FULL, 0.5): "all data, half the epochs",
    (RANDOM, 0.5): "a random half, `random`",
    ("soft_margin", 0.5): "`soft_margin`",
    ("ted_loss", 0.5): "`ted_loss`",
    ("importance, constant half", 0.5): "`importance`, half in each epoch",
}
FRONT_PAGES = HERE.parents[1] / "README.md", HERE.parents[1] / "docs" / "index.md"
MARK, END = "<!-- made by benchmarks/pages/evidence.py -->", "<!-- end -->"


def load(records=RECORDS):
    """Return the comparison and the facts of each setting whose record is whole."""
    found = {}
    for name, setting in SETTINGS.items():
        record, facts = records / f"{name}.json", records / f"{name}_facts.json"
        if not record.is_file() or not facts.is_file():
            continue
        try:
            result = compared(setting, refuse, record, progress=False)
        except ComparisonError:
            continue  # a run is missing
        found[name] = result, json.loads(facts.read_text(encoding="utf-8"))
    return found


def with_last_batch():
    """Return what the claim's setting was with the last batch as it is left."""
    name, _, first = CLAIM
    path, setting = RECORDS / f"{name}_ragged.json", SETTINGS[name]
    known = json.loads(path.read_text(encoding="utf-8"))["options"]
    methods = {label: own for label, own in setting.methods.items() if label in known}
    setting = replace(setting, even=False, seeds=2 * first, methods=methods)
    return compared(setting, refuse, path, progress=False)


def claims(found):
    """Return the corrected p of every claim of the page, by setting, row and claim.

    A method is above all three controls, by the largest of the three p; below one of
    them, by three times the smallest; above full training on all samples; and a pruned
    control is above the shorter full run.
    """
    ps = {}
    for name, (result, _) in found.items():
        for row in result.rows:
            if row.arm == FULL:
                continue
            rivals = (FULL,) if row.arm in CONTROLS else CONTROLS
            key = name, row.arm, row.budget
            ps[*key, "controls"] = max(above(row.over[rival]) for rival in rivals)
            if row.arm not in CONTROLS:
                falls = [below(row.over[rival]) for rival in rivals]
                ps[*key, BELOW] = min(1.0, len(falls) * min(falls))
            if ALL in row.over and row.arm not in CONTROLS:
                ps[*key, ALL] = above(row.over[ALL])
    return dict(zip(ps, holm(list(ps.values())), strict=True))


def above(gain):
    """Return the p of a gain, 1 if it is none."""
    return gain.p if gain.mean > 0 else 1.0


def below(gain):
    """Return the p of a loss, 1 if it is none."""
    return gain.p if gain.mean < 0 else 1.0


def cell(gain, p=None):
    """Return a gain with its 95 % interval, bold where the corrected p is small."""
    if gain is None:
        return ""
    text = f"{gain.mean:+.2f} ({gain.low:+.2f} to {gain.high:+.2f})"
    return f"**{text}, p {p:.2g}**" if p is not None and p < LEVEL else text


def best_control(row):
    """Return a method's gain over the best of its controls."""
    return min((row.over[label] for label in CONTROLS), key=lambda gain: gain.mean)


def methods_of(result):
    return list(dict.fromkeys(r.arm for r in result.rows if r.arm not in CONTROLS))


def table(head, rows):
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def everywhere(found):
    """Return the methods that all settings have."""
    sets = [methods_of(result) for result, _ in found.values()]
    return [m for m in sets[0] if all(m in others for others in sets)]


def summary(found, ps):
    """Return the table of all settings: each method over its best control."""
    methods, rows = everywhere(found), []
    for name, result, budget, by in compared_budgets(found):
        line = [
            f"[{name}](#evidence-{name})",
            str(len(result.seeds)),
            f"{100 * budget:.0f} %",
        ]
        ps_of = [ps[name, method, budget, "controls"] for method in methods]
        gains = [best_control(by[method]) for method in methods]
        rows.append(line + list(map(cell, gains, ps_of)))
    return table(["setting", "n", "samples", *methods], rows)


def reach(found, ps):
    """Return the table of all settings: arms over full training on all samples."""
    arms, rows = [FULL, *everywhere(found)], []
    for name, result, budget, by in compared_budgets(found):
        if budget == 1:
            continue
        line = [
            f"[{name}](#evidence-{name})",
            str(len(result.seeds)),
            f"{100 * budget:.0f} %",
        ]
        ps_of = [ps.get((name, arm, budget, ALL)) for arm in arms]
        gains = [by[arm].over[ALL] for arm in arms]
        rows.append(line + list(map(cell, gains, ps_of)))
    names = [NAMES.get(arm, arm) for arm in arms]
    return table(["setting", "n", "samples", *names], rows)


def named(name, result):
    """Return a link to a setting, and how many seeds judge in it."""
    return f"[{name}](#evidence-{name})", str(len(result.seeds))


def compared_budgets(found):
    """Go through settings and budgets that have methods, with the rows by arm."""
    for name, (result, _) in found.items():
        for budget in sorted({row.budget for row in result.rows}):
            by = {row.arm: row for row in result.rows if row.budget == budget}
            if by.keys() - set(CONTROLS):
                yield name, result, budget, by


def section(name, result, facts, ps):
    """Return what one setting has shown."""
    setting, mark = (
        SETTINGS[name],
        next(row for row in result.rows if row.arm == FULL and row.budget == 1),
    )
    rows = []
    for row in result.rows:
        key = name, row.arm, row.budget
        own = ps.get((*key, "controls"))
        rows.append(
            [
                f"{100 * row.budget:.0f} %",
                row.arm if row.budget == 1 else NAMES.get(row.arm, row.arm),
                f"{row.epochs} at {row.rate:g}",
                f"{row.mean:.2f} ± {row.sd:.2f}",
                cell(row.over.get(FULL), own if row.arm in CONTROLS else None),
                "" if row.arm in CONTROLS else cell(best_control(row), own),
                cell(row.over.get(ALL), ps.get((*key, ALL))),
            ]
        )
    head = ["samples", "arm", "epochs at rate", "accuracy, %"]
    head += [f"over {NAMES[FULL]}", "over the best baseline", f"over {ALL}"]
    return f"""(evidence-{name})=
## {setting.regime.capitalize()}: {setting.title}

![Accuracy over samples processed](evidence_{name}.svg)

{described(setting, facts)}
Full training on all samples reaches {mark.mean:.2f} %.

{table(head, rows)}

{" ".join(note for note in result.notes if "schedule of its own" not in note)}
"""


def described(setting, facts):
    """Return how a setting trains, and what full training leaves of the loss."""
    train, test = facts["train"], facts["test"]
    optimizer = {"sgd": "SGD with Nesterov momentum", "adamw": "AdamW"}
    return (
        f"{optimizer[setting.optimizer]}, one cycle, batches of {setting.batch}"
        f"{', all of one size' * setting.even}. After "
        f"{setting.epochs} epochs of full\ntraining at the rate {facts['rate']:g} the "
        f"mean loss is {train['loss']:.2f} on the\n{facts['samples']:,} training "
        f"samples and {test['loss']:.2f} on the {facts['tests']:,} test samples;\n"
        f"{train['solved']:.0f} % of the training samples have a loss below 0.01. The "
        f"most frequent\nclass alone is worth {facts['majority']:.1f} %."
    )


def page(found):
    """Return the page."""
    ps = claims(found)
    facts = next(iter(found.values()))[1]
    seeds = sorted({len(result.seeds) for result, _ in found.values()})
    rates = min(len(SETTINGS[name].rates) for name in found)
    parts = [section(name, *each, ps) for name, each in found.items()]
    return f"""# Does the choice of samples pay?

<!-- made by benchmarks/pages/evidence.py -->

{findings(found, ps)}

The batches of an epoch are of one size: a last batch of a few samples costs
[more than a point](#evidence-last-batch) in some arms.

Every arm has at each number of samples a learning rate of its own, chosen on two other
seeds. Then {alternatives(seeds)} seeds that had no part in it judge the arm.

| arm | what it trains on |
| --- | --- |
| full, fewer epochs | all data, for fewer epochs, with a whole schedule of its own |
{RATE_ROW}
| random | a new random selection in each epoch (`method="random"`) |
| a method | what the method selects (`method=...`) |

A method pays where it is above all of the first three, the baselines.

## Over the best baseline

Each number is a method's accuracy minus that of the best of the three baselines at as
many samples, in points, with the 95 % interval of the difference paired by seed.
"Samples" is the share of those that full training processes.

{summary(found, ps)}

Methods that were judged in some settings only stand in the tables of these.

## Over full training on all samples

{reach(found, ps)}

Bold: p below 0.05 by paired t-tests, corrected by Holm's method over all {len(ps)}
claims of this page. A method's claim to be above the baselines takes the largest of its
three p. Each arm chose among {rates} learning rates or more. All samples that pass
through the network are counted.

{chr(10).join(parts)}
{last_batch(found, with_last_batch())}
{early(found)}
(evidence-screens)=
## What was tried before

Selections that were screened, over a random selection at the same rate and seed, half
of the samples, in these settings and forerunners of them without batch norm or with
smaller batches; at rates where the random selection is within a point of its best. In
brackets the number of pairs. Seeds differ by some tenths of a point: this chose what to
judge, and shows nothing.

{screened()}

"Even in time": each sample comes at even distances, as often as its weight says. A
proxy is the same network with a quarter of its width or less, trained for three epochs
before; what it forwards is not counted. "Smaller batches" shrink with the share that is
kept, and the loss is not divided. "Margin in distance" is the margin over the distance
of the two classes' weights in the last layer. "Learning progress" is the distance of
two averages of the loss, 0.5 and 0.9 of which are the past. The oscillating schedule
goes down to an eighth of the data, where 1 / r_t multiplies the rate by eight. The beta
draw takes a sample of rank q in (0, 1) in proportion to q² √(1 - q).

{wrong_labels()}
## What it does not say

- Networks and pictures are small: a core of a CPU had to afford some hundred runs of
  each. Larger networks may behave differently.
- A setting has one network, one optimizer, one schedule and one prune ratio, 0.7.
- The networks of `patches` and `plenty_pooled` were chosen. Others, with capacity left
  for their data, were tried on a seed or two and showed no gain over full training;
  these showed one on a seed that judges nothing.
- The seeds vary the weights, the batches and the selection, not the data.

Measured on {facts["machine"]} with {facts["threads"]} thread,
Python {facts["python"]}, PyTorch {facts["torch"]}. To repeat a setting:
`python benchmarks/evidence/run.py NAME --data-dir DATA`. For your own data:
{{func}}`ted_core.compare`.
"""


def early(found, path=RECORDS / "early.json"):
    """Return what an early warning would have said in each setting."""
    rows, right, told, taken = [], 0, 0, []
    for name, each in json.loads(path.read_text(encoding="utf-8")).items():
        if name not in found:
            continue
        result, epochs = found[name][0], each["epochs"]
        row = next(r for r in result.rows if (r.arm, r.budget) == ("ted_loss", HALF))
        when, runs = max(1, epochs // 8), list(each["losses"].values())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TedWarning)
            alarms = sum(early_warning(losses, epochs=epochs) for losses in runs)
        left = sum(losses[when] / losses[0] for losses in runs) / len(runs)
        gain = row.over[RANDOM]
        if 2 * alarms <= len(runs):
            taken.append((name, over_safest(result, row)))
        told += 1
        right += (2 * alarms > len(runs)) == (gain.mean < 0)
        warned = f"{alarms} of {len(runs)}"
        rows.append([named(name, result)[0], f"{left:.2f}", warned, cell(gain)])
    verdict = "it is a weak sign" if right < 0.75 * told else "it is a sign"
    head = ["setting", "loss left", "warned", "ted_loss over random"]
    return f"""(evidence-early-warning)=
## An early warning

Keeping the samples of highest loss (`ted_loss`) fails where they are what the network
cannot learn yet. The first eighth of the epochs may show it: the mean loss of what is
trained on has hardly fallen. {{func}}`ted_core.early_warning` warns where more
than {LOSS_LEFT:g} of the first epoch's loss is left. That bound was chosen on other
runs, at one learning rate. On those below, half of the samples and each arm at its best
rate, the warning came where `ted_loss` ended below a random selection, and stayed away
where it did not, in {right} of {told} settings, so {verdict}.

{table(head, rows)}

The warning is about rankings by difficulty (`loss`, `el2n`, `grand`). The loss of
`soft_margin` stays as high without harm.

{rule(taken)}
"""


def over_safest(result, row):
    """Return a row's gain over importance in a constant half, at as many samples."""
    safest = next(r for r in result.rows if (r.arm, r.budget) == (SAFEST, row.budget))
    return paired_difference(row.metrics, safest.metrics)


def rule(taken):
    """Return what a method that follows the early warning would have been worth."""
    told = ", ".join(f"{cell(gain)} in {name}" for name, gain in taken)
    above = sum(gain.low > 0 for _, gain in taken)
    return (
        "A rule could take `ted_loss` where the warning stays away, and\n"
        f"`{SAFEST}` elsewhere. Beside always taking the latter it would\n"
        f"have ended {told}:\na gain by the interval in {above or 'none'}. The library "
        "has no such rule."
    )


def screened(path=RECORDS / "screens.json"):
    """Return the table of the screens, pooled over the forerunners of a setting."""
    runs = {}
    for run in json.loads(path.read_text(encoding="utf-8")):
        if run["budget"] == HALF:
            key = run["setting"], run["rate"], run["seed"]
            runs.setdefault(key, {})[run["arm"]] = run["accuracy"]
    gains, settings = {}, []
    for (setting, rate, _), arms in runs.items():
        if RANDOM not in arms or not near(setting, rate, runs):
            continue
        regime = setting.split(",")[0]
        settings.append(regime)
        for arm, accuracy in arms.items():
            row = gains.setdefault(arm, {})
            row.setdefault(regime, []).append(accuracy - arms[RANDOM])
    del gains[RANDOM]
    heads = list(dict.fromkeys(settings))
    rows = [
        [NAMES.get(arm, arm), *(pooled(row.get(head)) for head in heads)]
        for arm, row in sorted(gains.items())
    ]
    return table(["selection", *heads], rows)


def wrong_labels(path=RECORDS / "crossed.json"):
    """Return the table of selections where a fifth of the labels is wrong."""
    runs = {}
    for run in json.loads(path.read_text(encoding="utf-8")):
        key = run["rate"], run["seed"]
        runs.setdefault(run["setting"], {}).setdefault(run["arm"], {})[key] = run
    rows, arms = [], list(dict.fromkeys(arm for each in runs.values() for arm in each))
    for arm in arms:
        if arm == RANDOM:
            continue
        line = [NAMES.get(arm, arm)]
        for each in runs.values():
            gains = [
                run["accuracy"] - each[RANDOM][key]["accuracy"]
                for key, run in each[arm].items()
            ]
            wrong = [run["wrong"] for run in each[arm].values()]
            line.append(f"{pooled(gains)}, {sum(wrong) / len(wrong):.0f} % wrong")
        rows.append(line)
    return f"""(evidence-wrong-labels)=
## Where a fifth of the labels is wrong

The same kind of screen, with 20 % wrong labels planted in the training samples:
accuracy on right labels over a random selection at the same rate and seed, half of the
samples, and the share of wrong labels among what was trained on. The reducible loss is
a sample's loss less that of a network that has not seen it (Mindermann et al., ICML
2022). Two crossed proxies stand for that network: a quarter of the width, three epochs,
each on one half of the data for the other half. What they forward is not counted.

{table(["selection", *runs], rows)}
"""


def near(setting, rate, runs):
    """Tell whether a random selection at this rate is near its best."""
    means = {}
    for (where, at, _), arms in runs.items():
        if where == setting and RANDOM in arms:
            means.setdefault(at, []).append(arms[RANDOM])
    means = {at: sum(found) / len(found) for at, found in means.items()}
    return means[rate] > max(means.values()) - 1


def pooled(gains):
    """Return the mean of some gains and their number."""
    return f"{sum(gains) / len(gains):+.2f} ({len(gains)})" if gains else ""


def findings(found, ps):
    """Return in sentences what the claims add up to."""
    methods = list(dict.fromkeys(m for r, _ in found.values() for m in methods_of(r)))
    rows = [
        (name, row)
        for name, (result, _) in found.items()
        for row in result.rows
        if row.arm in methods
    ]
    recipe = [
        (name, row)
        for name, (result, _) in found.items()
        for row in result.rows
        if row.arm == RATE and ps[name, RATE, row.budget, "controls"] < LEVEL
    ]
    pays = [(n, r) for n, r in rows if ps[n, r.arm, r.budget, "controls"] < LEVEL]
    reach = [(n, r) for n, r in rows if ps.get((n, r.arm, r.budget, ALL), 1) < LEVEL]
    opening = (
        "A method pays if it beats three baselines that process as many samples, each\n"
        f"at its own best learning rate. Of {len(rows)} comparisons this was shown\n"
        f"in {listed(pays)}. To be above full training on *all* samples, with fewer,\n"
        f"was shown in {listed(reach)}{besides(reach)}. The recipe\n"
        f"without a choice of samples, `{RATE}`, was shown above a shorter\n"
        f"full run in {listed(recipe)}. By method, in the comparisons it was in:"
    )
    lines = [opening, ""]
    for method in methods:
        mine = [(name, row) for name, row in rows if row.arm == method]
        gains = [best_control(row) for _, row in mine]
        under = [each for each in mine if best_control(each[1]).high < 0]
        shown = [(n, r) for n, r in mine if ps[n, r.arm, r.budget, BELOW] < LEVEL]
        over = [each for each in mine if best_control(each[1]).low > 0]
        low, high = min(g.mean for g in gains), max(g.mean for g in gains)
        lines.append(
            f"- `{method}`: {span(low, high)} points from the best baseline; the\n"
            f"  95 % interval lies below it in {listed(under)} of {len(mine)},\n"
            f"  and above it in {listed(over)}. To be below a baseline was shown\n"
            f"  in {listed(shown)}."
        )
    return "\n".join(lines)


def last_batch(found, ragged):
    """Return what a last batch of a few samples did, and to which claim."""
    runs, name = {}, CLAIM[0]
    for run in json.loads((RECORDS / "last_batch.json").read_text(encoding="utf-8")):
        key = run["setting"], run["budget"], run["arm"], run["rate"]
        runs.setdefault(key, {}).setdefault(run["even"], []).append(run["accuracy"])
    rows = []
    for (setting, budget, arm, rate), each in runs.items():
        left, even = (sum(each[key]) / len(each[key]) for key in (False, True))
        size = remainder(setting, arm, found)
        line = [
            setting,
            f"{100 * budget:.0f} %",
            NAMES.get(arm, arm),
            f"{rate:g}",
            size,
        ]
        rows.append([*line, f"{left:.2f}", f"{even:.2f}", f"{even - left:+.2f}"])
    head = ["setting", "samples", "arm", "rate", "last batch", "accuracy, %"]
    before, now = (
        next(row for row in result.rows if (row.arm, row.budget) == (FULL, HALF))
        for result in (ragged, found[name][0])
    )
    return f"""(evidence-last-batch)=
## A last batch of a few samples

All these networks have batch norm, which trains badly on a batch of a few samples. The
last batch of an epoch may be one, that of a pruned epoch above all, which has any size.
The table compares it with batches of equal size, at one rate, by the means of two
seeds that judge nothing.

{table([*head, "of equal batches", "difference"], rows)}

In {name} all arms were judged twice. With the last batch as it was left, of
{remainder(name, FULL, found)} samples in full training, half of the epochs on all data
ended at {before.mean:.2f} %; with equal batches, as in the table of {name}, at
{now.mean:.2f} %. That difference had made a claim. On {CLAIM[2]} seeds `{CLAIM[1]}`,
whose last batch had {remainder(name, CLAIM[1], found)} samples, was above the best
baseline, and on {len(ragged.seeds) - CLAIM[2]} others, which no one had looked at, it
was again:
{_and(fresh(ragged))} of the samples,
with p corrected over these claims. With equal batches it is
{_and(over_best(found[name][0]))}.
So a claim may hold on new seeds and be about something other than the method: here the
last batch of the baselines.
"""


def remainder(setting, arm, found):
    """Return the samples of an epoch's last batch, where all epochs have as many."""
    if setting not in found or arm not in (FULL, *HALVES):
        return "any"
    n, batch = found[setting][0].n, SETTINGS[setting].batch
    return str((n if arm == FULL else n // 2) % batch or batch)


def fresh(result):
    """Return what the claim is worth on the seeds after those that suggested it."""
    name, method, first = CLAIM
    new = [place for place, seed in enumerate(result.seeds) if seed >= first]
    gains, ps = [], []
    for _, _, budget, by in compared_budgets({name: (result, None)}):
        arms = {arm: [row.metrics[place] for place in new] for arm, row in by.items()}
        over = [paired_difference(arms[method], arms[rival]) for rival in CONTROLS]
        gains.append((budget, min(over, key=lambda gain: gain.mean)))
        ps.append(max(map(above, over)))
    return [
        f"{cell(gain, p)} at {100 * budget:.0f} %"
        for (budget, gain), p in zip(gains, holm(ps), strict=True)
    ]


def over_best(result):
    """Return the claim's method over the best baseline at each number of samples."""
    rows = [row for row in result.rows if row.arm == CLAIM[1]]
    return [f"{cell(best_control(row))} at {100 * row.budget:.0f} %" for row in rows]


def _and(words):
    """Return words in a row, the last behind "and"."""
    return ",\n".join(words[:-1]) + f"\nand {words[-1]}"


def alternatives(numbers):
    """Return numbers in a row, the last behind "or"."""
    *others, last = map(str, sorted(set(numbers)))
    return f"{', '.join(others)} or {last}" if others else last


def besides(reach):
    """Tell where a shorter full run gains as much as such a method."""
    names = sorted({name for name, row in reach if row.over[FULL].low <= 0})
    return f"; in {', '.join(names)} a shorter full run gained as much" if names else ""


def span(low, high):
    """Return two gains, or one if they are the same."""
    return f"{low:+.2f}" if low == high else f"{low:+.2f} to {high:+.2f}"


def listed(rows):
    """Return how many rows there are, and in which settings."""
    names = ", ".join(dict.fromkeys(name for name, _ in rows))
    return f"{len(rows)} ({names})" if rows else "none"


def opening(found):
    """Return the front pages' table: accuracy of each arm in two settings."""
    settings = [found[name][0] for name in SHOWN]
    rows = {}
    for result in settings:
        for row in result.rows:
            rows.setdefault((row.arm, row.budget), []).append(
                f"{row.mean:.2f} ({row.sd:.2f})"
            )
    lines = [
        [words, "100 %" if key[1] == 1 else "50 %", *rows[key]]
        for key, words in TOLD.items()
    ]
    n = alternatives(len(result.seeds) for result in settings)
    head = [f"accuracy, % (sd), {n} seeds", "samples", *SHOWN.values()]
    return table(head, lines)


def into_front_page(found, text):
    """Return a front page with its table made from the records."""
    before, rest = text.split(MARK, 1)
    return f"{before}{MARK}\n\n{opening(found)}\n{rest[rest.index(END) :]}"


def curve(name, result, ink):
    """Draw accuracy over samples processed, one line an arm."""
    figure = Figure(figsize=(7.5, 3.6), layout="constrained")
    axes = figure.subplots()
    arms = list(dict.fromkeys(row.arm for row in result.rows))
    total, n = max(row.samples for row in result.rows), len(result.seeds)
    half = critical_t(n - 1, LEVEL) / math.sqrt(n)
    for place, arm in enumerate(arms):
        rows = [row for row in result.rows if row.arm == arm]
        colour, marker = LOOKS[arm]
        aside = 0.008 * total * (place - (len(arms) - 1) / 2)
        axes.errorbar(
            [row.samples + aside for row in rows],
            [row.mean for row in rows],
            [half * row.sd for row in rows],
            label=NAMES.get(arm, arm),
            color=ink if colour == "ink" else colour,
            marker=marker,
            linestyle="--" if arm in CONTROLS else "-",
            capsize=2,
        )
    axes.set(
        xlabel=f"samples processed (bars: 95 % of the mean of {n} seeds)",
        ylabel="accuracy, %",
        xlim=(0, 1.06 * total),
    )
    axes.set_title(SETTINGS[name].title, fontsize="medium")
    figure.legend(loc="outside right upper")
    return figure


def drawn(name, result):
    """Return a function of a record and an ink, as the themes want it."""
    return lambda _record, ink: curve(name, result, ink)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--previews", type=Path)
    arguments = parser.parse_args()
    found = load()
    pictures = {
        f"evidence_{name}": drawn(name, result) for name, (result, _) in found.items()
    }
    if arguments.previews:
        write_previews(None, arguments.previews, pictures)
        return
    (FOLDER / "evidence.md").write_text(page(found), encoding="utf-8")
    write_pictures(None, FOLDER, pictures)
    for front in FRONT_PAGES:
        text = into_front_page(found, front.read_text(encoding="utf-8"))
        front.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
