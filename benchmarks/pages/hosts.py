"""Make ``docs/results/hosts.md`` from the records of the packages' own scripts.

``python benchmarks/pages/hosts.py``
"""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / "benchmarks" / "hosts" / "records"
PAGE = ROOT / "docs" / "results" / "hosts.md"
TEXT = """# The frameworks' own scripts

<!-- made by benchmarks/pages/hosts.py -->

The pages of the frameworks show loops that follow the scripts of their projects. Here
the scripts themselves ran, on tiny data that were generated, with the lines of the page
and nothing else changed. Only what a script needs here in any case, such as local data
in place of a download or fewer epochs, was changed in both. In each of them

- the samples that went forward are those that were planned, counted by hooks in the
  framework and not by the library;
- the learning rate ends where it ends in the script as it is.

The last column tells what became of a run that was killed by SIGKILL after a
checkpoint, and resumed by the script's own option or by the page's lines. Its weights
are compared bit for bit with those of a run that was never stopped. A script without a
way to resume begins anew; "as it is" says what becomes of it without our lines.

{table}

{remarks}

A row's record in `benchmarks/hosts/records` has the commit, the checksums of the
files, the command line and the versions. The files of transformers and of keras-io
were read from forks: the checksums tell which they were. The scripts are not part of
this project. With a folder of checkouts, this runs them again:

```text
python benchmarks/hosts/run.py --sources FOLDER
python benchmarks/pages/hosts.py
```
"""


def read():
    """Return the records by name, those of a page together."""
    paths = sorted(RECORDS.glob("*.json"))
    found = {path.stem: json.loads(path.read_text("utf-8")) for path in paths}
    return dict(sorted(found.items(), key=lambda each: each[1]["page"]))


def ending(record):
    """Say what became of a run that was killed and resumed."""
    words = {"equal": "the same weights", None: "-"}
    own, full = record["resumed"], record["full"].get("resumed")
    text = words.get(own, own)
    return text if own == full or full is None else f"{text}; as it is: {full}"


def row(record):
    """Return a script's line."""
    script = f"`{record['path']}` of {record['repository'] or 'this project'}"
    lines = f"-{record['lines']['removed']}, +{record['lines']['added']}"
    samples = f"{record['forwarded']} of {record['full']['forwarded']}"
    page = f"[{record['page']}](../adapters/{record['page']}.md)"
    return [f"{page}: {script}", lines, samples, ending(record)]


def page():
    """Return the page's text."""
    records = read()
    head = ["script", "lines", "samples", "killed and resumed"]
    rows = [head, ["---"] * len(head), *map(row, records.values())]
    remarks = [
        f"- `{record['path']}`: {record['remark']}"
        for record in records.values()
        if record["remark"]
    ]
    return TEXT.format(
        table="\n".join("| " + " | ".join(cells) + " |" for cells in rows),
        remarks="\n".join(remarks),
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
