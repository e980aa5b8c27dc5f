"""Files that the library writes: through a link, with the mode that was there."""

from __future__ import annotations

import os
import stat
import sys

import numpy as np
import pytest

import ted_core as ted

posix = pytest.mark.skipif(sys.platform == "win32", reason="links and modes of POSIX")


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@posix
def test_a_file_is_written_through_a_link_and_keeps_its_mode(tmp_path):
    (tmp_path / "disk").mkdir()
    real, link = tmp_path / "disk" / "run.ted", tmp_path / "run.ted"
    link.symlink_to(real)  # leads nowhere yet
    pruner = ted.Pruner(9, epochs=5)
    ted.save_state(link, pruner.state_dict())
    assert link.is_symlink()
    real.chmod(0o600)
    pruner.observe([3], [1.0])
    ted.save_state(link, pruner.state_dict())
    assert link.is_symlink()
    assert mode(real) == 0o600
    assert ted.load_state(real)["open.observed"] == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "disk",
        *["run.ted"] * 2,
    ]


@posix
def test_a_relative_link_leads_where_it_stands(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "latest").symlink_to("run.ted")
    monkeypatch.chdir(tmp_path)
    with ted.atomic_write("a/latest") as file:
        file.write(b"1")
    assert (tmp_path / "a" / "run.ted").read_bytes() == b"1"


@posix
def test_a_new_file_has_the_mode_of_the_process(tmp_path):
    before = os.umask(0o027)
    try:
        with ted.atomic_write(tmp_path / "new") as file:
            file.write(b"1")
    finally:
        os.umask(before)
    assert mode(tmp_path / "new") == 0o640


@posix
def test_a_failed_write_through_a_link_leaves_both_as_they_were(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"old")
    link.symlink_to(real)
    with pytest.raises(TypeError), ted.atomic_write(link) as file:
        file.write(b"half" + 1)
    assert link.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]


@pytest.mark.parametrize("path", [b"run.ted", None, 3])
def test_what_is_no_path_is_refused_by_name(path):
    named = r"`path` must be a str or a path, got "
    with pytest.raises(TypeError, match=named):
        ted.save_state(path, {"a": np.zeros(1)})
    with pytest.raises(TypeError, match=named):
        ted.load_state(path)
    with pytest.raises(TypeError, match=named), ted.atomic_write(path):
        pass
