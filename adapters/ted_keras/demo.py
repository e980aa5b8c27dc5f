"""How Keras trains once for the core's demo: ``python -m ted_keras.demo``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import keras
from keras import backend, layers

from ted_core.demo import engine
from ted_core.demo.datasets import Task
from ted_keras.callbacks import TED

__all__ = ["main"]

_TEST_BATCH = 500
_LAYERS = 3
_RISE, _START = 0.3, 1 / 25
_BACKENDS = ("tensorflow", "jax", "torch")
_THREAD_COUNTS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


def fit(
    task: Task, *, seed: int, epochs: int, lr: float, **options: Any
) -> tuple[float, TED]:
    """Train once by SGD, on what TED keeps."""
    # Each layer has a seed of its own; Keras' own generator stays as it was.
    first, second, last = (
        keras.initializers.HeNormal(_LAYERS * seed + layer) for layer in range(_LAYERS)
    )
    model = keras.Sequential(
        [
            keras.Input(task.x_train.shape[1:]),
            layers.Dense(engine.WIDTH, "relu", kernel_initializer=first),
            layers.Dense(engine.WIDTH, "relu", kernel_initializer=second),
            layers.Dense(task.classes, kernel_initializer=last),
        ]
    )
    ted = TED(
        model,
        (task.x_train, task.y_train),
        batch_size=task.batch_size,
        epochs=epochs,
        seed=seed,
        **options,
    )
    steps = ted.total_steps
    rise = max(1, round(_RISE * steps))
    rate = keras.optimizers.schedules.CosineDecay(
        lr * _START, max(1, steps - rise), warmup_target=lr, warmup_steps=rise
    )
    optimizer = keras.optimizers.SGD(
        rate, momentum=engine.MOMENTUM, nesterov=True, weight_decay=engine.WEIGHT_DECAY
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss)
    model.fit(ted.data, epochs=epochs, callbacks=[ted], verbose=0)
    logits = model.predict(task.x_test, batch_size=_TEST_BATCH, verbose=0)
    return 100 * float((logits.argmax(axis=1) == task.y_test).mean()), ted


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
    """Run the demonstration."""
    parser = engine.make_parser("python -m ted_keras.demo", seeds=3)
    parser.add_argument(
        "--backend", choices=_BACKENDS, help="backend of Keras (Keras' own choice)"
    )
    arguments = engine.parse(parser, argv)
    name = arguments.backend or backend.backend()
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
    engine.run_demo(parser, arguments, fit)
    return 0


if __name__ == "__main__":
    sys.exit(main())
