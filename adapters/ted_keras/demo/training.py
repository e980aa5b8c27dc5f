"""Training of one network: in full, or on what TED keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from ted_core.demo import Images, Settings, TimedRun
from ted_core.strategies import Strategy
from ted_keras.callbacks import TED
from ted_keras.demo.batches import Pictures, Shuffled
from ted_keras.demo.clock import Clock
from ted_keras.demo.network import make_network

__all__ = ["train"]

_TEST_BATCH = 500
_RGB = 4
_RISE, _START = 0.3, 1 / 25


def train(
    images: Images,
    settings: Settings,
    *,
    strategy: Strategy | None = None,
    seed: int = 0,
    after_epoch: Callable[[], object] = lambda: None,
) -> TimedRun:
    """Train a network through one run, and test it.

    Parameters
    ----------
    images : Images
        Data. RGB pictures are cropped and flipped at random.
    settings : Settings
        Of the training.
    strategy : Strategy, optional
        What TED keeps. Without one, a plain fit on all data in which nothing of TED
        takes part: what a saving is measured against.
    seed : int, default 0
        Seed of weights, order, augmentation and selection.
    after_epoch : callable, optional
        Called without arguments after each epoch.

    Returns
    -------
    TimedRun
        What was measured. Without a strategy there are no scores.

    Raises
    ------
    TypeError, ValueError
        A setting is out of range.
    """
    rgb = images.x_train.ndim == _RGB
    pixels = images.x_train.reshape(-1, 3 if rgb else 1)
    scale = {"mean": pixels.mean(axis=0), "sd": np.maximum(pixels.std(axis=0), 1.0)}
    pictures = Pictures(
        images.x_train, images.y_train, **scale, seed=seed if rgb else None
    )
    n, epochs = len(pictures), settings.epochs
    model = make_network(
        shape=(*images.x_train.shape[1:3], 3 if rgb else 1),
        classes=images.classes,
        width=settings.width,
        seed=seed,
    )
    if strategy is None:
        ted = None
        data: Any = Shuffled(pictures, batch_size=settings.batch_size, seed=seed)
        steps = epochs * data.num_batches
    else:
        ted = TED(
            model,
            pictures,
            n=n,
            epochs=epochs,
            batch_size=settings.batch_size,
            prune_ratio=settings.prune_ratio,
            strategy=strategy,
            seed=seed,
        )
        data, steps = ted.data, ted.total_steps
    _compile(model, settings, steps)
    clock = Clock(n, ted=ted, after_epoch=after_epoch)
    callbacks = [clock] if ted is None else [ted, clock]
    model.fit(data, epochs=epochs, callbacks=callbacks, verbose=0)
    visits = np.full(n, epochs, np.uint16) if ted is None else ted.pruner.visits
    return TimedRun(
        accuracy=_accuracy(model, Pictures(images.x_test, images.y_test, **scale)),
        forwarded=sum(clock.samples) if ted is None else ted.savings().forwarded,
        full=n * epochs,
        epoch_seconds=clock.seconds,
        keep_ratios=[samples / n for samples in clock.samples],
        scores=clock.scores,
        visits=visits,
        epoch_cpu_seconds=clock.cpu_seconds,
        epoch_samples=clock.samples,
    )


def _compile(model: Any, settings: Settings, steps: int) -> None:
    """Compile with one cycle of the step size: it rises, then falls as a cosine."""
    rise = max(1, round(_RISE * steps))
    rate = keras.optimizers.schedules.CosineDecay(
        settings.learning_rate * _START,
        max(1, steps - rise),
        warmup_target=settings.learning_rate,
        warmup_steps=rise,
    )
    optimizer = keras.optimizers.SGD(
        rate,
        momentum=settings.momentum,
        nesterov=settings.momentum > 0,
        weight_decay=settings.weight_decay,
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss)


def _accuracy(model: Any, tests: Pictures) -> float:
    x, y = tests(np.arange(len(tests)))
    logits = model.predict(x, batch_size=_TEST_BATCH, verbose=0)
    return float((logits.argmax(axis=1) == y).mean())
