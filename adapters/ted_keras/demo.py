"""The demo of Keras, a plug-in of the core's: ``python -m ted_keras.demo``.

The core compares the variants (`ted_core.demo.engine`); here is how Keras trains one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from typing import Any

import keras
import numpy as np
from keras import backend, layers
from numpy.typing import NDArray

from ted_core.demo import engine
from ted_core.demo.datasets import Images
from ted_core.demo.results import Settings
from ted_core.strategies import Strategy
from ted_keras.callbacks import TED

__all__ = ["main"]

_SHIFT = 4
_TEST_BATCH = 500
_SEEDS_OF_LAYERS = 1000
_RISE, _START = 0.3, 1 / 25
_BACKENDS = ("tensorflow", "jax", "torch")
_THREAD_COUNTS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)
_NOTE = (
    "without the first and the last batch of a run's first epoch: Keras compiles there"
)


class Pictures:
    """Pictures kept as bytes, standardised and, with a seed, augmented by the batch."""

    def __init__(
        self,
        x: NDArray[np.uint8],
        y: NDArray[np.int64],
        *,
        mean: NDArray[np.float64],
        sd: NDArray[np.float64],
        seed: int | None = None,
    ) -> None:
        margin = 0 if seed is None else _SHIFT
        pixels = x.reshape(*x.shape[:3], -1)
        sides = ((0, 0), (margin, margin), (margin, margin), (0, 0))
        self._x, self._y = np.pad(pixels, sides), y
        self._mean, self._sd = mean.astype(np.float32), sd.astype(np.float32)
        self._rows, self._columns = np.arange(x.shape[1]), np.arange(x.shape[2])
        self._dice = None if seed is None else np.random.default_rng(seed)

    def __len__(self) -> int:
        """Count the pictures."""
        return len(self._y)

    def __call__(
        self, ids: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return these pictures, float32 of shape (B, H, W, C), and their classes."""
        if self._dice is None:
            pixels = self._x[ids]
        else:
            down, right = self._dice.integers(0, 2 * _SHIFT + 1, (2, len(ids), 1))
            flip = self._dice.integers(0, 2, (len(ids), 1)) == 1
            columns = np.where(flip, self._columns[::-1], self._columns) + right
            rows = self._rows + down
            pixels = self._x[ids[:, None, None], rows[:, :, None], columns[:, None, :]]
        return (pixels.astype(np.float32) - self._mean) / self._sd, self._y[ids]


class Shuffled(keras.utils.PyDataset):  # type: ignore[misc]
    """All pictures in a new order each epoch; nothing of TED takes part."""

    def __init__(self, pictures: Pictures, *, batch_size: int, seed: int) -> None:
        super().__init__()
        self._pictures, self._batch_size = pictures, batch_size
        self._dice = np.random.default_rng(seed)
        self._order = self._dice.permutation(len(pictures))

    @property
    def num_batches(self) -> int:
        """Batches of an epoch."""
        return -(-len(self._order) // self._batch_size)

    def __getitem__(self, index: int) -> Any:
        """Return a batch."""
        first = index * self._batch_size
        return self._pictures(self._order[first : first + self._batch_size])

    def on_epoch_end(self) -> None:
        """Shuffle anew."""
        self._order = self._dice.permutation(len(self._order))


class _Clock(keras.callbacks.Callback):  # type: ignore[misc]
    """Note each epoch of a training, from the end of one to the end of the next."""

    # It comes after TED in the list of callbacks, so planning and closing are included.
    # The first and the last batch of the first epoch are left out: there Keras compiles
    # the step, for the one batch shape and for the other.

    def __init__(self, training: Training, after_epoch: Callable[[], object]) -> None:
        super().__init__()
        self._training, self._after_epoch = training, after_epoch
        self._last = self._batch = engine.now()

    def on_train_begin(self, logs: Any = None) -> None:
        del logs
        self._last = engine.now()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        del batch, logs
        self._batch = engine.now()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        del logs
        if self._training.epoch == 0 and batch in {0, int(self.params["steps"]) - 1}:
            self._last += engine.now() - self._batch

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        del epoch, logs
        elapsed, training = engine.now() - self._last, self._training
        pruner, samples = training.pruner, training.n
        if pruner is not None:
            samples = int(pruner.update_counts.sum()) - sum(training.epoch_samples)
        training.note_epoch(samples, elapsed)
        self._after_epoch()
        self._last = engine.now()


def make_network(
    *, shape: tuple[int, int, int], classes: int, width: int, seed: int
) -> Any:
    """Return the demos' network; see `ted_core.demo.engine.stage_channels`."""
    parts: list[Any] = [keras.Input(shape)]
    conv = partial(layers.Conv2D, kernel_size=3, padding="same", use_bias=False)
    # Each layer has a seed of its own; Keras' own generator stays as it was.
    seeds = count(_SEEDS_OF_LAYERS * seed)
    for channels in engine.stage_channels(min(shape[:2]), width):
        parts += [
            conv(channels, kernel_initializer=keras.initializers.HeNormal(next(seeds))),
            layers.BatchNormalization(momentum=0.9, epsilon=1e-5),
            layers.ReLU(),
            layers.MaxPool2D(2),
        ]
    last = keras.initializers.GlorotUniform(next(seeds))
    head = layers.Dense(classes, kernel_initializer=last)
    return keras.Sequential([*parts, layers.GlobalAveragePooling2D(), head])


class Training(engine.Training):
    """A network in training on what TED keeps; without a strategy, a plain fit."""

    def __init__(
        self,
        images: Images,
        settings: Settings,
        *,
        strategy: Strategy | None = None,
        seed: int = 0,
    ) -> None:
        self._images = images
        mean, sd = images.moments()
        pictures = Pictures(
            images.x_train,
            images.y_train,
            mean=mean,
            sd=sd,
            seed=seed if images.channels > 1 else None,
        )
        self._model = make_network(
            shape=(*images.x_train.shape[1:3], images.channels),
            classes=images.classes,
            width=settings.width,
            seed=seed,
        )
        n, epochs, size = len(pictures), settings.epochs, settings.batch_size
        self._ted = None
        if strategy is None:
            self._data: Any = Shuffled(pictures, batch_size=size, seed=seed)
            steps = epochs * self._data.num_batches
        else:
            self._ted = TED(
                self._model,
                pictures,
                n=n,
                epochs=epochs,
                batch_size=size,
                prune_ratio=settings.prune_ratio,
                strategy=strategy,
                seed=seed,
            )
            self._data, steps = self._ted.data, self._ted.total_steps
        super().__init__(n, epochs, self._ted and self._ted.pruner)
        _compile(self._model, settings, steps)

    def take_turn(self, after_epoch: Callable[[], object] = lambda: None) -> None:
        """Train all epochs: `fit` owns the loop."""
        clock = _Clock(self, after_epoch)
        callbacks = [clock] if self._ted is None else [self._ted, clock]
        self._model.fit(self._data, epochs=self.epochs, callbacks=callbacks, verbose=0)

    def accuracy(self) -> float:
        """Return the share of the test pictures that are right."""
        images = self._images
        mean, sd = images.moments()
        tests = Pictures(images.x_test, images.y_test, mean=mean, sd=sd)
        x, y = tests(np.arange(len(tests)))
        logits = self._model.predict(x, batch_size=_TEST_BATCH, verbose=0)
        return float((logits.argmax(axis=1) == y).mean())


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


def warm_up(images: Images, settings: Settings) -> None:
    """Train one epoch on all data and throw it away."""
    Training(images, replace(settings, epochs=1)).take_turn()


def environment(backend: str, threads: int) -> dict[str, str]:
    """Return the variables that choose a backend and its threads, read at import."""
    eigen = str(threads > 1).lower()
    return {
        "KERAS_BACKEND": backend,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={eigen}",
        **dict.fromkeys(_THREAD_COUNTS, str(threads)),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration, after an epoch that is thrown away."""
    parser = engine.make_image_parser(
        "python -m ted_keras.demo", out="ted_keras_demo.png"
    )
    parser.add_argument(
        "--backend", choices=_BACKENDS, help="backend of Keras (Keras' own choice)"
    )
    arguments = parser.parse_args(argv)
    name = arguments.backend or backend.backend()
    engine.check_arguments(parser, arguments)
    if find_spec(name) is None:
        parser.exit(2, f"{name} is missing: pip install {name}\n")
    # Keras and its backends read backend and threads when they start.
    wanted = environment(name, arguments.threads)
    if any(os.environ.get(key) != value for key, value in wanted.items()):
        given = sys.argv[1:] if argv is None else argv
        line = [sys.executable, "-m", "ted_keras.demo", *given]
        # Our own program, with the arguments that were just parsed.
        done = subprocess.run(line, check=False, env={**os.environ, **wanted})  # noqa: S603
        return done.returncode
    try:
        engine.run_image_demo(
            arguments,
            Training,
            warm_up,
            name=f"ted_keras.demo, {name}",
            versions={
                "keras": keras.__version__,
                name: import_module(name).__version__,
            },
            note=_NOTE,
        )
    except (ValueError, TypeError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
