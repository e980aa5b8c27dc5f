"""Which signals rank the samples of a Hugging Face model, by what its labels are."""

from __future__ import annotations

import warnings

from ted_core import TedWarning
from ted_core.config import RunConfig

__all__ = ["check_signal", "warn_numbers"]


def check_signal(labels: str, config: RunConfig) -> None:
    """Refuse a signal of classes for a model without one class a sample.

    Parameters
    ----------
    labels : str
        What the model has instead.
    config : RunConfig
        The run.

    Raises
    ------
    ValueError
        The signal has no meaning for it.
    """
    ranked = config.strategy.uses_scores
    if ranked and config.signal not in {"mask_gradient", "loss"}:
        msg = (
            f"`signal` must be 'mask_gradient' or 'loss' for a model of {labels}, got "
            f"{config.signal!r}; override `sample_losses`"
        )
        raise ValueError(msg)


def warn_numbers(config: RunConfig) -> None:
    """Warn of the mask gradient at the output of a model of numbers.

    Parameters
    ----------
    config : RunConfig
        The run.

    Warns
    -----
    TedWarning
        Samples would be ranked by z (z - y): a prediction near 0 ranks low however
        wrong it is.
    """
    if config.strategy.uses_scores and config.signal == "mask_gradient":
        msg = (
            "the mask gradient at the output of a regression is 2 z (z - y), low for "
            "each prediction near 0: take ted={'signal': 'loss', ...}, or override "
            "`sample_losses` with another site"
        )
        warnings.warn(msg, TedWarning, stacklevel=4)
