"""The session: data for ``model.fit``, and a callback beside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self, Unpack

import keras

from ted_core import (
    CheckpointError,
    EpochError,
    Pruner,
    Report,
    Savings,
    load_state,
    run_metrics,
    save_state,
)
from ted_core._validation import check_choice
from ted_core.checkpoint import plain_field
from ted_core.config import RunOptions, check_known, check_options
from ted_core.errors import warn_caller
from ted_core.reports import Preflight
from ted_core.typing import State
from ted_keras._objective import ACTIVATIONS
from ted_keras._preflight import Check
from ted_keras._random import FIELDS, check_random, random_fields, restore_random
from ted_keras._session import Session
from ted_keras._validation import (
    callbacks_beside,
    check_backups,
    check_count,
    check_data,
    check_fit,
    check_model,
    default_multiple,
    keras_backups,
    steps_made,
    warn_of_early_end,
    warn_of_monitors,
    warn_of_other_moment,
    warn_of_shapes,
)
from ted_keras.data import Fetch, Pipeline, TEDData, make_source
from ted_keras.masks import Mask

__all__ = ["TED"]

_STEPS = "ted_keras.iterations"


class TED(keras.callbacks.Callback):  # type: ignore[misc]
    r"""Prune ``model.fit``: which samples, the scaled loss, and their scores.

    Parameters
    ----------
    model : keras.Model
        Sequential, Functional or subclassed; compiled before or after.
    data : tuple of arrays, callable or Pipeline
        ``(x, y)`` or ``(x, y, weights)``, nested as Keras takes them, rows along the
        first axis; a function of ids, shape (B,), that gives such a tuple, with row j
        sample ids[j], or ``(x, y, weights, pairs)`` of a mixed batch; or a ``tf.data``
        pipeline as a :class:`Pipeline`. Weights are of shape (n,), or of tokens and
        pixels, (n, ...); ``pairs`` has (ids, weights) for each part, the batch's first.
    epochs : int
        T, epochs of the run, the same as in ``fit``: at least 2, or 1 with
        `initial_scores`.
    batch_size : int, default 32
        Samples of a batch.
    n : int, optional
        Samples; needed with a function or a pipeline.
    class_weight : mapping of int to float, optional
        Factor of each class' loss; instead of the argument of ``fit``. Targets are of
        shape (n,), (n, 1) or (n, C), one-hot or smoothed. A sample of weight 0 ranks
        last.
    output : str, optional
        Name of the scored output, if there are several.
    activation : {"auto", "linear", "softmax", "sigmoid"}, default "auto"
        What made the output: the mask stands before a softmax or a sigmoid, and behind
        any other. "auto" asks loss and layer.
    mask : Mask, optional
        Inner site; found in the model by itself where layers are listed.
    backup : str or path, optional
        File written after each epoch and deleted when the training ends, unless Keras
        keeps its own: a companion to ``keras.callbacks.BackupAndRestore``, before which
        TED stands in the list, and whose `save_freq` is "epoch". It holds the random
        numbers of the model's layers, too, which Keras does not keep.
    allow : sequence of str, default ()
        ``("epochs",)`` lets the `backup` of a run with another number of epochs be
        resumed, finished or not; the run goes on to `epochs`.
    workers, use_multiprocessing, max_queue_size : int, bool, int
        As of :class:`keras.utils.PyDataset`.
    **options : RunOptions
        Those of :class:`ted_core.Pruner`, save `shard`: `prune_ratio`, `schedule`,
        `method`, `strategy`, `signal`, `reduction`, `seed`, `multiple_of`,
        `scale_loss`, `labels`, `lengths`, `initial_scores`. `multiple_of` is the batch
        size by default where each batch shape is compiled, and 1 elsewhere.

    Attributes
    ----------
    data : TEDData
        Give it to ``fit``, beside ``callbacks=[ted]``.
    pruner : Pruner
        Plans, scores, savings and report of the run.

    Raises
    ------
    TypeError, ValueError
        The data has no ids, lengths differ, an option is out of range, or the model's
        own ``train_step`` never calls ``compute_loss``.

    Notes
    -----
    12 bytes a sample on the device (in NumPy with JAX), read once an epoch. `logs` gets
    `ted_core.run_metrics`. Source: TED, ECAI 2024, Algorithm 1.

    Examples
    --------
    >>> import keras, numpy as np
    >>> from ted_keras import TED
    >>> x = np.random.default_rng(0).normal(size=(40, 5)).astype("float32")
    >>> model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    >>> ted = TED(model, (x, np.arange(40) % 3), epochs=5, batch_size=8)
    >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> model.compile("sgd", loss)
    >>> history = model.fit(ted.data, epochs=5, callbacks=[ted], verbose=0)
    >>> int(model.optimizer.iterations) == ted.total_steps < 5 * 5
    True
    """

    def __init__(
        self,
        model: Any,
        data: tuple[Any, ...] | Fetch | Pipeline,
        *,
        epochs: int,
        batch_size: int = 32,
        n: int | None = None,
        class_weight: Mapping[int, float] | None = None,
        output: str | None = None,
        activation: str = "auto",
        mask: Mask | None = None,
        backup: str | os.PathLike[str] | None = None,
        allow: Sequence[str] = (),
        workers: int = 1,
        use_multiprocessing: bool = False,
        max_queue_size: int = 10,
        **options: Unpack[RunOptions],
    ) -> None:
        super().__init__()
        check_options(options, type(self))
        check_model(model)
        check_choice("activation", activation, ACTIVATIONS)
        batch_size = check_count("batch_size", batch_size)
        source = make_source(data, n=n, class_weight=class_weight)
        if options.get("shard") is not None:
            msg = "`shard` must not be given in Keras, which has one process's data"
            raise ValueError(msg)
        options.setdefault("multiple_of", default_multiple(model, batch_size))
        self.data = TEDData(
            source,
            batch_size=batch_size,
            workers=workers,
            use_multiprocessing=use_multiprocessing,
            max_queue_size=max_queue_size,
        )
        self._session = Session(
            model,
            self.data,
            partial(Pruner, source.n, **options),
            epochs=epochs,
            mask=mask,
            output=output,
            activation=activation,
        )
        self.pruner = self._session.pruner
        self._backup, self._allow = _Backup(backup), tuple(allow)
        self._checked = self._rate_checked = False
        self._beside: list[Any] = []
        # Steps of the optimizer, and random states of the layers, when the state was
        # saved that was loaded last; no fit has gone on from it yet.
        self._saved_steps: int | None = None
        self._saved_random: State = {}

    def __repr__(self) -> str:
        """Return how far the run is, in a line; nothing is planned for it."""
        return repr(self.pruner).replace("Pruner", type(self).__name__, 1)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run: ``optimizer.iterations`` at its end.

        Of the epochs that ran, and of those to come.
        """
        check_known(self.pruner.config, "total_steps")
        return self.pruner.max_total_steps(self.data.batch_size)

    @property
    def epoch(self) -> int:
        """Where a resumed fit starts: its ``initial_epoch``."""
        return self._session.epoch

    def check(self) -> Preflight:
        """Look at data, model and learning rate before the first step.

        ``fit`` refuses by itself, before it trains, what is refused here.

        Returns
        -------
        Preflight
            Facts of the run and problems, to be printed.

        Raises
        ------
        ValueError
            The rows of a batch do not stand in the order of its ids, a model's own
            ``compute_loss`` does not heed ``sample_weight``, the loss or the weights
            cannot be scaled, or the method needs an output of classes and gets another.
        TypeError
            The loss gives one number a batch.

        Warns
        -----
        TedWarning
            A problem: a last batch of one sample, a learning rate that does not end
            with the run, logits where the loss takes probabilities or the other way
            round, an activation that is not undone, a signal of another loss.

        Notes
        -----
        The function of ids is asked for one batch, three times at most, and the model
        makes one forward pass on it, and is built before if it is not. Weights, metrics
        and the random numbers of Python, NumPy and the backend stay as they are.
        """
        if self.pruner.finished:  # a job that was started once more
            return Preflight.finished(self.pruner.epochs)
        return Check(self._session).report()

    def savings(self) -> Savings:
        """Return the samples saved in the closed epochs, counted (Eq. 24)."""
        return self.pruner.savings()

    def report(self) -> Report:
        """Return the counts of the closed epochs and the ids to look at."""
        return self.pruner.report()

    def state_dict(self) -> State:
        """Return the whole state, an open epoch and random layers included: NumPy."""
        state = self._session.state_dict()
        # Callback's `model` has the weights in the middle of an epoch on JAX, too.
        model = self._session.model if self.model is None else self.model
        optimizer = getattr(model, "optimizer", None)
        if self._saved_steps is not None:
            state[_STEPS] = self._saved_steps
        elif optimizer is not None:
            state[_STEPS] = steps_made(optimizer)
        return {**state, **random_fields(model), **self._saved_random}

    def load_state_dict(
        self, state: Mapping[str, Any], *, allow: Sequence[str] = ()
    ) -> None:
        """Take over a saved state, as :meth:`ted_core.Pruner.load_state_dict` does.

        Parameters
        ----------
        state, allow : mapping, sequence of str
            As there.

        Raises
        ------
        TypeError, CheckpointError
            A field is missing, unknown, or does not fit: with both values.

        Warns
        -----
        TedWarning
            When the fit begins: its optimizer has made more or fewer steps than when
            the state was saved, so that the weights are of another moment; or the model
            has more or fewer random layers.

        Notes
        -----
        Go on with ``fit(..., initial_epoch=ted.epoch)``. A state of an open epoch goes
        on with the samples that no step had met.
        """
        steps, drawn = None, dict[str, Any]()
        if isinstance(state, Mapping):
            if _STEPS in state:
                steps = plain_field(state, _STEPS, int)
            drawn = {name: state[name] for name in FIELDS & state.keys()}
            check_random(drawn)
            ours = FIELDS | {_STEPS}
            state = {k: v for k, v in state.items() if k not in ours}
        self._session.load_state_dict(state, allow=allow)
        self._saved_steps, self._saved_random = steps, drawn

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state to a file, atomically; see `ted_core.load_state`.

        Parameters
        ----------
        path : str or path
            The file.
        """
        save_state(path, self.state_dict())

    def __enter__(self) -> Self:
        """Return the session; the model is given back when the block ends."""
        return self

    def __exit__(self, *error: object) -> None:
        """Give the model back, after a failure too."""
        self._session.detach()

    def on_train_begin(self, logs: Any = None) -> None:
        """Check what ``fit`` was given, and let it compile the step anew."""
        del logs
        epochs, steps = self.params["epochs"], self.params["steps"]
        check_fit(self._session.model, self.model, epochs, self.pruner.epochs)
        check_data(steps, self.data.length, read=self._session.recorder is not None)
        self._beside = callbacks_beside()
        check_backups(self, self._beside, wanted=self._backup.wanted)
        warn_of_monitors(self._beside)
        multiple_of = self.pruner.config.multiple_of
        warn_of_shapes(self._session.model, multiple_of, self.data.batch_size)
        if not self._checked and not self.pruner.finished:
            Check(self._session).raise_errors()
            self._checked = True
        self._session.start()
        self._backup.searched = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Plan the current epoch or the next; repeated calls are harmless."""
        del logs
        self._restore_backup(epoch)
        if not (self._rate_checked or self.pruner.finished):
            # A backup may be of another number of epochs, and steps.
            Check(self._session).warn_of_rate()
            self._rate_checked = True
        self._session.begin(epoch)
        steps, self._saved_steps = self._saved_steps, None
        warn_of_other_moment(self.model.optimizer, steps)
        # Not before: Keras draws numbers of its own when a fit begins.
        restore_random(self.model, self._saved_random)
        self._saved_random = {}

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Close an epoch, unless it was stopped in its middle; log `run_metrics`."""
        del epoch
        if not self._session.model.stop_training or self._session.complete:
            self._session.close()
            self._backup.save(self.state_dict)
        if logs is not None:
            logs.update(run_metrics(self.pruner))

    def on_train_end(self, logs: Any = None) -> None:
        """Give the model back, warn of an early end, delete what Keras deletes."""
        del logs
        self._restore_backup(self.pruner.epochs)  # killed after the last epoch
        if self.epoch == self.pruner.epochs and not self.pruner.finished:
            self._session.close()  # loaded as it was after the last batch
        self._session.detach()
        warn_of_early_end(self.pruner, self._beside)
        if all(one.delete_checkpoint for one in keras_backups(self._beside)):
            self._backup.remove()
        self._beside = []

    def _restore_backup(self, epoch: int) -> None:
        """Take over the backup of a fit's first epoch, or name the lost one."""
        backup = self._backup
        if not backup.wanted or backup.searched:
            return
        state = backup.find(epoch, self.model)
        if state is not None:
            self.load_state_dict(state, allow=self._allow)
            return
        folders = [f"{str(one.backup_dir)!r}" for one in keras_backups(self._beside)]
        model = " ".join(["the model's backup", *folders])
        if epoch > self.epoch:
            msg = (
                f"`backup` must hold epoch {epoch}, at which the model goes on, got "
                f"{backup.passed or f'no file {str(backup.path)!r}'}; put that of the "
                f"session back, or delete {model} and begin anew"
            )
            raise EpochError(msg)
        if backup.passed and epoch == self.epoch:
            warn_caller(
                f"`backup` should hold epoch {epoch}, at which the model begins, got "
                f"{backup.passed}: the training begins anew, and writes over that "
                f"file; to go on, stop it and put {model} back{backup.first_kill}"
            )


_FIRST_KILL = ", if there was one: a kill at the first epoch's end leaves none"


class _Backup:
    """Two states on disk, the newest and the one before it, or none without a path."""

    # A kill between Keras' writing and ours leaves the one that goes with the model,
    # which is known again by the steps of its optimizer. The other is of a later epoch,
    # whose training Keras has undone.

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        if path is not None and not isinstance(path, str | os.PathLike):
            msg = f"`backup` must be a path, got {path!r}"
            raise TypeError(msg)
        self._paths: tuple[Path, ...] = ()
        if path is not None:
            newest = Path(path)
            self._paths = newest, newest.with_name(f"{newest.name}.before")
        self.searched = False
        # Epoch and file of a state that a search passes over, and what may explain it.
        self.passed = self.first_kill = ""

    @property
    def wanted(self) -> bool:
        """Whether there is a path."""
        return bool(self._paths)

    @property
    def path(self) -> Path:
        """Where the newest state is, or will be."""
        return self._paths[0]

    def save(self, make_state: Callable[[], State]) -> None:
        """Write a state and keep the one before, atomically."""
        if not self._paths:
            return
        newest, before = self._paths
        newest.parent.mkdir(parents=True, exist_ok=True)
        if newest.exists():
            newest.replace(before)
        save_state(newest, make_state())

    def find(self, epoch: int, model: Any) -> State | None:
        """Return the state in which the first epoch of a fit begins, or None."""
        self.searched, self.passed, self.first_kill = True, "", ""
        for path in self._paths:
            if not path.exists():
                continue
            state = load_state(path)
            steps = state.pop(_STEPS, None)
            if state["epoch"] != epoch:
                found = f"epoch {state['epoch']} in {str(path)!r}"
                self.passed = self.passed or found
                if (epoch, state["epoch"]) == (0, 1):
                    self.first_kill = _FIRST_KILL
                continue
            iterations = steps_made(model.optimizer)
            if steps != iterations:
                msg = (
                    f"`optimizer.iterations` must be {steps} at the begin of epoch "
                    f"{epoch}, got {iterations}; weights and epoch of the model are "
                    "from two moments: take an older copy"
                )
                raise CheckpointError(msg)
            if path != self.path:
                path.replace(self.path)
            return state
        return None

    def remove(self) -> None:
        """Delete both files."""
        for path in self._paths:
            path.unlink(missing_ok=True)
