"""The sign that keeping the hardest samples will not pay."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ted_core as ted
from ted_core.reports.early_warning import LOSS_LEFT

LOSSES = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=40)


def alarm(losses, epochs):
    """Say it in the words of the rule, epoch by epoch."""
    for epoch, loss in enumerate(losses):
        if epoch == max(1, epochs // 8):
            return loss / losses[0] > LOSS_LEFT
    return False


@given(losses=LOSSES, epochs=st.integers(2, 400))
def test_it_compares_one_epoch_with_the_first_and_warns_once(losses, epochs):
    spoken = []
    for end in range(1, len(losses) + 1):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = ted.early_warning(losses[:end], epochs=epochs)
        assert found == alarm(losses[:end], epochs)
        spoken += caught
    assert len(spoken) == alarm(losses, epochs)
    assert all(issubclass(each.category, ted.TedWarning) for each in spoken)


@given(losses=LOSSES, factor=st.sampled_from([0.25, 2.0, 1024.0]))
def test_the_unit_of_the_loss_does_not_matter(losses, factor):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scaled = ted.early_warning([factor * loss for loss in losses], epochs=20)
        assert scaled == ted.early_warning(losses, epochs=20)


@pytest.mark.parametrize(
    ("losses", "epochs", "words"),
    [
        ([], 8, "at least one epoch, got float64 of shape"),
        ([[1.0]], 8, "shape \\(1, 1\\)"),
        (["a"], 8, "at least one epoch"),
        ([1.0, float("nan")], 8, "above 0, got nan at 1"),
        ([0.0], 8, "above 0, got 0.0 at 0"),
        ([1.0], 1, "`epochs`"),
    ],
)
def test_what_is_no_loss_is_refused(losses, epochs, words):
    with pytest.raises(ValueError, match=words):
        ted.early_warning(losses, epochs=epochs)
