"""Write what a step costs into the pages of the frameworks, from the records.

`python benchmarks/pages/host_pages.py` writes them.
"""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks" / "overhead"
sys.path.insert(0, str(FOLDER))

from huggingface_table import markdown  # noqa: E402 - the folder is known now
from step_turns import line  # noqa: E402

DOCS = ROOT / "docs" / "adapters"
MARK, END = "<!-- made by benchmarks/pages/host_pages.py -->", "<!-- end -->"
_LOOPS = "Loops over its loader, without workers,"
TURNS = {
    "lightning": "Whole fits",
    "torchdata": _LOOPS,
    "fastai": "Whole fits",
    "timm": _LOOPS,
    "ultralytics": "Whole fits",
}
# These look at the data in the first, once a run.
FROM = dict.fromkeys(("timm", "ultralytics"), ", from the second epoch on")
NETWORKS = {
    "small": "a small convolutional network",
    "yolo head": "YOLO11n's head on five convolutions",
}


def load(name):
    """Return a record."""
    path = FOLDER / "records" / f"{name}_steps.json"
    return json.loads(path.read_text(encoding="utf-8"))


def filled(text):
    """Return a paragraph in lines of the pages' length."""
    return textwrap.fill(text, 90, break_long_words=False, break_on_hyphens=False)


def link(name):
    """Return a link to a record."""
    return f"[record](../../benchmarks/overhead/records/{name}_steps.json)"


def turns(name, record):
    """Return the paragraph of a framework whose fits or loops took turns."""
    config = record["config"]
    steps, batch, epochs = (config[key] for key in ("steps", "batch", "epochs"))
    kept = ", freed memory kept for the next step" if config["memory kept"] else ""
    return filled(
        f"{TURNS[name]} of {NETWORKS[config['network']]} on "
        f"{steps * batch:,} pictures, batch {batch}, by the processor's clock, one "
        f"thread{kept}; they took turns, and {epochs} closed epochs are in "
        f"{epochs * steps} steps{FROM.get(name, '')} ({link(name)}). {line(record)}"
    )


def trainer(record):
    """Return the paragraph of the Trainer, and its table."""
    (rounds,) = {result["rounds"] for result in record["results"]}
    text = filled(
        "By the processor's clock, one thread, every sample kept, from step to step "
        f"with loading (medians of {rounds} pairs of runs with their 95 % intervals; "
        f"{link('huggingface')}):"
    )
    return f"{text}\n\n{runs(record, 'Trainer')}"


def runs(record, host):
    """Return the rows of a framework."""
    mine = [result for result in record["results"] if result["run"].startswith(host)]
    return markdown(record | {"results": mine})


def parts():
    """Return what belongs between the marks of each page."""
    record = load("huggingface")
    made = {f"{name}.md": turns(name, load(name)) for name in TURNS}
    made["huggingface.md"] = trainer(record)
    made["accelerate.md"] = runs(record, "Accelerate")
    return made


def page(text, part):
    """Return a page's text with its part made anew."""
    before, rest = text.split(MARK, 1)
    return f"{before}{MARK}\n\n{part}\n\n{rest[rest.index(END) :]}"


def main():
    for name, part in parts().items():
        path = DOCS / name
        path.write_text(page(path.read_text(encoding="utf-8"), part), encoding="utf-8")


if __name__ == "__main__":
    main()
