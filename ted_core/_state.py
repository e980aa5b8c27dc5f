"""The flat state of a run: written, read with every field checked, found in files."""

from __future__ import annotations

import csv
import os
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ted_core import reductions, schedules, strategies
from ted_core._scores import ScoreTable
from ted_core._validation import MAX_EPOCHS
from ted_core.checkpoint import (
    FORMAT,
    ROLES,
    VERSION,
    array_field,
    as_path,
    check_equal,
    check_known,
    check_option,
    check_saveable,
    current_state,
    is_session,
    load_state,
    plain_field,
    pruner_state,
    register_kind,
    saved_kind,
)
from ted_core.config import METHODS, InitialScores, RunConfig, method_name
from ted_core.errors import CheckpointError
from ted_core.history import Rows, counts_of, import_optional
from ted_core.plan import EpochPlan, make_plan, whole_plan
from ted_core.typing import State, id_dtype

for _kind in (
    *(schedules.Constant, schedules.Cosine, schedules.Linear, schedules.RollerCoaster),
    *(strategies.UCB, strategies.EpsilonGreedy, strategies.Importance),
    *(strategies.InfoBatch, strategies.Random, strategies.SoftTop),
    *(strategies.Static, strategies.TopScore),
    *(reductions.Count, reductions.Last, reductions.Mean),
    *(reductions.MeanAndVariance, reductions.Polyak),
):
    register_kind(_kind)

_LATER = ("forwarded", "weightless")  # counts that version 1 does not have
_OPEN = ("sums", "counts", "deliveries", "weightless")


@dataclass(frozen=True)
class Progress:
    """How far a run is: what a state holds beside its configuration."""

    table: ScoreTable
    history: Rows
    epoch: int
    stopped: bool
    plan: EpochPlan | None


def write_state(config: RunConfig, run: Progress) -> State:
    """Return the flat state of a run."""
    for role in ROLES:
        check_saveable(role, getattr(config, role))
    table, plan = run.table, run.plan
    state: State = {"format": FORMAT, "version": VERSION, **config.describe()}
    state |= {"epoch": run.epoch, "stopped": run.stopped}
    for name in counts_of(config):
        state[f"history.{name}"] = np.array(run.history[name], "<i8")
    state["history.keep_ratio"] = np.array(run.history["keep_ratio"], "<f8")
    for name, array in table.arrays().items():
        state[f"scores.{name}"] = _little(array)
    state["open.observed"] = table.observed
    if plan is not None and not config.layout.shares_order:
        # All processes make it together: one that loads it can't make it again.
        state["plan.order"] = _little(plan.order)
        state["plan.kept_by_rank"] = np.array(plan.kept_by_rank, "<i8")
        if plan.weights is not None:
            state["plan.weights"] = _little(plan.weights)
    if plan is not None and table.observed:
        state["open.checksum"] = plan.checksum
        for name in _OPEN:
            state[f"open.{name}"] = _little(getattr(table.buffer, name))
    return state


def read_state(
    state: Mapping[str, Any],
    config: RunConfig,
    like: ScoreTable,
    *,
    allow: Sequence[str] = (),
) -> Progress:
    """Check a state against a configuration and a table; its arrays are not copied."""
    for name in allow:
        if name != "epochs":
            msg = f"`allow` must hold only 'epochs', got {name!r}"
            raise ValueError(msg)
    state = {"lengths": -1, **current_state(state)}  # older states know of none
    options = _options(state, config)
    _check_method(state, config)
    for name, here in options.items():
        if name in allow:
            plain_field(state, name, type(here))
        else:
            check_option(state, name, here)
    epoch, epochs = plain_field(state, "epoch", int), state["epochs"]
    if not 0 <= epoch <= epochs <= MAX_EPOCHS:
        msg = f"`epoch` must be in [0, {epochs}], saved {epoch}"
        raise CheckpointError(msg)
    if epoch > config.epochs:
        msg = f"`epochs` must be at least the {epoch} that ran, got {config.epochs}"
        raise CheckpointError(msg)
    history = _read_history(state, config, epoch)
    stopped = plain_field(state, "stopped", bool) and "epochs" not in allow
    table = like.of_state(state)
    observed = table.observed
    plan = _read_plan(state, config, epoch) if "plan.order" in state else None
    known = {"format", "version", "epoch", "stopped", "open.observed", *options}
    known |= {f"history.{name}" for name in (*counts_of(config), "keep_ratio")}
    known |= {f"scores.{name}" for name in table.arrays()}
    if plan is not None:
        known |= {"plan.order", "plan.kept_by_rank", "plan.weights"}
    if observed:
        known |= {"open.checksum", *(f"open.{name}" for name in _OPEN)}
    check_known(state, known)
    run = Progress(table, history, epoch, stopped, plan)
    if observed:
        _check_open_epoch(state, config, run)
    return run


def _read_history(state: Mapping[str, Any], config: RunConfig, epochs: int) -> Rows:
    rows: Rows = {}
    n = config.n
    for name in counts_of(config):
        if name in _LATER and f"history.{name}" not in state:
            continue
        row = array_field(state, f"history.{name}", np.empty(epochs, np.int64))
        if np.any(row < 0):
            msg = f"`history.{name}` must be at least 0, saved {int(row.min())}"
            raise CheckpointError(msg)
        rows[name] = row.tolist()
    limits = [("planned", [n], f"{n}"), ("missing", rows["planned"], "those planned")]
    if config.lengths is not None:
        total = config.tokens
        limits.append(("planned_tokens", [total], f"{total}"))
        limits.append(("forwarded_tokens", rows["planned_tokens"], "those planned"))
    for name, limit, most in limits:
        if np.any(np.array(rows[name]) > limit):
            msg = f"`history.{name}` must be at most {most}, saved {rows[name]}"
            raise CheckpointError(msg)
    delivered = np.array(rows["planned"], np.int64) - rows["missing"]
    rows.setdefault("forwarded", delivered.tolist())
    rows.setdefault("weightless", [0] * epochs)
    planned = schedules.keep_ratios(config.schedule, max(state["epochs"], 1))[:epochs]
    ratios = {"history.keep_ratio": planned, **state}
    ran = array_field(ratios, "history.keep_ratio", np.empty(epochs, np.float64))
    if not np.all((ran > 0) & (ran <= 1)):
        msg = f"`history.keep_ratio` must be in (0, 1], saved {ran.min()}"
        raise CheckpointError(msg)
    return rows | {"keep_ratio": ran.tolist()}


def saved_method(state: Mapping[str, Any]) -> tuple[str, str | None]:
    """Return the method that a state names, and the signal that chose its samples."""
    signal = str(state.get("signal"))
    try:
        strategy = saved_kind(state, "strategy")
        return method_name(signal, strategy), signal if strategy.uses_scores else None
    except (CheckpointError, AttributeError):  # a class of the user's, or scores
        kind = str(state.get("strategy.kind", state.get("strategy")))
        return f"{kind} of {signal}", None if kind == "Static" else signal


def _check_method(state: Mapping[str, Any], config: RunConfig) -> None:
    """Refuse another method by the name that a user gave, where both have one."""
    saved, here = saved_method(state)[0], config.method
    if saved in METHODS and here in METHODS:
        check_equal("method", saved, here)


def _options(state: Mapping[str, Any], config: RunConfig) -> State:
    """Return this run's options as the state holds them."""
    options = config.describe()
    for role in ROLES:
        thing = getattr(config, role)
        if role not in state:
            check_saveable(role, thing)
        else:
            # Version 1 held a repr, and this one is of a class that was not known.
            own = [name for name in options if name.partition(".")[0] == role]
            options = {k: v for k, v in options.items() if k not in own}
            options[role] = repr(thing)
    return options


def _check_open_epoch(
    state: Mapping[str, Any], config: RunConfig, run: Progress
) -> None:
    """Refuse an open epoch that this run can't go on with."""
    observed, epoch = run.table.observed, run.epoch
    if epoch >= config.epochs or run.stopped:
        msg = f"`open.observed` must be 0 after the last epoch, saved {observed}"
        raise CheckpointError(msg)
    if state["epochs"] != config.epochs:
        msg = (
            f"`epochs` may change between two epochs only, saved {state['epochs']} "
            f"with {observed} observations of epoch {epoch}, here {config.epochs}; "
            f"load it into a run of {state['epochs']}, close the epoch, save it again"
        )
        raise CheckpointError(msg)
    saved = plain_field(state, "open.checksum", int)
    if run.plan is None and not config.layout.shares_order:
        msg = "`state` must have 'plan.order' of its open epoch, got none"
        raise CheckpointError(msg)
    here = (run.plan or make_plan(config, run.table, epoch)).checksum
    if saved != here:
        msg = (
            f"`state` must have the order of this epoch, saved checksum {saved}, here "
            f"{here}; resume with the NumPy that saved it, or from an epoch's end"
        )
        raise CheckpointError(msg)


def _read_plan(state: Mapping[str, Any], config: RunConfig, epoch: int) -> EpochPlan:
    """Return the saved plan of a shard's open epoch, checked."""
    layout = config.layout
    if layout.shares_order or epoch >= config.epochs:
        msg = "`plan.order` must be that of a shard's open epoch, got another state's"
        raise CheckpointError(msg)
    like = np.empty(len(layout.sizes), np.int64)
    kept = array_field(state, "plan.kept_by_rank", like)
    size = int(kept[layout.rank])
    if np.any((kept < 0) | (kept > layout.sizes)) or not kept.any():
        msg = f"`plan.kept_by_rank` must fit the shards, saved {kept.tolist()}"
        raise CheckpointError(msg)
    order = array_field(state, "plan.order", np.empty(size, id_dtype(config.n)))
    times = np.bincount(order.clip(0), minlength=config.n)
    if np.any(order < 0) or times.size > config.n or times.max() > 1:
        msg = f"`plan.order` must hold distinct ids in [0, {config.n}), saved others"
        raise CheckpointError(msg)
    weights = None
    if "plan.weights" in state:
        weights = array_field(state, "plan.weights", np.empty(size, np.float32)).copy()
    return whole_plan(config, epoch, order.copy(), weights, tuple(kept.tolist()))


def _little(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(array.dtype.newbyteorder("<"), copy=True)


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
        ranking = strategies.Static.from_state(given).scores
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
    position: int = 0  # samples of the open epoch that a session had received

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
    """Return the states in a file, or in those of a checkpoint, the latest first."""
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
    shown = f"{names[:5]}" if names else "no file"
    shown += f" and {len(names) - 5} more" if names[5:] else ""
    msg = (
        f"`{folder}` must be a file or a checkpoint's folder with a session, as "
        f"`ted.pt`, `ted.npz` or `custom_checkpoint_0.pkl`, got {shown}"
    )
    inside = [one.name for one in folder.iterdir() if one.is_dir()]
    inside = [name for name in inside if re.fullmatch(r".*\D\d+", name)]
    if inside:
        last = max(inside, key=lambda name: (len(name), name))  # 10 behind 5
        msg += f"; give one of its {len(inside)} checkpoints, `{folder / last}` say"
    raise CheckpointError(msg)


def _states_in_file(path: Path) -> list[Found]:
    if _has_member(path, "model.weights.h5"):
        msg = (
            f"`{path}` must be a saved state, got Keras' model, which holds no "
            "session; give the file of `backup=` or of `ted.save(path)`"
        )
        raise CheckpointError(msg)
    # A file of torch.save is a zip with other members than ours has.
    if not _has_member(path, "/data.pkl"):
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
    found = [
        Found(" > ".join([path.name, *where]), state, position)
        for where, state, position in _sessions(read)
    ]
    if not found:
        inside = sorted(map(str, read)) if isinstance(read, Mapping) else type(read)
        msg = f"`{path}` must hold what `ted.state_dict()` returned, got {inside}"
        raise CheckpointError(msg)
    return found


def _has_member(path: Path, ending: str) -> bool:
    """Return whether a file is a zip with a member of this ending."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(ending) for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _sessions(
    value: object, where: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any], int]]:
    """Yield the pruners' states in nested mappings, the names that lead there first."""
    if not isinstance(value, Mapping):
        return
    if is_session(value):
        position = value.get("position")
        yield where, pruner_state(value), position if type(position) is int else 0
    elif value.get("format") == FORMAT:
        yield where, value, 0
    else:
        for name, inner in value.items():
            yield from _sessions(inner, (*where, str(name)))
