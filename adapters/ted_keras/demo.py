"""Training of one network: in full, or on what TED keeps."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from time import perf_counter, process_time
from typing import Any

import keras
import numpy as np
from keras import backend, layers
from numpy.typing import NDArray

from ted_core import Pruner
from ted_core.demo import (
    Images,
    Settings,
    TimedRun,
    digits_as_images,
    load_images,
    make_record,
    make_result,
    read_runs,
)
from ted_core.demo import cli as arguments
from ted_core.demo.cli import check_arguments, read_images, run_demo
from ted_core.demo.results import VARIANTS
from ted_core.strategies import Strategy
from ted_keras.callbacks import TED

__all__ = [
    "BACKENDS",
    "Clock",
    "Images",
    "Pictures",
    "Settings",
    "Shuffled",
    "TimedRun",
    "compare",
    "digits_as_images",
    "environment",
    "load_images",
    "main",
    "make_network",
    "make_parser",
    "make_record",
    "make_result",
    "read_runs",
    "train",
    "warm_up",
]

_SHIFT = 4


class Pictures:
    """Pictures kept as bytes, standardised and augmented by the batch.

    Augmentation is a random crop of the picture with a margin of 4 black pixels, and
    a random flip, left for right; each sample gets its own.

    Parameters
    ----------
    x : ndarray of uint8, shape (n, H, W) or (n, H, W, 3)
        Pixels.
    y : ndarray of int64, shape (n,)
        Classes.
    mean, sd : ndarray of float, shape (C,)
        What is taken off each channel, then what divides it.
    seed : int, optional
        Seed of the augmentation; without it there is none.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_keras.demo import Pictures
    >>> x = np.arange(128, dtype=np.uint8).reshape(2, 8, 8)
    >>> pictures = Pictures(x, np.array([3, 4]), mean=np.zeros(1), sd=np.ones(1))
    >>> found, labels = pictures(np.array([1]))
    >>> found.shape, labels.tolist()
    ((1, 8, 8, 1), [4])
    """

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
        """Return the pictures of these ids.

        Parameters
        ----------
        ids : ndarray of int64, shape (B,)
            Which ones.

        Returns
        -------
        x : ndarray of float32, shape (B, H, W, C)
            Pictures, standardised.
        y : ndarray of int64, shape (B,)
            Classes.
        """
        pixels = self._x[ids]
        if self._dice is not None:
            pixels = self._augmented(ids, self._dice)
        return (pixels.astype(np.float32) - self._mean) / self._sd, self._y[ids]

    def _augmented(
        self, ids: NDArray[np.int64], dice: np.random.Generator
    ) -> NDArray[np.uint8]:
        down, right = dice.integers(0, 2 * _SHIFT + 1, (2, len(ids), 1))
        flip = dice.integers(0, 2, (len(ids), 1)) == 1
        columns = np.where(flip, self._columns[::-1], self._columns) + right
        rows = self._rows + down
        places = ids[:, None, None], rows[:, :, None], columns[:, None, :]
        found: NDArray[np.uint8] = self._x[places]
        return found


class Shuffled(keras.utils.PyDataset):  # type: ignore[misc]
    """All pictures in a new order each epoch; nothing of TED takes part.

    Parameters
    ----------
    pictures : Pictures
        Data.
    batch_size : int
        Samples of a batch.
    seed : int
        Seed of the orders.
    """

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


class Clock(keras.callbacks.Callback):  # type: ignore[misc]
    """Take the time from the end of one epoch to the end of the next.

    The first and the last batch of the first epoch are left out: there Keras compiles
    the step, for the one batch shape and for the other.

    Parameters
    ----------
    n : int
        Samples.
    ted : TED, optional
        The session; it stands before in the list of callbacks.
    after_epoch : callable, optional
        Called without arguments after each epoch.

    Attributes
    ----------
    seconds, cpu_seconds : list of float
        Time of each epoch, planning and closing included.
    samples : list of int
        Samples of each epoch, counted.
    scores : list of ndarray
        Scores after each epoch.
    """

    def __init__(
        self,
        n: int,
        *,
        ted: TED | None = None,
        after_epoch: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__()
        self._n, self._ted, self._after_epoch = n, ted, after_epoch
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []
        self.samples: list[int] = []
        self.scores: list[NDArray[np.float32]] = []
        self._last = self._batch = self._now()

    @staticmethod
    def _now() -> NDArray[np.float64]:
        return np.array([perf_counter(), process_time()])

    def _compiles(self, batch: int) -> bool:
        return not self.seconds and batch in {0, int(self.params["steps"]) - 1}

    def on_train_begin(self, logs: Any = None) -> None:
        """Start.

        Parameters
        ----------
        logs : dict, optional
            Not used.
        """
        del logs
        self._last = self._now()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Note the time before a batch that Keras compiles for.

        Parameters
        ----------
        batch : int
            Which one, from 0.
        logs : dict, optional
            Not used.
        """
        del logs
        if self._compiles(batch):
            self._batch = self._now()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Leave out a batch that Keras compiled for.

        Parameters
        ----------
        batch : int
            Which one, from 0.
        logs : dict, optional
            Not used.
        """
        del logs
        if self._compiles(batch):
            self._last += self._now() - self._batch

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Note the epoch's time, samples and scores.

        Parameters
        ----------
        epoch : int
            Which one, from 0.
        logs : dict, optional
            Not used.
        """
        del epoch, logs
        wall, cpu = self._now() - self._last
        self.seconds.append(float(wall))
        self.cpu_seconds.append(float(cpu))
        if self._ted is None:
            self.samples.append(self._n)
        else:
            pruner = self._ted.pruner
            self.samples.append(int(pruner.update_counts.sum()) - sum(self.samples))
            self.scores.append(pruner.scores)
        self._after_epoch()
        self._last = self._now()


_DOUBLINGS = 2


_LAYERS = 1000


def make_network(
    *, shape: tuple[int, int, int], classes: int, width: int, seed: int
) -> Any:
    """Return a small convolutional network.

    Each stage is a convolution of 3 x 3, batch norm, ReLU, and a max pool that halves
    the side; there are as many as leave at least 4 x 4 places to convolve. The number
    of channels doubles twice, then stays.

    Parameters
    ----------
    shape : tuple of int
        Height, width and channels of the pictures; both sides at least 4 pixels.
    classes : int
        Logits.
    width : int
        Channels of the first stage.
    seed : int
        Seed of the initial weights. Keras' own generator is left as it was.

    Returns
    -------
    keras.Sequential
        Network from (B, height, width, channels) to (B, classes).

    Examples
    --------
    >>> from ted_keras.demo import make_network
    >>> network = make_network(shape=(32, 32, 3), classes=10, width=4, seed=0)
    >>> network.output_shape
    (None, 10)
    """
    parts: list[Any] = [keras.Input(shape)]
    side, stage, first = min(shape[:2]), 0, _LAYERS * seed
    while side >= 4:  # noqa: PLR2004 - the docstring's places
        parts += [
            layers.Conv2D(
                width * 2 ** min(stage, _DOUBLINGS),
                3,
                padding="same",
                use_bias=False,
                kernel_initializer=keras.initializers.HeNormal(first + stage),
            ),
            layers.BatchNormalization(momentum=0.9, epsilon=1e-5),
            layers.ReLU(),
        ]
        side //= 2
        if side >= 2:  # noqa: PLR2004 - one place is not halved
            parts.append(layers.MaxPool2D(2))
        stage += 1
    last = keras.initializers.GlorotUniform(first + stage)
    parts += [
        layers.GlobalAveragePooling2D(),
        layers.Dense(classes, kernel_initializer=last),
    ]
    return keras.Sequential(parts)


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
    visits = np.full(n, epochs, np.uint16) if ted is None else ted.pruner.update_counts
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
        One run for each of `ted_core.demo.results.VARIANTS`, in that order.

    Notes
    -----
    Who goes first rotates with the seed: what slows a machine down meets all alike.

    Examples
    --------
    >>> from ted_core.demo.results import Settings
    >>> from ted_keras.demo import compare
    >>> from ted_core.demo.datasets import digits_as_images
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


BACKENDS = ("tensorflow", "jax", "torch")


"""Backends of Keras that TED trains on."""


def make_parser(program: str) -> argparse.ArgumentParser:
    """Return the parser of the demo's arguments.

    Parameters
    ----------
    program : str
        What the user typed.

    Returns
    -------
    argparse.ArgumentParser
        The parser.

    Examples
    --------
    >>> from ted_keras.demo import make_parser
    >>> make_parser("demo").parse_args(["--backend", "jax"]).backend
    'jax'
    """
    parser = arguments.make_parser(program, out="ted_keras_demo.png")
    parser.add_argument(
        "--backend", choices=BACKENDS, help="backend of Keras (Keras' own choice)"
    )
    return parser


_COUNTS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


def environment(backend: str, threads: int) -> dict[str, str]:
    """Return the variables that choose a backend and its threads.

    Parameters
    ----------
    backend : {"tensorflow", "jax", "torch"}
        Backend of Keras.
    threads : int
        Threads that compute.

    Returns
    -------
    dict of str to str
        Variables of the environment, read when Keras and its backend are imported.

    Examples
    --------
    >>> from ted_keras.demo import environment
    >>> environment("jax", 1)["KERAS_BACKEND"]
    'jax'
    """
    eigen = str(threads > 1).lower()
    return {
        "KERAS_BACKEND": backend,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={eigen}",
        **dict.fromkeys(_COUNTS, str(threads)),
    }


_NOTE = (
    "without the first and the last batch of a run's first epoch: Keras compiles there"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; those of the process by default.

    Returns
    -------
    int
        Exit status.

    Notes
    -----
    Keras and its backends read backend and threads when they start: the training
    runs in a process of its own. The variants take turns, run by run, after an epoch
    that is thrown away.
    """
    parser = make_parser("python -m ted_keras.demo")
    arguments = parser.parse_args(argv)
    name = arguments.backend or backend.backend()
    check_arguments(parser, arguments)
    if find_spec(name) is None:
        parser.exit(2, f"{name} is missing: pip install {name}\n")
    wanted = environment(name, arguments.threads)
    if any(os.environ.get(key) != value for key, value in wanted.items()):
        given = sys.argv[1:] if argv is None else argv
        line = [sys.executable, "-m", "ted_keras.demo", *given]
        # Our own program, with the arguments that were just parsed.
        done = subprocess.run(line, check=False, env={**os.environ, **wanted})  # noqa: S603
        return done.returncode
    try:
        _run(arguments)
    except (ValueError, TypeError) as error:
        parser.error(str(error))
    return 0


def _run(arguments: argparse.Namespace) -> None:
    images, data, width = read_images(arguments)
    settings = Settings(
        epochs=arguments.epochs,
        prune_ratio=arguments.prune_ratio,
        batch_size=arguments.batch_size,
        width=width,
    )
    # Refused before anything is trained.
    Pruner(
        len(images.y_train), epochs=settings.epochs, prune_ratio=settings.prune_ratio
    )
    warm_up(images, settings)
    name = backend.backend()
    run_demo(
        arguments,
        name=f"ted_keras.demo, {name}",
        images=images,
        data=data,
        settings=settings,
        compare=compare,
        note=_NOTE,
        versions={"keras": keras.__version__, name: import_module(name).__version__},
    )


if __name__ == "__main__":
    sys.exit(main())
