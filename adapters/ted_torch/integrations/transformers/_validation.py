"""What a Hugging Face trainer must be for TED to choose its samples."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import Any

from torch.utils.data import DataLoader, IterableDataset, RandomSampler

from ted_core import Pruner
from ted_torch._validation import check_no_shard

__all__ = [
    "check_arguments",
    "check_dataset",
    "check_epochs",
    "check_hooks",
    "check_options",
    "check_saves",
    "own_batches",
]

_HOOKS = ("_init_training_state", "_run_epoch")
_TAKEN = ("epochs", "device", "num_replicas", "rank")


def check_hooks(host: object) -> None:
    """Refuse a trainer that lacks a private method to override.

    Parameters
    ----------
    host : object
        The trainer as its own class has it, without TED's overrides.

    Raises
    ------
    ImportError
        The installed version of transformers has another trainer.
    """
    missing = [name for name in _HOOKS if not hasattr(host, name)]
    if missing:
        version = importlib.metadata.version("transformers")
        msg = (
            f"`transformers` must have Trainer.{missing[0]}, got version {version}; "
            "the page of the integration says which versions do"
        )
        raise ImportError(msg)


def check_options(ted: object) -> dict[str, Any]:
    """Refuse options that are no mapping, or that the trainer gives itself.

    Parameters
    ----------
    ted : mapping or None
        The user's argument.

    Returns
    -------
    dict of str to any
        A copy.
    """
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
    """Refuse a data set without a length.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        The user's.
    """
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        msg = (
            "`train_dataset` must be a map-style data set with a length, got "
            f"{type(dataset).__name__}; samples without ids can't be pruned"
        )
        raise TypeError(msg)


def check_epochs(epochs: int, planned: int) -> None:
    """Refuse another number of epochs than was planned.

    Parameters
    ----------
    epochs, planned : int
        What the trainer will run, and what the session was made for.
    """
    if epochs != planned:
        msg = (
            f"`num_train_epochs` must stay {planned}, got {epochs}; set it before the "
            "trainer is made"
        )
        raise ValueError(msg)


def check_arguments(trainer: Any) -> None:
    """Refuse a trainer whose arguments leave TED no epochs, or no samples to choose.

    Parameters
    ----------
    trainer : transformers.Trainer
        Set up by its own constructor.

    Raises
    ------
    ValueError
        By the name of the argument, with the remedy.
    """
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


def check_saves(pruner: Pruner, step: int) -> None:
    """Refuse a run that keeps every sample because one step takes as many.

    Parameters
    ----------
    pruner : Pruner
        The run.
    step : int
        Samples of one optimizer step, to whose multiple counts are rounded up.
    """
    config = pruner.config
    least, n = int(config.kept_counts.min()), config.n
    if least == n and config.multiple_of > 1 and float(config.keep_ratios.min()) < 1:
        msg = (
            f"`train_dataset` must hold more samples than an optimizer step of {step} "
            f"for any to be left out, got {n}; take smaller batches, or "
            "`ted={'multiple_of': 1}`"
        )
        raise ValueError(msg)


def own_batches(loader: DataLoader[Any], n: int) -> Any:
    """Return the batch sampler that the trainer made, without Accelerate's around it.

    Parameters
    ----------
    loader : torch.utils.data.DataLoader
        What the trainer made.
    n : int
        Samples of the run.

    Returns
    -------
    torch.utils.data.BatchSampler
        Around the trainer's own random sampler.

    Raises
    ------
    TypeError
        The sampler is the user's own.
    ValueError
        The data set has another length.
    """
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
