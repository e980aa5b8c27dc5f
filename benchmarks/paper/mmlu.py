"""Ask a language model MMLU, and keep a record.

``python benchmarks/paper/mmlu.py NAME --data-dir DATA`` asks all questions with five
worked examples; ``--model FOLDER`` gives a model that is no package.
"""

from __future__ import annotations

import argparse
import json
import sys
from math import sqrt
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from harness.records import open_record  # noqa: E402 - the folder is known now
from harness.text_mmlu import evaluate, read_questions  # noqa: E402
from harness.text_models import load_model, load_tokenizer  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("--data-dir", type=Path, default=Path())
    parser.add_argument("--model", type=Path, help="folder of a model")
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--each", type=int, help="the first questions of a subject")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=HERE / "records")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    source = options.name, options.model
    tokenizer = load_tokenizer(*source)
    sizes = {"shots": options.shots, "each": options.each}
    questions = read_questions(options.data_dir, tokenizer, **sizes)
    model = load_model(*source, precision=options.precision).to(options.device).eval()
    path = options.out / f"mmlu_{options.name}.json"
    path.unlink(missing_ok=True)
    config = {"name": path.stem, "model": options.name, **sizes}
    config |= {"precision": options.precision}
    where = {"device": options.device, "threads": options.threads}
    record = open_record(path, config, **where, packages=("transformers",))
    del record["runs"]
    found = evaluate(model, questions)
    share, count = found["average"], found["questions"]
    error = sqrt(share * (1 - share) / count)
    record["result"] = found | {"standard error": round(error, 5), "chance": 0.25}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record["result"]))


if __name__ == "__main__":
    main()
