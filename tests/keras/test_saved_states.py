"""States that an earlier version wrote are loaded, and their runs go on as they did."""

from __future__ import annotations

import pytest
import saved_keras
from saved_runs import FOLDER, read, same
from saved_states import KERAS


@pytest.mark.parametrize("name", KERAS)
def test_a_fit_goes_on_from_the_state_of_an_earlier_version(name, tmp_path):
    found = saved_keras.resumed(f"keras/{name}", KERAS[name], tmp_path)
    same(found, read(f"keras/{name}"), rtol=1e-6)


def test_each_kind_has_its_files_and_no_file_is_without_a_kind():
    for suffix in ("npz", "json"):
        there = {path.stem for path in (FOLDER / "keras").glob(f"*.{suffix}")}
        assert there == KERAS.keys()
