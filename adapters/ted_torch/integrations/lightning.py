"""TED under ``lightning.Trainer``: one callback; needs the extra ``lightning``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar, Unpack

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ted_core import Pruner, Report, Savings, run_metrics
from ted_core.config import StepOptions
from ted_core.metrics import closed_metrics
from ted_torch._doors import Ids
from ted_torch.collate import CollateWithIds
from ted_torch.datasets import WithIds
from ted_torch.integrations._lightning_doors import check_loader, check_trainer
from ted_torch.integrations._lightning_epochs import begin, next_epoch, rests_at
from ted_torch.integrations._lightning_loaders import EpochLoader, EpochSampler
from ted_torch.integrations._rank_states import gather_state, own_state
from ted_torch.integrations._shards import refuse_shard
from ted_torch.options import RunOptions
from ted_torch.session import TED
from ted_torch.signals import SignalInputs

__all__ = ["TEDCallback"]

Item = TypeVar("Item")


class TEDCallback(Callback, Generic[Item]):
    r"""Prune ``Trainer.fit``: which samples, the scaled loss, and their scores.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        Map-style data set to train on.
    buffer : {"device", "cpu"}, default "device"
        Where values gather, 5 bytes a sample; for the CPU, steps wait now and then.
    **options : RunOptions
        All of :class:`ted_core.Pruner`: `prune_ratio`, `strategy`, `signal`, ... The
        number of epochs, the device and the ranks are the trainer's.

    Attributes
    ----------
    dataset : WithIds
        Hands out ``(id, item)``.
    sampler : EpochSampler
        Visits the current epoch's kept ids, this rank's share of them.
    collate : type of CollateWithIds
        ``ted.collate(fn)`` makes a collate function of one's own pass the ids on.

    Raises
    ------
    TypeError, ValueError
        The data set has no ids or no samples; the trainer cuts epochs short, or is not
        told to reload its loader every epoch. Other options are checked in ``fit``.

    Notes
    -----
    The method is Algorithm 1 of J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training
    by Internal Generalization, ECAI 2024. The state goes into Lightning's checkpoints;
    where there are several processes, saving takes one collective.

    Examples
    --------
    >>> from ted_torch.integrations.lightning import TEDCallback
    >>> ted = TEDCallback(range(100), prune_ratio=0.7)
    >>> ted.loader(batch_size=10).batch_size
    10
    """

    collate = CollateWithIds

    def __init__(
        self,
        dataset: Dataset[Item] | Sequence[Item],
        *,
        buffer: str = "device",
        **options: Unpack[RunOptions],
    ) -> None:
        refuse_shard(options, "Lightning")
        self.dataset = WithIds(dataset)
        self.sampler = EpochSampler(self.dataset)
        self._buffer, self._options = buffer, options
        self._accumulation, self._fits = 1, False

    @property
    def session(self) -> TED[Item]:
        """The trainer's :class:`ted_torch.TED`; an EpochError before ``fit``."""
        return self.sampler.opened()

    @property
    def pruner(self) -> Pruner:
        """Plans, scores, savings and report of the run."""
        return self.session.pruner

    def loader(self, **options: Any) -> DataLoader[tuple[int, Item]]:
        """Return the loader to train with.

        Parameters
        ----------
        **options : see above
            As of :class:`torch.utils.data.DataLoader`: `batch_size`, `num_workers`, ...

        Returns
        -------
        DataLoader
            Its batches are ``(ids, items)``. May be made before ``fit``.
        """
        return EpochLoader(self.dataset, sampler=self.sampler, **options)

    def loss(
        self,
        losses: Tensor,
        *,
        ids: Ids,
        mask: Tensor | Sequence[Tensor] | None = None,
        weights: Tensor | None = None,
        valid: Tensor | None = None,
        **inputs: Unpack[SignalInputs],
    ) -> Tensor:
        """Return the mean loss over r_t, to return from ``training_step``.

        Parameters
        ----------
        losses : Tensor of float, shape (B, ...)
            Unreduced data losses.
        ids, mask, weights, valid, **inputs : see above
            As of :meth:`ted_torch.TED.loss`.

        Returns
        -------
        Tensor of float, shape ()
            Total; its backward records the scores.
        """
        return self.session.loss(
            losses, ids=ids, mask=mask, weights=weights, valid=valid, **inputs
        )

    def total_steps(self, batch_size: int, **options: Unpack[StepOptions]) -> int:
        """Count the run's optimizer steps, for a scheduler.

        Parameters
        ----------
        batch_size : int
            Samples of a batch of one process.
        **options : StepOptions
            `drop_last`; `accumulation` and `world_size` are the trainer's.

        Returns
        -------
        int
            Steps; exact, unlike ``trainer.estimated_stepping_batches``. Known from
            ``configure_optimizers`` on.
        """
        options.setdefault("accumulation", self._accumulation)
        return self.session.total_steps(batch_size, **options)

    def savings(self) -> Savings:
        """Return the samples saved in the closed epochs, counted (Eq. 24)."""
        return self.session.savings()

    def report(self) -> Report:
        """Return the counts of the closed epochs and the ids to look at."""
        return self.session.report()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make the session, with the trainer's epochs, device and processes.

        Parameters
        ----------
        trainer, pl_module, stage : see above
            What Lightning gives to every callback.
        """
        del pl_module
        self._fits = stage == "fit"
        if not self._fits:
            return
        epochs = check_trainer(trainer)
        self._accumulation = trainer.accumulate_grad_batches
        if rests_at(self.sampler.session, trainer.current_epoch, epochs):
            return
        self.sampler.session = TED(
            self.dataset.dataset,
            epochs=epochs,
            device=trainer.strategy.root_device,
            buffer=self._buffer,
            **self._options,
        )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check loader and epoch, and open an epoch that is gone on with.

        Parameters
        ----------
        trainer, pl_module : see above
            What Lightning gives to every callback.
        """
        del pl_module
        check_loader(trainer.train_dataloader, self.sampler)
        begin(self.session, trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the epoch, open the next, and log.

        Parameters
        ----------
        trainer, pl_module : see above
            What Lightning gives to every callback.
        """
        del trainer
        metrics = run_metrics(self.pruner)
        next_epoch(self.session)
        metrics |= closed_metrics(self.pruner)
        pl_module.log_dict(metrics, prog_bar=True, sync_dist=True, batch_size=1)

    def state_dict(self) -> dict[str, Any]:
        """Return the session's state, all processes' parts of an open epoch in it."""
        if self.sampler.session is None:
            return {}
        return gather_state(self.session.state_dict(), self.session.ranks)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a state; outside of ``fit`` it is passed over.

        Parameters
        ----------
        state_dict : mapping
            What :meth:`state_dict` returned.
        """
        if self._fits and state_dict:
            self.session.load_state_dict(own_state(state_dict, self.session.ranks))
