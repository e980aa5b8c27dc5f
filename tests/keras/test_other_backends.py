"""What depends on the backend, each backend in a process of its own.

The whole list of checks runs on TensorFlow, in test_checks.py.
"""

from __future__ import annotations

import pytest
from keras_checks.runner import ON_EVERY_BACKEND, checks
from keras_processes import result

ALL = list(checks(ON_EVERY_BACKEND))
GRID = list(checks(["grid"]))
REPLICAS = list(checks(["replicas"]))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("group", ["jax"])
def test_jax(group, name):
    result(group, name)


@pytest.mark.parametrize("name", ALL)
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
