"""Full data against TED and a random draw of as many samples, run by run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ted_core.demo import Images, Settings, TimedRun
from ted_core.demo.runs import VARIANTS
from ted_keras.demo.training import train

__all__ = ["compare", "warm_up"]


def compare(
    images: Images,
    settings: Settings,
    *,
    seed: int,
    after_epoch: Callable[[], object] = lambda: None,
) -> dict[str, TimedRun]:
    """Train the three variants of one seed.

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
        One run for each of `ted_core.demo.runs.VARIANTS`, in that order.

    Notes
    -----
    Who goes first rotates with the seed: what slows a machine down meets all alike.

    Examples
    --------
    >>> from ted_keras.demo import Settings, compare, digits_as_images
    >>> settings = Settings(epochs=5, prune_ratio=0.7, batch_size=256, width=4)
    >>> runs = compare(digits_as_images(), settings, seed=0)
    >>> runs["random"].forwarded == runs["TED"].forwarded < runs["full"].forwarded
    True
    """
    names = list(VARIANTS)
    first = seed % len(names)
    runs = {
        name: train(
            images,
            settings,
            strategy=VARIANTS[name],
            seed=seed,
            after_epoch=after_epoch,
        )
        for name in names[first:] + names[:first]
    }
    return {name: runs[name] for name in names}


def warm_up(images: Images, settings: Settings) -> None:
    """Train one epoch and throw it away.

    Parameters
    ----------
    images : Images
        Data.
    settings : Settings
        Of the training.
    """
    train(images, replace(settings, epochs=1))
