"""Full data against TED and a random draw of as many samples, turn by turn."""

from __future__ import annotations

from collections.abc import Callable

from ted_core.demo import Images, TimedRun
from ted_core.demo.runs import VARIANTS
from ted_core.strategies import TopScore
from ted_torch.demo.settings import Settings
from ted_torch.demo.training import Training

__all__ = ["compare", "warm_up"]


def compare(
    images: Images,
    settings: Settings,
    *,
    seed: int,
    after_epoch: Callable[[], object] = lambda: None,
) -> dict[str, TimedRun]:
    """Train the three variants of one seed, an epoch of each in turn.

    Parameters
    ----------
    images : Images
        Data.
    settings : Settings
        Of all three.
    seed : int
        Seed of all three.
    after_epoch : callable, optional
        Called without arguments after each epoch of each variant.

    Returns
    -------
    dict of str to TimedRun
        One run for each of `VARIANTS`, in that order.

    Notes
    -----
    Who goes first rotates with the epoch and the seed, so that what slows a machine
    down for a while meets all alike.

    Examples
    --------
    >>> from ted_torch.demo import Settings, compare, digits_as_images
    >>> settings = Settings(epochs=5, prune_ratio=0.7, batch_size=256, width=4)
    >>> runs = compare(digits_as_images(), settings, seed=0)
    >>> runs["random"].forwarded == runs["TED"].forwarded < runs["full"].forwarded
    True
    """
    trainings = {
        name: Training(images, settings, strategy=strategy, seed=seed)
        for name, strategy in VARIANTS.items()
    }
    names = list(VARIANTS)
    for epoch in range(settings.epochs):
        first = (epoch + seed) % len(names)
        for name in names[first:] + names[:first]:
            trainings[name].train_epoch()
            after_epoch()
    return {name: training.result() for name, training in trainings.items()}


def warm_up(images: Images, settings: Settings) -> None:
    """Train one epoch with TED and throw it away.

    Parameters
    ----------
    images : Images
        Data.
    settings : Settings
        Of the training.
    """
    Training(images, settings, strategy=TopScore()).train_epoch()
