"""A file that can't be written to its end, by the kernel's own refusal."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import full_disk
import pytest

import ted_core as ted


@pytest.mark.parametrize("most", [1, 5_000, 100_000])
def test_a_file_that_may_not_grow_leaves_the_older_one_whole(tmp_path, most):
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, full_disk.__file__, str(tmp_path), "core", str(most)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    found = json.loads(done.stdout)
    assert found == {"error": "OSError", "older file whole": True, "other files": []}
    assert ted.load_state(tmp_path / "state")["n"] == 50


def test_an_error_in_the_block_leaves_the_older_file_and_no_other(tmp_path):
    path = tmp_path / "run.pt"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), ted.atomic_write(path) as file:
        file.writelines([b"new", "no bytes"])
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["run.pt"]


def test_the_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "run.pt"
    with ted.atomic_write(str(path)) as file:
        file.write(b"new")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == b"new"
