"""What a Hugging Face trainer must be for TED to choose its samples."""

from __future__ import annotations

import importlib.metadata
import inspect
from collections.abc import Mapping
from types import CodeType
from typing import Any

from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, RandomSampler
from transformers import Trainer

from ted_core import signals
from ted_core.config import RunConfig
from ted_core.errors import warn_caller
from ted_torch._validation import check_even_batches, count_items

_HOOKS = (
    "_init_training_state",
    "_get_train_sampler",
    "_run_epoch",
    "_save_checkpoint",
)
# Losses of TRL's that are no mean over samples.
_COUPLED = ("aot", "aot_unpaired", "sft")
BY_LENGTH = "group_by_length"


def check_hooks(trainer: object) -> None:
    """Refuse a version of transformers without a private method to override."""
    missing = [name for name in _HOOKS if not hasattr(trainer, name)]
    if missing:
        version = importlib.metadata.version("transformers")
        msg = (
            f"`transformers` must have Trainer.{missing[0]}, got version {version}; "
            "the page of the integration says which versions do"
        )
        raise ImportError(msg)


def check_loss_methods(cls: Any, mixin: Any) -> str:
    """Refuse a `compute_loss` that hides the mixin's; name the one it goes on to."""
    order = cls.__mro__
    at = order.index(mixin)
    for owner in order[:at]:
        method = vars(owner).get("compute_loss")
        if method is not None and not _goes_on(method):
            msg = (
                f"`compute_loss` of {owner.__name__} must call "
                "`super().compute_loss(...)`, which records the scores, got one that "
                "does not; for another loss override `sample_losses`, or stand it "
                f"behind the mixin: `class Mine({mixin.__name__}, {owner.__name__})`"
            )
            raise TypeError(msg)
    owner = next((one for one in order[at + 1 :] if "compute_loss" in vars(one)), None)
    return "" if owner in {None, Trainer} else owner.__name__


def _goes_on(method: object) -> bool:
    """Tell whether a method may call another `compute_loss`."""
    codes = [getattr(inspect.unwrap(method), "__code__", None)]  # type: ignore[arg-type]
    for code in codes:
        if code is None or "compute_loss" in code.co_names:
            return True
        codes += [one for one in code.co_consts if isinstance(one, CodeType)]
    return False


def check_arguments(trainer: Any) -> None:
    """Refuse arguments that leave TED no epochs, or no samples to choose."""
    args = trainer.args
    for name, right, rule in (
        (
            "train_sampling_strategy",
            args.train_sampling_strategy in {"random", BY_LENGTH},
            f"be 'random' or {BY_LENGTH!r}; TED chooses the samples and their order",
        ),
        (
            "ignore_data_skip",
            not args.ignore_data_skip,
            "be False; a resumed epoch goes on where it stopped",
        ),
        (
            "auto_find_batch_size",
            not args.auto_find_batch_size,
            "be False; the steps are counted before training starts",
        ),
        (
            "n_gpu",
            args.n_gpu <= 1,
            "be at most 1 in one process; start with `accelerate launch`",
        ),
    ):
        if not right:
            value, (must, _, remedy) = getattr(args, name), rule.partition(";")
            msg = f"`{name}` must {must}, got {value!r}" + (remedy and f";{remedy}")
            raise ValueError(msg)
    check_even_batches(args.accelerator_config, args.world_size)
    if trainer.compute_loss_func is not None:
        msg = (
            "`compute_loss_func` must be left out, got "
            f"{trainer.compute_loss_func!r}; one number for a batch has no samples: "
            "override `sample_losses`"
        )
        raise ValueError(msg)


def check_dataset(dataset: object) -> None:
    """Refuse data without ids, or several data sets."""
    if isinstance(dataset, dict):
        msg = (
            f"`train_dataset` must be one data set, got a dict of {len(dataset)}; "
            "concatenate them, or take one, as `data['train']`"
        )
        raise TypeError(msg)
    count_items(dataset, name="train_dataset")


def check_kept(args: Any, asked: Mapping[str, Any]) -> None:
    """Refuse arguments that were set once the run was planned by others."""
    for name, before in asked.items():
        now = getattr(args, name)
        if now != before:
            msg = (
                f"`{name}` must stay {before!r}, got {now!r}; set it before the "
                "trainer is made"
            )
            raise ValueError(msg)


def check_loss_type(args: Any) -> None:
    """Refuse arguments of TRL's that ask for a loss without one part a sample."""
    found = getattr(args, "loss_type", "nll")
    for loss in [found] if isinstance(found, str) else found:
        if loss in _COUPLED:
            msg = (
                f"`loss_type` must be a mean over the samples, got {loss!r}, which "
                "sorts or weighs the tokens of a batch together; override "
                "`sample_losses`"
            )
            raise ValueError(msg)


def check_hosted(losses: Any, owner: str, size: int, config: RunConfig) -> Tensor:
    """Return what a trainer's own `compute_loss` makes of each sample of a batch."""
    whole = isinstance(losses, Tensor) and losses.ndim == 0
    if not isinstance(losses, Tensor) or not (whole or losses.shape == (size,)):
        shape = tuple(getattr(losses, "shape", ()))
        found = f"shape {shape}" if shape else type(losses).__name__
        msg = (
            f"`compute_loss` of {owner} must return a mean, or one loss for each of "
            f"the {size} samples, got {found}; override `sample_losses`"
        )
        raise TypeError(msg)
    weighs = config.signal == "loss" or getattr(config.strategy, "weighs_losses", False)
    if whole and weighs:
        msg = (
            f"`compute_loss` of {owner} must return one loss a sample for "
            f"{type(config.strategy).__name__} and signal={config.signal!r}, got their "
            "mean; return them unreduced, or override `sample_losses`"
        )
        raise TypeError(msg)
    return losses.expand(size)


def check_called(outputs: list[Any], owner: str) -> None:
    """Refuse a `compute_loss` that trains by other means than the model's outputs."""
    if not outputs:
        msg = (
            f"`compute_loss` of {owner} must call the model with a gradient, got no "
            "such call; take a loss that does not embed in pieces"
        )
        raise TypeError(msg)


def check_no_mask(owner: str, model: object, config: RunConfig) -> None:
    """Refuse a mask gradient without a tensor of the model to put the mask on."""
    if config.strategy.uses_scores and config.signal == "mask_gradient":
        msg = (
            f"`signal` must be 'loss' for {owner} on a {type(model).__name__}, which "
            f"has no head and no logits for a mask, got {config.signal!r}; or override "
            "`sample_losses`, and return a `mask`"
        )
        raise ValueError(msg)


def check_given(given: Mapping[str, Any], config: RunConfig) -> None:
    """Refuse a signal that is made of more than the losses of a batch came with."""
    signal, ranks = config.signal, config.strategy.uses_scores
    if signal == "mask_gradient" or not (ranks or signal == "loss"):
        return
    for name in signals.INPUTS[signal]:
        if given.get(name) is None:
            found = ", ".join(key for key, value in given.items() if value is not None)
            msg = (
                f"`sample_losses` must return {name!r} for the signal {signal!r}, got "
                f"{found}; override it, or take another method"
            )
            raise ValueError(msg)


def missing(name: str, columns: Any, outputs: Any, model: object) -> str:
    """Say that a batch or a model's outputs lack what `sample_losses` reads."""
    if name == "logits" and isinstance(outputs, Mapping):
        return (
            f"{type(model).__name__} must return 'logits' for `sample_losses`, got "
            f"{sorted(outputs)}; switch off what fuses its head with its loss (of "
            "Liger's kernels 'fused_linear_cross_entropy'), or override "
            "`sample_losses`"
        )
    return (
        f"a training batch must have the column {name!r} that `sample_losses` reads, "
        f"or the model's outputs, got the columns {sorted(columns)}"
    )


def warn_of_other_loss(ours: float, theirs: float, model: object) -> None:
    """Warn that the samples' losses do not make the framework's."""
    warn_caller(
        f"the samples' losses must make the loss of the trainer and its "
        f"{type(model).__name__}, {theirs:.6g} in the first step, got {ours:.6g}: what "
        "the framework weighs, shifts or adds is not trained on; override "
        "`sample_losses`"
    )


def warn_of_means(batches: int, model: object) -> None:
    """Warn of a model whose accumulated batches the plain trainer adds up."""
    warn_caller(
        f"{type(model).__name__} returns the mean of a batch, and the plain trainer "
        f"adds up those of a step's {batches} batches; here a step has their mean, "
        f"and a gradient {batches} times smaller: SGD and `max_grad_norm` notice, "
        "Adam hardly does"
    )


def own_lengths(sampler: Any) -> list[int]:
    """Return the lengths that the trainer's own sampler has found."""
    if not hasattr(sampler, "lengths"):
        msg = (
            f"the trainer's sampler must know `lengths` for {BY_LENGTH!r}, got "
            f"{type(sampler).__name__}; give them as ted={{'lengths': ...}}"
        )
        raise TypeError(msg)
    return list(sampler.lengths)


def own_batches(loader: DataLoader[Any], n: int) -> Any:
    """Return the trainer's own batch sampler, without Accelerate's around it."""
    batches: Any = loader.batch_sampler
    while hasattr(batches, "batch_sampler"):
        batches = batches.batch_sampler
    sampler = getattr(batches, "sampler", None)
    made = isinstance(batches, BatchSampler)
    if made and type(batches).__iter__ != BatchSampler.__iter__:
        msg = (
            "the trainer's batches must be made by its own BatchSampler, got "
            f"{type(batches).__name__}, which would be replaced; TED chooses the "
            f"samples and their order, with train_sampling_strategy={BY_LENGTH!r} in "
            "batches of like lengths"
        )
        raise TypeError(msg)
    if not isinstance(sampler, RandomSampler):
        msg = (
            "the trainer's sampler must be its own random one, got "
            f"{type(sampler or batches).__name__}; TED chooses the samples and their "
            "order"
        )
        raise TypeError(msg)
    size = len(loader.dataset)  # type: ignore[arg-type]
    if size != n:
        msg = f"`train_dataset` must keep its {n} samples, got {size}"
        raise ValueError(msg)
    return batches


def check_signal(labels: str, config: RunConfig) -> None:
    """Refuse a signal of classes for a model without one class a sample."""
    ranked = config.strategy.uses_scores
    if ranked and config.signal not in {"mask_gradient", "loss"}:
        msg = config.no_classes(f"a model of {labels}")
        msg += ", or override `sample_losses`"
        raise ValueError(msg)


def warn_of_regression(model: Any, config: RunConfig) -> None:
    """Warn of the mask gradient at the output of a model that predicts numbers."""
    if not config.strategy.uses_scores or config.signal != "mask_gradient":
        return
    # As the model itself tells a regression before it has seen labels.
    settings = getattr(model, "config", None)
    problem = getattr(settings, "problem_type", None)
    one_output = problem is None and getattr(settings, "num_labels", 0) == 1
    if problem == "regression" or one_output:
        warn_caller(
            "the mask gradient at the output of a regression is 2 z (z - y), low for "
            "each prediction near 0: take ted={'method': 'ted_loss', ...}, or override "
            "`sample_losses` with another site"
        )
