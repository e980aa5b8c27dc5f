"""Validation of a session's model and fit, and what depends on the backend."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import keras
from keras import backend, ops

from ted_core import EpochError, Pruner
from ted_core._validation import check_int
from ted_core.errors import warn_caller
from ted_core.history import early_end_warning

# What hands no call on that its own code doesn't show.
_PLAIN = (keras.Layer, keras.Loss, keras.Metric, keras.Optimizer, int, float, str)


def check_model(model: object) -> None:
    """Refuse what is no model, or has a ``train_step`` that computes its own loss."""
    if not isinstance(model, keras.Model):
        msg = f"`model` must be a keras.Model, got {type(model).__name__}"
        raise TypeError(msg)
    if own_train_step(model) and not _may_call_compute_loss(model):
        msg = (
            f"`train_step` of {type(model).__name__} must call `self.compute_loss(x, "
            "y, y_pred, sample_weight)` once, where the loss is scaled and recorded, "
            "got one that never does"
        )
        raise TypeError(msg)


def own_train_step(model: Any) -> bool:
    """Return whether a model's class has a ``train_step`` of its own."""
    return type(model).train_step is not keras.Model.train_step


def _may_call_compute_loss(model: Any) -> bool:
    """Look for the name in `train_step` and in the functions that its code names."""
    waiting, known = [type(model).train_step], set()
    while waiting:
        function = inspect.unwrap(waiting.pop())
        code = getattr(function, "__code__", None)
        if code is None:
            return True  # compiled, or no function of Python's: nothing to be seen
        if code in known:
            continue
        known.add(code)
        inner = [one for one in code.co_consts if inspect.iscode(one)]
        names = {name for one in (code, *inner) for name in one.co_names}
        if any("compute_loss" in name or name == "train_step" for name in names):
            return True
        for name in names:
            found = inspect.getattr_static(type(model), name, None)
            found = function.__globals__.get(name) if found is None else found
            found = getattr(found, "__func__", found)
            found = inspect.unwrap(found) if callable(found) else found
            home = getattr(found, "__module__", None) or ""
            if inspect.isfunction(found) and home.partition(".")[0] != "keras":
                waiting.append(found)
            elif not isinstance(vars(model).get(name, 0), _PLAIN):
                return True  # an object of the user's, which may hand the call on
    return False


def check_count(name: str, value: object, *, minimum: int = 1) -> int:
    """Return a count as int, or refuse it."""
    return check_int(name, value, minimum=minimum, maximum=2**31 - 1)


def check_fit(model: object, fitted: object, fit_epochs: int, epochs: int) -> None:
    """Refuse a fit of another model, or of another number of epochs."""
    if fitted is not model:
        msg = "`fit` must be that of the model given to TED, got another model's"
        raise EpochError(msg)
    if fit_epochs != epochs:
        msg = (
            f"`epochs` of `fit` must be those of TED, {epochs}, got {fit_epochs}; "
            "the schedule ends with the run; to train for longer load its state into a "
            "TED of more epochs, with `allow=('epochs',)`"
        )
        raise EpochError(msg)


def check_data(steps: object, length: object, *, read: bool) -> None:
    """Refuse a fit on other data than the session's, or with steps of its own."""
    if not read:
        msg = "`fit` must be given this session's `ted.data`, got other data"
        raise EpochError(msg)
    if steps is not length:
        msg = (
            "`fit` must be given this session's `ted.data`, without "
            f"`steps_per_epoch`, got {steps} steps an epoch"
        )
        raise EpochError(msg)


def warn_of_shapes(model: Any, multiple_of: int, batch_size: int) -> None:
    """Warn of a step that will be compiled for many batch shapes."""
    if model.jit_compile and multiple_of % batch_size:
        warn_caller(
            f"`multiple_of`={multiple_of} makes a last batch of another size in many "
            "an epoch, for each of which the step is compiled; give "
            f"multiple_of={batch_size}, the batch size"
        )


def callbacks_beside() -> list[Any]:
    """Return the callbacks of the fit that calls one of them: Keras shows them none."""
    frame = sys._getframe()  # noqa: SLF001 - the one way to the callers
    while frame.f_back is not None:
        frame = frame.f_back
        caller = frame.f_locals.get("self")
        if isinstance(caller, keras.callbacks.CallbackList):
            return list(caller.callbacks)
    return []


def keras_backups(callbacks: Iterable[Any]) -> list[Any]:
    """Return those that keep the model after each epoch."""
    return [c for c in callbacks if isinstance(c, keras.callbacks.BackupAndRestore)]


def check_backups(ted: object, callbacks: Sequence[Any], *, wanted: bool) -> None:
    """Refuse a model's backup of other moments than the session's; warn without one."""
    for place, one in enumerate(callbacks):
        if not isinstance(one, keras.callbacks.BackupAndRestore):
            continue
        if not wanted:
            msg = (
                "`backup` should be given beside BackupAndRestore, which keeps the "
                "model alone: a killed run could not go on without its session; "
                "give TED(..., backup='ted.npz')"
            )
            warn_caller(msg)
            return
        if one.save_freq != "epoch":
            msg = (
                f"`save_freq` of BackupAndRestore must be 'epoch' beside `backup`, "
                f"got {one.save_freq!r}: TED keeps a state of each epoch's end, and a "
                "model of another moment could not be resumed with it"
            )
            raise ValueError(msg)
        if ted in callbacks[place:]:
            msg = (
                "`callbacks` must have TED before BackupAndRestore, got it behind: "
                "after a kill between the two savings the model could not be resumed; "
                "give callbacks=[ted, backup]"
            )
            raise ValueError(msg)


def warn_of_monitors(callbacks: Iterable[Any]) -> None:
    """Warn of callbacks that watch the training loss."""
    for one in callbacks:
        watches = getattr(one, "monitor", None) == "loss"
        if watches and getattr(one, "save_best_only", True):
            warn_caller(
                f"`monitor` of {type(one).__name__} should be 'val_loss', got 'loss', "
                "which is that of the kept samples and divided by r_t: it jumps with "
                "the schedule"
            )


def warn_of_early_end(pruner: Pruner, callbacks: Iterable[Any]) -> None:
    """Warn of a training that ends before its last epoch has closed."""
    if pruner.finished:
        return
    by = "".join(
        f" by {type(one).__name__}(monitor={one.monitor!r})"
        for one in callbacks
        if getattr(one, "stopped_epoch", 0)
    )
    remedy = (
        "go on with `fit(..., initial_epoch=ted.epoch)`, or give `epochs` the number "
        "that the training has"
    )
    warn_caller(early_end_warning(pruner.config, pruner.epoch, remedy, by))


def steps_made(optimizer: Any) -> int:
    """Return the steps of an optimizer, which replicas hold once each."""
    return int(ops.convert_to_numpy(optimizer.iterations))


def warn_of_other_moment(optimizer: Any, saved: int | None) -> None:
    """Warn of weights that are not of the moment that a loaded session is of."""
    if saved is None or (here := steps_made(optimizer)) == saved:
        return
    warn_caller(
        f"`optimizer.iterations` must be {saved}, as when the session was saved, got "
        f"{here}: weights and session are of two moments; save both together, and "
        "not the best model beside the newest session"
    )


def default_multiple(model: Any, batch_size: int) -> int:
    """Return the batch size where each batch shape is compiled, 1 elsewhere."""
    name = backend.backend()
    if name == "jax":
        compiles = True
    elif model.compiled:
        compiles = model.jit_compile
    else:  # on an accelerator, TensorFlow will compile by itself
        compiles = name == "tensorflow" and keras.distribution.list_devices("gpu")
    return batch_size if compiles else 1


def probes_data(model: Any) -> bool:
    """Return whether Keras reads a batch before it trains."""
    if backend.backend() != "tensorflow":
        return True
    return bool(model.distribute_strategy.num_replicas_in_sync > 1)
