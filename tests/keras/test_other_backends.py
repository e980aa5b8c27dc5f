"""The checks that hold on every backend, each backend in a process of its own."""

from __future__ import annotations

import pytest
from keras_checks.runner import checks
from keras_processes import result

# Keras has one step an execution on PyTorch, and compiles it for minutes.
NOT_ON_TORCH = ("compiling.",)

ALL = list(checks())
GRID = list(checks(["grid"]))
REPLICAS = list(checks(["replicas"]))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("group", ["jax"])
def test_jax(group, name):
    result(group, name)


@pytest.mark.parametrize("name", [x for x in ALL if not x.startswith(NOT_ON_TORCH)])
@pytest.mark.parametrize("group", ["torch"])
def test_pytorch(group, name):
    result(group, name)


# Where a step that is not compiled is quickest.
@pytest.mark.parametrize("name", GRID)
@pytest.mark.parametrize("group", ["torch"])
def test_the_grid(group, name):
    result(group, name)


@pytest.mark.parametrize("name", REPLICAS)
@pytest.mark.parametrize("group", ["replicas"])
def test_two_replicas(group, name):
    result(group, name)
