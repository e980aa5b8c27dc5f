"""Damage to files where they stand: a file written anew waits for the disk."""

from __future__ import annotations

import os
from contextlib import contextmanager

__all__ = ["flipped", "lengths"]


def _flip(path, bit):
    with path.open("r+b") as file:
        file.seek(bit // 8)
        (byte,) = file.read(1)
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


@contextmanager
def flipped(path, bit):
    """Flip a bit of a file for a while."""
    _flip(path, bit)
    yield
    _flip(path, bit)


def lengths(path, wanted):
    """Cut a file to each of the lengths, the longest first."""
    for length in sorted(wanted, reverse=True):
        os.truncate(path, length)
        yield length
