"""DeepFool of a linear head: how far a feature is from another class."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ted_core.strategies.rankings._shared import check_logits, check_matrix, row_blocks
from ted_core.typing import Scores

__all__ = ["deepfool"]


def deepfool(logits: ArrayLike, weights: ArrayLike) -> Scores:
    r"""Rank by the distance to the decision boundary, the nearest first.

    The head z = W h + b decides for class a with the highest logit. The least move of
    the feature h that changes this has the length
    ``min_j (z_a - z_j) / |w_a - w_j|``.

    Parameters
    ----------
    logits : array_like of float, shape (n, C)
        Logits z of all samples, taken as float32.
    weights : array_like of float, shape (C, D)
        Rows w_j of the last layer, taken as float32.

    Returns
    -------
    ndarray of float32, shape (n,)
        The distance with a minus, at most 0, for :class:`ted_core.Static`; ``-inf``
        where no other class has another row.

    Raises
    ------
    ValueError, TypeError
        An array has another shape, is empty, is not real or not finite in float32.

    Notes
    -----
    Exact, for the boundary of a linear head is made of planes. The label plays no part.
    O(n C + C^2 D), in scratch space of blocks of samples and two copies of `weights`.

    References
    ----------
    M. Ducoffe, F. Precioso, Adversarial active learning for deep networks: a margin
    based approach, 2018. S.-M. Moosavi-Dezfooli et al., DeepFool, CVPR 2016, Sec. 3.
    A row of Tables 1 and 2 of J. Xiao, P. Li, J. Nie, TED, ECAI 2024.

    Examples
    --------
    >>> from ted_core.strategies.rankings import deepfool
    >>> deepfool([[5.0, 0.0], [0.0, 2.5]], [[3.0, 0.0], [0.0, 4.0]]).tolist()
    [-1.0, -0.5]
    """
    z = check_logits("logits", logits)
    w = check_matrix("weights", weights, (z.shape[1], "D")).astype(np.float64)
    apart = np.stack([np.linalg.norm(w - row, axis=1) for row in w])
    scores = np.empty(len(z), np.float32)
    for part in row_blocks(*z.shape):
        some = z[part].astype(np.float64)
        best = some.argmax(axis=1)
        rows = np.arange(len(some))
        lead = some[rows, best][:, None] - some
        # Without a lead it is 0, whatever the rows; behind an equal row it is far.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            distance = np.where(lead == 0, 0.0, lead / apart[best])
            distance[rows, best] = np.inf
            scores[part] = -distance.min(axis=1)
    return scores
