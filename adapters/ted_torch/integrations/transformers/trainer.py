"""TED in Hugging Face's ``Trainer``; needs the extra ``transformers``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from ted_core import run_metrics, steps_for
from ted_core.config import RunOptions
from ted_torch._state import gather_state, own_state
from ted_torch.data import WithIds
from ted_torch.integrations.transformers._batches import IdColumn, split_columns
from ted_torch.integrations.transformers._checkpoint import (
    read_checkpoint,
    write_checkpoint,
)
from ted_torch.integrations.transformers._losses import (
    LANGUAGE,
    SHIFTED,
    SPANS,
    TOKENS,
    class_losses,
    head_input,
    kind_of,
    router_loss,
    span_losses,
    token_losses,
    token_weights,
)
from ted_torch.integrations.transformers._validation import (
    check_arguments,
    check_dataset,
    check_hooks,
    check_options,
    check_prunes,
    check_signal,
    own_batches,
    warn_of_regression,
)
from ted_torch.session import TED

__all__ = ["TEDTrainer", "TEDTrainerMixin", "TrainerOptions"]

if TYPE_CHECKING:
    _Trainer = Trainer
else:
    _Trainer = object


class TrainerOptions(RunOptions, total=False):
    """Options of a session that the trainer does not give itself."""

    buffer: str
    group: Any


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

    def __init__(
        self, *args: Any, ted: TrainerOptions | None = None, **kwargs: Any
    ) -> None:
        self._options = check_options(ted)
        check_hooks(super())
        if "train_dataset" in kwargs:
            check_dataset(kwargs["train_dataset"])
        super().__init__(*args, **kwargs)
        check_dataset(self.train_dataset)
        check_arguments(self)
        self.ted, self._trained, self._epoch_start = self._make_session(), False, 0
        self.add_callback(_SaveSession(self))
        self._kind = str(getattr(self.model, "loss_type", ""))
        if type(self).sample_losses is TEDTrainerMixin.sample_losses:
            self._kind = kind_of(self.model)
            if self._kind in {*TOKENS, SPANS}:
                check_signal("tokens", self.ted.pruner.config)
            else:
                warn_of_regression(self.model, self.ted.pruner.config)

    def _make_session(self) -> TED[Any]:
        """Return a session of the trainer's epochs, device and seed."""
        args = self.args
        step = self._batch_size() * args.gradient_accumulation_steps
        seed = args.seed if args.data_seed is None else args.data_seed
        dataset: Any = self.train_dataset
        options: Any = {"seed": seed, "multiple_of": step, **self._options}
        ted: TED[Any] = TED(
            dataset,
            epochs=int(args.num_train_epochs),
            device=args.device,
            # Accelerate deals out the batches.
            num_replicas=1,
            rank=0,
            **options,
        )
        check_prunes(ted.pruner, step)
        return ted

    def _batch_size(self) -> int:
        """Count the samples of one batch of all processes together."""
        loading: Any = self.args.accelerator_config
        processes = 1 if loading.split_batches else self.args.world_size
        return int(self.args.train_batch_size * processes)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train, or resume from a checkpoint's folder, as ``Trainer.train`` does.

        Parameters
        ----------
        *args, **kwargs : any
            What the trainer takes.

        Returns
        -------
        transformers.trainer_utils.TrainOutput
            The trainer's own; its metrics hold those of TED, too.

        Raises
        ------
        CheckpointError
            The checkpoint has no state of TED, or one of another run.
        """
        if self._trained:
            self.ted = self._make_session()
        self._trained = True
        return super().train(*args, **kwargs)

    def set_initial_training_values(self, *args: Any, **kwargs: Any) -> Any:
        """Return the trainer's counts, with the samples and steps of the whole run.

        Parameters
        ----------
        *args, **kwargs : any
            What the trainer gives.

        Returns
        -------
        tuple of int
            As the trainer's.

        Raises
        ------
        ValueError
            The number of epochs is not the planned one.
        """
        values = super().set_initial_training_values(*args, **kwargs)
        pruner = self.ted.pruner
        if values[0] != pruner.epochs:
            msg = (
                f"`num_train_epochs` must stay {pruner.epochs}, got {values[0]}; set "
                "it before the trainer is made"
            )
            raise ValueError(msg)
        samples = int(pruner.config.kept_counts.sum())
        steps = pruner.max_total_steps(
            self._batch_size(),
            accumulation=self.args.gradient_accumulation_steps,
            drop_last=self.args.dataloader_drop_last,
        )
        return (*values[:3], samples, *values[4:6], steps)

    def _init_training_state(
        self,
        max_steps: int,
        num_update_steps_per_epoch: int,
        num_train_epochs: int,
        resume_from_checkpoint: str | None,
        trial: Any,
    ) -> tuple[int, int]:
        """Return the epoch and its batches to pass over, of the saved session."""
        found: tuple[int, int] = super()._init_training_state(
            max_steps,
            num_update_steps_per_epoch,
            num_train_epochs,
            resume_from_checkpoint,
            trial,
        )
        if resume_from_checkpoint is None:
            return found
        saved, done = read_checkpoint(
            resume_from_checkpoint, self._facts(), process=self.args.process_index
        )
        self.ted.load_state_dict(own_state(saved, self.ted.ranks))
        # The trainer passes over the batches itself.
        self.ted.sampler.restart()
        pruner, accumulation = self.ted.pruner, self.args.gradient_accumulation_steps
        if pruner.finished:
            return pruner.epochs, 0
        updates = steps_for(
            len(pruner.plan()),
            self._batch_size(),
            accumulation=accumulation,
            drop_last=self.args.dataloader_drop_last,
        )
        if done < updates:
            return self.ted.epoch, done * accumulation
        if self.ted.epoch + 1 == pruner.epochs:
            self.ted.finish()
            return pruner.epochs, 0
        return self.ted.epoch + 1, 0

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
        super()._run_epoch(*args, **given)  # type: ignore[no-untyped-call]
        if epoch + 1 == self.ted.pruner.epochs or self.control.should_training_stop:
            self.ted.finish()

    def _facts(self) -> dict[str, int]:
        """Return what a resumed run must share."""
        return {
            "world_size": self.args.world_size,
            "batch_size": self._batch_size(),
            "accumulation": self.args.gradient_accumulation_steps,
        }

    def save_session(self, folder: str | os.PathLike[str]) -> None:
        """Write the session into a checkpoint's folder; every process must call it.

        Parameters
        ----------
        folder : str or path
            The checkpoint's folder; the trainer's own checkpoints have it already.
        """
        ted, args = self.ted, self.args
        state = gather_state(
            ted.state_dict(every_process=True), ted.ranks, device=args.device
        )
        if args.should_save:
            updates = self.state.global_step - self._epoch_start
            write_checkpoint(folder, state, {**self._facts(), "updates": updates})

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the trainer's own loader, of the kept samples and with their ids."""
        made = super().get_train_dataloader()
        batches = own_batches(made, self.ted.pruner.n)
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
            Inputs of the head of a language model; empty for other models.

        Returns
        -------
        dict of str to any
            ``losses``, unreduced, of shape (B, ...), and ``mask``, ``valid``,
            ``logits``, ``labels``: what the signal needs.
        """
        if self._kind == SPANS:
            logits = outputs["start_logits"], outputs["end_logits"]
            where = labels["start_positions"], labels["end_positions"]
            return {**span_losses(logits, where), "mask": logits}
        z, y = outputs["logits"], labels["labels"]
        smoothing = self.args.label_smoothing_factor
        if self._kind in TOKENS:
            shift = self._kind in SHIFTED and not self._has_encoder()
            given = token_losses(z, y, shift=shift, smoothing=smoothing)
            return {**given, "mask": list(hidden) or z}
        model: Any = self.model
        problem = model.config.problem_type
        given = class_losses(z, y, problem=problem, smoothing=smoothing)
        if "valid" not in given:
            check_signal("numbers or several labels", self.ted.pruner.config)
        return {**given, "mask": z, "logits": z, "labels": y}

    def _has_encoder(self) -> bool:
        """Tell whether a decoder's input is made of the labels."""
        config = getattr(self.model, "config", None)
        return bool(getattr(config, "is_encoder_decoder", False))

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,  # noqa: FBT001, FBT002 - the trainer's signature
        num_items_in_batch: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Return the loss over r_t, normalised as the trainer does.

        Parameters
        ----------
        model : torch.nn.Module
            In training mode; in evaluation the trainer's own loss is returned.
        inputs : dict of str to Tensor
            A batch, with its ids.
        return_outputs : bool, default False
            Whether the model's outputs are returned, too.
        num_items_in_batch : Tensor of int, shape (), optional
            How many labels count in the whole optimizer step.
        **kwargs : any
            For the trainer's own loss.

        Returns
        -------
        Tensor of float, shape (), or pair of it and the outputs
            The loss; its backward records the scores.

        Raises
        ------
        ValueError
            The batch has no ids or labels, or its rows are not samples.
        """
        if not model.training:
            kwargs |= {"num_items_in_batch": num_items_in_batch}
            return super().compute_loss(model, inputs, return_outputs, **kwargs)
        ids, labels, columns = split_columns(
            inputs, self.label_names, keep_labels=self._has_encoder()
        )
        net: Any = self.model
        at_head = self._kind in LANGUAGE and not self.args.torch_compile
        with head_input(net.get_output_embeddings() if at_head else None) as hidden:
            outputs = model(**columns)
        given = self.sample_losses(outputs, labels, hidden)
        items = num_items_in_batch if self.model_accepts_loss_kwargs else None
        weights = token_weights(given["losses"], given.get("valid"), items)
        loss = self.ted.loss(ids=ids, weights=weights, **given)
        if items is not None and self.args.average_tokens_across_devices:
            # The processes' gradients will be averaged; `items` counts all of them.
            loss = loss * self.accelerator.num_processes
        balance = router_loss(outputs, self.model)
        loss = loss if balance is None else loss + balance
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log keep ratio and savings beside what the trainer logs of the training.

        Parameters
        ----------
        logs : dict of str to float
            What the trainer logs; extended.
        *args, **kwargs : any
            For the trainer.
        """
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
        made of whole steps.
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
    The loss is the trainer's own, each sample's part divided by r_t. Two hooks of the
    trainer are private: `_run_epoch`, for the length of each epoch, and
    `_init_training_state`, for the epoch of a checkpoint.

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Algorithm 1.
    """


class _SaveSession(TrainerCallback):
    """Write the session beside each checkpoint."""

    def __init__(self, trainer: TEDTrainerMixin) -> None:
        self._trainer = trainer

    def on_save(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        """Write the session into the folder just made."""
        if state.is_hyper_param_search or args.save_only_model:
            return
        name = f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        self._trainer.save_session(Path(args.output_dir) / name)
