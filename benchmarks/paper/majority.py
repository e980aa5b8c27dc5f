"""Record the share of the most frequent class among the test rows of GLUE's tasks.

python benchmarks/paper/majority.py sst2 mrpc rte --data-dir DATA
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

RECORD = Path(__file__).parent / "records" / "majority.json"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+")
    parser.add_argument("--data-dir", type=Path, required=True)
    arguments = parser.parse_args()
    found = {}
    for name in arguments.names:
        path = arguments.data_dir / "glue" / name / "dev.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines()
        labels = [json.loads(line)["label"] for line in lines if line.strip()]
        (_, most), *_ = Counter(labels).most_common()
        found[name] = most / len(labels)
    RECORD.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
