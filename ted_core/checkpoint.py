"""States on disk: written whole or not at all, read without trusting the file."""

from __future__ import annotations

import os
import secrets
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray

from ted_core._validation import check_kind
from ted_core.errors import CheckpointError
from ted_core.scores import ALL_FLAGS, ScoreBook
from ted_core.selection.top_k import pieces
from ted_core.typing import State, StateValue

__all__ = [
    "FORMAT",
    "VERSION",
    "array_field",
    "atomic_write",
    "check_header",
    "check_scores",
    "load_state",
    "plain_field",
    "save_state",
]


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` when the block ends well.

    Parameters
    ----------
    path : str or path
        File to write or to replace.

    Yields
    ------
    binary file
        To be written to and read from; a hidden file beside `path` until then.

    Raises
    ------
    OSError
        The disk is full or the folder can't be written. After this and after any other
        error in the block an older file is as it was, and the new one is gone.

    Notes
    -----
    Written, flushed to the disk, renamed: who reads `path` at any moment, after a kill
    or a loss of power too, finds the older file or the newer one. A kill leaves the
    hidden file, ``.NAME.*.tmp``, which nothing reads.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from ted_core import atomic_write
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_write(f"{folder}/run.pt") as file:
    ...         written = file.write(b"all of it")
    ...     Path(f"{folder}/run.pt").read_bytes()
    b'all of it'
    """
    target = Path(path)
    beside = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    new = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(beside, new, 0o666)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


FORMAT = "ted_core.Pruner"


"""What a pruner's state calls itself."""


VERSION = 1


"""Version of the state that this library writes."""


def check_header(state: Mapping[str, Any]) -> None:
    """Refuse what is no pruner's state of this version."""
    if not isinstance(state, Mapping):
        msg = f"`state` must be a mapping, got {type(state).__name__}"
        raise TypeError(msg)
    for name, here in (("format", FORMAT), ("version", VERSION)):
        saved = plain_field(state, name, type(here))
        if saved != here:
            msg = f"`{name}` must be {here!r}, saved {saved!r}"
            raise CheckpointError(msg)


def plain_field(state: Mapping[str, Any], name: str, kind: type) -> Any:
    """Return a field that holds one value of this very type."""
    if name not in state:
        msg = f"`state` must have {name!r}, got only {sorted(map(str, state))}"
        raise CheckpointError(msg)
    value = state[name]
    if type(value) is not kind:
        msg = f"`{name}` must be {kind.__name__}, saved {value!r}"
        raise CheckpointError(msg)
    return value


def array_field(
    state: Mapping[str, Any], name: str, like: NDArray[Any]
) -> NDArray[Any]:
    """Return a field that holds an array of the shape and dtype of `like`."""
    if name not in state:
        msg = f"`state` must have {name!r}, got only {sorted(map(str, state))}"
        raise CheckpointError(msg)
    array = state[name]
    wanted = like.dtype.newbyteorder("<")
    if (
        not isinstance(array, np.ndarray)
        or array.dtype != wanted
        or array.shape != like.shape
    ):
        found = getattr(array, "dtype", type(array).__name__)
        msg = (
            f"`{name}` must be {wanted} of shape {like.shape}, saved {found} of shape "
            f"{getattr(array, 'shape', ())}"
        )
        raise CheckpointError(msg)
    return array


def check_scores(book: ScoreBook) -> None:
    """Refuse scores that are not finite where there were visits, and odd flags."""
    arrays = book.arrays()
    most = int(arrays["flags"].max())
    if most > ALL_FLAGS:
        msg = f"`book.flags` must be at most {ALL_FLAGS}, saved {most}"
        raise CheckpointError(msg)
    for part in pieces(book.n):
        for name in book.reduction.extra_columns:
            if not np.isfinite(arrays[name][part]).all():
                msg = f"`book.{name}` must be finite, saved others"
                raise CheckpointError(msg)
        seen = arrays["visits"][part] > 0
        wrong = np.flatnonzero(np.isfinite(arrays["score"][part]) != seen)
        if wrong.size:
            at = int(wrong[0]) + part.start
            msg = (
                "`book.score` must be finite where visited and NaN elsewhere, saved "
                f"{arrays['score'][at]} at {at} with {arrays['visits'][at]} visits"
            )
            raise CheckpointError(msg)


_CHUNK = 1 << 20


def save_state(path: str | os.PathLike[str], state: Mapping[str, StateValue]) -> None:
    """Write a flat state to an ``.npz`` file, atomically.

    Parameters
    ----------
    path : str or path
        File to write or to replace; taken as given, no suffix is added.
    state : mapping of str to ndarray, str, int, float or bool
        What ``Pruner.state_dict()`` returned. Arrays are stored little-endian.

    Raises
    ------
    TypeError
        `state` is no mapping, or a value of it is of another type, or an array that
        holds objects or has no dimension.
    ValueError
        A name, an integer or a string that the file could not give back.
    OSError
        The disk is full or the folder can't be written; an older file stays whole.

    Notes
    -----
    Through :func:`atomic_write`. Uncompressed, and contiguous arrays are not copied:
    the cost is their CRC-32 and that of writing.

    Examples
    --------
    >>> import tempfile
    >>> from ted_core import Pruner, load_state, save_state
    >>> pruner = Pruner(10, epochs=5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_state(f"{folder}/ted.npz", pruner.state_dict())
    ...     pruner.load_state_dict(load_state(f"{folder}/ted.npz"))
    """
    check_kind("state", state, Mapping)
    arrays = {name: _to_array(name, value) for name, value in state.items()}
    with atomic_write(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            _write(archive, f"{name}.npy", array)
        archive.comment = _comment(arrays)


def load_state(path: str | os.PathLike[str]) -> State:
    """Read a state that :func:`save_state` wrote.

    Parameters
    ----------
    path : str or path
        File to read.

    Returns
    -------
    dict of str to ndarray, str, int, float or bool
        The state; nothing in the file is executed.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    CheckpointError
        The file is truncated, damaged, foreign or of a newer version.

    Notes
    -----
    Every member's CRC-32 is verified before anything is parsed. O(size of the file),
    which is read twice.

    Examples
    --------
    >>> import tempfile
    >>> from ted_core import Pruner, load_state, save_state
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_state(f"{folder}/ted.npz", Pruner(10, epochs=5).state_dict())
    ...     load_state(f"{folder}/ted.npz")["n"]
    10
    """
    try:
        with Path(path).open("rb") as file:
            state = _read(file)
    except (FileNotFoundError, PermissionError, IsADirectoryError, CheckpointError):
        raise
    except Exception as error:
        msg = f"`{path}` must be a whole saved state, got: {error}"
        raise CheckpointError(msg) from error
    if state.get("format") != FORMAT:
        msg = f"`format` must be {FORMAT!r}, got {state.get('format')!r} in {path}"
        raise CheckpointError(msg)
    version = state.get("version")
    if type(version) is not int or not 1 <= version <= VERSION:
        msg = f"`version` must be in [1, {VERSION}], got {version!r} in {path}; "
        msg += "update ted-core to read a newer state"
        raise CheckpointError(msg)
    return state


def _write(archive: zipfile.ZipFile, member: str, array: NDArray[Any]) -> None:
    """Write one array as ``np.savez`` does, in pieces that stay in the cache."""
    array = np.asarray(array, order="C")
    header = np.lib.format.header_data_from_array_1_0(array)
    data = array.reshape(-1).view(np.uint8)
    with archive.open(member, "w", force_zip64=True) as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for start in range(0, data.size, _CHUNK):
            stream.write(data[start : start + _CHUNK].data)


def _read(file: BinaryIO) -> State:
    if file.read(6) == b"\x93NUMPY":
        _refuse(file, "got a single array")
    state: State = {}
    with zipfile.ZipFile(file) as archive:
        damaged = archive.testzip()
        if damaged is not None:
            _refuse(file, f"got damage in {damaged!r}")
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if name == member.filename or name in state:
                _refuse(file, f"got the member {member.filename!r}")
            with archive.open(member) as stream:
                array = np.lib.format.read_array(stream, allow_pickle=False)
            state[name] = _from_array(array)
        # A damaged directory can hide members; another program writes no comment.
        if state.get("format") == FORMAT and archive.comment != _comment(state):
            _refuse(file, f"got {len(state)} members and {archive.comment!r}")
    return state


def _refuse(file: BinaryIO, found: str) -> NoReturn:
    msg = f"`{file.name}` must be a whole saved state, {found}"
    raise CheckpointError(msg)


def _comment(members: Mapping[str, object]) -> bytes:
    return f"{FORMAT}: {len(members)} members".encode()


def _to_array(name: object, value: object) -> NDArray[Any]:
    if not isinstance(name, str):
        msg = f"`state` must have names of type str, got {name!r}"
        raise TypeError(msg)
    if not name or "\0" in name or name in {"file", "allow_pickle"}:
        msg = f"`state` must have names that a .npz file can hold, got {name!r}"
        raise ValueError(msg)
    if not isinstance(value, np.ndarray | str | int | float | bool):
        msg = f"`{name}` must be an array, str, int, float or bool, got {value!r}"
        raise TypeError(msg)
    if isinstance(value, str) and value.endswith("\0"):
        msg = f"`{name}` must not end with a NUL, got {value!r}"
        raise ValueError(msg)
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        msg = f"`{name}` must fit 64 bits, got {value}; save it as a str"
        raise ValueError(msg)
    if isinstance(value, np.ndarray) and not value.ndim and not value.dtype.hasobject:
        msg = f"`{name}` must have a dimension or be a plain value, got {value!r}"
        raise TypeError(msg)
    array = np.asarray(value)
    if array.dtype.hasobject:
        msg = f"`{name}` must not hold objects, got dtype {array.dtype}"
        raise TypeError(msg)
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def _from_array(array: NDArray[Any]) -> StateValue:
    if array.ndim:
        return array
    value = array.item()
    if not isinstance(value, str | int | float | bool):
        msg = f"a state must hold plain values, got {value!r}"
        raise CheckpointError(msg)
    return value
