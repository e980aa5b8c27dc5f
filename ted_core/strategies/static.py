"""A ranking that never changes: static pruning, TEDS among it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ted_core._scores import ScoreTable
from ted_core._validation import as_array, check_real
from ted_core.checkpoint import current_state, plain_field, pruner_state, saved_kind
from ted_core.errors import CheckpointError
from ted_core.reductions import Reduction
from ted_core.strategies.base import Floored, Labels, Request, Selection, keep_highest
from ted_core.typing import Scores

__all__ = ["Static"]


class Static(Floored):
    r"""Keep the highest of given scores, the same in every epoch.

    With the scores of a finished run this is TEDS, TED with a surrogate; with EL2N or
    gradient norms averaged over runs it is EL2N-20 or GraNd-4; ``ted_core.rankings``
    makes others from the last layer of a trained model. ``Constant(s, anneal=0)``
    prunes the same samples in all epochs.

    Parameters
    ----------
    scores : array_like of float, shape (n,)
        Score of each sample, high is kept; no NaN. It is copied as float32.
    class_floor : float, default 0
        Least share of each class that every epoch keeps, in [0, 1]. Needs ``labels``.

    Raises
    ------
    ValueError, TypeError
        `scores` is not one-dimensional, is empty, is not real or holds NaN, or
        `class_floor` is out of range; and from the pruner: it has another number of
        samples, or see :class:`TopScore`.

    Notes
    -----
    Needs no values in the run; those observed are kept for the reports. Ties are
    broken by (seed, id), in every epoch alike. Two are equal, and their states load
    into each other, if their checksums, CRC-32 of the scores as little-endian float32,
    are. O(n), 4 bytes a sample.

    References
    ----------
    TED, ECAI 2024, Section 4.4, Table 7 (TEDS).
    M. Paul et al., Deep learning on a data diet, NeurIPS 2021 (EL2N, GraNd).

    Examples
    --------
    >>> import ted_core
    >>> static = ted_core.Static([0.1, 0.9, 0.5, 0.7])
    >>> static
    Static(n=4, checksum=0x0921b134, class_floor=0.0)
    >>> half = ted_core.Constant(0.5, anneal=0)
    >>> pruner = ted_core.Pruner(4, epochs=5, schedule=half, strategy=static)
    >>> pruner.plan().kept.tolist()
    [1, 3]
    """

    uses_scores = False

    def __init__(self, scores: ArrayLike, *, class_floor: float = 0.0) -> None:
        self._scores = _as_scores(scores)
        self.class_floor = check_real("class_floor", class_floor, low=0, high=1)
        little = self._scores.astype("<f4", copy=False)
        self._checksum = zlib.crc32(little.tobytes())

    @property
    def scores(self) -> Scores:
        """Score of each sample, float32, shape (n,), read-only."""
        return self._scores

    @classmethod
    def from_state(
        cls, state: Mapping[str, Any], *, class_floor: float = 0.0
    ) -> Static:
        """Rank by the scores of another run: TEDS with those of a finished TED run.

        Parameters
        ----------
        state : mapping
            ``Pruner.state_dict()``, or :func:`ted_core.load_state` of a file, taken
            between two epochs or after ``finish()``; or a ``ted_torch`` session's.
        class_floor : float, default 0
            Least share of each class that every epoch keeps, in [0, 1].

        Returns
        -------
        Static
            Ranks by that run's scores (by mu of :class:`UCB`): a sample never seen
            above all others, one without a valid value at the median, one of weight 0
            below all.

        Raises
        ------
        TypeError
            `state` is no mapping.
        CheckpointError
            It is no pruner's state or damaged, an epoch is open, or its reduction is
            not registered; see :func:`ted_core.register_kind`.

        Examples
        --------
        >>> import ted_core
        >>> surrogate = ted_core.Pruner(3, epochs=5)
        >>> surrogate.observe([0, 1, 2], [1.0, 3.0, 2.0])
        >>> surrogate.advance()
        >>> ted_core.Static.from_state(surrogate.state_dict()).scores.tolist()
        [1.0, 3.0, 2.0]
        """
        state = current_state(pruner_state(state))
        observed = plain_field(state, "open.observed", int)
        if observed:
            msg = (
                f"`state` must be taken between two epochs, got {observed} observations"
                " of an open one; call `finish()` before `state_dict()`"
            )
            raise CheckpointError(msg)
        reduction = saved_kind(state, "reduction")
        if not isinstance(reduction, Reduction):
            msg = f"`reduction.kind` must be a Reduction, saved {reduction!r}"
            raise CheckpointError(msg)
        table = ScoreTable(plain_field(state, "n", int), reduction=reduction)
        return cls(table.of_state(state).ranking(), class_floor=class_floor)

    def state_fields(self) -> dict[str, Any]:
        """Return what a state holds: not the scores, but their checksum."""
        return {
            "n": self._scores.size,
            "checksum": self._checksum,
            "class_floor": self.class_floor,
        }

    def __repr__(self) -> str:
        """Return the number of samples and the checksum of their scores as text."""
        return (
            f"Static(n={self._scores.size}, checksum={self._checksum:#010x}, "
            f"class_floor={self.class_floor!r})"
        )

    def __eq__(self, other: object) -> bool:
        """Return whether both rank alike."""
        if not isinstance(other, Static):
            return NotImplemented
        return repr(self) == repr(other)

    def __hash__(self) -> int:
        """Hash the checksum."""
        return hash(repr(self))

    def check(self, n: int, smallest: int, labels: Labels | None) -> None:
        """Refuse another number of samples, and floors above the smallest epoch."""
        if self._scores.size != n:
            msg = f"`strategy` must rank {n} samples, got {self!r}"
            raise ValueError(msg)
        super().check(n, smallest, labels)

    def select(self, request: Request) -> Selection:
        """Return the ids of the highest scores."""
        keys = self._scores
        return Selection(keep_highest(keys, request, floor=self.class_floor, epoch=0))


def _as_scores(scores: ArrayLike) -> Scores:
    array = as_array("scores", scores, kinds="fiu")
    if array.ndim != 1 or array.size == 0:
        msg = f"`scores` must have shape (n,) with n at least 1, got {array.shape}"
        raise ValueError(msg)
    with np.errstate(over="ignore"):
        ranking: Scores = array.astype(np.float32) + np.float32(0)
    if np.isnan(ranking).any():
        at = int(np.flatnonzero(np.isnan(ranking))[0])
        msg = f"`scores` must not hold NaN, got NaN at {at}; give such samples a rank"
        raise ValueError(msg)
    ranking.setflags(write=False)
    return ranking
