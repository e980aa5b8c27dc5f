"""Backups of other numbers of epochs, and those of which a half is missing."""

from __future__ import annotations

import re
import shutil

import keras
import numpy as np
import pytest
from keras_checks.common import (
    EPOCHS,
    KillAfter,
    KilledError,
    compiled,
    fit,
    network,
    session,
)

from ted_core import CheckpointError, EpochError, TedWarning


def begin(folder, *, keep=False, **options):
    """Return a new session and its model, and Keras' callback beside it."""
    model = compiled(network())
    ted = session(model, backup=folder / "ted.npz", **options)
    kept = keras.callbacks.BackupAndRestore(
        folder / "keras", delete_checkpoint=not keep
    )
    return ted, model, kept


def killed(folder, epoch=3):
    ted, model, kept = begin(folder)
    with pytest.raises(KilledError), ted:
        fit(ted, model, kept, KillAfter(epoch))


@pytest.mark.parametrize("ran", [4, EPOCHS])
def test_a_backup_goes_on_to_another_number_of_epochs_if_allowed(tmp_path, ran):
    killed(tmp_path, ran - 1)
    ted, model, kept = begin(tmp_path, epochs=EPOCHS + 2)
    with pytest.raises(CheckpointError, match=r"`allow=\('epochs',\)` lets a run"), ted:
        fit(ted, model, kept)
    ted, model, kept = begin(tmp_path, epochs=EPOCHS + 2, allow=("epochs",))
    assert len(fit(ted, model, kept).epoch) == EPOCHS + 2 - ran
    assert ted.report().planned.size == EPOCHS + 2
    assert int(model.optimizer.iterations) == ted.total_steps
    assert not list(tmp_path.iterdir())


def decaying(model, steps):
    """Compile a model with a rate that ends after so many steps."""
    compiled(model, keras.optimizers.schedules.CosineDecay(0.1, steps))


def test_a_rate_is_held_against_the_steps_of_the_run_that_a_backup_goes_on_to(
    tmp_path,
):
    ted, model, kept = begin(tmp_path)
    decaying(model, ted.total_steps)
    with pytest.raises(KilledError), ted:
        fit(ted, model, kept, KillAfter(3))
    ted, model, kept = begin(tmp_path, epochs=EPOCHS + 2, allow=("epochs",))
    planned = ted.total_steps  # of a run that is not resumed
    decaying(model, planned)
    with pytest.warns(TedWarning, match=rf"run after \d+ steps, got {planned}") as said:
        fit(ted, model, kept)
    assert ted.total_steps != planned
    (rate,) = (str(one.message) for one in said if "rate's CosineDecay" in str(one))
    assert f"after {ted.total_steps} steps" in rate


def test_a_finished_run_is_made_longer_where_keras_keeps_its_backup(tmp_path):
    ted, model, kept = begin(tmp_path, keep=True)
    fit(ted, model, kept)
    again, model, kept = begin(tmp_path, keep=True)
    assert fit(again, model, kept).epoch == []
    np.testing.assert_array_equal(again.pruner.scores, ted.pruner.scores)
    more, model, kept = begin(tmp_path, epochs=EPOCHS + 2, allow=("epochs",))
    assert fit(more, model, kept).epoch == [EPOCHS, EPOCHS + 1]


def test_a_backup_without_the_models_is_named_before_it_is_written_over(tmp_path):
    killed(tmp_path)
    shutil.rmtree(tmp_path / "keras")
    ted, model, kept = begin(tmp_path)
    said = (
        rf"`backup` should hold epoch 0.*got epoch 4 in '{tmp_path}/ted\.npz': the "
        rf"training begins anew, .* put the model's backup '{tmp_path}/keras' back"
    )
    with pytest.warns(TedWarning, match=said) as found:
        fit(ted, model, kept)
    assert ted.report().planned.size == EPOCHS
    assert "if there was one" not in str(found[0].message)


def test_a_kill_at_the_first_epochs_end_leaves_no_backup_of_the_model(tmp_path):
    # Ours is written first, and Keras' not at all.
    ted, model, kept = begin(tmp_path)
    with pytest.raises(KilledError), ted:
        fit(ted, model, KillAfter(0), kept)
    ted, model, kept = begin(tmp_path)
    said = "put the model's backup .* back, if there was one: a kill at the first"
    with pytest.warns(TedWarning, match=said):
        fit(ted, model, kept)
    straight, other = session(model := compiled(network())), model
    fit(straight, other)
    np.testing.assert_array_equal(ted.pruner.scores, straight.pruner.scores)


@pytest.mark.parametrize("ran", [4, EPOCHS])
def test_a_models_backup_without_the_sessions_names_the_missing_file(tmp_path, ran):
    killed(tmp_path, ran - 1)
    for path in tmp_path.glob("ted.npz*"):
        path.unlink()
    ted, model, kept = begin(tmp_path)
    said = re.escape(
        f"`backup` must hold epoch {ran}, at which the model goes on, got no file "
        f"'{tmp_path}/ted.npz'; put that of the session back, or delete the model's "
        f"backup '{tmp_path}/keras' and begin anew"
    )
    with pytest.raises(EpochError, match=said), ted:
        fit(ted, model, kept)
    assert (tmp_path / "keras").exists()
