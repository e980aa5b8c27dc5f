"""What a Hugging Face trainer must be for TED to choose its samples."""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import Mapping
from typing import Any

from torch.utils.data import DataLoader, IterableDataset, RandomSampler

from ted_core import Pruner, TedWarning
from ted_core.config import RunConfig
from ted_torch._validation import check_no_shard

_HOOKS = ("_init_training_state", "_run_epoch")
_TAKEN = ("epochs", "device", "num_replicas", "rank")


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


def check_options(ted: object) -> dict[str, Any]:
    """Return a copy of the user's options; some of them the trainer gives itself."""
    if ted is not None and not isinstance(ted, Mapping):
        msg = f"`ted` must be a mapping of options of a run, got {type(ted).__name__}"
        raise TypeError(msg)
    options = dict(ted or {})
    taken = [name for name in _TAKEN if name in options]
    if taken:
        msg = (
            f"`ted` must leave {taken[0]!r} to the trainer, got {options[taken[0]]!r}; "
            "set it in `TrainingArguments`"
        )
        raise TypeError(msg)
    check_no_shard(options, "a trainer")
    return options


def check_dataset(dataset: object) -> None:
    """Refuse a data set without a length."""
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        msg = (
            "`train_dataset` must be a map-style data set with a length, got "
            f"{type(dataset).__name__}; samples without ids can't be pruned"
        )
        raise TypeError(msg)


def check_arguments(trainer: Any) -> None:
    """Refuse arguments that leave TED no epochs, or no samples to choose."""
    args = trainer.args
    epochs = args.num_train_epochs
    for name, right, rule in (
        ("max_steps", args.max_steps <= 0, "be left out; give `num_train_epochs`"),
        ("num_train_epochs", epochs == int(epochs), "be a whole number"),
        (
            "train_sampling_strategy",
            args.train_sampling_strategy == "random",
            "be 'random'; TED chooses the samples and their order",
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
    if trainer.compute_loss_func is not None:
        msg = (
            "`compute_loss_func` must be left out, got "
            f"{trainer.compute_loss_func!r}; one number for a batch has no samples: "
            "override `sample_losses`"
        )
        raise ValueError(msg)


def check_prunes(pruner: Pruner, step: int) -> None:
    """Refuse a run that keeps every sample, for one optimizer step takes as many."""
    config = pruner.config
    min_kept, n = int(config.kept_counts.min()), config.n
    if min_kept == n and config.multiple_of > 1 and float(config.keep_ratios.min()) < 1:
        msg = (
            f"`train_dataset` must hold more samples than an optimizer step of {step} "
            f"for any to be left out, got {n}; take smaller batches, or "
            "`ted={'multiple_of': 1}`"
        )
        raise ValueError(msg)


def own_batches(loader: DataLoader[Any], n: int) -> Any:
    """Return the trainer's own batch sampler, without Accelerate's around it."""
    batches: Any = loader.batch_sampler
    while hasattr(batches, "batch_sampler"):
        batches = batches.batch_sampler
    sampler = getattr(batches, "sampler", None)
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
        msg = (
            f"`signal` must be 'mask_gradient' or 'loss' for a model of {labels}, got "
            f"{config.signal!r}; override `sample_losses`"
        )
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
        msg = (
            "the mask gradient at the output of a regression is 2 z (z - y), low for "
            "each prediction near 0: take ted={'signal': 'loss', ...}, or override "
            "`sample_losses` with another site"
        )
        warnings.warn(msg, TedWarning, stacklevel=3)
