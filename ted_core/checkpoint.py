"""States on disk and their fields: written whole or not at all, read without trust."""

from __future__ import annotations

import ast
import inspect
import os
import secrets
import stat
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from ted_core._validation import check_kind, to_numpy
from ted_core.errors import CheckpointError
from ted_core.typing import State, StateValue

__all__ = ["atomic_write", "load_state", "register_kind", "save_state"]

FORMAT, VERSION = "ted_core.Pruner", 2
ROLES = ("schedule", "strategy", "reduction")
"""Parts of a run that are objects: a state holds the kind and the fields of each."""

_SESSION = "pruner."
_RESUME = "resume with the saved one, or begin anew without the state"

Kind = TypeVar("Kind", bound=type)
_KINDS: dict[str, type] = {}
_UNREAD = (FileNotFoundError, PermissionError, IsADirectoryError)


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
    TypeError
        `path` is no str and no path.
    OSError
        The disk is full or the folder can't be written. After any error in the block an
        older file is as it was, and the new one is gone.

    Notes
    -----
    Through a symbolic link, and with the mode of a file that is there already. Who
    reads `path` at any moment, after a kill or a loss of power too, finds the older
    file or the newer one. A kill leaves a file ``.NAME.*.tmp``, which nothing reads.

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
    target = as_path(path).resolve()  # the file that a link leads to
    beside = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    new = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(beside, new, 0o666)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            if target.exists():
                beside.chmod(stat.S_IMODE(target.stat().st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    if os.name != "nt":  # the folder's entry, too, is to outlive a loss of power
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def as_path(path: object) -> Path:
    """Return a path given as str or path, or say that it is none."""
    if not isinstance(path, str | os.PathLike) or isinstance(os.fspath(path), bytes):
        msg = f"`path` must be a str or a path, got {path!r}"
        raise TypeError(msg)
    return Path(path)


def register_kind(kind: Kind) -> Kind:
    """Let states hold a schedule, strategy or reduction of one's own: a decorator.

    A saved state names the class and its fields, ``strategy.kind`` and one
    ``strategy.NAME`` for each. Those of this library are registered.

    Parameters
    ----------
    kind : type
        A dataclass with fields of type str, int, float or bool. Or any class with a
        method ``state_fields()`` that returns such fields by name. It is returned.

    Raises
    ------
    TypeError, ValueError
        It is no class, its fields are not known, or another of its name is registered.

    Notes
    -----
    When a state is loaded, a field that it lacks has the default of the argument of
    that name, and one that the class does not have is refused: a class may get new
    options with defaults, and older states still load.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> import ted_core
    >>> @ted_core.register_kind
    ... @dataclass(frozen=True)
    ... class Halves(ted_core.Random):
    ...     first: bool = True
    >>> state = ted_core.Pruner(9, epochs=5, strategy=Halves(first=False)).state_dict()
    >>> state["strategy.kind"], state["strategy.first"]
    ('Halves', False)
    """
    if not isinstance(kind, type):
        msg = f"`kind` must be a class, got {kind!r}"
        raise TypeError(msg)
    if not is_dataclass(kind) and not hasattr(kind, "state_fields"):
        msg = f"`kind` must be a dataclass or have `state_fields()`, got {kind!r}"
        raise TypeError(msg)
    other = _KINDS.setdefault(kind.__name__, kind)
    if not _is_registered(kind):
        msg = f"`kind` must have a name of its own, got {kind!r} beside {other!r}"
        raise ValueError(msg)
    _KINDS[kind.__name__] = kind
    return kind


def _is_registered(kind: type) -> bool:
    # A notebook's cell that runs again makes the same class once more.
    known = _KINDS.get(kind.__name__, object)
    same_module = known.__module__ == kind.__module__
    return same_module and known.__qualname__ == kind.__qualname__


def kind_fields(role: str, thing: object) -> State:
    """Return the kind and the fields of a registered class, or the repr of another."""
    if not _is_registered(type(thing)):
        return {role: repr(thing)}
    if hasattr(thing, "state_fields"):
        own = thing.state_fields()
    else:
        own = {f.name: getattr(thing, f.name) for f in fields(thing) if f.init}  # type: ignore[arg-type]
    found: dict[str, Any] = {f"{role}.kind": type(thing).__name__}
    for name, value in own.items():
        plain = value.item() if isinstance(value, np.generic) else value
        if not isinstance(plain, str | int | float | bool):
            return {role: repr(thing)}
        found[f"{role}.{name}"] = plain
    return found


def check_saveable(role: str, thing: object) -> None:
    """Refuse an object whose class is not registered, or has fields of other types."""
    if role in kind_fields(role, thing):
        msg = (
            f"`{role}` must be of a registered class with plain fields for its state, "
            f"got {thing!r}; decorate the class with `ted_core.register_kind`"
        )
        raise TypeError(msg)


def saved_kind(state: Mapping[str, Any], role: str) -> Any:
    """Make the schedule, strategy or reduction that a state holds."""
    named = role if role in state else f"{role}.kind"
    name, own = plain_field(state, named, str), f"{role}."
    if name not in _KINDS:
        msg = (
            f"`{named}` must be a registered class, saved {name!r}; see "
            "`ted_core.register_kind`, or rank by `Static(pruner.scores)` of the run"
        )
        raise CheckpointError(msg)
    options = {
        field.removeprefix(own): value
        for field, value in state.items()
        if str(field).startswith(own) and field != named
    }
    try:
        return _KINDS[name](**options)
    except (TypeError, ValueError) as error:
        msg = f"`{role}` must be a {name} with its own fields, saved {options}: {error}"
        raise CheckpointError(msg) from None


def check_option(state: Mapping[str, Any], name: str, here: StateValue) -> None:
    """Refuse an option that differs from the saved one, by name and with both."""
    role, _, field = name.partition(".")
    saved = _default(state, role, field) if name not in state else None
    if saved is None:
        saved = plain_field(state, name, type(here))
    check_equal(name, saved, here)


def check_equal(name: str, saved: object, here: object) -> None:
    """Refuse what differs from the saved run, with what to do."""
    if saved == here:
        return
    remedies = {
        "epochs": "`allow=('epochs',)` lets a run go on to another number of epochs",
        "multiple_of": (
            f"keep `multiple_of={saved}`, also on another number of processes, and "
            "make a new scheduler where the batch of all of them together changes"
        ),
    }
    msg = (
        f"`{name}` must equal the saved one, saved {saved!r}, here {here!r}; "
        f"{remedies.get(name, _RESUME)}"
    )
    raise CheckpointError(msg)


def _default(state: Mapping[str, Any], role: str, field: str) -> Any:
    """Return the default of a field, of the class that a state names; or None."""
    kind = _KINDS.get(str(state.get(f"{role}.kind"))) if role in ROLES else None
    parameters = {} if kind is None else inspect.signature(kind).parameters
    default = parameters[field].default if field in parameters else None
    return None if default is inspect.Parameter.empty else default


_RENAMED = {
    "book.visits": "scores.update_counts",
    "pending": "open.observed",
    "pending.checksum": "open.checksum",
    "pending.sums": "open.sums",
    "pending.counts": "open.counts",
}
"""Fields of version 1 with another name today; all `book.*` are `scores.*` as well."""


def is_session(state: object) -> bool:
    """Return whether this is a state of `ted_torch`, which holds the pruner's."""
    return isinstance(state, Mapping) and f"{_SESSION}format" in state


def pruner_state(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the pruner's state of a session's, where it lies as tensors."""
    if not is_session(state):
        return state
    return {
        str(name).removeprefix(_SESSION): (
            to_numpy(value) if hasattr(value, "detach") else value
        )
        for name, value in state.items()
        if str(name).startswith(_SESSION)
    }


def check_returned(state: object) -> None:
    """Refuse what `state_dict()` did not return; a whole checkpoint may hold that."""
    if not isinstance(state, Mapping):
        msg = f"`state` must be a mapping, got {type(state).__name__}"
        if isinstance(state, str | os.PathLike):
            msg += "; read the file first, `ted_core.load_state(path)`"
        raise TypeError(msg)
    if "format" in state:
        return
    names = [repr(name) for name in state]
    found = ", ".join(names[:5]) + f" and {len(names) - 5} more" * (len(names) > 5)  # noqa: PLR2004
    within = [
        f"; give `state[{name!r}]`"
        for name, value in state.items()
        if isinstance(value, Mapping) and str(value.get("format")).startswith("ted_")
    ]
    msg = (
        "`state` must have 'format', as all that `state_dict()` returns, got "
        f"{found or 'nothing'}{within[0] if within else ''}"
    )
    raise CheckpointError(msg)


def current_state(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a pruner's state with the fields of this version; refuse another thing."""
    check_returned(state)
    _check_format(state)
    if state["version"] == VERSION:
        return state
    later = ("scores.", "open.", *(f"{role}." for role in ROLES))
    check_known(state, [name for name in state if not str(name).startswith(later)])
    found: State = {}
    for role in ROLES:
        found |= _fields_of_repr(role, plain_field(state, role, str))
    for name, value in state.items():
        if isinstance(name, str) and name.startswith("book."):
            found[_RENAMED.get(name, "scores." + name.removeprefix("book."))] = value
        elif name not in ROLES:
            found[_RENAMED.get(name, name)] = value
    return found | {"version": VERSION}


def _check_format(state: Mapping[str, Any], where: str = "") -> None:
    """Refuse another thing than a pruner's state, and one of a newer version."""
    saved, version = state.get("format"), state.get("version")
    if not isinstance(saved, str) or saved != FORMAT:
        msg = f"`format` must be {FORMAT!r}, saved {saved!r}{where}"
        if str(saved).startswith("ted_"):
            msg += "; load it into a session like the one that saved it"
        raise CheckpointError(msg)
    if type(version) is not int or not 1 <= version <= VERSION:
        msg = (
            f"`version` must be in [1, {VERSION}], saved {version!r}{where}; update "
            "ted-core to read a newer state"
        )
        raise CheckpointError(msg)


def _fields_of_repr(role: str, text: str) -> State:
    """Return the fields of a repr: version 1 holds nothing else of an object."""
    try:
        match ast.parse(text, mode="eval").body:
            case ast.Call(ast.Name(kind), [], options) if kind in _KINDS:
                own = {f"{role}.{k.arg}": ast.literal_eval(k.value) for k in options}
                return {f"{role}.kind": kind, **own}
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError):
        pass
    # The class of a user, who compares it by its repr as version 1 did.
    return {role: text}


def plain_field(state: Mapping[str, Any], name: str, kind: type) -> Any:
    """Return a field that holds one value of this very type."""
    value = _field(state, name)
    if type(value) is not kind:
        msg = f"`{name}` must be {kind.__name__}, saved {value!r}"
        raise CheckpointError(msg)
    return value


def array_field(
    state: Mapping[str, Any], name: str, like: NDArray[Any]
) -> NDArray[Any]:
    """Return a field that holds an array of the shape and dtype of `like`."""
    array: NDArray[Any] = _field(state, name)
    wanted, shape = like.dtype.newbyteorder("<"), getattr(array, "shape", ())
    fits = isinstance(array, np.ndarray) and array.dtype == wanted
    if not fits or shape != like.shape:
        found = getattr(array, "dtype", type(array).__name__)
        msg = (
            f"`{name}` must be {wanted} of shape {like.shape}, saved {found} of shape "
            f"{shape}"
        )
        raise CheckpointError(msg)
    return array


def _field(state: Mapping[str, Any], name: str) -> Any:
    if name not in state:
        msg = f"`state` must have {name!r}, got only {sorted(map(str, state))}"
        raise CheckpointError(msg)
    return state[name]


def check_known(state: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse a state with a field of any other name."""
    unknown = sorted(str(name) for name in state if name not in known)
    if unknown:
        msg = f"`state` must hold known fields only, got {', '.join(unknown)}"
        raise CheckpointError(msg)


def save_state(path: str | os.PathLike[str], state: Mapping[str, StateValue]) -> None:
    """Write a flat state to an ``.npz`` file, through :func:`atomic_write`.

    Parameters
    ----------
    path : str or path
        File to write or to replace; taken as given, no suffix is added.
    state : mapping of str to ndarray, str, int, float or bool
        What ``Pruner.state_dict()`` returned. Arrays are stored little-endian.

    Raises
    ------
    TypeError, ValueError
        `state` is no mapping, or has a value of another type, an array that holds
        objects or has no dimension, or what the file could not give back.
    OSError
        The disk is full or the folder can't be written; an older file stays whole.

    Notes
    -----
    Uncompressed: the cost is a CRC-32 of the arrays and that of writing them.

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
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
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
    FileNotFoundError, CheckpointError
        There is no such file; it is truncated, damaged, foreign or of a newer version.

    Notes
    -----
    All CRC-32 are verified before anything is parsed: the file is read twice.

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
        with as_path(path).open("rb") as file:
            state = _read(file)
    except (TypeError, CheckpointError, *_UNREAD):
        raise
    except Exception as error:
        msg = (
            f"`{path}` must be a whole saved state, got a damaged file or another "
            f"program's: {error}"
        )
        raise CheckpointError(msg) from error
    _check_format(state, f" in {path}")
    return state


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
                found = f"got the member {member.filename!r}"
                if name.endswith("/data.pkl"):
                    found = "got one of torch.save: read that with `torch.load`"
                _refuse(file, found)
            with archive.open(member) as stream:
                array = np.lib.format.read_array(stream, allow_pickle=False)
            state[name] = array if array.ndim else array.item()
            if not isinstance(state[name], np.ndarray | str | int | float | bool):
                msg = f"a state must hold plain values, got {state[name]!r}"
                raise CheckpointError(msg)
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
