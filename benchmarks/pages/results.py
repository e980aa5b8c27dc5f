"""Make the pages of ``docs/results`` from the records of the paper's comparisons.

``python benchmarks/pages/results.py`` writes the summary, and a page with a section for
each record.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks" / "paper"))

from harness.tables import section  # noqa: E402 - the folder is known
from harness.text_tables import text_index  # noqa: E402

RECORDS = ROOT / "benchmarks" / "paper" / "records"
PAGES = ROOT / "docs" / "results"
INDEX = """# Results

<!-- made by benchmarks/pages/results.py -->

Scripts in the repository measured every number here, and other scripts made these pages
from the records: n, standard deviations, machine and versions stand beside the numbers.
What went against a method is there, too.

- [Does the choice of samples pay?](evidence.md) compares methods with tuned baselines
  on pictures and text. Read this page before you choose a method.
- [Reliability](reliability/README.md) tells what happened to runs that were killed, to
  files that were damaged and to calls with random input.
- [The frameworks' own scripts](hosts.md) ran with the lines of their pages: what was
  forwarded, and what became of runs that were killed.
- [What the core costs](scale/core.md) gives seconds and memory for up to 10^8 samples;
  [many processes](scale/ranks.md) the same for distributed training.

## The paper's comparisons at one learning rate

These runs repeat comparisons of the paper on a small scale. Each has one learning rate
for all methods. The rate changes the result more than the choice of samples, so these
tables cannot tell which method is best; they show how a method of the paper behaves.

{table}

The prune ratio is 0.7, for LoRA 0.3. "Over Random" is the difference to a random
selection of as many samples, paired by seed, with its 95 % interval over 3 seeds. The
title of a row leads to [all of its runs](runs.md). Static rankings of pictures, as in
Tables 1 and 2 of the paper, are in [cpu_static](runs.md#cpu_static).

```{{toctree}}
:hidden:
evidence
runs
hosts
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

s: prune ratio; saved: counted, the first epoch, the full-data epochs at the end and the
run that ranks the samples of a static method included; ±: standard deviation over the n
seeds. Differences are paired by seed, with the 95 % interval of their mean. All methods
of a section train at one learning rate. The seconds include other work of the machine.

A second table shows what is pruned: the mean loss of up to 512 of the samples that
the next epoch keeps, and of those that it prunes, in evaluation mode without
augmentation, at the last probe before the full-data epochs at the end; and the share
that the least kept class keeps. Means over the seeds.
{sections}"""


def pages(records):
    """Return the text of each page by file name."""
    pictures, texts, majority = [], [], {}
    for path in sorted(records.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if path.stem == "majority":
            majority = record
        if "pruning" in record.get("config", ()):
            kind = record["config"]["data"].get("kind", "pictures")
            (pictures if kind == "pictures" else texts).append(record)
    sections = ""
    for heading, made in (("Pictures", pictures), ("Text", texts)):
        if made:
            sections += f"\n## {heading}\n"
        sections += "".join(f"\n{section(record)}" for record in made)
    return {
        "runs.md": RUNS.format(sections=sections),
        "README.md": INDEX.format(table=text_index(texts, majority)),
    }


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
