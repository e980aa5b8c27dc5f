"""What a framework's progress bar and logger show of a run."""

from __future__ import annotations

from ted_core._validation import check_kind
from ted_core.pruner import Pruner

__all__ = ["run_metrics"]


def run_metrics(pruner: Pruner) -> dict[str, float]:
    """Return a run's numbers for a logger, as plain floats by name.

    Parameters
    ----------
    pruner : Pruner
        The run.

    Returns
    -------
    dict of str to float
        ``ted/keep_ratio``, the share of the data that the current epoch keeps, or the
        last one did (0 if none was trained); ``ted/samples_saved``, the share of full
        training's forward passes that the closed epochs saved, counted (Eq. 24); and
        ``ted/nonfinite_dropped``, how many values they dropped as not finite; with
        `lengths` ``ted/tokens_saved``, the share of full training's tokens. With a
        shard all are this process's, and ``ted/imbalance`` is the share of samples that
        the processes repeat to keep in step.

    Raises
    ------
    TypeError
        `pruner` is no Pruner.

    Notes
    -----
    O(1) in the samples once the epoch is planned; nothing is read from a device.
    Source: TED, ECAI 2024, Eq. 24.

    Examples
    --------
    >>> from ted_core import Pruner, run_metrics
    >>> run_metrics(Pruner(1000, epochs=10, prune_ratio=0.7))
    {'ted/keep_ratio': 1.0, 'ted/samples_saved': 0.0, 'ted/nonfinite_dropped': 0.0}
    """
    check_kind("pruner", pruner, Pruner)
    alone = pruner.config.layout.shares_order  # else all processes plan together
    if pruner.finished or not (alone or pruner.planned):
        planned = pruner.report().planned
        kept = float(planned[-1]) / pruner.n if planned.size else 0.0
    else:
        kept = pruner.plan().keep_fraction
    metrics = {"ted/keep_ratio": kept} | closed_metrics(pruner)
    if not alone and pruner.planned:
        metrics["ted/imbalance"] = pruner.plan().imbalance
    return metrics


def closed_metrics(pruner: Pruner) -> dict[str, float]:
    """Return those of `run_metrics` that closing an epoch changes."""
    savings = pruner.savings()
    metrics = {
        "ted/samples_saved": savings.ratio,
        "ted/nonfinite_dropped": float(pruner.nonfinite_dropped),
    }
    if savings.tokens is not None:
        metrics["ted/tokens_saved"] = savings.tokens.ratio
    return metrics
