from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ted_core as ted

N, EPOCHS = 12, 8
OPTIONS = {"epochs": EPOCHS, "prune_ratio": 0.6, "seed": 2**64 - 1}
REDUCTIONS = [
    ted.Polyak(0.9),
    ted.Polyak(0.5, start="zero"),
    ted.Polyak(0.9, start="debiased"),
    ted.Last(),
    ted.Mean(),
    ted.Count(),
]


def signal(plan):
    return np.cos(plan.order * 1.7 + plan.epoch).astype(np.float32)


def train_epoch(pruner, start=0):
    plan = pruner.plan()
    pruner.observe(plan.order[start:], signal(plan)[start:])
    pruner.advance()


def paused(seen=4, epoch=3, **options):
    pruner = ted.Pruner(N, **(OPTIONS | options))
    while pruner.epoch < epoch:
        train_epoch(pruner)
    plan = pruner.plan()
    pruner.observe(plan.order[:seen], signal(plan)[:seen])
    return pruner


def assert_same(one, other):
    assert list(one) == list(other)
    for name, value in one.items():
        assert type(other[name]) is type(value), name
        if isinstance(value, np.ndarray):
            assert other[name].dtype == value.dtype, name
            assert other[name].tobytes() == value.tobytes(), name
        else:
            assert other[name] == value, name


FIELDS = sorted(paused().state_dict())
OPTIONAL = [
    field
    for field in FIELDS
    if field.startswith(("schedule.", "strategy.", "reduction."))
    and not field.endswith(".kind")
]
"""Fields that have a default: an older state may lack them."""
LATER = [
    "lengths",
    "history.forwarded",
    "history.keep_ratio",
    "history.weightless",
    "open.deliveries",
    "open.weightless",
]
"""Fields that a state of version 1 does not have."""


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(REDUCTIONS),
    st.sampled_from([ted.TopScore(), ted.Random()]),
    st.integers(0, EPOCHS - 1),
    st.integers(0, 4),
)
def test_a_run_resumed_anywhere_ends_bit_for_bit_as_one_that_never_stopped(
    reduction, strategy, epoch, seen
):
    options = {"reduction": reduction, "strategy": strategy}
    if reduction == ted.Count():
        options["signal"] = "forgetting"
    whole = paused(seen, epoch, **options)
    resumed = ted.Pruner(N, **(OPTIONS | options))
    resumed.load_state_dict(whole.state_dict())
    assert_same(resumed.state_dict(), whole.state_dict())
    for pruner in (whole, resumed):
        train_epoch(pruner, seen)
        while not pruner.finished:
            train_epoch(pruner)
    assert_same(resumed.state_dict(), whole.state_dict())
    assert resumed.savings() == whole.savings()


def test_taking_a_state_changes_nothing():
    pruner = paused()
    plan = pruner.plan()
    assert_same(pruner.state_dict(), pruner.state_dict())
    assert pruner.plan() is plan


def test_training_on_leaves_the_loaded_state_as_it_was():
    state = paused().state_dict()
    kept = paused().state_dict()
    pruner = ted.Pruner(N, **OPTIONS)
    pruner.load_state_dict(state)
    train_epoch(pruner, 4)
    while not pruner.finished:
        train_epoch(pruner)
    assert_same(state, kept)


def test_a_finished_run_and_an_early_stop_stay_so():
    early, late = paused(), paused(seen=0)
    with pytest.warns(ted.TedWarning, match="must have 8 epochs as planned, got 4"):
        early.finish()
    while not late.finished:
        train_epoch(late)
    for pruner, epoch in ((early, 4), (late, EPOCHS)):
        other = ted.Pruner(N, **OPTIONS)
        other.load_state_dict(pruner.state_dict())
        assert (other.finished, other.epoch) == (True, epoch)
        assert_same(other.state_dict(), pruner.state_dict())


def test_a_run_extended_between_epochs_trains_to_its_new_end():
    saved = paused(seen=0)
    longer = ted.Pruner(N, **(OPTIONS | {"epochs": 16}))
    longer.load_state_dict(saved.state_dict(), allow=("epochs",))
    np.testing.assert_array_equal(longer.scores, saved.scores)
    while not longer.finished:
        train_epoch(longer)
    assert longer.epoch == 16


def test_a_run_is_not_shortened_below_its_closed_epochs():
    state = paused(seen=0, epoch=6).state_dict()
    shorter = ted.Pruner(N, **(OPTIONS | {"epochs": 5}))
    with pytest.raises(ted.CheckpointError, match="`epochs` must be at least the 6"):
        shorter.load_state_dict(state, allow=("epochs",))


@pytest.mark.parametrize("field", OPTIONAL)
def test_an_option_that_an_older_state_lacks_has_its_default(field):
    pruner = ted.Pruner(N, epochs=EPOCHS)
    state = pruner.state_dict()
    del state[field]
    pruner.load_state_dict(state)
    other = ted.Pruner(
        N,
        epochs=EPOCHS,
        schedule=ted.RollerCoaster(
            0.5, beta=1, anneal=0.25, horizon="pruning", warmup=1
        ),
        strategy=ted.TopScore(class_floor=0.1),
        reduction=ted.Polyak(0.5, start="zero"),
        labels=np.zeros(N, int),
    )
    state = other.state_dict()
    del state[field]
    with pytest.raises(ted.CheckpointError, match=f"`{field}` must equal the saved"):
        other.load_state_dict(state)


@pytest.mark.parametrize("field", LATER)
def test_a_field_that_version_1_did_not_have_has_its_default(field):
    saved, pruner = paused(), ted.Pruner(N, **OPTIONS)
    state = saved.state_dict()
    del state[field]
    pruner.load_state_dict(state)
    assert_same(pruner.state_dict(), saved.state_dict())


@pytest.mark.parametrize("field", sorted({*FIELDS} - {*OPTIONAL, *LATER}))
def test_a_missing_field_is_refused_by_name(field):
    state = paused().state_dict()
    del state[field]
    pruner = ted.Pruner(N, **OPTIONS)
    before = pruner.state_dict()
    words = f"must have '{field}'|`{field}` must be .*, saved None"
    with pytest.raises(ted.CheckpointError, match=words):
        pruner.load_state_dict(state)
    assert_same(pruner.state_dict(), before)


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_of_another_type_or_dtype_is_refused_by_name(field):
    state = paused().state_dict()
    value = state[field]
    state[field] = value.astype(np.float16) if isinstance(value, np.ndarray) else None
    pruner = ted.Pruner(N, **OPTIONS)
    before = pruner.state_dict()
    with pytest.raises(ted.CheckpointError, match=f"`{field}` must be"):
        pruner.load_state_dict(state)
    assert_same(pruner.state_dict(), before)


@pytest.mark.parametrize("place", [0, N - 1])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_score_that_is_not_finite_is_refused_with_its_place(place, value):
    state = paused().state_dict()
    state["scores.score"][place] = value
    with pytest.raises(ted.CheckpointError, match=f"`scores.score` .* at {place} with"):
        ted.Pruner(N, **OPTIONS).load_state_dict(state)


class Rows:
    """Points that note which of them are read."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.y = rng.integers(0, 3, size=90)
        self.x = rng.normal(size=(90, 8)) + 3 * np.eye(3, 8)[self.y]
        self.ids = []

    def __getitem__(self, ids):
        self.ids += ids.tolist()
        return self.x[ids], self.y[ids]


def train(path, stop=None):
    """Train a softmax regression as the page on NumPy does; `stop` after a step."""
    data, batch = Rows(), 8
    pruner = ted.Pruner(90, epochs=EPOCHS, prune_ratio=0.6, multiple_of=batch)
    weights, step, position, rate = np.zeros((8, 3)), 0, 0, None
    steps = pruner.total_steps(batch)
    if path.exists():
        saved = ted.load_state(path)
        weights, step = saved.pop("weights"), saved.pop("step")
        position = saved.pop("position")
        pruner.load_state_dict(saved)
    planned = []
    while not pruner.finished:
        plan = pruner.plan()
        planned += plan.order[position:].tolist()
        while position < len(plan):
            ids = plan.order[position : position + batch]
            x, y = data[ids]
            z = x @ weights
            p = np.exp(z - z.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            step, position = step + 1, position + ids.size
            rate = 0.2 * (1 - step / steps)
            gradient = x.T @ (p - np.eye(3)[y]) / ids.size
            weights = weights - rate * plan.loss_scale * gradient
            pruner.observe(ids, ted.cross_entropy_mask_gradient(z, y))
            if step == stop:
                own = {"weights": weights, "step": step, "position": position}
                ted.save_state(path, {**pruner.state_dict(), **own})
                return None
        pruner.advance()
        position = 0
    return data.ids, planned, rate, weights.tobytes(), pruner.scores.tobytes()


@pytest.mark.parametrize("stop", [5, 12, 40])
def test_a_loop_of_ones_own_reads_the_plan_and_goes_on_to_the_same_weights(
    stop, tmp_path
):
    read, planned, rate, *ends = train(tmp_path / "whole.ted")
    assert read == planned
    assert len(read) < EPOCHS * 90
    assert rate == 0
    train(tmp_path / "run.ted", stop)
    again, rest, last, *found = train(tmp_path / "run.ted")
    assert again == rest == read[-len(again) :]
    assert len(again) < len(read)
    assert (last, found) == (rate, ends)
