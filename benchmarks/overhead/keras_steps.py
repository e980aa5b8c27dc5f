"""Time whole training steps of Keras' `fit` without TED and with it, in turn.

`python benchmarks/overhead/keras_steps.py` writes the record; `--table FILE` prints it.
Each backend has a process of its own; in it the fits run side by side, an epoch of
each in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from keras_table import markdown
from step_summary import processor, summarise

RECORD = Path(__file__).parent / "records" / "keras_steps.json"
BACKENDS = {
    "tensorflow": ("tensorflow", False),
    "tensorflow, jit_compile": ("tensorflow", True),
    "jax": ("jax", True),
    "torch": ("torch", False),
}
"""What is measured: the backend, and whether the step is compiled by XLA."""
MASKED = ["output", "feature", "first layer"]
STEPS = {"small": 20, "tiny": 100, "nothing": 100}
PACKAGES = {"tensorflow": "tensorflow-cpu", "jax": "jax", "torch": "torch"}


def make_fits(network, options):
    """Give the fits of one network: plain, in parts, and with TED at each site."""
    import keras_networks as nets  # noqa: PLC0415 - after the backend is chosen
    import numpy as np  # noqa: PLC0415
    from keras_parts import Parted  # noqa: PLC0415
    from ted_keras import TED  # noqa: PLC0415

    steps, batch, jit = steps_of(network, options), options.batch, options.jit
    n, epochs = steps * batch, options.warm + options.rounds
    arrays = nets.make_data(network, n)
    weighted = (*arrays, np.ones(n, np.float32))

    def plain(*data, **how):
        model = nets.make_model(network, jit=jit)

        def fit(first, last):
            model.fit(*data, epochs=epochs, verbose=0, callbacks=[first, last], **how)

        return fit

    def parted(*, store):
        model = nets.make_model(network, jit=jit)
        part = Parted(model, arrays, batch, store=store)

        def fit(first, last):
            callbacks = [first, part.callback, last]
            model.fit(part.data, epochs=epochs, verbose=0, callbacks=callbacks)

        return fit

    def pruned(mask):
        model = nets.make_model(network, jit=jit, mask=mask)
        ted = TED(model, arrays, epochs=epochs, batch_size=batch, prune_ratio=0.0)

        def fit(first, last):
            callbacks = [first, ted, last]
            model.fit(ted.data, epochs=epochs, verbose=0, callbacks=callbacks)

        return fit

    fits = {
        "plain": plain(nets.Batches(arrays, batch)),
        "plain again": plain(nets.Batches(arrays, batch)),
        "plain arrays": plain(*arrays, batch_size=batch),
        "sample weights": plain(nets.Batches(weighted, batch)),
        "ids and scale": parted(store=False),
    }
    if network == "nothing":
        return fits
    fits["ids, scale, store"] = parted(store=True)
    return fits | {mask: pruned(mask) for mask in MASKED}


def steps_of(network, options):
    return options.steps or STEPS[network]


def measure(options):
    """Measure one backend; runs in its process."""
    from keras_turns import take_turns  # noqa: PLC0415 - after the backend is chosen

    limit_threads(options.backend)
    results = []
    for network in options.network:
        begun = os.getloadavg()[0]
        steps = steps_of(network, options)
        times = take_turns(
            make_fits(network, options),
            rounds=options.rounds,
            steps=steps,
            warm=options.warm,
        )
        results.append(
            {
                "network": network,
                "steps of each site": steps * options.rounds,
                "sites": summarise(times),
                # Above 1 others shared the machine: then the processor's time counts.
                "load average, before and after": [
                    round(begun, 2),
                    round(os.getloadavg()[0], 2),
                ],
            }
        )
    return {
        "backend": options.backend,
        "jit_compile": options.jit,
        "results": results,
        "microseconds of reading a batch": reading(options),
        "closing an epoch": closing(options),
    }


def limit_threads(backend):
    if backend == "tensorflow":
        import tensorflow as tf  # noqa: PLC0415

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    if backend == "torch":
        import torch  # noqa: PLC0415

        torch.set_num_threads(1)


def reading(options):
    """Read batches of the tiny network's data: what TED's own data cost more."""
    import keras_networks as nets  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415
    from keras_parts import reading_costs  # noqa: PLC0415
    from ted_keras.data import TEDData, make_source  # noqa: PLC0415

    n = 100 * options.batch
    arrays = nets.make_data("tiny", n)
    ted = TEDData(make_source(arrays), batch_size=options.batch)
    ted.begin(np.random.default_rng(1).permutation(n), np.ones(n, np.float32))
    weighted = (*arrays, np.ones(n, np.float32))
    return reading_costs(
        {
            "plain": nets.Batches(arrays, options.batch),
            "sample weights": nets.Batches(weighted, options.batch),
            "TED": ted,
        }
    )


def closing(options):
    from keras_parts import closing_costs  # noqa: PLC0415

    return [closing_costs(n) for n in options.sizes]


def run_child(name, options, folder):
    """Measure one backend in a process of its own."""
    backend, jit = BACKENDS[name]
    path = folder / "child.json"
    child = {**vars(options), "backend": backend, "jit": jit, "child": str(path)}
    child["out"] = child["table"] = child["backends"] = None
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    settings = {
        "KERAS_BACKEND": backend,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    }
    line = [sys.executable, __file__, "--child", json.dumps(child)]
    subprocess.run(line, check=True, env={**os.environ, **threads, **settings})  # noqa: S603
    return {"name": name} | json.loads(path.read_text(encoding="utf-8"))


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--backends", nargs="+", choices=BACKENDS, default=list(BACKENDS)[:3])
    add("--network", nargs="+", choices=list(STEPS), default=list(STEPS))
    add("--rounds", type=int, default=40, help="epochs of each site that count")
    add("--warm", type=int, default=3, help="epochs of each before")
    add("--steps", type=int, help="steps of an epoch")
    add("--batch", type=int, default=128)
    add("--sizes", type=int, nargs="+", default=[50_000, 1_280_000])
    add("--out", type=Path, default=RECORD)
    add("--table", type=Path, help="print this record and measure none")
    add("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    options = parse()
    if options.child:
        options = argparse.Namespace(**json.loads(options.child))
        text = json.dumps(measure(options))
        Path(options.child).write_text(text, encoding="utf-8")
        return
    if options.table:
        print(markdown(json.loads(options.table.read_text(encoding="utf-8"))))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = [run_child(name, options, Path(folder)) for name in options.backends]
    fields = ["batch", "rounds", "warm", "network"]
    used = sorted({PACKAGES[BACKENDS[name][0]] for name in options.backends})
    packages = ["ted-core", "numpy", "keras", *used]
    record = {
        "name": "Keras step",
        "config": {field: getattr(options, field) for field in fields},
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in packages},
        "machine": processor() | {"threads": 1},
        "backends": found,
    }
    options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(markdown(record))


if __name__ == "__main__":
    main()
