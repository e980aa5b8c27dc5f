"""Hypothesis strategies for the library's own values."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from ted_core.reductions import Last, Mean, Polyak
from ted_core.schedules import Constant, Cosine, Linear, RollerCoaster, Schedule
from ted_core.signals import SIGNALS
from ted_core.strategies import (
    UCB,
    EpsilonGreedy,
    Importance,
    Random,
    SoftTop,
    TopScore,
)

__all__ = ["run_options", "schedules", "values"]


def schedules() -> st.SearchStrategy[Schedule]:
    """Return a strategy for schedules of every kind."""
    common: dict[str, Any] = {
        "prune_ratio": st.floats(0, 0.99),
        "anneal": st.floats(0, 0.5),
        "horizon": st.sampled_from(["all", "pruning"]),
        "warmup": st.integers(0, 3),
    }
    roller = st.builds(RollerCoaster, beta=st.floats(0.05, 3), **common)
    others = [st.builds(kind, **common) for kind in (Linear, Cosine, Constant)]
    return st.one_of(roller, *others)


def run_options() -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for keyword arguments of a :class:`ted_core.Pruner`.

    ``epochs`` is among them; the counts of the runs are known.
    """
    common = st.fixed_dictionaries(
        {
            "epochs": st.integers(5, 9),
            "schedule": schedules(),
            "seed": st.integers(0, 2**64 - 1),
            "multiple_of": st.integers(1, 4),
            "scale_loss": st.booleans(),
        }
    )
    free = st.fixed_dictionaries(
        {
            "strategy": st.one_of(
                st.sampled_from([TopScore(), Random(), Random(balanced=True)]),
                st.builds(EpsilonGreedy, epsilon=st.floats(0, 1)),
                st.builds(SoftTop, sharpness=st.floats(0, 100)),
                st.builds(Importance, mix=st.floats(0, 1), correction=st.floats(0, 1)),
            ),
            "reduction": st.sampled_from([Polyak(), Last(), Mean()]),
            "signal": st.sampled_from(sorted(set(SIGNALS) - {"forgetting"})),
        }
    )
    bounded = st.fixed_dictionaries(
        {
            "strategy": st.builds(
                UCB,
                confidence=st.floats(0, 100),
                bonus=st.sampled_from(["variance", "deviation"]),
            )
        }
    )
    counted = st.just({"strategy": TopScore(), "signal": "forgetting"})
    return st.builds(
        lambda options, pair: {**options, **pair},
        common,
        st.one_of(free, bounded, counted),
    )


def values(n: int) -> st.SearchStrategy[NDArray[np.float32]]:
    """Return a strategy for one epoch's values, finite, at least 0 and with ties.

    Parameters
    ----------
    n : int
        Samples: the values are float32 of shape (n,).
    """
    numbers = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1e3, width=32))
    return arrays(np.float32, n, elements=numbers)
