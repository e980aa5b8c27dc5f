"""Keras' own callback for TensorBoard writes TED's numbers."""

from __future__ import annotations

import keras
import pytest
from event_files import numbers, told
from keras_checks.common import EPOCHS, compiled, fit, network, session


def test_the_callback_writes_them_once_an_epoch(tmp_path):
    model = compiled(network())
    ted = session(model)
    fit(ted, model, keras.callbacks.TensorBoard(tmp_path))
    steps, found = numbers(tmp_path / "train", prefix="epoch_")
    assert steps == list(range(EPOCHS))
    wanted = told(ted.pruner)
    assert found.keys() == wanted.keys()
    for name, values in found.items():
        assert values == pytest.approx(wanted[name], abs=1e-6)
