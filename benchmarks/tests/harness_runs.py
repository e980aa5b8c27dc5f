"""Tiny configurations of the paper's harness, trained in a folder."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "paper"
sys.path.insert(0, str(FOLDER))

from harness.configs import read_config  # noqa: E402 - the folder is known now
from harness.pieces import Pieces  # noqa: E402
from harness.training import Training  # noqa: E402

__all__ = ["FOLDER", "Training", "arguments_of", "read_config", "train"]


def arguments_of(folder, config, *, model=None):
    """Give what the command line would, for a configuration in a folder."""
    return argparse.Namespace(
        config=config,
        data_dir=folder,
        model=model,
        methods=None,
        device="cpu",
        threads=torch.get_num_threads(),
        out=folder / "records",
        work=folder / "work",
    )


def train(arguments, *, limit=float("inf")):
    """Train all; return the record, or None where the time did not suffice."""
    precision = torch.get_float32_matmul_precision()
    try:
        pieces = Pieces(arguments, limit)
        ended = all(pieces.run(*row, 0) for row in pieces.rows)
    finally:
        torch.set_float32_matmul_precision(precision)
    path = arguments.out / f"{arguments.config.stem}.json"
    return json.loads(path.read_text(encoding="utf-8")) if ended else None
