"""Write the table of the Hugging Face benchmark into the pages of the two frameworks.

`python benchmarks/pages/huggingface_pages.py` writes them from the record.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks" / "overhead"))

from huggingface_steps import RECORD, markdown  # noqa: E402 - the folder is known now

DOCS = ROOT / "docs" / "adapters"
PAGES = {"huggingface.md": "Trainer", "accelerate.md": "Accelerate"}
PLACE = re.compile(r"(<!-- from the record -->\n).*?(<!-- to here -->)", re.DOTALL)


def page(name, record):
    """Give a page's text with the rows of its framework.

    Parameters
    ----------
    name : str
        A file of ``PAGES``.
    record : dict
        What `huggingface_steps.py` wrote.

    Returns
    -------
    str
        Markdown.
    """
    mine = [r for r in record["results"] if r["run"].startswith(PAGES[name])]
    table = markdown(record | {"results": mine})
    text = (DOCS / name).read_text(encoding="utf-8")
    return PLACE.sub(lambda found: f"{found[1]}{table}\n{found[2]}", text)


def main():
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    for name in PAGES:
        (DOCS / name).write_text(page(name, record), encoding="utf-8")


if __name__ == "__main__":
    main()
