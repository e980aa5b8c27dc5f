from __future__ import annotations

import os

import keras_processes
import pytest

# Keras reads these once, when it is first imported.
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(scope="module", autouse=True)
def other_backends(request):
    """Start the processes that a module reads before its first test reads one."""
    wanted = {}
    for item in request.session.items:
        params = getattr(getattr(item, "callspec", None), "params", {})
        if item.path == request.path and params.get("group") in keras_processes.GROUPS:
            wanted.setdefault(params["group"], set()).add(params["name"])
    for group, names in wanted.items():
        keras_processes.start(group, sorted(names))
    yield
    keras_processes.stop()
