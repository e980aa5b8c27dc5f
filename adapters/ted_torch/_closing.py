"""Close an epoch: what all processes recorded is held against the plan, and scored."""

from __future__ import annotations

from typing import Any

from ted_core import EpochError
from ted_core.errors import warn_caller
from ted_core.history import EpochAccounts, times_in
from ted_torch._mask_diagnostics import warn_of
from ted_torch._step import StepRecorder
from ted_torch.buffer import Facts, Recorded, collect


def close_epoch(recorder: StepRecorder) -> None:
    """Close the open epoch, and go to the next."""
    pruner, plan = recorder.sampler.pruner, recorder.sampler.pruner.plan()
    counted = _observe(recorder)
    try:
        pruner.advance(**counted)
    except EpochError:
        if counted:
            raise
        msg = (
            f"an epoch must get samples, got none of the {len(plan)} planned in "
            f"epoch {plan.epoch}: call `ted.loss` in every step of it, begin a "
            "resumed run at `ted.epoch`, and with `drop_last=True` give the loader "
            f"no batch above the {recorder.sampler.share} samples of this process"
        )
        raise EpochError(msg) from None
    recorder.clear()


def finish(recorder: StepRecorder, *, together: bool, partial: bool) -> None:
    """Close the last epoch, or an early stop; processes do so `together`."""
    counted: dict[str, Any] = {}
    if recorder.received() or together:
        counted = _observe(recorder, optional=True)
    if partial:
        counted.pop("max_missing", None)
    recorder.sampler.pruner.finish(**counted)
    recorder.clear()


def _observe(recorder: StepRecorder, *, optional: bool = False) -> dict[str, Any]:
    """Give the pruner what all recorded; return what the epoch is to be closed with."""
    recorder.flush()
    sampler, pruner = recorder.sampler, recorder.sampler.pruner
    plan, shard = pruner.plan(), pruner.config.shard
    recorded, facts = collect(
        recorder.buffer,
        ranks=sampler.ranks,
        shard=shard,
        order=plan.order,
        expected=times_in(sampler.ids(), pruner.n),
        asked=recorder.asked,
    )
    if not (facts.samples or facts.wrong or facts.lost):
        return {}
    facts.check(pruner.n, plan.epoch, needs_values=pruner.config.strategy.uses_scores)
    warn_of(recorder.symptoms, plan.epoch, pruner.config.signal, recorder.told)
    _check_sampler(recorder, facts, plan.epoch)
    pruner.observe_sums(**recorded)
    return {
        "forwarded": None if shard else facts.forwarded,
        "max_missing": _max_missing(recorder, recorded, optional=optional),
    }


def _check_sampler(recorder: StepRecorder, facts: Facts, epoch: int) -> None:
    """Refuse samples that are not the plan's; warn of a sampler not followed."""
    sampler = recorder.sampler
    if facts.asked:
        remedy = "give the loader `sampler=ted.sampler`"
    elif sampler.asked:
        remedy = (
            "its loader read `ted.sampler` before `set_epoch`; one that keeps its "
            "iterator (timm's MultiEpochsDataLoader, Ultralytics' InfiniteDataLoader) "
            "can't follow: take a DataLoader with `persistent_workers=True`"
        )
    else:
        remedy = (
            "its loader does not ask `ted.sampler`: give it `sampler=ted.sampler` in "
            "place of `shuffle=True`, and have a framework leave it there (Ray: "
            "`prepare_data_loader(..., add_dist_sampler=False)`)"
        )
    if facts.unexpected:
        msg = (
            f"an epoch must visit its kept samples alone, got {facts.unexpected} "
            f"others in epoch {epoch}; {remedy}, and `ted.loss` the ids of its batch, "
            "in training alone: evaluation calls no `ted.loss`"
        )
        raise EpochError(msg)
    # A loop of one's own may go through the plan without the sampler.
    several = recorder.distinct > recorder.largest_batch()
    elsewhere = sampler.asked > 0 or recorder.last_position() is None
    if several and elsewhere and not (facts.asked or recorder.warned):
        recorder.warned = True
        warn_caller(
            "an epoch must follow `ted.sampler`, got another order, or one from "
            f"before, in epoch {epoch}: {remedy}"
        )
    if recorder.passes > 1 and recorder.distinct > len(sampler):
        warn_caller(
            f"epoch {epoch} must go once through its {len(sampler)} samples, got "
            f"{recorder.distinct} in {recorder.passes} passes; give a framework epochs "
            "of `len(loader)` steps, and leave `ted.loss` out of passes that are no "
            "epoch"
        )


def _max_missing(
    recorder: StepRecorder, recorded: Recorded, *, optional: bool
) -> int | None:
    """Return the samples of an incomplete batch of all processes; None if unknown."""
    sampler, batch = recorder.sampler, recorder.largest_batch()
    ranks, plan = sampler.ranks, sampler.pruner.plan()
    together = 1 if sampler.pruner.config.shard else ranks.world_size
    if not sampler.start:
        merged = batch and ranks.num_replicas <= ranks.world_size
        return batch * together if merged else None
    missing = EpochAccounts(plan.order, recorded["deliveries"]).missing
    if not optional and missing >= max(batch * together, 1):
        warn_caller(
            f"a resumed epoch must visit the rest of its samples, got {missing} left "
            f"out in epoch {plan.epoch}; if the loader has a state of its own, its "
            "batch sampler must have one too"
        )
    return None
