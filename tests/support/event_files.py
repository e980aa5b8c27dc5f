"""Read TED's numbers back from what TensorBoard's writers wrote."""

from __future__ import annotations

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

__all__ = ["numbers", "told"]

NAMES = ("ted/keep_ratio", "ted/samples_saved", "ted/nonfinite_dropped")


def numbers(folder, prefix="", others=()):
    """Give the steps, and the values of each of TED's numbers at them.

    Parameters
    ----------
    folder : path
        Where the event files are.
    prefix : str
        What the framework puts before a name.
    others : sequence of str
        Names that this framework has beside those of all.

    Returns
    -------
    tuple of list of int and dict of str to list of float
        Steps and values by name.
    """
    events = EventAccumulator(str(folder)).Reload()
    tags = {tag for kind in ("scalars", "tensors") for tag in events.Tags()[kind]}
    names = {prefix + name for name in (*NAMES, *others)}
    assert {tag for tag in tags if "ted/" in tag} == names
    found = {name: _read(events, prefix + name) for name in NAMES}
    (steps,) = {tuple(step for step, _ in pairs) for pairs in found.values()}
    return list(steps), {name: [x for _, x in found[name]] for name in NAMES}


def _read(events, tag):
    if tag in events.Tags()["scalars"]:
        return [(event.step, event.value) for event in events.Scalars(tag)]
    # TensorFlow writes a scalar as a tensor.
    found = events.Tensors(tag)
    return [(event.step, make_ndarray(event.tensor_proto).item()) for event in found]


def told(pruner):
    """Give the numbers of each epoch of a finished run, from its counts.

    Parameters
    ----------
    pruner : Pruner
        A finished run.

    Returns
    -------
    dict of str to list of float
        By name; savings are those of the epochs up to it.
    """
    report = pruner.report()
    seen = np.cumsum(report.observed) / (np.arange(pruner.epochs) + 1) / pruner.n
    columns = report.planned / pruner.n, 1 - seen, np.cumsum(report.nonfinite)
    return dict(zip(NAMES, (column.tolist() for column in columns), strict=True))
