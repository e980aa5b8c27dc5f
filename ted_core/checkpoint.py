"""States on disk: written whole or not at all, read without trusting the file."""

from __future__ import annotations

import os
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ted_core.errors import CheckpointError
from ted_core.state import FORMAT, VERSION
from ted_core.typing import State, StateValue

__all__ = ["load_state", "save_state"]


def save_state(path: str | os.PathLike[str], state: Mapping[str, StateValue]) -> None:
    """Write a flat state to an ``.npz`` file, atomically.

    Parameters
    ----------
    path : str or path
        File to write or to replace; taken as given, no suffix is added.
    state : mapping of str to ndarray, str, int, float or bool
        What ``Pruner.state_dict()`` returned.

    Raises
    ------
    TypeError
        A value is of another type, or an array holds objects.
    OSError
        The disk is full or the folder can't be written; an older file stays whole.

    Notes
    -----
    Writes beside `path`, flushes to the disk, then renames. Uncompressed: the cost
    is that of writing the arrays.

    Examples
    --------
    >>> import tempfile
    >>> from ted_core import Pruner, load_state, save_state
    >>> pruner = Pruner(10, epochs=5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_state(f"{folder}/ted.npz", pruner.state_dict())
    ...     pruner.load_state_dict(load_state(f"{folder}/ted.npz"))
    """
    arrays = {name: _to_array(name, value) for name, value in state.items()}
    target = Path(path)
    descriptor, name = tempfile.mkstemp(
        dir=target.parent, prefix=f".{target.name}.", suffix=".tmp"
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


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
    Every member's CRC-32 is verified. O(size of the file).

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
    except (
        ValueError,
        EOFError,
        KeyError,
        OSError,
        NotImplementedError,
        RuntimeError,
        SyntaxError,
        AttributeError,
        MemoryError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        msg = f"`{path}` must be a whole saved state, got: {error}"
        raise CheckpointError(msg) from error
    if state.get("format") != FORMAT:
        msg = f"`format` must be {FORMAT!r}, got {state.get('format')!r} in {path}"
        raise CheckpointError(msg)
    version = state.get("version")
    if type(version) is not int or not 1 <= version <= VERSION:
        msg = f"`version` must be in [1, {VERSION}], got {version!r} in {path}"
        raise CheckpointError(msg)
    return state


def _read(file: BinaryIO) -> State:
    loaded = np.load(file, allow_pickle=False)
    if not isinstance(loaded, np.lib.npyio.NpzFile):
        msg = f"`{file.name}` must be a saved state, got a single array"
        raise CheckpointError(msg)
    with loaded:
        return {name: _from_array(loaded[name]) for name in loaded.files}


def _to_array(name: str, value: object) -> np.ndarray:
    if not isinstance(value, np.ndarray | str | int | float | bool):
        msg = f"`{name}` must be an array, str, int, float or bool, got {value!r}"
        raise TypeError(msg)
    array = np.asarray(value)
    if array.dtype.hasobject:
        msg = f"`{name}` must not hold objects, got dtype {array.dtype}"
        raise TypeError(msg)
    return array


def _from_array(array: np.ndarray) -> StateValue:
    if array.ndim:
        return array
    value = array.item()
    if not isinstance(value, str | int | float | bool):
        msg = f"a state must hold plain values, got {value!r}"
        raise CheckpointError(msg)
    return value


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
