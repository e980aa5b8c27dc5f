"""A file that appears whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["atomic_write"]


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
