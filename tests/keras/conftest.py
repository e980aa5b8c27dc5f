from __future__ import annotations

import os

# Keras reads these once, when it is first imported.
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def pytest_collection_finish(session):
    """Start the processes of the other backends; they run beside the first tests."""
    from keras_processes import GROUPS, start  # noqa: PLC0415 - Keras only where it is tested

    wanted = {}
    for item in session.items:
        group = getattr(getattr(item, "callspec", None), "params", {}).get("group")
        if group in GROUPS:
            wanted.setdefault(group, []).append(item.callspec.params["name"])
    for group, names in wanted.items():
        start(group, sorted(set(names)))
