"""TED in Hugging Face's ``Trainer``; needs the extra ``transformers``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import Trainer

from ted_core import run_metrics
from ted_torch.datasets import WithIds
from ted_torch.integrations._columns import IdColumn, take_apart
from ted_torch.integrations._models import (
    LANGUAGE,
    SHIFTED,
    SPANS,
    TOKENS,
    gives_numbers,
    head_input,
    kind_of,
    router_loss,
)
from ted_torch.integrations._sample_losses import (
    class_losses,
    span_losses,
    token_losses,
    token_weights,
)
from ted_torch.integrations._trainer_doors import own_batches
from ted_torch.integrations._trainer_epochs import TrainerEpochs, TrainerOptions
from ted_torch.integrations._trainer_signals import check_signal, warn_numbers

__all__ = ["TEDTrainer", "TEDTrainerMixin", "TrainerOptions"]


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
