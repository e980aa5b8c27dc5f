"""What a framework's progress bar and logger show of a run."""

from __future__ import annotations

from ted_core._validation import check_kind
from ted_core.pruner import Pruner

__all__ = ["run_metrics"]

METRICS = "ted/keep_ratio", "ted/samples_saved", "ted/nonfinite_dropped"
"""Names of `run_metrics`, for a framework that asks for them before a run."""

TOKENS_SAVED = "ted/tokens_saved"
"""Name of the one that a run with lengths has beside them."""


def run_metrics(pruner: Pruner) -> dict[str, float]:
    """Return a run's numbers for a logger, as plain floats by name.

    In a loop of your own close the epoch first, by ``ted.close_epoch()`` of a session
    or by :meth:`Pruner.advance`.

    Parameters
    ----------
    pruner : Pruner
        The run.

    Returns
    -------
    dict of str to float
        ``ted/keep_ratio``, the share of the data that the epoch kept: the one that
        closed last, or the open one as soon as it is planned (0 before any);
        ``ted/samples_saved``, the share of full training's forward passes that the
        closed epochs saved, counted (Eq. 24); and ``ted/nonfinite_dropped``, how many
        values they dropped as not finite; with `lengths` ``ted/tokens_saved``, the
        share of full training's tokens. With a shard all are this process's, and
        ``ted/imbalance`` is the share of samples that the processes repeat to keep in
        step.

    Raises
    ------
    TypeError
        `pruner` is no Pruner.

    Notes
    -----
    O(epochs), on each process by itself. Source: TED, ECAI 2024, Eq. 24.

    Examples
    --------
    >>> from ted_core import Pruner, run_metrics
    >>> pruner = Pruner(1000, epochs=10, prune_ratio=0.7)
    >>> pruner.observe(pruner.plan().order, pruner.plan().order)
    >>> pruner.advance()
    >>> run_metrics(pruner)
    {'ted/keep_ratio': 1.0, 'ted/samples_saved': 0.0, 'ted/nonfinite_dropped': 0.0}
    """
    check_kind("pruner", pruner, Pruner)
    savings = pruner.savings()
    # Of the epoch that closed last, or of the open one once it is planned.
    kept, imbalance = pruner._last_kept, pruner._imbalance  # noqa: SLF001 - our core
    if pruner.planned and not pruner.finished:
        kept, imbalance = pruner.plan().keep_fraction, pruner.plan().imbalance
    numbers = kept, savings.ratio, float(pruner.nonfinite_dropped)
    metrics = dict(zip(METRICS, numbers, strict=True))
    if savings.tokens is not None:
        metrics[TOKENS_SAVED] = savings.tokens.ratio
    if pruner.config.shard is not None:
        metrics["ted/imbalance"] = imbalance
    return metrics
