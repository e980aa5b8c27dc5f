"""The runs of a comparison, in memory and in a file that is whole at any moment."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from ted_core.checkpoint import as_path, atomic_write
from ted_core.comparison._arms import Arm, describe
from ted_core.errors import CheckpointError

FORMAT, VERSION = "ted_core.compare", 1

Key: TypeAlias = tuple[str, float, int, float | None]


@dataclass(frozen=True)
class Run:
    """One training, measured."""

    arm: str
    budget: float
    epochs: int
    seed: int
    rate: float | None  # None where `train` has a rate of its own
    sweep: bool  # whether it chooses a rate, and judges nothing
    metric: float
    planned: int  # samples
    samples: int  # forwarded
    seconds: float

    @property
    def key(self) -> Key:
        """What tells this run from the others of a comparison."""
        return self.arm, self.budget, self.seed, self.rate


_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "float": (float, int),
    "float | None": (float, int, type(None)),
}


class Record:
    """The runs so far, by key; with a path each is on the disk before the next."""

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        *,
        arms: Sequence[Arm],
        settings: Mapping[str, Any],
    ) -> None:
        self.path = None if path is None else as_path(path)
        self.n: int | None = None
        self.runs: dict[Key, Run] = {}
        self._settings = dict(settings)
        self._options = {arm.label: describe(arm.options) for arm in arms}
        self._epochs = {(arm.label, arm.budget): arm.epochs for arm in arms}
        if self.path is None:
            return
        if not self.path.parent.is_dir() or self.path.is_dir():
            msg = f"`record` must be a file in a folder that is there, got {self.path}"
            raise FileNotFoundError(msg)
        if self.path.exists():
            self._read(self.path)
        else:
            self._write()  # a folder that can't be written to shows now

    def add(self, run: Run) -> None:
        """Take a run, and write it."""
        self.runs[run.key] = run
        self._write()

    def check_seeds(self, *, sweep: Sequence[int], judging: Sequence[int]) -> None:
        """Refuse seeds without those of the record, or with another task."""
        for run in self.runs.values():
            name, own, others = ("sweep_seeds", sweep, judging)
            if not run.sweep:
                name, own, others = ("seeds", judging, sweep)
            if run.seed not in own or run.seed in others:
                self._refuse(name, run.seed, list(own), "more seeds may be added")

    def _write(self) -> None:
        if self.path is None:
            return
        content = {
            "format": FORMAT,
            "version": VERSION,
            **self._settings,
            "n": self.n,
            "options": self._options,
            "runs": [asdict(run) for run in self.runs.values()],
        }
        with atomic_write(self.path) as file:
            file.write((json.dumps(content, indent=1) + "\n").encode())

    def _read(self, path: Path) -> None:
        try:
            content = json.loads(path.read_bytes())
            known = content["format"] == FORMAT and content["version"] == VERSION
            runs = [_run(each) for each in content["runs"]] if known else []
            options, n = dict(content["options"]), content["n"]
        except (KeyError, TypeError, ValueError) as error:
            known, reason = False, f": {type(error).__name__}: {error}"
        else:
            reason = f", {content['format']} of version {content['version']}"
        if not known:
            msg = (
                f"`record` must be a whole record of `compare`, version {VERSION}, got "
                f"{path}{reason}; give another file"
            )
            raise CheckpointError(msg)
        for name, here in self._settings.items():
            if content.get(name) != here:
                self._refuse(name, content.get(name), here)
        for run in runs:
            self._check_run(run, options)
        self.n, self.runs = n, {run.key: run for run in runs}

    def _check_run(self, run: Run, options: Mapping[str, Any]) -> None:
        """Refuse a run of an arm that the call lacks: its claims would go unseen."""
        saved, here = (of.get(run.arm) for of in (options, self._options))
        if saved != here:
            self._refuse(f"methods[{run.arm!r}]", saved, here, "more may be added")
        epochs = self._epochs.get((run.arm, run.budget))
        if epochs is None:
            budgets = sorted({budget for _, budget in self._epochs})
            self._refuse("budgets", run.budget, budgets, "more may be added")
        if epochs != run.epochs:
            self._refuse(f"epochs of {run.arm!r}", run.epochs, epochs)

    def _refuse(
        self, name: str, saved: object, here: object, more: str = ""
    ) -> NoReturn:
        also = f"; {more}" if more else ""
        msg = (
            f"`{name}` must be as in {self.path}, recorded {saved!r}, here {here!r}"
            f"{also}; a comparison of other things needs a `record` of its own"
        )
        raise CheckpointError(msg)


def _run(values: Mapping[str, Any]) -> Run:
    """Return a run of the file, or say which value is none of a run."""
    for field in fields(Run):
        value = values[field.name]
        known = type(value) in _TYPES[str(field.type)]
        if not known or (isinstance(value, float) and not math.isfinite(value)):
            msg = f"{field.name} is {value!r}"
            raise TypeError(msg)
    return Run(**values)
