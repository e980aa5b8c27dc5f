"""Record selections where a fifth of the labels is wrong, by reducible loss among them.

python benchmarks/evidence/crossed.py --data-dir DATA

The reducible loss of a sample is its loss less that of a network which has not seen it
(RHO-LOSS, Mindermann et al., ICML 2022). Two crossed proxies stand for that network,
each trained on one half of the data for the other half.
"""

from __future__ import annotations

import argparse
import json
import warnings
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's own habit
from trials.settings import IMPORTANCE_CONSTANT, SETTINGS
from trials.training import joined, make_optimizer, measure, one_cycle, run, split

import ted_core

RECORDS = Path(__file__).parent / "records"
SHARE, PROXY_EPOCHS, PROXY_RATE = 0.2, 3, 0.1
RATES = {
    "plenty": (0.2, 0.4),
    "scarce": (0.05, 0.1),
    "short": (0.2, 0.4),
    "solved": (0.1, 0.2),
}
"""Of each setting, the best of a random selection and one beside it."""
SEEDS = (300, 301)  # which judge nothing
PRUNED = {"prune_ratio": 0.7}
ARMS = {
    "random": PRUNED | {"method": "random"},
    "ted_loss": PRUNED | {"method": "ted_loss"},
    "soft_margin": PRUNED | {"method": "soft_margin"},
    **IMPORTANCE_CONSTANT,
}
REDUCIBLE = {
    "the highest reducible loss": ted_core.TopScore(),
    "SoftTop by reducible loss": ted_core.SoftTop(),
}


def irreducible(setting, data, seed):
    """Return the loss of each sample for the proxy that has not seen it."""
    make, (inputs, width, *others) = setting.network.func, setting.network.args
    dice = torch.Generator().manual_seed(seed)
    halves = torch.randperm(len(data), generator=dice).chunk(2)
    losses = torch.zeros(len(data))
    for own, other in (halves, halves[::-1]):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            proxy = make(inputs, width // 4, *others)
        optimizer, step = make_optimizer(setting, proxy, PROXY_RATE), 0
        steps = PROXY_EPOCHS * len(split(own, setting.batch, even=True))
        for _ in range(PROXY_EPOCHS):
            order = own[torch.randperm(len(own), generator=dice)]
            parts = split(order, setting.batch, even=True)
            for _, x, y in data.batches(parts, dice):
                for group in optimizer.param_groups:
                    group["lr"] = PROXY_RATE * one_cycle(step / steps)
                optimizer.zero_grad()
                F.cross_entropy(proxy(x), y).backward()
                optimizer.step()
                step += 1
        proxy.eval()
        with torch.no_grad():
            for ids, x, y in data.batches(other.split(1000), dice):
                losses[ids] = F.cross_entropy(proxy(x), y, reduction="none")
    return losses


def run_reducible(setting, data, known, *, seed, lr, strategy):
    """Train on what `strategy` keeps by the losses less those known; return both."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = setting.network()
    pruner = ted_core.Pruner(
        len(data),
        epochs=setting.epochs,
        seed=seed,
        signal="loss",
        strategy=strategy,
        **PRUNED,
    )
    optimizer, dice = make_optimizer(setting, network, lr), torch.Generator()
    dice.manual_seed(seed)
    steps, step = pruner.total_steps(setting.batch), 0
    while not pruner.finished:
        plan = pruner.plan()
        parts = split(torch.tensor(plan.order), setting.batch, even=setting.even)
        for ids, x, y in joined(data.batches(parts, dice)):
            for group in optimizer.param_groups:
                group["lr"] = lr * one_cycle(step / steps)
            losses = F.cross_entropy(network(x), y, reduction="none")
            pruner.observe(ids.numpy(), (losses.detach() - known[ids]).numpy())
            optimizer.zero_grad()
            (losses.mean() * plan.loss_scale).backward()
            optimizer.step()
            step += 1
        pruner.advance()
    return pruner, network


def screen(setting, data, lr, seed):
    """Go through the arms at one rate and seed: name, accuracy, wrong labels, in %."""
    wrong_data, wrong = data.with_wrong_labels(SHARE)
    options = {"seed": seed, "lr": lr}
    halved = {"epochs": setting.epochs // 2, "prune_ratio": 0.0, "method": "random"}
    for arm, own in {"full": halved, **ARMS}.items():
        epochs = {"epochs": setting.epochs} | own
        ted, network, _ = run(setting, wrong_data, **options, **epochs)
        accuracy = measure(network, data.test())["accuracy"]
        yield arm, accuracy, trained_on(ted.pruner, wrong)
    known = irreducible(setting, wrong_data, seed)
    for arm, strategy in REDUCIBLE.items():
        pruner, network = run_reducible(
            setting, wrong_data, known, strategy=strategy, **options
        )
        accuracy = measure(network, data.test())["accuracy"]
        yield arm, accuracy, trained_on(pruner, wrong)


def trained_on(pruner, wrong):
    """Return the share of wrong labels among all samples trained on, in %."""
    table = ted_core.sample_table(pruner)
    times = table.update_counts.astype(float)
    return 100 * float(times[np.isin(table.ids, wrong)].sum() / times.sum())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=RECORDS / "crossed.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ted_core.TedWarning)
    runs = []
    for name, rates in RATES.items():
        setting = SETTINGS[name]
        data = setting.load(arguments.data_dir)
        for lr, seed in product(rates, SEEDS):
            case = {"setting": name, "rate": lr, "seed": seed}
            for arm, accuracy, wrong in screen(setting, data, lr, seed):
                runs.append(case | {"arm": arm, "accuracy": accuracy, "wrong": wrong})
                print(runs[-1], flush=True)
    arguments.out.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
