"""What would go wrong in a run, found before its first step."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import lr_scheduler
from torch.utils.data import BatchSampler, DataLoader

from ted_core import signals
from ted_core._validation import check_int
from ted_core.config import rounding_warning, single_sample_warning
from ted_core.errors import warn_caller
from ted_core.reports import Preflight
from ted_torch._row_order import random_states_kept
from ted_torch.data import TEDSampler, find_ids

# What a trainer's batches call the ids.
_IDS = "ted_ids"
_MAX_SHAPES = 2
_MAX_LISTED = 5

# Optimizers whose step hardly feels a constant factor of the gradient.
_SCALE_FREE = {
    *("Adadelta", "Adafactor", "Adagrad", "Adam", "Adamax", "AdamW", "Adan"),
    *("LAMB", "Lamb", "LARS", "Lars", "Lion", "NAdam", "RAdam", "RMSprop", "Rprop"),
    *("SparseAdam",),
}
_REMEDY = (
    "give the loader `ted.dataset`, and a collate function of your own as "
    "`collate_fn=ted.collate(fn)`"
)


def check_run(
    sampler: TEDSampler,
    loader: Iterable[Any],
    id_path: tuple[str | int, ...],
    *,
    optimizer: Any,
    scheduler: Any,
    accumulation: int,
    hosted: bool,  # whether a trainer calls the loss
) -> Preflight:
    """Look for what would go wrong; see `TED.check`."""
    check_int("accumulation", accumulation, minimum=1)
    if sampler.pruner.finished:  # a job that was started once more
        return Preflight.finished(sampler.pruner.epochs)
    check = _Check(sampler, loader, id_path, accumulation)
    check.samplers()
    check.epochs()
    check.batch()
    check.workers()
    if scheduler is not None:
        check.scheduler(getattr(scheduler, "scheduler", scheduler))
    if optimizer is not None:
        check.optimizer(getattr(optimizer, "optimizer", optimizer))
    if not hosted:
        check.mask()
    for problem in check.problems:
        warn_caller(problem)
    return Preflight(tuple(check.lines), tuple(check.problems))


class _Check:
    """Facts and problems, gathered one question after the other."""

    def __init__(
        self,
        sampler: TEDSampler,
        loader: Iterable[Any],
        id_path: tuple[str | int, ...],
        accumulation: int,
    ) -> None:
        self._sampler, self._loader, self._id_path = sampler, loader, id_path
        self._accumulation = accumulation
        self._pruner, ranks = sampler.pruner, sampler.ranks
        self._config = self._pruner.config
        self._processes = max(ranks.world_size, ranks.num_replicas)
        self._chain = _samplers_of(loader)
        self._remedy = _REMEDY
        if id_path:
            collate = getattr(loader, "collate_fn", None)
            name = getattr(collate, "__qualname__", type(collate).__name__)
            self._remedy = (
                f"give the loader `ted.dataset`, and see that `{name}` keeps them"
            )
        # A loader around batches of its own has no size, its batch sampler has.
        sized = [*self._chain, loader]
        found = (getattr(one, "batch_size", None) for one in sized)
        self._size = next((one for one in found if isinstance(one, int)), None)
        self._drop_last = any(getattr(one, "drop_last", False) is True for one in sized)
        self.lines: list[str] = []
        self.problems: list[str] = []

    def samplers(self) -> None:
        """Refuse a loader that visits other samples than the session's sampler."""
        # Lightning's sampler visits its session's.
        sessions = (getattr(one, "session", None) for one in self._chain)
        inner = [getattr(session, "sampler", None) for session in sessions]
        if not any(one is self._sampler for one in [*self._chain, *inner]):
            kinds = ", ".join(type(one).__name__ for one in self._chain) or "none"
            msg = (
                "`loader` must visit the session's samples, got "
                f"{type(self._loader)} with the samplers {kinds}; give it "
                "`sampler=ted.sampler`, or put that into your batch sampler, and let "
                "no framework replace it"
            )
            raise ValueError(msg)
        several = self._processes > 1
        shared = f", shared by {self._processes} processes" if several else ""
        self.lines.append(f"sampler: the session's{shared}")

    def epochs(self) -> None:
        """Hold every epoch's samples against the batch size."""
        config, size, first = self._config, self._size, self._pruner.epoch
        if not config.known_count or config.shard is not None:
            self.lines.append("epochs: their samples depend on the scores")
            return
        if size is None:
            self.lines.append("epochs: the batch size is not known")
            return
        steps = self._steps(self._accumulation)  # refuses epochs without a batch
        table = self._pruner.schedule_table()["kept"]
        kept = table[first:]
        share = -(-kept // self._processes)
        batches = share // size if self._drop_last else -(-share // size)
        self.lines.append(
            f"epochs: {kept.size}{' to come' * (first > 0)}, of {kept.min()} to "
            f"{kept.max()} samples, {batches.min()} to {batches.max()} batches of "
            f"{size}"
        )
        several = f", of {self._accumulation} batches each" * (self._accumulation > 1)
        self.lines.append(f"steps: {steps} in the whole run{several}")
        if rounding := rounding_warning(config):
            self.problems.append(rounding)
        if self._drop_last:
            return
        single = single_sample_warning(
            config, table, size, first=first, world_size=self._processes
        )
        if single:
            self.problems.append(single)
        rest, multiple = share % size, f"`multiple_of={size * self._processes}`"
        whole = (rest == 1) & (kept == config.n)
        if size > 1 and whole.any():
            self.problems.append(
                "an epoch on all data must not end with a batch of one sample, which "
                f"`BatchNorm1d` refuses, got one in {_epochs(whole, first)}; give the "
                "loader `drop_last=True`"
            )
        if (share < size).any():
            most, fills = config.n // self._processes, f"{multiple} fills it"
            if most < size:
                fills = f"take batches of at most {most}"
            self.problems.append(
                f"an epoch should fill a batch of {size}, got {share.min()} samples in "
                f"{_epochs(share < size, first)}; {fills}"
            )
        shapes = {*np.minimum(share, size).tolist(), *rest.tolist()} - {0}
        if len(shapes) > _MAX_SHAPES:
            self.lines.append(
                f"shapes: batches of {len(shapes)} sizes; a model that is compiled for "
                f"each wants {multiple}"
            )

    def _steps(self, accumulation: int) -> int:
        """Count the run's steps, of batches of this loader."""
        return self._pruner.max_total_steps(
            self._size or 1,
            accumulation=accumulation,
            world_size=self._processes,
            drop_last=self._drop_last,
        )

    def batch(self) -> None:
        """Draw a batch, and refuse one that does not have its ids."""
        reason = ""
        if self._config.shard is not None and not self._pruner.planned:
            reason = "before `set_epoch`, over shards"
        elif self._sampler.share and not len(self._sampler):
            reason = f"after the last one of epoch {self._pruner.epoch}"
        if reason:
            self.lines.append(f"ids: no batch drawn {reason}")
            return
        self._check_ids(self._draw())

    def _check_ids(self, batch: Any) -> None:
        """Refuse a batch that does not have its ids."""
        ids: Any = None
        if self._id_path:
            ids = find_ids(batch, self._id_path)
        elif isinstance(batch, Mapping):
            ids = batch.get(_IDS)
        elif isinstance(batch, Sequence) and len(batch):
            ids = batch[0]
        found = batch if ids is None else ids
        wrong = type(found).__name__
        if isinstance(found, Mapping):
            wrong = f"a mapping of {', '.join(map(str, found))}"
        if isinstance(found, Tensor):
            wrong = f"{found.dtype} of shape {tuple(found.shape)}"
        if isinstance(ids, Tensor) and ids.ndim == 1 and not ids.is_floating_point():
            numbers = ids.cpu().numpy()
            others = numbers[~np.isin(numbers, self._expected())]
            wrong = f"{others[0]}, which is of no sample of it" if others.size else ""
        if wrong:
            rule = "begin with the ids of its samples"
            if self._id_path:
                where = ", ".join(map(repr, self._id_path))
                rule = f"have the ids of its samples at {where}, where its items do"
            msg = f"a batch must {rule}, got {wrong}; {self._remedy}"
            raise ValueError(msg)
        self.lines.append(f"ids: {ids.numel()} in the first batch")

    def workers(self) -> None:
        """Tell what workers that live on from epoch to epoch keep."""
        if getattr(self._loader, "persistent_workers", False):
            self.lines.append(
                "workers: persistent; a resumed run augments with other random numbers "
                "where they are not drawn by epoch and index"
            )

    def _draw(self) -> Any:
        """Return a batch; the sampler and the random states stay as they were."""
        sampler, loader = self._sampler, self._loader
        before = sampler.start, sampler.passes, sampler.asked
        collate: Any = getattr(loader, "collate_fn", None)
        home = str(getattr(collate, "__module__", ""))
        try:
            with random_states_kept(loader):
                # A loader would keep the workers it started, and their random states.
                own = isinstance(loader, DataLoader)
                return next(iter(copy.copy(loader) if own else loader))
        except StopIteration:
            msg = f"`loader` must give a batch, got none in epoch {self._pruner.epoch}"
            raise ValueError(msg) from None
        except Exception as error:
            if collate is None or home.startswith(("ted_torch", "torch.")):
                raise
            msg = (
                f"`loader` must give a batch, got an error of its collate function: "
                f"{error!r}; {self._remedy}"
            )
            raise ValueError(msg) from error
        finally:
            sampler.start, sampler.passes, sampler.asked = before

    def _expected(self) -> NDArray[Any]:
        """Return the ids that may be in the first batch."""
        ids, ranks = self._sampler.ids(), self._sampler.ranks
        plain = any(type(one) is BatchSampler for one in self._chain)
        if plain and self._size and ranks.world_size == ranks.num_replicas:
            start = self._sampler.start
            return ids[start : start + self._size]
        return ids

    def scheduler(self, scheduler: Any) -> None:
        """Hold a scheduler's length against the run's steps."""
        name, epochs = type(scheduler).__name__, self._config.epochs
        if self._size is None or not self._config.known_count:
            self.lines.append(f"scheduler: the steps for {name} are not known")
            return
        steps, warms_up = self._steps(self._accumulation), False
        length: int | None = getattr(scheduler, "total_steps", None)
        if isinstance(scheduler, lr_scheduler.CosineAnnealingLR):
            # One shorter than the epochs restarts.
            length = scheduler.T_max if scheduler.T_max >= epochs else None
        elif isinstance(scheduler, lr_scheduler.LinearLR | lr_scheduler.PolynomialLR):
            length, warms_up = scheduler.total_iters, True
        # A loop may also accumulate over the end of an epoch.
        fits = length in {steps, self._steps(1) // self._accumulation}
        if length is None:
            says = f"does not tell its end; make it end at step {steps}"
        elif length == epochs != steps:
            says = f"over {length} epochs"
        elif fits:
            says = f"over {length} steps"
        elif warms_up and length < steps:
            says = f"over the first {length} steps"
        else:
            given = ", drop_last=True" * self._drop_last
            more = ""
            if self._accumulation > 1:
                given += f", accumulation={self._accumulation}"
            else:
                more = (
                    ", with `accumulation=k` for `check`, too, if a step takes k "
                    "batches"
                )
            end = "its rate never gets to its end"
            self.problems.append(
                f"`scheduler` must be planned for the run's {steps} steps, got "
                f"{name} for {length}: {end if length > steps else 'it ends too early'}"
                f"; use `ted.total_steps({self._size}{given})`{more}"
            )
            return
        self.lines.append(f"scheduler: {name} {says}")

    def optimizer(self, optimizer: Any) -> None:
        """Tell what 1 / r_t does to an optimizer's step."""
        name = type(optimizer).__name__
        if not self._config.divides_loss:
            says = f"{name}; the loss is not divided by r_t"
        elif not _SCALE_FREE.isdisjoint(c.__name__ for c in type(optimizer).__mro__):
            says = (
                f"{name} hardly feels the factor 1 / r_t; `scale_loss=False` leaves it "
                "out"
            )
        else:
            factor = 1 / float(self._config.keep_ratios.min())
            says = f"1 / r_t multiplies the steps of {name} by up to {factor:.3g}"
        self.lines.append(f"optimizer: {says}")

    def mask(self) -> None:
        """Tell what the loss is to be called with."""
        signal, needs = self._config.signal, "loss: `ted.loss` needs the losses, `ids=`"
        if not self._config.strategy.uses_scores:
            says = f"{needs}; the strategy ranks nothing"
        elif signal == "mask_gradient":
            says = (
                "mask: the logits as `logits=`, or as `mask=` another tensor that the "
                "loss depends on; no probabilities, no output of `log_softmax`, no "
                "input of a layer norm"
            )
        else:
            inputs = (one for one in signals.INPUTS[signal] if one != "losses")
            says = needs + "".join(f", `{one}=`" for one in inputs)
        self.lines.append(says)


def _samplers_of(loader: Any) -> list[Any]:
    """Return the samplers in a loader and in each other, from the outside."""
    found: list[Any] = []
    for one in (waiting := [loader]):
        for name in ("batch_sampler", "sampler"):
            inner = getattr(one, name, None)
            if inner is not None and all(inner is not other for other in found):
                found.append(inner)
                waiting.append(inner)
    return found


def _epochs(which: NDArray[np.bool_], first: int) -> str:
    """Return the numbers of epochs, the first few of many."""
    numbers = (np.flatnonzero(which) + first).tolist()
    listed = ", ".join(map(str, numbers[:_MAX_LISTED]))
    more = len(numbers) - _MAX_LISTED
    several = "s" * (len(numbers) > 1)
    return f"epoch{several} {listed}" + f" and {more} more" * (more > 0)
