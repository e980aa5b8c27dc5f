"""Compare all arms in one setting, each at its own best rate, and record the runs.

python benchmarks/evidence/run.py plenty --data-dir DATA

The same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import warnings
from functools import partial
from pathlib import Path

import torch
from trials.records import compared, look
from trials.settings import SETTINGS
from trials.training import train

import ted_core

RECORDS = Path(__file__).parent / "records"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=SETTINGS)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--records", type=Path, default=RECORDS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ted_core.TedWarning)  # few epochs save little
    setting = SETTINGS[arguments.name]
    data = setting.load(arguments.data_dir)
    facts = arguments.records / f"{arguments.name}_facts.json"
    if not facts.is_file():
        facts.write_text(json.dumps(look(setting, data), indent=1) + "\n")
    record = arguments.records / f"{arguments.name}.json"
    print(compared(setting, partial(train, setting, data), record))


if __name__ == "__main__":
    main()
