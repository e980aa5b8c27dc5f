"""Make the pages of ``docs/results`` from the records of the paper's comparisons.

``python benchmarks/pages/results.py`` writes the summary, a page with a section for
each record, and the pages that compare records.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks" / "paper"))

from harness.confirmed import confirmation_page  # noqa: E402 - the folder is known
from harness.early import early_page  # noqa: E402
from harness.tables import ALPHA, TRIED, section, summary_row  # noqa: E402
from harness.text_tables import text_index  # noqa: E402

RECORDS = ROOT / "benchmarks" / "paper" / "records"
PAGES = ROOT / "docs" / "results"
INDEX = """# Results

<!-- made by benchmarks/pages/results.py -->

A committed script wrote every number here into a record, and made every page from the
records: n, standard deviations, machine and versions stand beside each number. What
went against the method is there, too. `benchmarks/paper/README.md` has the
configurations, and says how to repeat a run or to add one of your own.

## What was learnt

On pictures, small networks, against a random selection of as many samples, on seeds
that had no part in choosing the methods ([confirmation](confirmation.md)):

- TED's default, the mask gradient at the logits, was above it on no data set by more
  than chance, and below it on most.
- Keeping the samples of highest loss was above it on none, and below it on some. The
  first epochs give a sign of that: [early warning](early_warning.md).
- `method="soft_margin"` was below it on none, and above it on one.

On text:

- On sentences, without full-data epochs at the end, keeping the hardest ended far below
  full data on [MRPC](runs.md#cpu_mrpc).
- On instructions, TED ended at a lower held-out loss than the random selection:
  [LoRA](runs.md#cpu_lora).

On the library:

- Killed, damaged and fuzzed runs: [reliability](reliability/README.md). What planning
  costs, [by samples](scale/core.md) and [by processes](scale/ranks.md).

Each row of the tables is one record; its title leads to
[all of its runs](runs.md).

## Pictures

{table}

Losses are those of the training on all data: of its last epoch, augmented, and on the
test pictures. "TED keeps" and "TED prunes" are the losses of the samples on either side
of TED's last cutoff. The differences to Random, at the same r_t for all but InfoBatch,
are in points of accuracy, with p as in the record's section. InfoBatch forwards as many
samples as its scores say: see there.
{text}
```{{toctree}}
:hidden:
evidence
runs
confirmation
early_warning
reliability/README
scale/core
scale/ranks
```
"""
RUNS = """# All runs

<!-- made by benchmarks/pages/results.py -->

Each section is one record of `benchmarks/paper/records`, made by the configuration of
the same name in `benchmarks/paper/configs`. The [summary](README.md) says what was
learnt.

s: prune ratio; saved: counted, the first epoch and the full-data epochs at the end
included; ±: standard deviation over the n seeds. Differences are paired by seed; p
comes from the two-sided paired t-test, by Holm's method over all comparisons of a
section, and is bold below {alpha}. The seconds include other work of the machine.

A second table shows what is pruned: the mean loss of up to 512 of the samples that
the next epoch keeps, and of those that it prunes, in evaluation mode without
augmentation, at the last probe before the full-data epochs at the end; and the share
that the least kept class keeps. Means over the seeds.
{sections}"""


def pages(records):
    """Return the text of each page by file name."""
    pictures, texts = [], []
    for path in sorted(records.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if "pruning" in record.get("config", ()):
            kind = record["config"]["data"].get("kind", "pictures")
            (pictures if kind == "pictures" else texts).append(record)
    tried = [f"{method} over Random" for method in TRIED]
    head = ["data", "s", "training loss", "test loss"]
    head += ["TED keeps", "TED prunes", *tried]
    lines = [head, ["---"] * len(head), *(summary_row(record) for record in pictures)]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    sections = ""
    for heading, made in (("Pictures", pictures), ("Text", texts)):
        if made:
            sections += f"\n## {heading}\n"
        sections += "".join(f"\n{section(record)}" for record in made)
    found = {"runs.md": RUNS.format(alpha=ALPHA, sections=sections)}
    across = {"early_warning": early_page, "confirmation": confirmation_page}
    for name, make in across.items():
        text = make(pictures)
        if text is not None:
            found[f"{name}.md"] = text
    return found | {"README.md": INDEX.format(table=table, text=text_index(texts))}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=Path, default=RECORDS)
    parser.add_argument("--out", type=Path, default=PAGES)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, text in pages(arguments.records).items():
        (arguments.out / name).write_text(text, encoding="utf-8")
        print(arguments.out / name)


if __name__ == "__main__":
    main()
