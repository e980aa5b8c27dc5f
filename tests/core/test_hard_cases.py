"""Cases that were once wrong."""

from __future__ import annotations

import numpy as np
import pytest

import ted_core as ted
from ted_core._scores import ScoreTable


def test_numpy_numbers_are_options_like_plain_ones(tmp_path):
    plain = ted.Pruner(10, epochs=6, schedule=ted.RollerCoaster(0.5, warmup=1), seed=3)
    numpy = ted.Pruner(
        np.int64(10),
        epochs=np.int32(6),
        schedule=ted.RollerCoaster(
            np.float64(0.5), beta=np.float64(0.25), warmup=np.int64(1)
        ),
        seed=np.uint8(3),
        multiple_of=np.int64(1),
    )
    ted.save_state(tmp_path / "state.npz", numpy.state_dict())
    plain.load_state_dict(ted.load_state(tmp_path / "state.npz"))


def test_labels_are_copied():
    labels = np.arange(10) % 2
    pruner = ted.Pruner(10, epochs=6, labels=labels)
    before = pruner.state_dict()["labels"]
    labels[:] = 0
    assert pruner.state_dict()["labels"] == before


@pytest.mark.parametrize(
    "reduction", [ted.Mean(), ted.Polyak(), ted.Polyak(start="debiased")]
)
def test_huge_values_stay_finite(reduction):
    table = ScoreTable(3, reduction=reduction)
    for values in ([-3e38, 3e38], [3e38, 3e38], [3e38, -3e38]):
        table.buffer.observe([0, 1, 2], np.float32([*values, np.nan]))
        table.close()
    assert np.isfinite(table.ranking()).all()


def test_a_sum_without_a_count_is_refused():
    with pytest.raises(ValueError, match="`sums` must be 0 where `counts` is 0, got 5"):
        ScoreTable(2).buffer.observe_sums([1.0, 5.0], [1, 0])


@pytest.mark.parametrize("epochs", [5, 6, 9])
def test_epochs_change_between_two_epochs_only(epochs):
    pruner = ted.Pruner(10, epochs=8)
    for _ in range(5):
        pruner.observe(pruner.plan().order, np.ones(len(pruner.plan())))
        pruner.advance()
    pruner.observe([0], [1.0])
    other = ted.Pruner(10, epochs=epochs)
    with pytest.raises(
        ted.CheckpointError, match=r"`open.observed` must|`epochs` may change"
    ):
        other.load_state_dict(pruner.state_dict(), allow=("epochs",))


def test_an_unknown_option_is_refused_by_name():
    said = r"`prune_ration` is no option, did you mean `prune_ratio`\? The options are "
    with pytest.raises(TypeError, match=said):
        ted.Pruner(10, epochs=5, prune_ration=0.5)
