"""What is trained: pictures, sentences or instructions; each in its own modules.

A module of a kind has ``PACKAGES``, whose versions belong to a record,
``load(config, arguments)``, which returns the data, ``labels(data)``, one a training
sample, and ``Task(data, training, seed=, device=)``. A task has

- ``parameters()``, those that the optimiser moves, and ``classes``, the labels if they
  are classes;
- ``begin(epoch)`` before each epoch, and ``batches(order, epoch)``, which cuts its
  order;
- ``losses(ids, source)``: one loss a sample, and by name what signals are made of;
- ``mean_loss(ids)`` of training samples as they are in a test, and ``result()``;
- ``state_dict()`` and ``load_state_dict(state)``.
"""

from __future__ import annotations

from importlib import import_module

__all__ = ["KINDS", "LOOPS", "kind_of", "loop_of"]

KINDS = {
    "pictures": "harness.picture_task",
    "sentences": "harness.text_sentences",
    "instructions": "harness.text_instructions",
}
LOOPS = {"plain": "harness.training", "trainer": "harness.text_trainer"}


def kind_of(config):
    """Return the module of a configuration's kind of data; pictures if it says none."""
    kind = config["data"].get("kind", "pictures")
    if kind not in KINDS:
        message = f"`kind` must be among {', '.join(KINDS)}, got {kind!r}"
        raise ValueError(message)
    return import_module(KINDS[kind])


def loop_of(config):
    """Return the module of a configuration's loop; the plain one if it says none.

    It has ``Training``, and ``PACKAGES`` as a kind of data has.
    """
    loop = config["training"].get("loop", "plain")
    if loop not in LOOPS:
        message = f"`loop` must be among {', '.join(LOOPS)}, got {loop!r}"
        raise ValueError(message)
    return import_module(LOOPS[loop])
