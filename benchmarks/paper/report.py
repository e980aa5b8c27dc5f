"""Make the pages of ``docs/results`` from the records, and from nothing else.

``python benchmarks/paper/report.py`` writes one page a record and the index.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from harness.confirmed import confirmation_page  # noqa: E402 - the folder is known
from harness.early import early_page  # noqa: E402
from harness.tables import TRIED, page, summary_row  # noqa: E402
from harness.text_tables import text_index  # noqa: E402

RECORDS = HERE / "records"
PAGES = HERE.parents[1] / "docs" / "results"
INDEX = """# Results

<!-- made by benchmarks/paper/report.py -->

Which method reaches which accuracy from which samples: each page comes from one record
in `benchmarks/paper/records`, made by one configuration in `benchmarks/paper/configs`.
How to repeat them, or to add one's own, is said in `benchmarks/paper/README.md`.

{table}

Losses are those of the training on all data: of its last epoch, augmented, and on the
test pictures. "TED keeps" and "TED prunes" are the losses of the samples on either side
of TED's last cut. The differences to Random, at the same r_t for all but InfoBatch, are
in points of accuracy, with p as on the page. InfoBatch forwards as many samples as its
scores say: see the page.

- [Confirmation](confirmation.md): what was chosen, on fresh seeds.
- [An early warning](early_warning.md): whether a ranking by the loss will gain.
{text}"""


def pages(records):
    """Return the text of each page by file name."""
    found = {}
    rows, compared, texts = [], [], []
    for path in sorted(records.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if "pruning" in record.get("config", ()):
            found[f"{record['name']}.md"] = page(record)
            if record["config"]["data"].get("kind", "pictures") == "pictures":
                rows.append(summary_row(record))
                compared.append(record)
            else:
                texts.append(record)
    tried = [f"{method} over Random" for method in TRIED]
    head = ["data", "s", "training loss", "test loss"]
    head += ["TED keeps", "TED prunes", *tried]
    lines = [head, ["---"] * len(head), *rows]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    across = {"early_warning": early_page, "confirmation": confirmation_page}
    for name, make in across.items():
        text = make(compared)
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
