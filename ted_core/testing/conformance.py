"""What an adapter is, the plainest one, and checks to parametrise a test over."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ted_core import strategies
from ted_core.errors import TedWarning
from ted_core.plan import EpochPlan
from ted_core.pruner import Pruner
from ted_core.schedules import Constant, Cosine, Linear, RollerCoaster, Schedule
from ted_core.signals import SIGNALS
from ted_core.strategies import InfoBatch, Random, TopScore
from ted_core.typing import State

__all__ = [
    "CHECKS",
    "PAIRS",
    "SIGNAL_PAIRS",
    "Adapter",
    "ConformanceError",
    "LoopAdapter",
    "check_resume",
    "trains_or_refuses",
]


class Adapter(Protocol):
    """One training session of an adapter, as the suite drives it.

    The model behind it is the author's choice: all that counts is that sample k
    yields the value it is given, through the adapter's real step.
    """

    def start(self, n: int, *, batch_size: int, **options: Any) -> None:
        """Begin a session over samples 0 ... n - 1.

        Parameters
        ----------
        n : int
            Samples.
        batch_size : int
            Samples of one step.
        **options : options of :class:`ted_core.Pruner`
            The run, ``epochs`` included.
        """

    def run_epoch(
        self, epoch: int, values: NDArray[np.float32], *, steps: int | None = None
    ) -> list[NDArray[np.int64]]:
        """Train one epoch, or the rest of one that was interrupted.

        Parameters
        ----------
        epoch : int
            Epoch; the adapter closes the one before.
        values : ndarray of float32, shape (n,)
            Value that each sample's step must yield.
        steps : int, optional
            Stop after as many steps, in mid-epoch.

        Returns
        -------
        list of ndarray of int64
            Ids of each step, in order.
        """

    def finish(self) -> None:
        """Close the last epoch."""

    def total_steps(self) -> int:
        """Return the optimizer steps of the run, known at its start."""

    def loss_scale(self) -> float:
        """Return what the last step's total was, divided by the mean of its losses."""

    def save(self) -> Any:
        """Return the state as the adapter's users save it."""

    def restore(self, saved: Any) -> None:
        """Take over a state in a session just started alike."""

    def core_state(self) -> State:
        """Return ``Pruner.state_dict()`` of the session's core."""


class LoopAdapter:
    """A loop of one's own with NumPy alone: the reference of the suite.

    Examples
    --------
    >>> from ted_core.testing import CHECKS, LoopAdapter
    >>> for check in CHECKS.values():
    ...     check(LoopAdapter)
    """

    pruner: Pruner

    def start(self, n: int, *, batch_size: int, **options: Any) -> None:
        """Begin a session; see :class:`Adapter`."""
        self.pruner = Pruner(n, **options)
        self.batch_size = batch_size
        self.position = 0

    def run_epoch(
        self, epoch: int, values: NDArray[np.float32], *, steps: int | None = None
    ) -> list[NDArray[np.int64]]:
        """Train one epoch; see :class:`Adapter`."""
        if epoch == self.pruner.epoch + 1:
            self.pruner.advance()
            self.position = 0
        plan = self.pruner.plan()
        trained: list[NDArray[np.int64]] = []
        while self.position < len(plan) and len(trained) != steps:
            ids = plan.order[self.position : self.position + self.batch_size]
            self.pruner.observe(ids, values[ids])
            self.scale = plan.loss_scale
            if plan.weights is not None:
                weights = plan.weights[self.position : self.position + ids.size]
                self.scale *= float(weights.mean())
            self.position += ids.size
            trained.append(ids.astype(np.int64))
        return trained

    def finish(self) -> None:
        """Close the last epoch."""
        self.pruner.finish()

    def total_steps(self) -> int:
        """Return the optimizer steps of the run."""
        return self.pruner.total_steps(self.batch_size)

    def loss_scale(self) -> float:
        """Return the plan's factor, times the mean of the last step's weights."""
        return self.scale

    def save(self) -> Any:
        """Return the core's state and the position in the epoch."""
        return {**self.pruner.state_dict(), "position": self.position}

    def restore(self, saved: Any) -> None:
        """Take over what :meth:`save` returned."""
        state = dict(saved)
        self.position = state.pop("position")
        self.pruner.load_state_dict(state)

    def core_state(self) -> State:
        """Return the core's state."""
        return self.pruner.state_dict()


MakeAdapter: TypeAlias = Callable[[], Adapter]

# Options of Pruner, without n and epochs, of several runs.
Runs: TypeAlias = Sequence[dict[str, Any]]

SAMPLES, BATCH, EPOCHS = 37, 8, 6
_RUNS: Runs = (
    {"prune_ratio": 0.7, "seed": 1},
    {"schedule": RollerCoaster(0.5, anneal=0), "strategy": TopScore()},
    {"schedule": Cosine(0.7), "strategy": Random(), "multiple_of": BATCH},
)
_UNSCALED: dict[str, Any] = {"prune_ratio": 0.7, "scale_loss": False}
_WEIGHTED_RUNS: Runs = (
    {"strategy": InfoBatch(), "schedule": Constant(0.6), "seed": 2},
    {"strategy": InfoBatch(), "schedule": Constant(0.6, anneal=0), "seed": 3},
)


class ConformanceError(AssertionError):
    """An adapter does not do what the core does; the message says where."""


def planned(options: dict[str, Any]) -> Pruner:
    """Return the core of a run."""
    return Pruner(SAMPLES, epochs=EPOCHS, **options)


def _start(
    make: MakeAdapter, options: dict[str, Any], *, batch_size: int = BATCH
) -> tuple[Adapter, Pruner]:
    """Return an adapter that has started a run, and the core of the same run."""
    adapter = make()
    adapter.start(SAMPLES, batch_size=batch_size, epochs=EPOCHS, **options)
    return adapter, planned(options)


def _values(epoch: int) -> NDArray[np.float32]:
    """Return an epoch's values, with ties, that float32 holds exactly."""
    return ((np.arange(SAMPLES) * (epoch + 3)) % 17 / 8).astype(np.float32)


def _plans(core: Pruner) -> Iterator[EpochPlan]:
    """Yield each epoch's plan, and observe the suite's values after it."""
    while not core.finished:
        plan = core.plan()
        yield plan
        core.observe(plan.order, _values(plan.epoch)[plan.order])
        core.advance()


def the_weights_multiply_the_losses(
    make: MakeAdapter, runs: Runs | None = None
) -> None:
    """Check that each sample's loss is multiplied by its weight in the plan."""
    for options in _WEIGHTED_RUNS if runs is None else runs:
        plans = list(_plans(planned(options)))
        if all(plan.weights is None for plan in plans):
            continue
        # In batches of one sample: what multiplies the last one's mean loss is that
        # sample's weight, and the plan's factor.
        adapter, _ = _start(make, options, batch_size=1)
        for plan in plans:
            adapter.run_epoch(plan.epoch, _values(plan.epoch))
            weight = 1.0 if plan.weights is None else float(plan.weights[-1])
            found, factor = adapter.loss_scale(), plan.loss_scale * weight
            if not math.isclose(found, factor, rel_tol=1e-5):
                msg = (
                    f"the loss of the last sample of epoch {plan.epoch} must be "
                    f"multiplied by {factor}, got {found} ({options})"
                )
                raise ConformanceError(msg)


def every_epoch_trains_as_planned(make: MakeAdapter, runs: Runs | None = None) -> None:
    """Check the ids of every step, the factor 1 / r_t (Eq. 23) or 1, and the scores."""
    for options in (*_RUNS, _UNSCALED) if runs is None else runs:
        _trained(make, options)


def _trained(
    make: MakeAdapter, options: dict[str, Any]
) -> tuple[list[list[list[int]]], list[float], dict[str, str]]:
    """Train a run as planned; return its epochs' steps and factors, and its end."""
    adapter, core = _start(make, options)
    trained, scales = [], []
    for plan in _plans(core):
        found = [
            ids.tolist() for ids in adapter.run_epoch(plan.epoch, _values(plan.epoch))
        ]
        order = plan.order.tolist()
        planned = [order[at : at + BATCH] for at in range(0, len(order), BATCH)]
        if found != planned:
            msg = f"epoch {plan.epoch} must train on {planned}, got {found} ({options})"
            raise ConformanceError(msg)
        scale = adapter.loss_scale()
        # Weights have a check of their own.
        if plan.weights is None and not math.isclose(
            scale, plan.loss_scale, rel_tol=1e-5
        ):
            msg = f"the loss must be scaled by {plan.loss_scale}, got {scale} "
            msg += f"in epoch {plan.epoch} ({options})"
            raise ConformanceError(msg)
        trained.append(found)
        scales.append(scale)
    adapter.finish()
    state = adapter.core_state()
    for name, value in core.state_dict().items():
        if name == "stopped" or name.startswith("history."):
            continue
        if name not in state or not np.array_equal(
            state[name], value, equal_nan=name == "scores.score"
        ):
            got = f"at the end ({options}), got {state.get(name)}"
            msg = f"{name!r} must be {value} {got}"
            raise ConformanceError(msg)
    return trained, scales, _facts(adapter)


def total_steps_are_those_planned(make: MakeAdapter, runs: Runs | None = None) -> None:
    """Check that the steps announced at the start are those of the plans."""
    for options in _RUNS if runs is None else runs:
        adapter, core = _start(make, options)
        if not core.config.strategy.known_count:  # depends on the scores
            try:
                announced = _announced(adapter)
            except ValueError:
                continue
            refused = f"must refuse a count unknown, got {announced} ({options})"
            msg = f"`total_steps` {refused}"
            raise ConformanceError(msg)
        announced = _announced(adapter)
        planned = sum(-(-len(plan) // BATCH) for plan in _plans(core))
        if announced != planned:
            msg = f"`total_steps` must be the steps planned, {planned}, got {announced}"
            raise ConformanceError(msg)


def resumed_equals_never_stopped(make: MakeAdapter, runs: Runs | None = None) -> None:
    """Check that a run stopped in mid-epoch and resumed goes on bit for bit."""
    for options in _RUNS if runs is None else runs:
        _check_resumed(make, options, lambda _: [(2, 1)])


def check_resume(
    make: MakeAdapter, runs: Runs | None = None, *, every: int = 1
) -> None:
    """Save a run after every step, and go on from each state in a fresh session.

    Each session must train on what the run that never stopped trained on from there:
    the same ids in the same steps, with the same factor of the loss, to the same state.
    Saved again at once, its state must have the same structure: the same names, types,
    dtypes and shapes, at any depth.

    Parameters
    ----------
    make : callable
        Makes an adapter.
    runs : sequence of dict, optional
        Options of the runs; a few of TED, Random and InfoBatch by default.
    every : int, default 1
        Go on from every so many of the states alone, for an adapter that starts slowly.

    Raises
    ------
    ConformanceError
        A session differs, with the epoch and the step after which it was saved.

    Notes
    -----
    Some 20 steps a run: twice as many sessions and some 400 steps with ``every=1``. A
    session that was stopped in mid-epoch is saved and not gone on with.

    Examples
    --------
    >>> from ted_core.testing import LoopAdapter, check_resume
    >>> check_resume(LoopAdapter, [{"prune_ratio": 0.7}])
    """
    for options in (*_RUNS, _WEIGHTED_RUNS[0]) if runs is None else runs:
        _check_resumed(make, options, lambda stops: stops[::every])


def _check_resumed(
    make: MakeAdapter,
    options: dict[str, Any],
    choose: Callable[[list[tuple[int, int]]], list[tuple[int, int]]],
) -> None:
    """Check a run's states of the epochs and steps that are chosen from all."""
    trained, scales, ended = _trained(make, options)
    stops = [(e, k + 1) for e in range(EPOCHS) for k in range(len(trained[e]))]
    for epoch, step in choose([(0, 0), *stops]):
        where = f"saved after step {step} of epoch {epoch} ({options})"
        stopped, _ = _start(make, options)
        for before in range(epoch):
            stopped.run_epoch(before, _values(before))
        if step:
            stopped.run_epoch(epoch, _values(epoch), steps=step)
        saved, facts = stopped.save(), _facts(stopped)
        resumed, _ = _start(make, options)
        resumed.restore(saved)
        _same_parts(_structure(saved), _structure(resumed.save()), where)
        _same_parts(facts, _facts(resumed), where)
        for later in range(epoch, EPOCHS):
            expected = trained[later][step if later == epoch else 0 :]
            if not expected:
                continue  # saved after the last step of an epoch
            ran = resumed.run_epoch(later, _values(later))
            if [ids.tolist() for ids in ran] != expected:
                msg = f"epoch {later} must train on {expected}, got {ran}, {where}"
                raise ConformanceError(msg)
            if not math.isclose(resumed.loss_scale(), scales[later], rel_tol=1e-5):
                msg = f"the loss must be scaled by {scales[later]}, got "
                msg += f"{resumed.loss_scale()} in epoch {later}, {where}"
                raise ConformanceError(msg)
        resumed.finish()
        _same_parts(ended, _facts(resumed), f"at the end, {where}")


def _facts(adapter: Adapter) -> dict[str, str]:
    """Return the core's state as texts that are equal for the same bits."""
    return {
        name: value.tobytes().hex() if isinstance(value, np.ndarray) else repr(value)
        for name, value in adapter.core_state().items()
    }


def _structure(value: Any, where: str = "state") -> dict[str, str]:
    """Return the type of each part of a saved state, the dtype and shape of arrays."""
    if isinstance(value, Mapping):
        inner = [(f"{where}[{name!r}]", value[name]) for name in value]
    elif isinstance(value, list | tuple):
        inner = [(f"{where}[{at}]", part) for at, part in enumerate(value)]
    else:
        dtype, shape = getattr(value, "dtype", ""), getattr(value, "shape", "")
        return {where: f"{type(value).__name__} {dtype} {shape}".rstrip()}
    found = {where: type(value).__name__}
    for name, part in inner:
        found |= _structure(part, name)
    return found


def _same_parts(expected: dict[str, str], found: dict[str, str], where: str) -> None:
    """Refuse a state with another part than the expected one."""
    for name in {**expected, **found}:
        one, other = expected.get(name, "missing"), found.get(name, "missing")
        if one != other:
            msg = f"{name!r} must be {one[:80]} {where}, got {other[:80]}"
            raise ConformanceError(msg)


CHECKS: dict[str, Callable[..., None]] = {
    check.__name__: check
    for check in (
        every_epoch_trains_as_planned,
        total_steps_are_those_planned,
        the_weights_multiply_the_losses,
        resumed_equals_never_stopped,
    )
}
"""Every check by name; each takes a callable that makes an :class:`Adapter`."""


def _announced(adapter: Adapter) -> int:
    with warnings.catch_warnings():
        # The samples of the suite leave a last batch of one in some epochs.
        warnings.simplefilter("ignore", TedWarning)
        return adapter.total_steps()


_STRATEGIES: tuple[strategies.Strategy, ...] = (
    strategies.TopScore(),
    strategies.SoftTop(),
    strategies.Random(),
    strategies.EpsilonGreedy(epsilon=0.25),
    strategies.UCB(),
    strategies.InfoBatch(),
    strategies.Importance(),
    strategies.Static(np.arange(SAMPLES) * 5 % 11),
)
_SCHEDULES: tuple[Schedule, ...] = (
    RollerCoaster(0.7),
    Linear(0.7, warmup=1),
    Cosine(0.5, anneal=0),
    Constant(0.6),
)


def _named(**options: Any) -> tuple[str, dict[str, Any]]:
    parts = [v if isinstance(v, str) else type(v).__name__ for v in options.values()]
    return " x ".join(parts), options


PAIRS: dict[str, dict[str, Any]] = dict(
    _named(strategy=strategy, schedule=schedule)
    for strategy in _STRATEGIES
    for schedule in _SCHEDULES
)
"""Options of a run by name, every strategy with every schedule."""

SIGNAL_PAIRS: dict[str, dict[str, Any]] = dict(
    _named(strategy=strategy, signal=signal)
    for strategy in _STRATEGIES
    for signal in SIGNALS
)
"""Options of a run by name, every strategy with every signal, some of them refused."""


def trains_or_refuses(make: MakeAdapter, options: dict[str, Any]) -> bool:
    """Check that an adapter trains a run as the core plans it, or refuses it alike.

    Parameters
    ----------
    make : callable
        Makes an adapter.
    options : dict
        Options of :class:`ted_core.Pruner`, without n and epochs: an entry of
        :data:`PAIRS` or :data:`SIGNAL_PAIRS`, or one of your own for 37 samples.

    Returns
    -------
    bool
        True if the run is trained, and all of :data:`CHECKS` hold; False if it is
        refused with the core's message.

    Raises
    ------
    ConformanceError
        A check fails, or only one of the two refuses.

    Examples
    --------
    >>> from ted_core.testing import PAIRS, SIGNAL_PAIRS, LoopAdapter
    >>> from ted_core.testing import trains_or_refuses
    >>> trains_or_refuses(LoopAdapter, PAIRS["InfoBatch x Constant"])
    True
    >>> trains_or_refuses(LoopAdapter, SIGNAL_PAIRS["UCB x forgetting"])
    False
    """
    core = _refusal(lambda: planned(options))
    found = _refusal(
        lambda: make().start(SAMPLES, batch_size=BATCH, epochs=EPOCHS, **options)
    )
    if core is not None:
        if found is None or core not in found:
            msg = f"{options} must be refused with {core!r}, got {found!r}"
            raise ConformanceError(msg)
        return False
    if found is not None:
        msg = f"{options} must be trained, got {found!r}"
        raise ConformanceError(msg)
    # The run that is resumed is trained as planned, too.
    resumed_equals_never_stopped(make, [options])
    total_steps_are_those_planned(make, [options])
    the_weights_multiply_the_losses(make, [options])
    return True


def _refusal(start: Any) -> str | None:
    try:
        start()
    except (TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return None
