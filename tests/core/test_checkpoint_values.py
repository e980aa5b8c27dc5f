"""What a file gives back of any state, and what damage it can hide."""

from __future__ import annotations

import errno
import io
import os
import stat
import zipfile

import numpy as np
import pytest
from damaged_files import flipped, lengths
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import ted_core as ted

HEADER = {"format": "ted_core.Pruner", "version": 1}
MANY = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)
NAMES = NAMES.filter(lambda name: name not in {"file", "allow_pickle"})
DTYPES = st.one_of(
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
    hnp.boolean_dtypes(),
)
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=1, max_dims=3, min_side=0))
VALUES = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.text(st.characters(codec="utf-8")).filter(lambda s: not s.endswith("\0")),
    ARRAYS,
)


def bits(value):
    """Give a value's type and bits, so that NaN equals NaN and 0 not -0."""
    if not isinstance(value, np.ndarray):
        return type(value), repr(value)
    little = value.astype(value.dtype.newbyteorder("<"))
    return little.dtype.str, value.shape, little.tobytes()


def same(one, other):
    return list(one) == list(other) and all(bits(one[k]) == bits(other[k]) for k in one)


@MANY
@given(extra=st.dictionaries(NAMES, VALUES, max_size=5))
@example(extra={"a": 1, "a/b": 3, "..": 4})
@example(extra={"empty": "", "nul": "\0inside", "big": 2**64 - 1, "nan": float("nan")})
def test_every_state_of_plain_values_and_arrays_comes_back_bit_for_bit(tmp_path, extra):
    path = tmp_path / "state"
    state = {**HEADER, **{k: v for k, v in extra.items() if k not in HEADER}}
    ted.save_state(path, state)
    assert same(state, ted.load_state(path))


def test_arrays_are_stored_little_endian_and_uncompressed(tmp_path):
    path = tmp_path / "state"
    ted.save_state(path, {**HEADER, "a": np.arange(5, dtype=">f4")})
    assert ted.load_state(path)["a"].dtype == np.dtype("<f4")
    with zipfile.ZipFile(path) as archive:
        kinds = {member.compress_type for member in archive.infolist()}
        assert b"'<f4'" in archive.read("a.npy")
    assert kinds == {zipfile.ZIP_STORED}


def test_numpy_reads_the_file_by_itself(tmp_path):
    ted.save_state(tmp_path / "state.npz", {**HEADER, "a": np.arange(5), "n": 7})
    with np.load(tmp_path / "state.npz", allow_pickle=False) as file:
        assert file["a"].tolist() == [0, 1, 2, 3, 4]
        assert file["n"] == 7


def test_a_saved_file_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    ted.save_state(tmp_path / "state", HEADER)
    modes = {
        stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "state")
    }
    assert len(modes) == 1


@pytest.mark.parametrize(
    ("state", "error", "words"),
    [
        ({"x": 2**64}, ValueError, "`x` must fit 64 bits"),
        ({"x": "end\0"}, ValueError, "`x` must not end with a NUL"),
        ({"x": np.array(3)}, TypeError, "`x` must have a dimension"),
        ({"x": np.float32(3)}, TypeError, "`x` must be an array, str, int"),
        ({"": 1}, ValueError, "names that a .npz file can hold"),
        ({"file": 1}, ValueError, "names that a .npz file can hold"),
        ({"a\0b": 1}, ValueError, "names that a .npz file can hold"),
        ({3: 1}, TypeError, "names of type str"),
    ],
)
def test_what_could_not_come_back_is_refused_and_leaves_no_file(
    tmp_path, state, error, words
):
    with pytest.raises(error, match=words):
        ted.save_state(tmp_path / "state", {**HEADER, **state})
    assert list(tmp_path.iterdir()) == []


DAMAGED = {
    **HEADER,
    "a": np.arange(40, dtype=np.float32),
    "text": "some words",
    "x": 0.5,
}


def test_every_single_flipped_bit_is_refused_or_without_effect(tmp_path):
    path = tmp_path / "state"
    ted.save_state(path, DAMAGED)
    for bit in range(8 * path.stat().st_size):
        with flipped(path, bit):
            try:
                found = ted.load_state(path)
            except ted.CheckpointError:
                continue
            assert same(DAMAGED, found), bit


def test_every_truncation_is_refused_by_name(tmp_path):
    path = tmp_path / "state"
    ted.save_state(path, DAMAGED)
    for _ in lengths(path, range(path.stat().st_size)):
        with pytest.raises(ted.CheckpointError, match="must be a whole saved state"):
            ted.load_state(path)


@MANY
@given(content=st.binary(max_size=200))
@example(content=b"PK\x05\x06" + bytes(18))
def test_any_other_file_is_refused_by_name(tmp_path, content):
    path = tmp_path / "state"
    path.write_bytes(content)
    with pytest.raises(ted.CheckpointError) as caught:
        ted.load_state(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "state",
    [
        {"version": 1},
        {"format": "ted_core.Pruner"},
        {"format": "another", "version": 1},
        {"format": "ted_core.Pruner", "version": 3},
        {"format": "ted_core.Pruner", "version": 0},
        {"format": "ted_core.Pruner", "version": True},
        {"format": "ted_core.Pruner", "version": 1.0},
    ],
)
def test_a_state_of_another_format_or_version_is_refused_with_the_path(tmp_path, state):
    np.savez(tmp_path / "state.npz", **state)
    with pytest.raises(ted.CheckpointError, match="must be") as caught:
        ted.load_state(tmp_path / "state.npz")
    assert "state.npz" in str(caught.value)


def test_a_member_given_twice_is_refused(tmp_path):
    array = io.BytesIO()
    np.save(array, np.arange(3))
    with zipfile.ZipFile(tmp_path / "state", "w") as archive:
        archive.writestr("a.npy", array.getvalue())
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.npy", array.getvalue())
    with pytest.raises(ted.CheckpointError, match=r"the member 'a\.npy'"):
        ted.load_state(tmp_path / "state")


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_full_disk_at_any_moment_leaves_the_older_file_and_no_litter(
    tmp_path, monkeypatch, call
):
    path = tmp_path / "state"
    ted.save_state(path, HEADER)
    before = path.read_bytes()

    def full(*_args, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        target = {"write": zipfile.ZipFile, "fsync": os, "replace": type(path)}[call]
        name = "open" if call == "write" else call
        patch.setattr(target, name, full)
        with pytest.raises(OSError, match="No space left"):
            ted.save_state(path, {**HEADER, "a": np.arange(3)})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    ted.save_state(path, {**HEADER, "a": np.arange(3)})
    assert ted.load_state(path)["a"].tolist() == [0, 1, 2]


def test_a_folder_that_is_missing_is_the_systems_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        ted.save_state(tmp_path / "nowhere" / "state", HEADER)
    with pytest.raises(IsADirectoryError):
        ted.load_state(tmp_path)
