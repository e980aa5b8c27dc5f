"""Killed at random moments and resumed, a fit ends as if nothing had been."""

from __future__ import annotations

from keras_checks.adapter import KerasAdapter
from killed import trials

from ted_core.testing import check_resume


def test_a_killed_fit_ends_as_the_one_never_stopped():
    found = trials("keras", 2, seed=1)
    assert sum(len(one["kills"]) for one in found) == 2
    assert [one["refused"] or one["differs"] for one in found] == [[]] * len(found)
    assert all(one["equal"] for one in found)


def test_a_fit_saved_at_any_step_goes_on_as_the_one_never_stopped():
    check_resume(KerasAdapter, every=7)
