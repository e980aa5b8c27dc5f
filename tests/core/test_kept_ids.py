"""The same seed and values keep the same ids in every version of the library.

``kept_ids.json`` holds checksums of the ids that a strategy's first version kept; they
are not made anew.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest

import ted_core as ted

RECORDED = json.loads(
    Path(__file__).with_name("kept_ids.json").read_text(encoding="utf-8")
)
SCORES = {
    "distinct": lambda k: k * 7919 % 200_003 / 1000 - 50,
    "ties": lambda k: k * 7 % 5 - 2.0,
    "equal": np.ones_like,
    "signed zeros": lambda k: np.where(k % 2, -0.0, 0.0),
    "huge": lambda k: np.where(k % 3, 3e38, -3e38) * (k % 4 / 4),
}
STRATEGIES = {
    "TopScore": lambda _: ted.TopScore(),
    "TopScore, floors": lambda _: ted.TopScore(class_floor=0.1),
    "SoftTop": lambda _: ted.SoftTop(sharpness=2),
    "SoftTop, floors": lambda _: ted.SoftTop(class_floor=0.1),
    "Random": lambda _: ted.Random(),
    "Random, balanced": lambda _: ted.Random(balanced=True),
    "EpsilonGreedy": lambda _: ted.EpsilonGreedy(epsilon=0.3),
    "UCB": lambda _: ted.UCB(confidence=0.5),
    "UCB, deviation": lambda _: ted.UCB(bonus="deviation", class_floor=0.1),
    "InfoBatch": lambda _: ted.InfoBatch(),
    "Static": lambda k: ted.Static(k * 31 % 97),
}
RUNS = [(13, 0), (13, 2**64 - 1), (1000, 1), (20_000, 5)]


def checksum(strategy, scores):
    """Give the CRC-32 of the kept ids and weights of all epochs of all runs."""
    found = 0
    for n, seed in RUNS:
        ids = np.arange(n)
        values = SCORES[scores](ids.astype(np.float64)).astype(np.float32)
        pruner = ted.Pruner(
            n,
            epochs=6,
            schedule=ted.RollerCoaster(0.6, anneal=0.2),
            strategy=STRATEGIES[strategy](ids),
            seed=seed,
            labels=ids % 3,
        )
        while not pruner.finished:
            plan = pruner.plan()
            found = zlib.crc32(plan.kept.astype("<i8").tobytes(), found)
            if plan.weights is not None:
                found = zlib.crc32(np.sort(plan.weights).astype("<f4"), found)
            # some are never seen, some have no value
            seen = plan.order[plan.order % 7 != plan.epoch]
            value = values[seen].astype(np.float64) * (1 + plan.epoch % 2 / 8)
            pruner.observe(seen, np.where(seen % 11 == 5, np.nan, value))
            pruner.advance()
    return found


@pytest.mark.parametrize("scores", SCORES)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_kept_ids_are_those_recorded(strategy, scores):
    assert checksum(strategy, scores) == RECORDED[f"{strategy}: {scores}"]
