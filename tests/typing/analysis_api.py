"""The exact types of the analysis: read by the type checkers, never run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_type

import numpy as np
from numpy.typing import NDArray
from ted_torch import analysis as torch_analysis
from torch import Tensor, nn
from torch.utils.data import Dataset

import ted_core
from ted_core import analysis

Floats = NDArray[np.float64]


def plain_functions_take_arrays(losses: Floats, kept: NDArray[np.bool_]) -> None:
    parts = analysis.split_losses(losses, kept, quantiles=[0.5])
    assert_type(parts, analysis.SplitLosses)
    assert_type(parts.retained, analysis.LossSummary)
    assert_type(parts.pruned.mean, Floats)
    assert_type(parts.pruned.count, NDArray[np.int64])
    assert_type(parts.gap, Floats)
    assert_type(analysis.gradient_correlation(losses, losses), Floats)
    line = analysis.interpolate(losses, losses, [0, 1])
    assert_type(line, Iterator[Floats])
    found = analysis.loss_along(lambda theta: theta.sum(), losses, losses, [0.5])
    assert_type(found, Floats)


def schedules_are_the_cores() -> None:
    schedule = analysis.prune_from(3, 40, sessions=4, prune_ratio=0.5)
    assert_type(schedule, ted_core.Constant)
    totals = analysis.forwarded_samples(schedule, 40, 1000, multiple_of=8)
    assert_type(totals, NDArray[np.int64])


def a_network_becomes_arrays(model: nn.Module, data: Dataset[Tensor]) -> None:
    def loss(z: Tensor, y: Tensor) -> Tensor:
        return (z - y) ** 2

    assert_type(torch_analysis.sample_losses(model, data, loss), Floats)
    assert_type(torch_analysis.flat_gradient(model, data, loss, batch_size=8), Floats)
    theta = assert_type(torch_analysis.flat_weights(model), Floats)
    torch_analysis.load_flat_weights(model, theta)
