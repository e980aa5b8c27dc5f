"""Time `fit` on a `tf.data` pipeline of Keras' own, and on TED's from the same `load`.

`python benchmarks/overhead/keras_pipelines.py` writes the record, `--table FILE` prints
one. The fits run side by side, an epoch of each in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

RECORD = Path(__file__).parent / "records" / "keras_pipelines.json"
NAMES = {
    "plain": "`fit` on `tf.data`, without TED",
    "plain again": "the same again",
    "pipeline": "TED, `Pipeline(load)`",
    "batched": "TED, `Pipeline(load, batched=True)`",
    "function": "TED, a pipeline built by a function of ids for each batch",
}


def make_load(n, *, batched=False):
    """Give a function that decodes and flips the picture of an id, or of many ids."""
    import numpy as np  # noqa: PLC0415 - importing TensorFlow takes long
    import tensorflow as tf  # noqa: PLC0415

    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (n, 32, 32, 3)).astype(np.uint8)
    files = tf.constant([tf.io.encode_jpeg(one).numpy() for one in pictures])
    labels = tf.constant(rng.integers(0, 10, n))

    def decode(file):
        picture = tf.io.decode_jpeg(file, channels=3)
        return tf.cast(tf.ensure_shape(picture, (32, 32, 3)), tf.float32) / 255

    def load(k):
        x, flipped = decode(files[k]), k % 2 == 1
        return tf.cond(flipped, lambda: x[:, ::-1], lambda: x), labels[k]

    def load_batch(ids):
        x = tf.map_fn(decode, tf.gather(files, ids), fn_output_signature=tf.float32)
        flipped = (ids % 2 == 1)[:, None, None, None]
        return tf.where(flipped, x[:, :, ::-1], x), tf.gather(labels, ids)

    return load_batch if batched else load


def make_fits(options):
    """Give the fits that are compared; each takes callbacks, first and last."""
    import keras_networks as nets  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415
    from ted_keras import TED, Pipeline  # noqa: PLC0415

    n, size, auto = options.steps * options.batch, options.batch, tf.data.AUTOTUNE
    epochs, load = options.warm + options.rounds, make_load(n)

    def plain():
        model = nets.make_model("small", jit=False)
        rows = tf.data.Dataset.range(n).shuffle(n).map(load, num_parallel_calls=auto)
        rows = rows.batch(size).prefetch(2)

        def fit(first, last):
            how = {"verbose": 0, "callbacks": [first, last], "shuffle": False}
            model.fit(rows, epochs=epochs, **how)

        return fit

    def pruned(data):
        model = nets.make_model("small", jit=False)
        ted = TED(model, data, n=n, epochs=epochs, batch_size=size, prune_ratio=0.0)

        def fit(first, last):
            callbacks = [first, ted, last]
            model.fit(ted.data, epochs=epochs, verbose=0, callbacks=callbacks)

        return fit

    def piped(ids):
        rows = tf.data.Dataset.from_tensor_slices(ids)
        rows = rows.map(load, num_parallel_calls=auto, deterministic=True)
        return rows.batch(len(ids)).get_single_element()

    return {
        "plain": plain(),
        "plain again": plain(),
        "pipeline": pruned(Pipeline(load)),
        "batched": pruned(Pipeline(make_load(n, batched=True), batched=True)),
        "function": pruned(piped),
    }


def markdown(record):
    """Give the table of the page: both clocks, and the ratios of the same round."""
    lines = [
        "| | wall, ms a batch | ratio | processor | ratio |",
        "|---|---|---|---|---|",
    ]
    for row in record["sites"]:
        cells = [NAMES[row["site"]]]
        for clock in ("wall", "cpu"):
            found = row[clock]
            cells.append(f"{found['median ms']:.1f}")
            ratio = found.get("ratio, 95 % interval")
            shown = "1" if ratio is None else "{:.2f} [{:.2f}, {:.2f}]".format(*ratio)
            cells.append(shown)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--rounds", type=int, default=12, help="epochs of each that count")
    add("--warm", type=int, default=2, help="epochs of each before")
    add("--steps", type=int, default=20, help="steps of an epoch")
    add("--batch", type=int, default=128)
    add("--out", type=Path, default=RECORD)
    add("--table", type=Path, help="print this record and measure none")
    return parser.parse_args()


def main():
    options = parse()
    if options.table:
        print(markdown(json.loads(options.table.read_text(encoding="utf-8"))))
        return
    os.environ["KERAS_BACKEND"] = "tensorflow"  # before Keras is imported
    from keras_turns import take_turns  # noqa: PLC0415
    from step_summary import processor, summarise  # noqa: PLC0415

    begun = os.getloadavg()[0]
    times = take_turns(
        make_fits(options),
        rounds=options.rounds,
        steps=options.steps,
        warm=options.warm,
    )
    fields = ["rounds", "warm", "steps", "batch"]
    packages = ["ted-core", "numpy", "keras", "tensorflow-cpu"]
    record = {
        "name": "Keras pipelines",
        "config": {field: getattr(options, field) for field in fields}
        | {"network": "small", "picture": "JPEG of 32 x 32"},
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in packages},
        "machine": processor(),
        # Above the number of cores others shared the machine.
        "load average, before and after": [
            round(begun, 2),
            round(os.getloadavg()[0], 2),
        ],
        "sites": summarise(times),
    }
    options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(markdown(record))


if __name__ == "__main__":
    main()
