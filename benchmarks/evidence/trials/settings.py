"""The settings: data, network, training, and the learning rates that are tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from trials import networks, pictures, text

from ted_core import Constant, Importance

__all__ = ["SETTINGS", "Setting"]

BOTH = {
    "soft_margin": {"method": "soft_margin"},
    "ted_loss": {"method": "ted_loss"},
}
CURVE = (0.25, 0.5, 1.0)
"""Shares of the full run's samples, where a setting is cheap enough for all three."""
IMPORTANCE = {
    "importance": {
        "strategy": Importance(mix=0.5, correction=0.5),
        "signal": "el2n",
    },
}
TED = {"ted": {"method": "ted"}}
CONSTANT = {
    "random, constant half": {
        "method": "random",
        "schedule": Constant(0.5, anneal=0),
    },
}
"""Half of the data in each epoch, to the end."""
IMPORTANCE_CONSTANT = {
    "importance, constant half": {
        **IMPORTANCE["importance"],
        "schedule": Constant(0.5, anneal=0),
    },
}


@dataclass(frozen=True)
class Setting:
    """What is trained, and for how long.

    Parameters
    ----------
    title, regime : str
        What the page says of it.
    load : callable
        Takes the data folder; returns a `Data`.
    network : callable
        Takes nothing; returns a module that gives logits.
    epochs : int
        Epochs of the full run.
    rates : tuple of float
        Learning rates among which each arm takes its best.
    optimizer : {"sgd", "adamw"}
        SGD with Nesterov momentum 0.9, or AdamW.
    weight_decay, batch : float, int
        Of the optimizer, and samples of a step.
    even : bool
        Whether an epoch's batches are of one size; else the last is what is left.
    methods : dict
        The session's options by label.
    budgets : tuple of float
        Shares of the full run's samples.
    seeds, sweep_seeds : int
        How many seeds judge, and how many others choose the rates.
    """

    title: str
    regime: str
    load: Callable
    network: Callable
    epochs: int
    rates: tuple[float, ...]
    optimizer: str = "sgd"
    weight_decay: float = 5e-4
    batch: int = 256
    even: bool = False
    methods: dict = field(default_factory=lambda: BOTH)
    budgets: tuple[float, ...] = (0.5,)
    seeds: int = 8
    sweep_seeds: int = 2


SETTINGS = {
    "plenty": Setting(
        title="60,000 pictures of Fashion-MNIST at 14 x 14, two hidden layers",
        regime="plenty",
        load=partial(pictures.load, "fashion_mnist", samples=60000, side=14, margin=1),
        network=partial(networks.dense, 196, 32, 10),
        epochs=16,
        rates=(0.05, 0.1, 0.2, 0.4, 0.8, 1.6),
        methods=BOTH | IMPORTANCE | CONSTANT | IMPORTANCE_CONSTANT,
        budgets=CURVE,
        even=True,
    ),
    "plenty_pooled": Setting(
        title="60,000 pictures of Fashion-MNIST at 14 x 14, two convolutions, pooled",
        regime="plenty",
        load=partial(pictures.load, "fashion_mnist", samples=60000, side=14, margin=1),
        network=partial(networks.pooled, 1, 8, 14, 10),
        epochs=24,
        rates=(0.05, 0.1, 0.2, 0.4, 0.8),
        batch=128,
        methods=BOTH | IMPORTANCE | CONSTANT | IMPORTANCE_CONSTANT,
        even=True,
    ),
    "patches": Setting(
        title="60,000 pictures of Fashion-MNIST at 14 x 14, a bag of patches",
        regime="plenty",
        load=partial(pictures.load, "fashion_mnist", samples=60000, side=14, margin=1),
        network=partial(networks.Patches, 32, 10),
        epochs=16,
        rates=(0.1, 0.2, 0.4, 0.8),
        methods=BOTH | CONSTANT | IMPORTANCE_CONSTANT,
        seeds=5,
        even=True,
    ),
    "short": Setting(
        title="20,000 pictures of CIFAR-100 at 16 x 16, two convolutions, 8 epochs",
        regime="short",
        load=partial(pictures.load, "cifar100", samples=20000, side=16, margin=1),
        network=partial(networks.convolutional, 3, 8, 16, 100),
        epochs=8,
        rates=(0.1, 0.2, 0.4, 0.8),
        methods=BOTH | IMPORTANCE | CONSTANT | IMPORTANCE_CONSTANT,
        budgets=CURVE,
        even=True,
    ),
    "scarce": Setting(
        title="5,000 pictures of CIFAR-10 at 16 x 16, two hidden layers, 32 epochs",
        regime="scarce",
        load=partial(pictures.load, "cifar10", samples=5000, side=16, margin=1),
        network=partial(networks.dense, 768, 64, 10),
        epochs=32,
        rates=(0.0125, 0.025, 0.05, 0.1, 0.2),
        methods=BOTH | IMPORTANCE | TED | CONSTANT | IMPORTANCE_CONSTANT,
        budgets=CURVE,
        batch=128,
        even=True,
    ),
    "solved": Setting(
        title="5,000 pictures of Fashion-MNIST at 14 x 14, not augmented, 40 epochs",
        regime="solved",
        load=partial(
            pictures.load, "fashion_mnist", samples=5000, side=14, margin=0, flip=False
        ),
        network=partial(networks.dense, 196, 128, 10),
        epochs=40,
        batch=250,
        rates=(0.025, 0.05, 0.1, 0.2, 0.4, 0.8),
        methods=BOTH | IMPORTANCE | TED | CONSTANT | IMPORTANCE_CONSTANT,
        budgets=CURVE,
        even=True,
    ),
    "sst2": Setting(
        title="SST-2, means of MiniLM's word vectors, two hidden layers",
        regime="text",
        load=partial(text.means, "sst2"),
        network=partial(networks.dense, 384, 16, 2),
        epochs=8,
        rates=(0.00025, 0.0005, 0.001, 0.002),
        optimizer="adamw",
        weight_decay=0.01,
        methods=BOTH | IMPORTANCE | TED | CONSTANT | IMPORTANCE_CONSTANT,
        budgets=CURVE,
        even=True,
    ),
    "qnli": Setting(
        title="QNLI, 4,463 pairs, features of a frozen MiniLM, two hidden layers",
        regime="text",
        load=partial(text.features, "qnli", tests=1000),
        network=partial(networks.dense, 1536, 32, 2),
        epochs=20,
        rates=(0.00025, 0.0005, 0.001, 0.002),
        batch=128,
        optimizer="adamw",
        weight_decay=0.01,
        methods=BOTH | IMPORTANCE | TED | CONSTANT | IMPORTANCE_CONSTANT,
        budgets=CURVE,
        even=True,
    ),
}
