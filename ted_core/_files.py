"""Read what earlier runs have left: their states, in any file, and their scores."""

from __future__ import annotations

import csv
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ted_core.checkpoint import (
    FORMAT,
    as_path,
    is_session,
    load_state,
    plain_field,
    pruner_state,
)
from ted_core.config import InitialScores
from ted_core.errors import CheckpointError
from ted_core.history import import_optional
from ted_core.strategies import Static


def read_scores(given: InitialScores, n: int) -> ArrayLike:
    """Return the scores of samples 0 ... n - 1 out of whatever holds them."""
    if isinstance(given, str | os.PathLike):
        path = as_path(given)
        if path.suffix == ".npy":
            scores: NDArray[Any] = np.load(path, allow_pickle=False)
            return scores
        if path.suffix == ".csv":
            return _by_id(*_columns(path), n)
        latest, *others = read_states(path)
        if others and others[0].epoch == latest.epoch:
            msg = (
                f"`initial_scores` must be one state, got {len(others) + 1} in "
                f"{path.name!r}: {latest.source!r}, {others[0].source!r}, ...; give "
                "the file of one alone, or the state itself"
            )
            raise ValueError(msg)
        given = latest.state
    if isinstance(given, Mapping):
        ranking = Static.from_state(given).scores
        unknown = int(ranking.size - np.isfinite(ranking).sum())
        if unknown:
            msg = (
                f"`initial_scores` must come from a run that has a value of each "
                f"sample, got {unknown} of {ranking.size} never seen, or with weight 0 "
                "alone; train its first epoch on all"
            )
            raise ValueError(msg)
        return ranking
    if hasattr(given, "ids") and hasattr(given, "scores"):
        return _by_id(given.ids, given.scores, n)
    return given


def _columns(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return ids and scores of a table that `SampleTable.to_csv` wrote."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        if not {"id", "score"} <= set(rows.fieldnames or ()):
            msg = (
                f"`initial_scores` must be a table with the columns 'id' and 'score', "
                f"got {rows.fieldnames} in {path.name!r}"
            )
            raise ValueError(msg)
        try:
            pairs = [(int(row["id"]), float(row["score"])) for row in rows]
        except (TypeError, ValueError) as error:
            msg = f"`initial_scores` must hold numbers, got {error} in {path.name!r}"
            raise ValueError(msg) from None
    ids, scores = zip(*pairs, strict=True) if pairs else ((), ())
    return np.array(ids, np.int64), np.array(scores, np.float64)


def _by_id(ids: NDArray[Any], scores: NDArray[Any], n: int) -> NDArray[Any]:
    """Return the scores in the order of their ids, which must be 0 ... n - 1."""
    order = np.argsort(ids)
    if not np.array_equal(ids[order], np.arange(n)):
        msg = (
            f"`initial_scores` must have one row for each of {n} samples, got "
            f"{ids.size} rows, {np.unique(ids).size} ids"
        )
        raise ValueError(msg)
    return scores[order]


class Found(NamedTuple):
    """A pruner's state, and where it lies: the file, and the names within."""

    source: str
    state: Mapping[str, Any]

    @property
    def epoch(self) -> int:
        """Epoch that the run is in."""
        epoch: int = plain_field(self.state, "epoch", int)
        return epoch


# Files of a checkpoint's folder that are looked into, the likeliest first.
_LIKELY = (
    r"ted\b.*|ted_\d+\.pt",
    r"custom_checkpoint_\d+\.pkl",
    r".*\.(pt|pth|pkl|ckpt|npz|ted)",
)


def read_states(path: Path) -> list[Found]:
    """Return the states in any file that the pages say how to write, the latest first.

    A folder is read by the files of its checkpoint that hold a state.
    """
    found = _states_in_folder(path) if path.is_dir() else _states_in_file(path)
    # Ultralytics' file has those of two epochs, a folder may have those of many.
    return sorted(found, key=lambda one: -one.epoch)


def _states_in_folder(folder: Path) -> list[Found]:
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    for pattern in _LIKELY:
        found, errors = list[Found](), list[CheckpointError]()
        for name in names:
            if re.fullmatch(pattern, name):
                try:
                    found += _states_in_file(folder / name)
                except CheckpointError as error:
                    errors.append(error)
        if found:
            return found
        if errors and pattern != _LIKELY[-1]:
            raise errors[0]
    shown = f"{names[:5]}" + (f" and {len(names) - 5} more" if names[5:] else "")
    msg = (
        f"`{folder}` must be a file or a checkpoint's folder with a session, as "
        f"`ted.pt`, `ted.npz` or `custom_checkpoint_0.pkl`, got {shown}"
    )
    raise CheckpointError(msg)


def _states_in_file(path: Path) -> list[Found]:
    if not _is_of_torch(path):
        return [Found(path.name, load_state(path))]
    torch = import_optional("torch", needed_by=path.name)
    try:
        # Mapped: of a large model's file only the session is read.
        read = torch.load(path, weights_only=True, map_location="cpu", mmap=True)
    except Exception as error:
        msg = (
            f"`{path}` must hold tensors and plain values, which are all that is read "
            "from a file of torch.save, got other objects; save the `state_dict()` of "
            "each part"
        )
        raise CheckpointError(msg) from error
    found = [Found(" > ".join([path.name, *w]), s) for w, s in _sessions(read)]
    if not found:
        inside = sorted(map(str, read)) if isinstance(read, Mapping) else type(read)
        msg = f"`{path}` must hold what `ted.state_dict()` returned, got {inside}"
        raise CheckpointError(msg)
    return found


def _is_of_torch(path: Path) -> bool:
    """Tell a file of torch.save, a zip with other members than ours has."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/data.pkl") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _sessions(
    value: object, where: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Yield the pruners' states in nested mappings, and the names that lead there."""
    if not isinstance(value, Mapping):
        return
    if is_session(value):
        yield where, pruner_state(value)
    elif value.get("format") == FORMAT:
        yield where, value
    else:
        for name, inner in value.items():
            yield from _sessions(inner, (*where, str(name)))
