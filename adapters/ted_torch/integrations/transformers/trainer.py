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

from ted_core import CheckpointError, atomic_write, run_metrics, steps_for
from ted_core.config import RunOptions
from ted_core.schedules import StepOptions
from ted_torch._losses import mean_loss, per_sample
from ted_torch._state import check_saved, damage_refused, gather_state, own_state
from ted_torch._validation import (
    check_bases,
    check_prunes,
    check_trainer_options,
    count_items,
)
from ted_torch.data import WithIds, options_of
from ted_torch.integrations.transformers import _length, _losses, _validation
from ted_torch.integrations.transformers._batches import (
    IdColumn,
    Watch,
    documents_of,
    split_ids,
)
from ted_torch.session import TED

__all__ = ["TEDTrainer", "TEDTrainerMixin", "TrainerOptions"]

_TAKEN = ("epochs", "device", "num_replicas", "rank", "ids")
_STATE = "ted.pt"  # the sessions of all processes, in a checkpoint's folder
# How far the samples' losses may be from the framework's: half precision rounds.
_NEAR, _NEAR_IN_HALF = 1e-3, 2e-2

if TYPE_CHECKING:
    _Trainer = Trainer
else:
    _Trainer = object


# Arguments of the batches, for good, and those by which each run is planned.
_OF_LOADER = (
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "train_sampling_strategy",
    "dataloader_drop_last",
)
_PLANNED = ("max_steps", "num_train_epochs")


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
        check_bases(cls, TEDTrainerMixin, Trainer)

    def __init__(
        self, *args: Any, ted: TrainerOptions | None = None, **kwargs: Any
    ) -> None:
        self._options = check_trainer_options(
            ted, _TAKEN, framework="a trainer", remedy="set it in `TrainingArguments`"
        )
        self._allow = tuple(self._options.pop("allow", ()))
        _validation.check_hooks(super())
        # The base class whose `compute_loss` is not Trainer's, if there is one.
        self._host = _validation.check_loss_methods(type(self), TEDTrainerMixin)
        if "train_dataset" in kwargs:
            _validation.check_dataset(kwargs["train_dataset"])
        super().__init__(*args, **kwargs)
        _validation.check_dataset(self.train_dataset)
        if self._host == "KTOTrainer":
            # It asks for the data's order, in which it has drawn its other answers.
            self.args.train_sampling_strategy = "random"
        _validation.check_arguments(self)
        self._lengths: Any = None
        # By what arguments the trainer was made, and the run is planned.
        self._asked = {name: getattr(self.args, name) for name in _OF_LOADER}
        self.ted, self._trained = self._make_session(), False
        # The step before the open epoch, and the epoch's steps; the updates that a
        # checkpoint has of its epoch.
        self._epoch_start, self._epoch_updates, self._done = 0, -1, 0
        self._folder: Any = None
        self.add_callback(_EpochEnd(self))
        self._documents = documents_of(self.train_dataset)
        # The divided loss since a step, for the logs, and how much of it is undivided.
        self._scaled: Any = 0.0
        self._share: Any = 1.0
        self._logged = -1
        mapped = type(self).sample_losses is not TEDTrainerMixin.sample_losses
        self._maps = mapped or self._host in {"", "SFTTrainer"}
        self._kind, self._shift = "", False
        # A loss of one's own in place of the model's is compared with none.
        self._compared = not self._maps or (mapped and not self._host)
        if mapped:
            return
        _validation.check_loss_type(self.args)
        if self._maps:
            self._kind = _losses.kind_of(self.model)
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
        self._asked |= {name: getattr(args, name) for name in _PLANNED}
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
        accumulation = args.gradient_accumulation_steps
        ted._accumulation, ted._hosted = accumulation, True  # noqa: SLF001 - our own
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
        self._trained, self._logged = True, -1
        if resume_from_checkpoint is True:
            last = get_last_checkpoint(self.args.output_dir)  # type: ignore[no-untyped-call]
            resume_from_checkpoint = last or True
        named = isinstance(resume_from_checkpoint, str | os.PathLike)
        self._folder = resume_from_checkpoint if named else None
        return super().train(resume_from_checkpoint, *args, **kwargs)

    def _load_session(self, folder: str | os.PathLike[str]) -> bool:
        """Take over the session of a checkpoint; tell whether it extends that run."""
        facts = self._facts()
        path = _find_state(Path(folder), facts["world_size"], self.args.process_index)
        with damage_refused(path):
            file = torch.load(path, weights_only=True, map_location="cpu")
            saved = dict(file["session"])
            found = {name: int(file["facts"][name]) for name in (*facts, "updates")}
        for name, here in facts.items():
            check_saved(name, found[name], here)
        self._done = found["updates"]
        state = own_state(saved, self.ted.ranks)
        try:
            self.ted.load_state_dict(state, allow=self._allow)
        except CheckpointError as error:
            if "`allow=" in str(error):
                error.add_note("A trainer takes it as ted={'allow': ('epochs',), ...}.")
            raise
        self.ted.sampler.start = 0  # the trainer passes over the batches itself
        return bool(saved["pruner.epochs"] != self.ted.pruner.epochs)

    def set_initial_training_values(self, *args: Any, **kwargs: Any) -> Any:
        """Return the trainer's counts, with the samples and steps of the whole run."""
        values = super().set_initial_training_values(*args, **kwargs)
        pruner = self.ted.pruner
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
        if self._logged < 0:
            self._scaled, self._logged = 0.0, self.state.global_step
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
        facts = {**self._facts(), "updates": self.state.global_step - self._epoch_start}
        state = gather_state(
            ted.state_dict(every_process=True), ted.ranks, device=args.device
        )
        if args.should_save:
            target = Path(folder) / _STATE
            target.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(target) as file:
                torch.save({"facts": facts, "session": state}, file)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Save a checkpoint, the session in it before anything is done with it."""
        # Not in a callback: a checkpoint at a SIGTERM calls none.
        if not (self.state.is_hyper_param_search or self.args.save_only_model):
            name = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
            self.save_session(Path(str(self.args.output_dir)) / name)
        super()._save_checkpoint(model, trial)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the trainer's own loader, of the kept samples and with their ids."""
        _validation.check_kept(self.args, self._asked)
        made = super().get_train_dataloader()
        batches = _validation.own_batches(made, self.ted.pruner.n)
        own = {"batch_size": batches.batch_size, "drop_last": batches.drop_last}
        loader: DataLoader[Any] = DataLoader(
            WithIds(made.dataset),
            sampler=self.ted.sampler,
            collate_fn=IdColumn(made.collate_fn),
            **{**options_of(made), **own, "generator": None},
        )
        self.accelerator.even_batches = True  # some trainers leave a last batch uneven
        prepared: DataLoader[Any] = self.accelerator.prepare(loader)
        return prepared

    def sample_losses(
        self, outputs: Any, inputs: Mapping[str, Any], hidden: Sequence[Tensor]
    ) -> dict[str, Any]:
        """Return what ``ted.loss`` takes of a batch; override it for another loss.

        Parameters
        ----------
        outputs : transformers.utils.ModelOutput, or list of them
            What the model returned: without a loss, or, where a base class has a
            `compute_loss` of its own, in that; a list if it was called several times.
        inputs : mapping of str to any
            The columns of the batch.
        hidden : sequence of Tensor of float, shape (B, ...)
            Where a mask may stand: inputs of the head of ``get_output_embeddings``, or,
            where a base class has a `compute_loss` of its own, the last hidden state,
            and the logits of a model without such a head. Of rows that are parts of
            samples or hold several, one mask a sample. Empty for other models, and
            under ``torch_compile``.

        Returns
        -------
        dict of str to any
            ``losses``, unreduced, of shape (B, ...), or as the tokens of packed rows,
            and ``mask``, ``valid``, ``logits``, ``labels``: what the signal needs.
        """
        if self._kind == _losses.SPANS:
            logits = outputs["start_logits"], outputs["end_logits"]
            where = inputs["start_positions"], inputs["end_positions"]
            return {**_losses.span_losses(logits, where), "mask": logits}
        if self._host and outputs.get("log_probs") is not None:
            # The trainer has gone past the head, and made no logits.
            losses = -outputs["log_probs"]
            if getattr(self.args, "loss_type", "nll") == "dft":
                losses = losses * losses.detach().neg().exp()
            return {"losses": losses, "valid": outputs["label_mask"], "mask": hidden}
        z, y, config = outputs["logits"], inputs["labels"], self.ted.pruner.config
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
        ids, columns = split_ids(inputs)
        seen = Watch(ids, columns, self._documents)
        outputs, theirs = self._call(model, columns, seen, num_items_in_batch)
        owner = self if hasattr(self, "router_aux_loss_coef") else self.model
        balance = _losses.router_loss(outputs, owner)
        items = weights = None
        if self._maps:
            given = self._mapped(outputs, columns, seen.masks)
            # A trainer's own losses of samples have a mean, those of tokens a count.
            by_token = given["losses"].ndim > 1
            if by_token if self._host else self.model_accepts_loss_kwargs:
                items = num_items_in_batch
            if balance is not None and self._host and items is not None:
                balance = balance / self.current_gradient_accumulation_steps
            given, counts = seen.fold(given)
            weights = _losses.token_weights(counts, items)
            if theirs is not None and not self._compared:
                self._compare(given, counts, items, balance, theirs)
        else:
            config = self.ted.pruner.config
            if balance is not None:
                theirs = theirs - balance
            losses = _validation.check_hosted(theirs, self._host, len(ids), config)
            if not seen.masks:
                _validation.check_no_mask(self._host, self.model, config)
            given = {"losses": losses, "mask": seen.masks or None}
        _validation.check_given(given, self.ted.pruner.config)
        loss = self.ted.loss(ids=ids, weights=weights, **given)
        loss = self._of_all_processes(loss, items)
        scale = self.ted.pruner.plan().loss_scale
        self._share = 1 / scale
        if balance is not None:
            whole = loss + balance
            self._share = ((loss / scale + balance) / whole).detach()
            loss = whole
        return (loss, outputs) if return_outputs else loss

    def _call(
        self, model: nn.Module, columns: dict[str, Any], seen: Watch, items: Any
    ) -> tuple[Any, Any]:
        """Return the model's outputs, and the trainer's own loss if it is needed."""
        net = None if self.args.torch_compile else self.model  # it takes no hooks
        theirs: Any = None
        if self._host:
            with seen.on(model, net, hosted=True):
                theirs = super().compute_loss(
                    model, dict(columns), num_items_in_batch=items
                )
            _validation.check_called(seen.outputs, self._host)
            return seen.outputs[0] if len(seen.outputs) == 1 else seen.outputs, theirs
        if not self._compared:
            # Where the framework has no loss of these labels, the samples' will tell.
            with suppress(ValueError, RuntimeError):
                theirs = self._framework_loss(model, columns, items)
            self._compared = theirs is None
        with seen.on(model, net, hosted=False):
            return model(**self._without_labels(columns)), theirs

    def _without_labels(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the model is given, such that it makes no loss."""
        config = getattr(self.model, "config", None)
        if getattr(config, "is_encoder_decoder", False):
            return dict(columns)  # a decoder's input is made of the labels
        return {k: v for k, v in columns.items() if k not in self.label_names}

    def _mapped(
        self, outputs: Any, columns: Mapping[str, Any], masks: list[Tensor]
    ) -> dict[str, Any]:
        """Return what `sample_losses` makes of the outputs, with a name for errors."""
        try:
            return self.sample_losses(outputs, columns, masks)
        except KeyError as error:
            name = error.args[0]
            if name in columns:
                raise
            msg = _validation.missing(name, columns, outputs, self.model)
            raise ValueError(msg) from error

    def _of_all_processes(self, loss: Tensor, items: Any) -> Tensor:
        """Return a loss that counts the items of all processes as a process's own."""
        together = items is not None and self.args.average_tokens_across_devices
        # The processes' gradients will be averaged.
        return loss * self.accelerator.num_processes if together else loss

    def _framework_loss(
        self, model: nn.Module, columns: dict[str, Any], items: Any
    ) -> Tensor:
        """Return the loss that the trainer would take; all else stays as it was."""
        net: Any = self.model if self.args.torch_compile else model
        # Running statistics would move twice.
        kept = [(buffer, buffer.clone()) for buffer in net.buffers()]
        with _losses.same_randomness(self.args.device), torch.no_grad():
            given = dict(columns)  # it may take the labels out
            loss: Any = super().compute_loss(net, given, num_items_in_batch=items)
            for buffer, value in kept:
                buffer.copy_(value)
        return torch.as_tensor(loss)

    def _compare(
        self,
        given: Mapping[str, Any],
        counts: Tensor,
        items: Any,
        balance: Tensor | None,
        whole: Tensor,
    ) -> None:
        """Warn once if the samples' losses, undivided, are not the framework's."""
        theirs, found = float(whole.detach()), []
        # A model that takes `items` may leave them, and return a mean.
        for count in {id(items): items, id(None): None}.values():
            losses = per_sample(given["losses"].detach(), valid=given.get("valid"))
            loss = mean_loss(losses, 1.0, _losses.token_weights(counts, count))
            loss = self._of_all_processes(loss, items)
            found.append(float(loss if balance is None else loss + balance.detach()))
        if not math.isfinite(theirs) or not math.isfinite(found[0]):
            return
        self._compared = True
        net: Any = self.model
        kinds = {one.dtype for one in net.parameters()}
        half = self.args.fp16 or self.args.bf16 or kinds - {torch.float32}
        near = _NEAR_IN_HALF if half else _NEAR
        same = [math.isclose(one, theirs, rel_tol=near, abs_tol=1e-6) for one in found]
        batches = self.args.gradient_accumulation_steps
        if not any(same):
            _validation.warn_of_other_loss(found[0], theirs, self.model)
        elif batches > 1 and not same[0]:
            _validation.warn_of_means(batches, self.model)

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """Take a step on the divided loss; return the undivided one, to be logged.

        Parameters
        ----------
        *args, **kwargs : any
            As of ``Trainer.training_step``.

        Returns
        -------
        Tensor of float, shape ()
            The batch's loss, detached, before the division by r_t.
        """
        loss: Tensor = super().training_step(*args, **kwargs)
        self._scaled = self._scaled + loss
        undivided: Tensor = loss * self._share
        return undivided

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log keep ratio and savings beside what the trainer logs of the training."""
        if self.is_in_train and not any(name.startswith("eval_") for name in logs):
            logs.update(run_metrics(self.ted.pruner))
            if "loss" in logs and self.state.global_step > self._logged:
                scaled = self.accelerator.gather(self._scaled).mean().item()
                steps = self.state.global_step - self._logged
                logs["ted/scaled_loss"] = scaled / steps
                self._scaled, self._logged = 0.0, self.state.global_step
        super().log(logs, *args, **kwargs)


def _find_state(folder: Path, world_size: int, process: int) -> Path:
    """Return the file of the sessions in a checkpoint's folder."""
    path = folder / _STATE
    # Older files hold one process each.
    older = folder / f"ted_{process}.pt"
    if world_size > 1 and not path.is_file() and older.is_file():
        path = older
    if not path.is_file():
        there = sorted(path.name for path in folder.glob("ted*.pt"))
        msg = (
            f"a checkpoint must hold {_STATE!r} for a world size of {world_size}, got "
            f"{there or 'none'} in {folder.name!r}; resume with the world size that "
            "saved, from a run with TED"
        )
        raise CheckpointError(msg)
    return path


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
