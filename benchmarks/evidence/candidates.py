"""Screen selections and schedules that the library leaves out, beside a random one.

python benchmarks/evidence/candidates.py --data-dir DATA

What the record has is not run again. Learning progress ranks by how far two averages
of a sample's loss, a fast and a slow one, lie apart. "Unseen first" keeps what was left
out for some epochs before the highest losses. The schedules keep as many samples as
the roller-coaster one.
"""

from __future__ import annotations

import argparse
import json
import warnings
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from scipy.stats import rankdata
from trials.settings import SETTINGS
from trials.training import measure, run

import ted_core
from ted_core.reductions import Reduction
from ted_core.strategies.base import Selection, Strategy, gumbel_noise

RECORDS = Path(__file__).parent / "records"
RATES = {
    "plenty": (0.2, 0.4),
    "scarce": (0.05, 0.1),
    "short": (0.2, 0.4),
    "solved": (0.1, 0.2),
}
"""Of each setting, the best of a random selection and one beside it."""
SEEDS = (400, 401)  # which judge nothing
SUFFIX = ", batches of one size"
FAST, SLOW = 0.5, 0.9
PATIENCE = 4


@dataclass(frozen=True)
class Progress(Reduction):
    """How far a fast and a slow average of the value lie apart."""

    extra_columns = MappingProxyType({"slow": np.float32})

    def update(self, columns, updates, value):
        """Move both averages; the first value sets them."""
        fresh = updates == 0
        fast, slow = (
            np.where(fresh, value, share * columns[name] + (1 - share) * value)
            for name, share in (("score", FAST), ("slow", SLOW))
        )
        return {"score": fast.astype(np.float32), "slow": slow.astype(np.float32)}

    def rank(self, columns, updates):
        """Return the distance of the two."""
        del updates
        return np.abs(columns["score"] - columns["slow"])


@dataclass(frozen=True)
class UnseenFirst(Strategy):
    """Keep what was left out for `PATIENCE` epochs, then the highest scores."""

    seen: dict = field(default_factory=dict, init=False, repr=False, compare=False)

    def select(self, request):
        """Return the ids of one epoch; those chosen together go by score."""
        last = np.full(request.n, -1)
        for epoch in range(request.epoch):
            last[self.seen.get(epoch, slice(None))] = epoch
        due = request.epoch - last > PATIENCE
        keys = np.where(due, np.float32(np.inf), request.ranking())
        self.seen[request.epoch] = kept = request.top(keys)
        return Selection(kept)


@dataclass(frozen=True)
class BetaDraw(Strategy):
    """Draw in proportion to q^a (1 - q)^b, where q in (0, 1) is the rank by score."""

    a: float = 2.0
    b: float = 0.5

    def select(self, request):
        """Return the ids of one epoch."""
        q = (rankdata(request.ranking()) - 0.5) / request.n
        log_weights = self.a * np.log(q) + self.b * np.log1p(-q)
        keys = log_weights + gumbel_noise(request.all_ids, request)
        return Selection(request.top(keys.astype(np.float32)))


@dataclass(frozen=True)
class Curve:
    """A schedule by a function of progress, with full-data epochs at the end."""

    name: str
    level: float
    anneal: float
    prune_ratio: float = 0.7
    horizon: str = "all"
    warmup: int = 0

    def __call__(self, progress):
        """Return the keep ratios."""
        progress = np.asarray(progress)
        if self.name == "oscillating":
            wave = 0.3 * np.cos(2 * np.pi * 4 * progress)
            return np.clip(self.level + wave, 0.05, 1.0)
        return np.maximum(self.level**progress, 0.01)


def equal(name, anneal, epochs):
    """Return the curve that keeps as many samples as the roller-coaster schedule."""
    wanted = ted_core.keep_ratios(ted_core.RollerCoaster(0.7), epochs).sum()
    low, high = 0.01, 1.0
    for _ in range(40):
        level = (low + high) / 2
        kept = ted_core.keep_ratios(Curve(name, level, anneal), epochs).sum()
        low, high = (level, high) if kept < wanted else (low, level)
    return Curve(name, low, anneal)


def arms(epochs):
    """Return the options of each arm in a run of so many epochs."""
    loss = {"prune_ratio": 0.7, "signal": "loss"}
    return {
        "random": {"prune_ratio": 0.7, "method": "random"},
        "the highest learning progress": loss
        | {"strategy": ted_core.TopScore(), "reduction": Progress()},
        "SoftTop by learning progress": loss
        | {"strategy": ted_core.SoftTop(), "reduction": Progress()},
        f"unseen for {PATIENCE} epochs first, then the highest loss": loss
        | {"strategy": UnseenFirst()},
        "beta draw by margin": {
            "prune_ratio": 0.7,
            "signal": "margin",
            "strategy": BetaDraw(),
        },
        "random, loss not divided": {
            "prune_ratio": 0.7,
            "method": "random",
            "scale_loss": False,
        },
        "random, oscillating schedule": {
            "schedule": equal("oscillating", 0.125, epochs),
            "method": "random",
        },
        "random, oscillating schedule, loss not divided": {
            "schedule": equal("oscillating", 0.125, epochs),
            "method": "random",
            "scale_loss": False,
        },
        "random, geometric schedule, one full epoch at the end": {
            "schedule": equal("geometric", 1 / epochs, epochs),
            "method": "random",
        },
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=RECORDS / "screens.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ted_core.TedWarning)
    runs = json.loads(arguments.out.read_text(encoding="utf-8"))
    fields = "setting", "rate", "seed", "arm"
    known = {tuple(each[name] for name in fields) for each in runs}
    for name, rates in RATES.items():
        setting = SETTINGS[name]
        data = setting.load(arguments.data_dir)
        for lr, seed in product(rates, SEEDS):
            for arm, options in arms(setting.epochs).items():
                if (name + SUFFIX, lr, seed, arm) in known:
                    continue
                ted, network, _ = run(
                    setting, data, seed=seed, lr=lr, epochs=setting.epochs, **options
                )
                found = measure(network, data.test())
                runs.append(
                    {
                        "setting": name + SUFFIX,
                        "arm": arm,
                        "budget": 0.5,
                        "rate": lr,
                        "seed": seed,
                        "accuracy": round(found["accuracy"], 2),
                        "loss": round(found["loss"], 4),
                        "samples": int(ted.savings().forwarded),
                    }
                )
                print(runs[-1], flush=True)
    lines = ",\n".join(map(json.dumps, runs))
    arguments.out.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
