from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent
# The harness compares methods at the batch size of a record, with remainders of one.
SINGLE = pytest.mark.filterwarnings("ignore:`batch_size` of:ted_core.errors.TedWarning")


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(SINGLE)
