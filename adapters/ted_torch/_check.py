"""What would go wrong in a run, found before its first step."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import lr_scheduler
from torch.utils.data import BatchSampler, DataLoader

from ted_core import EpochError, TedWarning, signals
from ted_core.reports import Preflight
from ted_torch._row_order import random_states_kept
from ted_torch.data import TEDSampler

# What a trainer's batches call the ids.
_IDS = "ted_ids"
_MAX_ACCUMULATION = 64
_MAX_SHAPES = 2

# Optimizers whose step hardly feels a constant factor of the gradient.
_SCALE_FREE = {
    *("Adadelta", "Adafactor", "Adagrad", "Adam", "Adamax", "AdamW", "Adan"),
    *("LAMB", "Lamb", "LARS", "Lars", "Lion", "NAdam", "RAdam", "RMSprop", "Rprop"),
    *("SparseAdam",),
}


def check_run(
    sampler: TEDSampler, loader: Iterable[Any], *, optimizer: Any, scheduler: Any
) -> Preflight:
    """Look for what would go wrong; see `TED.check`."""
    check = _Check(sampler, loader)
    check.samplers()
    check.epochs()
    check.batch()
    if scheduler is not None:
        check.scheduler(getattr(scheduler, "scheduler", scheduler))
    if optimizer is not None:
        check.optimizer(getattr(optimizer, "optimizer", optimizer))
    check.mask()
    for problem in check.problems:
        warnings.warn(problem, TedWarning, stacklevel=3)
    return Preflight(tuple(check.lines), tuple(check.problems))


class _Check:
    """Facts and problems, gathered one question after the other."""

    def __init__(self, sampler: TEDSampler, loader: Iterable[Any]) -> None:
        self._sampler, self._loader = sampler, loader
        self._pruner, ranks = sampler.pruner, sampler.ranks
        if self._pruner.finished:
            msg = (
                "`check` needs an open epoch, got a run finished at "
                f"{self._pruner.epoch}"
            )
            raise EpochError(msg)
        self._processes = max(ranks.world_size, ranks.num_replicas)
        self._chain = _samplers_of(loader)
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
        if any(one is self._sampler for one in [*self._chain, *inner]):
            dealt = f", shared by {self._processes} processes"
            self.lines.append(
                "sampler: the session's" + (dealt if self._processes > 1 else "")
            )
            return
        kinds = ", ".join(type(one).__name__ for one in self._chain) or "none"
        msg = (
            f"`loader` must visit the session's samples, got {type(self._loader)} with "
            f"the samplers {kinds}; give it `sampler=ted.sampler`, or put that into "
            "your batch sampler, and let no framework replace it"
        )
        raise ValueError(msg)

    def epochs(self) -> None:
        """Hold every epoch's samples against the batch size."""
        config, size, first = self._pruner.config, self._size, self._pruner.epoch
        if not config.known_count or config.shard is not None:
            self.lines.append("epochs: their samples depend on the scores")
            return
        if size is None:
            self.lines.append("epochs: the batch size is not known")
            return
        steps = self._steps()  # refuses epochs without a batch
        table = self._pruner.schedule_table()["kept"]
        kept = table[first:]
        share = -(-kept // self._processes)
        batches = share // size if self._drop_last else -(-share // size)
        self.lines.append(
            f"epochs: {kept.size}, of {kept.min()} to {kept.max()} samples, "
            f"{batches.min()} to {batches.max()} batches of {size}"
        )
        self.lines.append(f"steps: {steps}, for a scheduler that steps with each batch")
        if self._drop_last:
            return
        single = config.single_sample_warning(
            table, size, first=first, world_size=self._processes
        )
        if single:
            self.problems.append(single)
        rest, multiple = share % size, f"`multiple_of={size * self._processes}`"
        whole = (rest == 1) & (kept == self._pruner.n)
        if size > 1 and whole.any():
            self.problems.append(
                "all data must not leave a last batch of one sample, which batch norm "
                f"refuses, got one in {_epochs(whole, first)}; give the loader "
                "`drop_last=True`"
            )
        if (share < size).any():
            self.problems.append(
                f"an epoch should fill a batch of {size}, got {share.min()} samples in "
                f"{_epochs(share < size, first)}; {multiple} fills it"
            )
        shapes = {*rest[rest > 0].tolist(), *[size] * int((share >= size).any())}
        if len(shapes) > _MAX_SHAPES:
            self.lines.append(
                f"shapes: batches of {len(shapes)} sizes; a model that is compiled for "
                f"each wants {multiple}"
            )

    def _steps(self, accumulation: int = 1) -> int:
        """Count the run's steps, of batches of this loader."""
        return self._pruner.max_total_steps(
            self._size or 1,
            accumulation=accumulation,
            world_size=self._processes,
            drop_last=self._drop_last,
        )

    def batch(self) -> None:
        """Draw a batch, and refuse one that does not begin with its ids."""
        config = self._pruner.config
        if config.shard is not None and not self._pruner.planned:
            self.lines.append("ids: no batch drawn before `set_epoch`, over shards")
            return
        batch = self._draw()
        ids: Any = None
        if isinstance(batch, Mapping):
            ids = batch.get(_IDS)
        elif isinstance(batch, Sequence) and len(batch):
            ids = batch[0]
        known = (
            isinstance(ids, Tensor) and ids.ndim == 1 and not ids.is_floating_point()
        )
        if not known or not np.isin(ids.cpu().numpy(), self._expected()).all():
            msg = (
                "a batch must begin with the ids of its samples, got "
                f"{_kind(batch if ids is None else ids)}; {_REMEDY}"
            )
            raise ValueError(msg)
        self.lines.append(f"ids: {ids.numel()} in the first batch")

    def _draw(self) -> Any:
        """Return a batch; the sampler and the random states stay as they were."""
        sampler = self._sampler
        before = sampler.start, sampler.passes, sampler.asked
        collate: Any = getattr(self._loader, "collate_fn", None)
        known = str(getattr(collate, "__module__", "")).startswith(
            ("ted_torch", "torch.")
        )
        try:
            with random_states_kept(self._loader):
                # A loader would keep the workers it started, and their random states.
                own = isinstance(self._loader, DataLoader)
                return next(iter(copy.copy(self._loader) if own else self._loader))
        except StopIteration:
            msg = f"`loader` must give a batch, got none in epoch {self._pruner.epoch}"
            raise ValueError(msg) from None
        except Exception as error:
            if collate is None or known:
                raise
            msg = (
                f"`loader` must give a batch, got an error of its collate function: "
                f"{error!r}; {_REMEDY}"
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
        name, epochs = type(scheduler).__name__, self._pruner.epochs
        config = self._pruner.config
        if self._size is None or not config.known_count:
            self.lines.append(f"scheduler: the steps for {name} are not known")
            return
        steps = self._steps()
        length: int | None = getattr(scheduler, "total_steps", None)
        warms_up = False
        if isinstance(scheduler, lr_scheduler.CosineAnnealingLR):
            # A short one restarts, or steps with the epochs.
            length = scheduler.T_max if scheduler.T_max > epochs else None
            if scheduler.T_max == epochs:
                length = epochs
        elif isinstance(scheduler, lr_scheduler.LinearLR | lr_scheduler.PolynomialLR):
            length, warms_up = scheduler.total_iters, True
        if length is None:
            self.lines.append(
                f"scheduler: {name} does not tell its end, see to {steps}"
            )
            return
        if length == epochs != steps:
            self.lines.append(f"scheduler: {name} over {length} epochs")
            return
        for accumulation in range(1, _MAX_ACCUMULATION + 1):
            if self._steps(accumulation) == length:
                more = f", {accumulation} batches each" * (accumulation > 1)
                self.lines.append(f"scheduler: {name} over {length} steps{more}")
                return
        if warms_up and length < steps:
            self.lines.append(f"scheduler: {name} over the first {length} steps")
            return
        dropped = ", drop_last=True" * self._drop_last
        says = (
            "its rate never gets to its end" if length > steps else "it ends too early"
        )
        self.problems.append(
            f"`scheduler` must be planned for the run's {steps} steps, got "
            f"{name} for {length}: {says}; use `ted.total_steps({self._size}{dropped})`"
        )

    def optimizer(self, optimizer: Any) -> None:
        """Tell what 1 / r_t does to an optimizer's step."""
        name = type(optimizer).__name__
        if not self._pruner.config.divides_loss:
            self.lines.append(f"optimizer: {name}; the loss is not divided by r_t")
        elif not _SCALE_FREE.isdisjoint(c.__name__ for c in type(optimizer).__mro__):
            self.lines.append(
                f"optimizer: {name} hardly feels the factor 1 / r_t; "
                "`scale_loss=False` leaves it out"
            )
        else:
            most = 1 / float(self._pruner.config.keep_ratios.min())
            self.lines.append(
                f"optimizer: 1 / r_t multiplies the steps of {name} by up to {most:.3g}"
            )

    def mask(self) -> None:
        """Tell what the loss is to be called with."""
        signal = self._pruner.config.signal
        if not self._pruner.config.strategy.uses_scores:
            self.lines.append("mask: none, the strategy ranks nothing")
        elif signal == "mask_gradient":
            self.lines.append(
                "mask: the logits as `logits=`, or as `mask=` another tensor that the "
                "loss depends on; no probabilities, no output of `log_softmax`, no "
                "input of a layer norm"
            )
        else:
            inputs = (one for one in signals.INPUTS[signal] if one != "losses")
            wanted = ", ".join(f"`{one}=`" for one in inputs) or "the losses alone"
            self.lines.append(f"mask: none, the signal {signal!r} takes {wanted}")


_REMEDY = (
    "give the loader `ted.dataset`, and a collate function of your own as "
    "`collate_fn=ted.collate(fn)`"
)


def _samplers_of(loader: Any) -> list[Any]:
    """Return the samplers in a loader and in each other, from the outside."""
    found: list[Any] = []
    waiting = [loader]
    while waiting:
        one = waiting.pop(0)
        for name in ("batch_sampler", "sampler"):
            inner = getattr(one, name, None)
            if inner is not None and all(inner is not other for other in found):
                found.append(inner)
                waiting.append(inner)
    return found


def _epochs(which: NDArray[np.bool_], first: int) -> str:
    """Return the numbers of epochs, the first few of many."""
    numbers = (np.flatnonzero(which) + first).tolist()
    listed = ", ".join(map(str, numbers[:5]))
    more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""  # noqa: PLR2004
    return f"epoch {listed}{more}" if len(numbers) == 1 else f"epochs {listed}{more}"


def _kind(value: object) -> str:
    """Return a tensor's dtype and shape, or another value's type."""
    if isinstance(value, Tensor):
        return f"{value.dtype} of shape {tuple(value.shape)}"
    return type(value).__name__
