"""Trainers and loaders of Lightning that a session can't go with."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Trainer

from ted_core import EpochError
from ted_torch.integrations._lightning_loaders import EpochSampler

__all__ = ["check_loader", "check_trainer"]

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
_FEWEST_EPOCHS = 2


def check_trainer(trainer: Trainer) -> int:
    """Refuse a trainer that would not train whole epochs, each of its length.

    Parameters
    ----------
    trainer : lightning.pytorch.Trainer
        The trainer.

    Returns
    -------
    int
        Its epochs.

    Raises
    ------
    ValueError
        An argument of the trainer does not fit, by name.
    """
    for name, needed, remedy in _NEEDED:
        found = getattr(trainer, name)
        # `limit_train_batches=1` is one batch, 1.0 all of them.
        if found != needed or type(found) is not type(needed):
            msg = f"`{name}` of the trainer must be {needed}, got {found}; {remedy}"
            raise ValueError(msg)
    epochs = trainer.max_epochs
    if epochs is None or epochs < _FEWEST_EPOCHS:
        msg = (
            f"`max_epochs` of the trainer must be at least {_FEWEST_EPOCHS}, got "
            f"{epochs}; the schedule is planned over the whole run"
        )
        raise ValueError(msg)
    return epochs


def check_loader(loader: Any, sampler: EpochSampler) -> None:
    """Refuse another loader than one around the callback's sampler.

    Parameters
    ----------
    loader : object
        What the trainer trains with.
    sampler : EpochSampler
        The callback's.

    Raises
    ------
    EpochError
        The loader has another sampler, or there are several loaders.
    """
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
