"""Make ``docs/results/reliability/README.md`` from the records, and from nothing else.

``python benchmarks/pages/reliability.py``
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
RECORDS = HERE.parent / "reliability" / "records"
PAGE = HERE.parents[1] / "docs" / "results" / "reliability" / "README.md"
TRAININGS = {
    "torch": "PyTorch, `atomic_write`",
    "ranks": "PyTorch, two processes, a folder",
    "keras": "Keras on TensorFlow, a folder",
    "jax": "JAX, two devices, `save_state`",
    "torch-in-place": "PyTorch, `torch.save` over the only file",
    "keras-backup": "Keras, `BackupAndRestore` beside `backup=`",
}
PLACES = {
    "step": "at a step",
    "time": "at a random time",
    "call": "at a call of a saving",
    "byte": "at a byte of a file",
}
TEXT = """# Reliability

<!-- made by benchmarks/pages/reliability.py -->

What was killed, damaged, filled up and fuzzed, and what became of it. How to save so
that a kill does no harm: [save and resume](../../method/resuming.md).

## Killed

A training is forked from a process that has imported everything, killed once to three
times in a row, resumed each time, and run to its end. Its end is compared bit for bit
with that of the training never stopped: order and loss of every step (PyTorch),
scores, update counts, history, the session's whole state, weights, optimizer,
generator. A kill is SIGKILL at the begin of a step, at a random time, or before or
after a call into the system while a checkpoint is written (open, write, flush, fsync,
replace, rename ...); or the kernel ends the process when a file would grow beyond a
random byte.

{kills}

"Not resumed": the checkpoint was torn, and reading it failed with an error; no
resumed run ended with other bits than the whole one. The last two rows are what not
to rely on. Keras writes its backup over the older one: of the {inside} runs in which a
kill hit a saving, Keras' or the session's, {torn} did not resume.

{commands}

Seconds: {seconds}. {where}

## Damaged files

{times} times each; a foreign file is one of five, a call is a pickle that would make a
folder, which was not made.

{damage}

PyTorch does not check the bits of a tensor that it reads: the checksum of the
session's state does. Without effect: bits that no one reads, of the archive's padding
and dates.

## Full disks

{disks}

## Fuzzed

{examples} random calls of each function, ten times as many of each state, a quarter of
the arguments not what is asked for. Nothing ended in an internal error, a hang or a
half loaded state: {calls} calls.

{fuzz}

```text
python benchmarks/reliability/damage.py
python benchmarks/reliability/fuzz.py --examples {examples}
python benchmarks/pages/reliability.py
```
"""


def read(name):
    path = RECORDS / f"{name.replace('-', '_')}.json"
    return json.loads(path.read_text(encoding="utf-8"))


def table(head, rows):
    """Give a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def kills_of(record):
    return [kill for one in record["trials"] for kill in one["kills"]]


def kill_row(name, record):
    kinds = Counter(kill["moment"]["kind"] for kill in kills_of(record))
    trials = record["trials"]
    equal = sum(one["equal"] for one in trials)
    other = sum(bool(one["differs"]) for one in trials)
    refused = sum(one["refused"] is not None for one in trials)
    counts = [kinds[kind] for kind in PLACES]
    saving = sum(kill["phase"] == "saving" for kill in kills_of(record))
    return [name, sum(counts), *counts, saving, len(trials), equal, refused, other]


def torn(record):
    """Count the kills that hit a saving, and those that left a torn file."""
    trials = record["trials"]
    hit = [t for t in trials if any(k["phase"] == "saving" for k in t["kills"])]
    return sum(t["refused"] is not None for t in hit), len(hit)


def where(record):
    versions = ", ".join(f"{k} {v}" for k, v in record["versions"].items())
    machine = record["machine"]
    cores = f"{machine['cores']} cores shared with other work"
    return f"{machine['cpu']}, {cores}; {versions}."


def merged(rows):
    """Add up the outcomes of many."""
    total = Counter()
    for row in rows:
        total.update(row["outcomes"])
    return total


def counts(outcomes):
    return ", ".join(f"{name} {n:,}" for name, n in sorted(outcomes.items()))


def page():
    """Return the page's text."""
    records = {name: read(f"kills_{name}") for name in TRAININGS}
    head = ["run", "kills", *PLACES.values(), "in a saving", "runs"]
    head += ["equal bit for bit", "not resumed", "other bits"]
    lines = [
        f"python benchmarks/reliability/kills.py {name} --kills "
        f"{record['config']['kills']} --seed {record['config']['seed']}"
        for name, record in records.items()
    ]
    damage, fuzz = read("damage"), read("fuzz")
    groups = {
        "functions of the core": [
            r
            for r in fuzz["results"]
            if r["where"] == "core" and not r["name"].startswith("state")
        ],
        "functions of the PyTorch adapter": [
            r
            for r in fuzz["results"]
            if r["where"] == "PyTorch" and not r["name"].startswith("state")
        ],
        "functions of the Keras adapter": [
            r
            for r in fuzz["results"]
            if r["where"] == "Keras" and not r["name"].startswith("state")
        ],
        "states": [r for r in fuzz["results"] if r["name"].startswith("state")],
    }
    lost, inside = torn(records["keras-backup"])
    return TEXT.format(
        kills=table(head, [kill_row(TRAININGS[n], r) for n, r in records.items()]),
        torn=lost,
        inside=inside,
        commands="```text\n" + "\n".join(lines) + "\n```",
        seconds=", ".join(f"{h} {r['seconds']:.0f}" for h, r in records.items()),
        where=where(records["torch"]),
        times=f"{damage['config']['times']:,}",
        damage=table(
            ["written by", "damage", "what became of it"],
            [
                [f"`{r['file']}`", r["damage"], counts(r["outcomes"])]
                for r in damage["damaged files"]
            ],
        ),
        disks=table(
            ["file", "where", "error", "older file whole", "other files left"],
            [
                [
                    {"core": "`save_state`", "torch": "`torch.save`"}[r["file"]],
                    r["how"],
                    f"`{r['error']}`",
                    "yes" if r["older file whole"] else "no",
                    len(r["other files"]),
                ]
                for r in damage["full disks"]
            ],
        ),
        examples=fuzz["config"]["examples"],
        calls=f"{sum(merged(fuzz['results']).values()):,}",
        fuzz=table(
            ["what", "how many", "outcomes"],
            [[name, len(r), counts(merged(r))] for name, r in groups.items()],
        ),
    )


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
