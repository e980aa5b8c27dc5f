from __future__ import annotations

import os

import keras_processes
import pytest

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(scope="module", autouse=True)
def other_backends():
    """End the processes that a test has started."""
    yield
    keras_processes.stop()
