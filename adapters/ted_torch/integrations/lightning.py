"""TED under ``lightning.Trainer``: one callback; needs the extra ``lightning``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Generic, TypeVar, Unpack, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from ted_core import EpochError, Pruner, Report, Savings, run_metrics
from ted_core.config import RunOptions
from ted_core.errors import warn_caller
from ted_core.history import early_end_warning
from ted_core.schedules import StepOptions
from ted_torch._state import gather_state, own_state
from ted_torch._step import LossInputs
from ted_torch._validation import check_trainer_options
from ted_torch.data import CollateWithIds, WithIds
from ted_torch.session import TED

__all__ = ["TEDCallback"]

Item = TypeVar("Item")


# What the trainer's arguments must be, and what to do instead.
_NEEDED = (
    ("fast_dev_run", False, "train a short run, with a small `max_epochs`"),
    ("max_steps", -1, "say `max_epochs`: the schedule is planned over epochs"),
    ("overfit_batches", 0.0, "give the callback a smaller data set"),
    ("limit_train_batches", 1.0, "give the callback a smaller data set"),
    (
        "reload_dataloaders_every_n_epochs",
        1,
        "Lightning reads the length of an epoch only when it reloads",
    ),
)


class _EpochSampler(DistributedSampler[Any]):
    """Visit this process's share of the epoch, as the session's sampler does."""

    # Lightning lets a `DistributedSampler` share the data out by itself.

    def __init__(self) -> None:
        nothing = cast("Any", range(1))  # the session has the data
        super().__init__(nothing, num_replicas=1, rank=0)
        self.session: TED[Any] | None = None
        self.make: Callable[[], TED[Any]] | None = None

    def opened(self) -> TED[Any]:
        """Return the run's session; made when it is first needed in a fit."""
        if self.session is None and self.make is not None:
            self.session = self.make()
        if self.session is None:
            msg = (
                "a session needs a trainer that fits, got none yet; give it "
                "`Trainer(callbacks=[ted])`, and use the loader in `fit` alone"
            )
            raise EpochError(msg)
        return self.session

    def __len__(self) -> int:
        session = self.opened()
        if session.pruner.finished:
            return int(session.pruner.report().planned[-1])
        # Lightning counts a resumed epoch's batches on: those before are included.
        return session.sampler.share

    def __iter__(self) -> Iterator[int]:
        session = self.opened()
        return iter(()) if session.pruner.finished else iter(session.sampler)


class _EpochLoader(DataLoader[Any]):
    """A loader whose methods tell Lightning that it can resume in mid-epoch."""

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: the callback's state has the position."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take nothing."""


class TEDCallback(Callback, Generic[Item]):
    r"""Prune ``Trainer.fit``: which samples, the scaled loss, and their scores.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset or callable
        Map-style data set to train on; or a function without arguments that returns it,
        for data that ``setup`` makes.
    buffer : {"device", "cpu"}, default "device"
        Where values gather; see :class:`ted_torch.TED`.
    ids : str, int or sequence of them, optional
        Where in an item its id goes; by default beside. See :class:`ted_torch.TED`.
    allow : sequence of str, default ()
        ``("epochs",)`` lets a checkpoint of a run with another number of epochs be
        resumed, finished or between two of them; the run goes on to `max_epochs`.
    **options : RunOptions
        All of :class:`ted_core.Pruner`: `prune_ratio`, `strategy`, `signal`, ... The
        number of epochs, the device and the processes are the trainer's.

    Attributes
    ----------
    sampler : torch.utils.data.DistributedSampler
        Visits the current epoch's kept ids, this process's share of them.
    collate : type of CollateWithIds
        ``ted.collate(fn)`` makes a collate function of one's own pass the ids on.

    Raises
    ------
    TypeError, ValueError, EpochError
        The data set has no ids or no samples. In ``fit``: an option is out of range,
        the trainer cuts epochs short, does not reload its loader every epoch or begins
        at another epoch, or the loader has another sampler.

    Notes
    -----
    The state goes into Lightning's checkpoints; where there are several processes,
    saving takes one collective. Source: TED, ECAI 2024, Algorithm 1.

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
        dataset: Dataset[Item] | Sequence[Item] | Callable[[], Dataset[Item]],
        *,
        buffer: str = "device",
        ids: str | int | Sequence[str | int] | None = None,
        allow: Sequence[str] = (),
        **options: Unpack[RunOptions],
    ) -> None:
        self._options = check_trainer_options(
            options,
            ("epochs", "device", "num_replicas", "rank", "group"),
            framework="Lightning",
            remedy="its `max_epochs`, devices and processes are the run's",
            taker=type(self),
        )
        self._allow = tuple(allow)
        self._data = cast("Any", dataset)
        self._ids = ids
        self._wrapped: WithIds[Item] | None = None
        if hasattr(dataset, "__getitem__") or not callable(dataset):
            self._wrapped = WithIds(self._data, ids=ids)
        self.sampler = _EpochSampler()
        self._buffer = buffer
        self._accumulation, self._fits = 1, False
        self._device: Any = None

    @property
    def dataset(self) -> WithIds[Item]:
        """Hands out ``(id, item)``, or items with their `ids`."""
        if self._wrapped is None:
            self._wrapped = WithIds(self._data(), ids=self._ids)
        return self._wrapped

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
            Its batches are ``(ids, items)``, or have their `ids`. May be made before
            ``fit``.
        """
        return _EpochLoader(self.dataset, sampler=self.sampler, **options)

    def loss(self, losses: Tensor, **inputs: Unpack[LossInputs]) -> Tensor:
        """Return the loss for ``training_step`` to return; see `TED.loss`."""
        return self.session.loss(losses, **inputs)

    def total_steps(self, batch_size: int, **options: Unpack[StepOptions]) -> int:
        """Count the run's optimizer steps; see `Pruner.total_steps`.

        `accumulation` and `world_size` are the trainer's. Known from
        ``configure_optimizers`` on; exact, unlike
        ``trainer.estimated_stepping_batches``.
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
        """Make the session, with the trainer's epochs, device and processes."""
        del pl_module
        self._fits = stage == "fit"
        if not self._fits:
            return
        epochs = _check_trainer(trainer)
        self._accumulation = trainer.accumulate_grad_batches
        self._device = trainer.strategy.root_device
        if not self._stopped_between_epochs(trainer.current_epoch, epochs):
            self.sampler.session = None
            self.sampler.make = partial(self._make, epochs)

    def _make(self, epochs: int) -> TED[Item]:
        """Return a session of a run of so many epochs."""
        return TED(
            self.dataset.dataset,
            epochs=epochs,
            device=self._device,
            buffer=self._buffer,
            ids=self.dataset.id_path,
            **self._options,
        )

    def _stopped_between_epochs(self, epoch: int, epochs: int) -> bool:
        """Tell whether an earlier fit's session goes on with this epoch as it is."""
        session = self.sampler.session
        if session is None or session.pruner.finished or not epoch:
            return False
        # In the middle of an epoch only a checkpoint has the loader's position.
        here = session.epoch, session.pruner.epochs, _position(session)
        return here == (epoch, epochs, 0)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the session's epoch, before a loader with workers reads ahead in it."""
        del trainer, pl_module
        self._open_epoch()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check loader and epoch, and open the epoch in which the fit begins."""
        del pl_module
        _check_loader(trainer.train_dataloader, self.sampler)
        session, epoch = self.session, trainer.current_epoch
        if epoch == session.epoch + 1 and _position(session):
            # Saved after an epoch's last step: Lightning takes the epoch for ended,
            # and its batches for the next one's.
            self.session.close_epoch()
            self._open_epoch()
            trainer.fit_loop.restarting = False
            trainer.fit_loop.reset_restart_stage()
        if session.epoch != epoch:
            msg = (
                f"the trainer must begin at the session's epoch {session.epoch}, got "
                f"{epoch}; go on from a checkpoint that was saved with this callback, "
                "or begin with a new trainer"
            )
            raise EpochError(msg)
        self._open_epoch()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the epoch, log it, and open the next."""
        del trainer
        self.session.close_epoch()
        metrics = run_metrics(self.pruner)
        pl_module.log_dict(metrics, prog_bar=True, sync_dist=True, batch_size=1)
        self._open_epoch()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warn of epochs that were planned and did not run."""
        del pl_module
        pruner = self.pruner
        if not pruner.finished and trainer.state.fn == "fit":
            remedy = "fit on, or plan for the `max_epochs` that will run"
            warn_caller(early_end_warning(pruner.config, pruner.epoch, remedy))

    def _open_epoch(self) -> None:
        """Open the session's epoch, if there is one more."""
        if not self.pruner.finished:
            self.session.set_epoch(self.session.epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return the session's state, all processes' parts of an open epoch in it."""
        session = self.sampler.session
        if session is None:
            return {}
        return gather_state(
            session.state_dict(every_process=True), session.ranks, device=self._device
        )

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a state; outside of ``fit`` it is passed over."""
        if self._fits and state_dict:
            own = own_state(state_dict, self.session.ranks)
            self.session.load_state_dict(own, allow=self._allow)


def _position(session: TED[Any]) -> int:
    """Return how far a session has come in its epoch."""
    position: int = session.state_dict(every_process=True)["position"]
    return position


def _check_trainer(trainer: Trainer) -> int:
    """Return the trainer's epochs; it must train whole ones, each of its length."""
    for one in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(one, LearningRateFinder | BatchSizeFinder):
            msg = (
                f"the trainer must have no {type(one).__name__} beside TED's callback, "
                "got one; it trains steps of no planned epoch: search with a trainer "
                "and a loader without TED, then fit with what was found"
            )
            raise ValueError(msg)  # noqa: TRY004 - its presence is at fault
    for name, needed, remedy in _NEEDED:
        found = getattr(trainer, name)
        # `limit_train_batches=1` is one batch, 1.0 all of them.
        if found != needed or type(found) is not type(needed):
            msg = f"`{name}` of the trainer must be {needed}, got {found}; {remedy}"
            raise ValueError(msg)
    epochs = trainer.max_epochs
    if epochs is None or epochs < 1:
        msg = (
            f"`max_epochs` of the trainer must be at least 1, got {epochs}; the "
            "schedule is planned over the whole run"
        )
        raise ValueError(msg)
    return epochs


def _check_loader(loader: Any, sampler: _EpochSampler) -> None:
    """Refuse another loader than one around the callback's sampler."""
    batches = getattr(loader, "batch_sampler", None)
    samplers = getattr(loader, "sampler", None), getattr(batches, "sampler", None)
    if not any(one is sampler for one in samplers):
        msg = (
            "the training loader must be `ted.loader(...)`, or one loader with "
            f"`sampler=ted.sampler`, got {type(loader).__name__} with "
            f"{type(samplers[0]).__name__}; for a batch sampler of your own say "
            "`use_distributed_sampler=False`"
        )
        raise EpochError(msg)
