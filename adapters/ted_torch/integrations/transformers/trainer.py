"""TED in Hugging Face's ``Trainer``; needs the extra ``transformers``."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler
from transformers import Trainer, TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, get_last_checkpoint

from ted_core import run_metrics, steps_for
from ted_core.config import RunOptions
from ted_core.schedules import StepOptions
from ted_torch._losses import mean_loss, per_sample
from ted_torch._state import gather_state, own_state
from ted_torch._validation import check_prunes, count_items
from ted_torch.data import WithIds
from ted_torch.integrations.transformers import (
    _checkpoint,
    _length,
    _losses,
    _validation,
)
from ted_torch.integrations.transformers._batches import IDS, IdColumn, split_columns
from ted_torch.session import TED

__all__ = ["TEDTrainer", "TEDTrainerMixin", "TrainerOptions"]

# How far the samples' losses may be from the framework's: half precision rounds.
_NEAR, _NEAR_IN_HALF = 1e-3, 2e-2

if TYPE_CHECKING:
    _Trainer = Trainer
else:
    _Trainer = object


class TrainerOptions(RunOptions, total=False):
    """Options of a session that the trainer does not give itself."""

    buffer: str
    group: Any
    allow: Sequence[str]


class _EpochEnd(TrainerCallback):
    """Close an epoch after its last step, before the trainer logs and saves."""

    def __init__(self, trainer: TEDTrainerMixin) -> None:
        self._trainer = trainer

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Close the epoch if this was its last step."""
        del args, kwargs
        self._trainer._close_trained_epoch()  # noqa: SLF001 - of this module


class TEDTrainerMixin(_Trainer):
    """Make a trainer's epochs visit the samples worth their time; see `TEDTrainer`.

    Parameters
    ----------
    *args : any
        What the other base class takes.
    ted : TrainerOptions, optional
        Options of the run; see `TEDTrainer`.
    **kwargs : any
        What the other base class takes.

    Notes
    -----
    Comes first among the base classes: ``class Mine(TEDTrainerMixin, SFTTrainer)``.
    """

    ted: TED[Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse base classes in the other order."""
        super().__init_subclass__(**kwargs)
        _validation.check_bases(cls, TEDTrainerMixin)

    def __init__(
        self, *args: Any, ted: TrainerOptions | None = None, **kwargs: Any
    ) -> None:
        self._options = _validation.check_options(ted)
        self._allow = tuple(self._options.pop("allow", ()))
        _validation.check_hooks(super())
        _validation.check_loss_methods(type(self), TEDTrainerMixin)
        if "train_dataset" in kwargs:
            count_items(kwargs["train_dataset"], name="train_dataset")
        super().__init__(*args, **kwargs)
        count_items(self.train_dataset, name="train_dataset")
        _validation.check_arguments(self)
        self._lengths: Any = None
        self.ted, self._trained = self._make_session(), False
        # The step before the open epoch, and the epoch's steps; the updates that a
        # checkpoint has of its epoch.
        self._epoch_start, self._epoch_updates, self._done = 0, -1, 0
        self._folder: Any = None
        self.add_callback(_EpochEnd(self))
        self._kind, self._shift, self._compared = "", False, True
        if type(self).sample_losses is TEDTrainerMixin.sample_losses:
            _validation.check_loss_type(self.args)
            self._kind, self._compared = _losses.kind_of(self.model), False
            self._shift = _losses.shifts_labels(self.model, self._kind)
            if self._kind in _losses.TOKENS and not self._shift:
                # The trainer would leave the first label of each row out of its count.
                self._loss_shifts_labels = False
            config = self.ted.pruner.config
            if self._kind in {*_losses.TOKENS, _losses.SPANS}:
                _validation.check_signal("tokens", config)
            elif self._kind != _losses.CHOICES:
                _validation.warn_of_regression(self.model, config)

    def _make_session(self) -> TED[Any]:
        """Return a session of the trainer's epochs, device and seed."""
        args = self.args
        step = self._batch_size() * args.gradient_accumulation_steps
        seed = args.seed if args.data_seed is None else args.data_seed
        dataset: Any = self.train_dataset
        options: Any = {"seed": seed, "multiple_of": step, **self._options}
        if args.train_sampling_strategy == _validation.BY_LENGTH:
            self._lengths = options.get("lengths", self._lengths)
            if self._lengths is None:
                own: Any = super()._get_train_sampler(self.train_dataset)
                self._lengths = _validation.own_lengths(own)
            options["lengths"] = self._lengths
        self._asked = args.max_steps, args.num_train_epochs
        epochs, self._max_steps = _length.planned_length(
            args, count_items(dataset), self._batch_size(), self._steps(), options
        )
        ted: TED[Any] = TED(
            dataset,
            epochs=epochs,
            device=args.device,
            # Accelerate deals out the batches.
            num_replicas=1,
            rank=0,
            **options,
        )
        check_prunes("train_dataset", ted.pruner, step)
        return ted

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
        """Return the trainer's sampler, or one that does not look for lengths again."""
        if self._lengths is None:
            return super()._get_train_sampler(*args, **kwargs)
        return RandomSampler(range(len(self._lengths)))  # TED's will take its place

    def _batch_size(self) -> int:
        """Count the samples of one batch of all processes together."""
        loading: Any = self.args.accelerator_config
        processes = 1 if loading.split_batches else self.args.world_size
        return int(self.args.train_batch_size * processes)

    def train(
        self, resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Train, or resume from a checkpoint's folder, as ``Trainer.train`` does.

        A checkpoint without a state of TED, or of another run, is a CheckpointError.
        """
        if self._trained:
            self.ted = self._make_session()
        self._trained = True
        if resume_from_checkpoint is True:
            last = get_last_checkpoint(self.args.output_dir)  # type: ignore[no-untyped-call]
            resume_from_checkpoint = last or True
        named = isinstance(resume_from_checkpoint, str | os.PathLike)
        self._folder = resume_from_checkpoint if named else None
        return super().train(resume_from_checkpoint, *args, **kwargs)

    def _load_session(self, folder: str | os.PathLike[str]) -> bool:
        """Take over the session of a checkpoint; tell whether it extends that run."""
        saved, self._done = _checkpoint.read(
            folder, self._facts(), process=self.args.process_index
        )
        state = own_state(saved, self.ted.ranks)
        self.ted.load_state_dict(state, allow=self._allow)
        self.ted.sampler.start = 0  # the trainer passes over the batches itself
        return bool(saved["pruner.epochs"] != self.ted.pruner.epochs)

    def set_initial_training_values(self, *args: Any, **kwargs: Any) -> Any:
        """Return the trainer's counts, with the samples and steps of the whole run."""
        values = super().set_initial_training_values(*args, **kwargs)
        pruner = self.ted.pruner
        names = "max_steps", "num_train_epochs"
        for name, asked in zip(names, self._asked, strict=True):
            if (now := getattr(self.args, name)) != asked:
                msg = (
                    f"`{name}` must stay {asked}, got {now}; set it before the trainer "
                    "is made"
                )
                raise ValueError(msg)
        samples = int(pruner.config.kept_counts.sum())
        steps = pruner.max_total_steps(self._batch_size(), **self._steps())
        # A resumed run keeps the schedule that it had; an extended one counts what ran.
        if self._folder is not None and self._load_session(self._folder):
            steps = pruner.max_total_steps(self._batch_size(), **self._steps())
        if self._max_steps is not None:
            samples = samples * self._max_steps // steps  # for the speed alone
            steps = self._max_steps
        return (pruner.epochs, *values[1:3], samples, *values[4:6], steps)

    def _steps(self) -> StepOptions:
        """Return how the trainer makes optimizer steps of batches."""
        accumulation = self.args.gradient_accumulation_steps
        drop_last = self.args.dataloader_drop_last
        return {"accumulation": accumulation, "drop_last": drop_last}

    def _init_training_state(self, *args: Any, **kwargs: Any) -> tuple[int, int]:
        """Return the epoch and its batches to pass over, of the saved session."""
        found: tuple[int, int] = super()._init_training_state(*args, **kwargs)
        if self._folder is None:
            return found
        pruner, accumulation = self.ted.pruner, self.args.gradient_accumulation_steps
        if pruner.finished:
            return pruner.epochs, 0
        updates = steps_for(len(pruner.plan()), self._batch_size(), **self._steps())
        if self._done < updates:
            return self.ted.epoch, self._done * accumulation
        self.ted.close_epoch()
        return self.ted.epoch, 0

    def _run_epoch(self, *args: Any, **given: Any) -> None:
        """Run an epoch of its own length."""
        epoch, accumulation = given["epoch"], self.args.gradient_accumulation_steps
        self.ted.set_epoch(epoch)
        batches = len(given["train_dataloader"])
        given["steps_in_epoch"] = batches
        given["num_update_steps_per_epoch"] = -(-batches // accumulation)
        resumed = epoch == given["epochs_trained"]
        passed = given["steps_trained_in_current_epoch"] * resumed // accumulation
        self._epoch_start = self.state.global_step - passed
        self._epoch_updates = given["num_update_steps_per_epoch"]
        if self.state.global_step < self.state.max_steps:  # as a checkpoint may have it
            super()._run_epoch(*args, **given)  # type: ignore[no-untyped-call]
        else:
            self.control.should_training_stop = True
        if epoch + 1 == self.ted.pruner.epochs or self.control.should_training_stop:
            # The last epoch may end early on purpose.
            steps = self._max_steps
            self.ted.finish(
                partial=steps is not None and steps <= self.state.global_step
            )

    def _facts(self) -> dict[str, int]:
        """Return what a resumed run must share."""
        return {
            "world_size": self.args.world_size,
            "batch_size": self._batch_size(),
            "accumulation": self.args.gradient_accumulation_steps,
        }

    def _close_trained_epoch(self) -> None:
        """Close the open epoch, if its last step was made; all processes together."""
        steps = self.state.global_step
        if steps - self._epoch_start == self._epoch_updates:
            self.ted.close_epoch()
            self._epoch_start, self._epoch_updates = steps, -1

    def save_session(self, folder: str | os.PathLike[str]) -> None:
        """Write the session into a checkpoint's folder; every process must call it.

        Parameters
        ----------
        folder : str or path
            The checkpoint's folder; the trainer's own checkpoints have it already.
        """
        ted, args = self.ted, self.args
        self._close_trained_epoch()  # where a run may be extended
        updates = self.state.global_step - self._epoch_start
        state = gather_state(
            ted.state_dict(every_process=True), ted.ranks, device=args.device
        )
        if args.should_save:
            _checkpoint.write(folder, state, {**self._facts(), "updates": updates})

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Save a checkpoint, the session in it before anything is done with it."""
        # Not in a callback: a checkpoint at a SIGTERM calls none.
        if not (self.state.is_hyper_param_search or self.args.save_only_model):
            name = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
            self.save_session(Path(str(self.args.output_dir)) / name)
        super()._save_checkpoint(model, trial)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the trainer's own loader, of the kept samples and with their ids."""
        made = super().get_train_dataloader()
        batches = _validation.own_batches(made, self.ted.pruner.n)
        loader: DataLoader[Any] = DataLoader(
            WithIds(made.dataset),
            batch_size=batches.batch_size,
            sampler=self.ted.sampler,
            drop_last=batches.drop_last,
            collate_fn=IdColumn(made.collate_fn),
            num_workers=made.num_workers,
            pin_memory=made.pin_memory,
            worker_init_fn=made.worker_init_fn,
            multiprocessing_context=made.multiprocessing_context,
            prefetch_factor=made.prefetch_factor,
            persistent_workers=made.persistent_workers,
        )
        prepared: DataLoader[Any] = self.accelerator.prepare(loader)
        return prepared

    def sample_losses(
        self, outputs: Any, labels: Mapping[str, Tensor], hidden: Sequence[Tensor]
    ) -> dict[str, Any]:
        """Return what ``ted.loss`` takes of a batch; override it for another loss.

        Parameters
        ----------
        outputs : transformers.utils.ModelOutput
            The model's, without a loss.
        labels : mapping of str to Tensor
            The batch's columns of labels, mostly ``labels`` alone.
        hidden : sequence of Tensor of float, shape (B, T, d)
            Inputs of the head of ``get_output_embeddings``; empty for models without
            one, and under ``torch_compile``.

        Returns
        -------
        dict of str to any
            ``losses``, unreduced, of shape (B, ...), and ``mask``, ``valid``,
            ``logits``, ``labels``: what the signal needs.
        """
        if self._kind == _losses.SPANS:
            logits = outputs["start_logits"], outputs["end_logits"]
            where = labels["start_positions"], labels["end_positions"]
            return {**_losses.span_losses(logits, where), "mask": logits}
        z, y, config = outputs["logits"], labels["labels"], self.ted.pruner.config
        smoothing = self.args.label_smoothing_factor
        if self._kind in _losses.TOKENS:
            given = _losses.token_losses(z, y, shift=self._shift, smoothing=smoothing)
            return {**given, "mask": list(hidden) or z}
        model: Any = self.model
        problem = model.config.problem_type
        if self._kind == _losses.CHOICES:
            problem = "single_label_classification"
        given = _losses.class_losses(z, y, problem=problem, smoothing=smoothing)
        if "valid" not in given:
            _validation.check_signal("numbers or several labels", config)
        return {**given, "mask": z, "logits": z, "labels": y}

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,  # noqa: FBT001, FBT002 - the trainer's signature
        num_items_in_batch: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Return the loss over r_t, normalised as the trainer does."""
        if not model.training:
            kwargs |= {"num_items_in_batch": num_items_in_batch}
            return super().compute_loss(model, inputs, return_outputs, **kwargs)
        # A decoder's input is made of the labels.
        config = getattr(self.model, "config", None)
        decodes = bool(getattr(config, "is_encoder_decoder", False))
        ids, labels, columns = split_columns(
            inputs, self.label_names, keep_labels=decodes
        )
        theirs = None
        if not self._compared:
            # Where the framework has no loss of these labels, the samples' will tell.
            self._compared = True
            with suppress(ValueError, RuntimeError):
                theirs = self._framework_loss(model, inputs, num_items_in_batch)
                self._compared = False
        head: Any = getattr(self.model, "get_output_embeddings", None)
        at_head = head is not None and not self.args.torch_compile
        with _losses.head_input(head() if at_head else None) as hidden:
            outputs = model(**columns)
        given = self.sample_losses(outputs, labels, hidden)
        items = num_items_in_batch if self.model_accepts_loss_kwargs else None
        if theirs is not None:
            self._compare(given, outputs, items, theirs)
        weights = _losses.token_weights(given["losses"], given.get("valid"), items)
        loss = self.ted.loss(ids=ids, weights=weights, **given)
        loss = self._whole_loss(loss, outputs, items)
        return (loss, outputs) if return_outputs else loss

    def _whole_loss(self, loss: Tensor, outputs: Any, items: Any) -> Tensor:
        """Return the loss as the framework's is: of all processes, with its balance."""
        if items is not None and self.args.average_tokens_across_devices:
            # The processes' gradients will be averaged; `items` counts all of them.
            loss = loss * self.accelerator.num_processes
        balance = _losses.router_loss(outputs, self.model)
        return loss if balance is None else loss + balance

    def _framework_loss(
        self, model: nn.Module, inputs: dict[str, Any], items: Any
    ) -> float:
        """Return the loss that the trainer would take; all else stays as it was."""
        net: Any = self.model if self.args.torch_compile else model
        columns = {name: value for name, value in inputs.items() if name != IDS}
        # Running statistics would move twice.
        kept = [(buffer, buffer.clone()) for buffer in net.buffers()]
        with _losses.same_randomness(self.args.device), torch.no_grad():
            loss: Any = super().compute_loss(net, columns, num_items_in_batch=items)
            for buffer, value in kept:
                buffer.copy_(value)
        return float(loss)

    def _compare(
        self, given: Mapping[str, Any], outputs: Any, items: Any, theirs: float
    ) -> None:
        """Warn once if the samples' losses, undivided, are not the framework's."""
        valid = given.get("valid")
        found = []
        # A model that takes `items` may leave them, and return a mean.
        for count in {id(items): items, id(None): None}.values():
            weights = _losses.token_weights(given["losses"], valid, count)
            losses = per_sample(given["losses"].detach(), valid=valid)
            loss = mean_loss(losses, 1.0, weights)
            found.append(float(self._whole_loss(loss, outputs, items).detach()))
        if not math.isfinite(theirs) or not math.isfinite(found[0]):
            return
        self._compared = True
        net: Any = self.model
        kinds = {one.dtype for one in net.parameters()}
        half = self.args.fp16 or self.args.bf16 or kinds - {torch.float32}
        near = _NEAR_IN_HALF if half else _NEAR
        if not any(
            math.isclose(one, theirs, rel_tol=near, abs_tol=1e-6) for one in found
        ):
            _validation.warn_of_other_loss(found[0], theirs, self.model)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log keep ratio and savings beside what the trainer logs of the training."""
        if self.is_in_train and not any(name.startswith("eval_") for name in logs):
            logs.update(run_metrics(self.ted.pruner))
        super().log(logs, *args, **kwargs)


class TEDTrainer(TEDTrainerMixin, Trainer):
    r"""Hugging Face's ``Trainer``, on the samples that an epoch keeps.

    Parameters
    ----------
    *args : any
        What the trainer takes.
    ted : TrainerOptions, optional
        Options of the run: all of :class:`ted_core.Pruner`, and `buffer` and `group`
        of :class:`ted_torch.TED`. `seed` is the trainer's by default, and
        `multiple_of` the samples of one optimizer step, so that every pruned epoch is
        made of whole steps. ``"allow": ("epochs",)`` lets a checkpoint of a run with
        another number of epochs be resumed, and the run go on to this number.
    **kwargs : any
        What the trainer takes.

    Attributes
    ----------
    ted : TED
        The session: plans, scores, savings.

    Raises
    ------
    TypeError, ValueError
        An argument leaves no epochs to plan or no samples to choose, by name.

    Notes
    -----
    The loss is the trainer's own, each sample's part divided by r_t; the first step
    compares the two, and warns where they differ. Four hooks of the trainer are
    private: `_run_epoch`, for the length of each epoch, `_init_training_state`, for
    the epoch of a checkpoint, `_save_checkpoint`, for the session in it, and
    `_get_train_sampler`, for the samples' lengths.
    Source: TED, ECAI 2024, Algorithm 1.
    """
