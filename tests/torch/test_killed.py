"""Killed at drawn moments and resumed, a training ends as if nothing had been."""

from __future__ import annotations

import pytest
from killed import trials


@pytest.mark.parametrize(("host", "kills"), [("torch", 6), ("ranks", 3)])
def test_a_killed_training_ends_as_the_one_never_stopped(host, kills):
    found = trials(host, kills, seed=1)
    assert sum(len(one["kills"]) for one in found) == kills
    assert [one["refused"] or one["differs"] for one in found] == [[]] * len(found)
    assert all(one["equal"] for one in found)
