"""How Hugging Face's trainer goes from epoch to epoch, and to a folder and back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import Trainer, TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from ted_core import steps_for
from ted_torch.integrations._checkpoints import read_file, write_file
from ted_torch.integrations._trainer_doors import (
    check_arguments,
    check_dataset,
    check_epochs,
    check_hooks,
    check_options,
    check_saves,
)
from ted_torch.options import RunOptions
from ted_torch.session import TED

__all__ = ["TrainerEpochs", "TrainerOptions"]

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
