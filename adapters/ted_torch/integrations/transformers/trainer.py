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
from ted_torch.data import WithIds
from ted_torch.integrations.transformers._validation import (
    check_arguments,
    check_dataset,
    check_epochs,
    check_hooks,
    check_options,
    check_saves,
    own_batches,
)
from ted_torch.integrations.transformers.batches import IdColumn, take_apart
from ted_torch.integrations.transformers.checkpoint import read_file, write_file
from ted_torch.integrations.transformers.losses import (
    LANGUAGE,
    SHIFTED,
    SPANS,
    TOKENS,
    check_signal,
    class_losses,
    gives_numbers,
    head_input,
    kind_of,
    router_loss,
    span_losses,
    token_losses,
    token_weights,
    warn_numbers,
)
from ted_torch.session import TED

__all__ = [
    "TEDTrainer",
    "TEDTrainerMixin",
    "TrainerEpochs",
    "TrainerOptions",
]

if TYPE_CHECKING:
    _Host = Trainer
else:
    _Host = object


class TrainerOptions(RunOptions, total=False):
    """Options of a session that the trainer does not give itself."""

    buffer: str
    group: Any


class TrainerEpochs(_Host):
    """The session of a trainer; `TEDTrainerMixin` has the contract.

    Parameters
    ----------
    *args : any
        What the other base class takes.
    ted : TrainerOptions, optional
        Options of the run.
    **kwargs : any
        What the other base class takes.
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
        self.ted, self._used, self._begun = self._session(), False, 0
        self.add_callback(_Saving(self))

    def _session(self) -> TED[Any]:
        args = self.args
        step = self._batch() * args.gradient_accumulation_steps
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
        check_saves(ted.pruner, step)
        return ted

    def _batch(self) -> int:
        """Count the samples of one batch of all ranks together."""
        dealing: Any = self.args.accelerator_config
        ranks = 1 if dealing.split_batches else self.args.world_size
        return int(self.args.train_batch_size * ranks)

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
        if self._used:
            self.ted = self._session()
        self._used = True
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
        check_epochs(values[0], pruner.epochs)
        samples = int(pruner.config.kept_counts.sum())
        steps = pruner.max_total_steps(
            self._batch(),
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
        session, saved = read_file(
            resume_from_checkpoint, self._facts(), free=("updates",)
        )
        self.ted.load_state_dict(session)
        # The trainer passes over the batches itself.
        self.ted.sampler.restart()
        pruner, accumulation = self.ted.pruner, self.args.gradient_accumulation_steps
        if pruner.finished:
            return pruner.epochs, 0
        updates = steps_for(
            len(pruner.plan()),
            self._batch(),
            accumulation=accumulation,
            drop_last=self.args.dataloader_drop_last,
        )
        if saved["updates"] < updates:
            return self.ted.epoch, saved["updates"] * accumulation
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
        self._begun = self.state.global_step - passed
        super()._run_epoch(*args, **given)  # type: ignore[no-untyped-call]
        if epoch + 1 == self.ted.pruner.epochs or self.control.should_training_stop:
            self.ted.finish()

    def _facts(self) -> dict[str, int]:
        return {
            "rank": self.args.process_index,
            "world_size": self.args.world_size,
            "batch_size": self._batch(),
            "accumulation": self.args.gradient_accumulation_steps,
        }

    def save_session(self, folder: str | os.PathLike[str]) -> None:
        """Write this rank's session into a checkpoint's folder.

        Parameters
        ----------
        folder : str or path
            The checkpoint's folder; the trainer's own checkpoints have it already.
        """
        updates = self.state.global_step - self._begun
        facts = {**self._facts(), "updates": updates}
        write_file(folder, self.ted.state_dict(), facts)


class _Saving(TrainerCallback):
    """Write the session beside each checkpoint."""

    def __init__(self, trainer: TrainerEpochs) -> None:
        self._trainer = trainer

    def on_save(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        """Write this rank's session into the folder just made."""
        if state.is_hyper_param_search or args.save_only_model:
            return
        name = f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        self._trainer.save_session(Path(args.output_dir) / name)


class TEDTrainerMixin(TrainerEpochs):
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

    def __init__(
        self, *args: Any, ted: TrainerOptions | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, ted=ted, **kwargs)
        self._kind = str(getattr(self.model, "loss_type", ""))
        if type(self).sample_losses is TEDTrainerMixin.sample_losses:
            self._kind = kind_of(self.model)
            if self._kind in {*TOKENS, SPANS}:
                check_signal("tokens", self.ted.pruner.config)
            elif gives_numbers(self.model):
                warn_numbers(self.ted.pruner.config)

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
            shift = self._kind in SHIFTED and not self._decodes()
            given = token_losses(z, y, shift=shift, smoothing=smoothing)
            return {**given, "mask": list(hidden) or z}
        problem = self._net().config.problem_type
        given = class_losses(z, y, problem=problem, smoothing=smoothing)
        if "valid" not in given:
            check_signal("numbers or several labels", self.ted.pruner.config)
        return {**given, "mask": z, "logits": z, "labels": y}

    def _decodes(self) -> bool:
        """Tell whether a decoder's input is made of the labels."""
        config = getattr(self.model, "config", None)
        return bool(getattr(config, "is_encoder_decoder", False))

    def _net(self) -> Any:
        return self.model

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
        ids, labels, columns = take_apart(
            inputs, self.label_names, keep=self._decodes()
        )
        compiled = self.args.torch_compile or self._kind not in LANGUAGE
        head = None if compiled else self._net().get_output_embeddings()
        with head_input(head) as hidden:
            outputs = model(**columns)
        given = self.sample_losses(outputs, labels, hidden)
        items = num_items_in_batch if self.model_accepts_loss_kwargs else None
        weights = token_weights(given["losses"], given.get("valid"), items)
        loss = self.ted.loss(ids=ids, weights=weights, **given)
        if items is not None and self.args.average_tokens_across_devices:
            # The ranks' gradients will be averaged, and `items` is of all of them.
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
