"""Loss scaling for the pruned data (Eq. 23)."""

from __future__ import annotations

from ted_core._checks import check_real

__all__ = ["loss_scale"]


def loss_scale(keep_ratio: float) -> float:
    r"""Return the factor of the loss on the kept data, 1 / r_t (Eq. 23).

    Parameters
    ----------
    keep_ratio : float
        Nominal keep ratio r_t, in (0, 1].

    Returns
    -------
    float
        Factor, at least 1.

    Raises
    ------
    ValueError, TypeError
        `keep_ratio` is not a number in (0, 1].

    Notes
    -----
    Optimisers that ignore the loss's scale (Adam, AdamW, LARS, LAMB) do not see a
    constant one; under SGD it multiplies the step, up to 1 / (1 - s).

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Eq. 23.

    Examples
    --------
    >>> from ted_core import loss_scale
    >>> loss_scale(0.5)
    2.0
    """
    return 1.0 / check_real("keep_ratio", keep_ratio, low=0, high=1, closed="right")
