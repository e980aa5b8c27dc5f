"""Every check of the adapter, on TensorFlow in this process."""

from __future__ import annotations

import pytest
from keras import backend
from keras_checks.runner import checks

CHECKS = checks()


@pytest.mark.parametrize("name", CHECKS)
def test_tensorflow(name):
    assert backend.backend() == "tensorflow"
    CHECKS[name]()
