"""Schedules, strategies and reductions of one's own in a saved state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from saved_runs import FOLDER

import ted_core as ted


@ted.register_kind
@dataclass(frozen=True)
class Slow(ted.Polyak):
    """A reduction with an option of its own."""

    patience: int = 3


@ted.register_kind
class Tenth:
    """A schedule that is no dataclass."""

    prune_ratio, anneal, horizon, warmup = 0.9, 0.125, "all", 0

    def __init__(self, share=0.1):
        self.share = np.float64(share)

    def __call__(self, progress):
        return np.full_like(progress, self.share)

    def state_fields(self):
        return {"share": self.share}


class Unknown(ted.Random):
    """A strategy that nobody has registered."""

    def __repr__(self):
        return "Unknown()"


@ted.register_kind
@dataclass(frozen=True)
class Listed(ted.Random):
    """A strategy with a field that no state can hold."""

    classes: tuple[int, ...] = (1, 2)


def run(**options):
    pruner = ted.Pruner(12, epochs=6, **options)
    pruner.observe(np.arange(12), np.arange(12))
    pruner.advance()
    return pruner


def test_a_run_with_registered_classes_goes_on_from_its_file(tmp_path):
    options = {"schedule": Tenth(0.5), "reduction": Slow(0.5, patience=7)}
    saved = run(**options)
    ted.save_state(tmp_path / "state", saved.state_dict())
    state = ted.load_state(tmp_path / "state")
    assert state["schedule.kind"] == "Tenth"
    assert (state["schedule.share"], state["reduction.patience"]) == (0.5, 7)
    again = ted.Pruner(12, epochs=6, **options)
    again.load_state_dict(state)
    assert again.plan().order.tolist() == saved.plan().order.tolist()
    np.testing.assert_array_equal(ted.Static.from_state(state).scores, saved.scores)
    other = ted.Pruner(12, epochs=6, schedule=Tenth(), reduction=Slow(0.5, patience=7))
    with pytest.raises(ted.CheckpointError, match=r"`schedule\.share` must equal the"):
        other.load_state_dict(state)


def test_a_class_made_again_by_a_notebook_serves_runs_of_both():
    def cell():
        @ted.register_kind
        @dataclass(frozen=True)
        class Cell(ted.Random):
            share: float = 0.5

        return Cell

    first, again = run(strategy=cell()()), run(strategy=cell()())
    again.load_state_dict(first.state_dict())
    first.load_state_dict(again.state_dict())


def test_a_class_that_has_got_a_new_option_loads_older_states():
    state = run(reduction=Slow()).state_dict()
    del state["reduction.patience"]
    run(reduction=Slow()).load_state_dict(state)
    with pytest.raises(ted.CheckpointError, match=r"`reduction\.patience` must equal"):
        run(reduction=Slow(patience=9)).load_state_dict(state)


def test_an_option_that_the_class_does_not_have_is_refused_by_name():
    state = run(reduction=Slow()).state_dict() | {"reduction.haste": 1}
    with pytest.raises(ted.CheckpointError, match=r"known .*, got reduction\.haste"):
        run(reduction=Slow()).load_state_dict(state)
    with pytest.raises(ted.CheckpointError, match="`reduction` must be a Slow with"):
        ted.Static.from_state(state)


@pytest.mark.parametrize("strategy", [Unknown(), Listed()])
def test_what_is_not_registered_trains_and_is_not_saved(strategy):
    pruner = run(strategy=strategy)
    remedy = "decorate the class with `ted_core.register_kind`"
    with pytest.raises(TypeError, match=f"`strategy` must be .* {remedy}"):
        pruner.state_dict()
    with pytest.raises(TypeError, match=remedy):
        pruner.load_state_dict(run(strategy=ted.Random()).state_dict())


def test_an_older_state_of_an_unregistered_class_is_compared_by_its_repr():
    state = ted.load_state(FOLDER / "core" / "fresh.npz") | {"strategy": "Unknown()"}
    ted.Pruner(40, epochs=8, strategy=Unknown()).load_state_dict(state)
    with pytest.raises(ted.CheckpointError, match=r"`strategy` .* saved 'Unknown\(\)'"):
        ted.Pruner(40, epochs=8).load_state_dict(state)


@pytest.mark.parametrize("field", ["schedule", "strategy.class_floor", "scores.score"])
def test_an_older_state_has_the_fields_of_its_version_alone(field):
    state = ted.load_state(FOLDER / "core" / "fresh.npz")
    changed = {k: v for k, v in state.items() if k != field}
    if field not in state:
        changed[field] = 0.0
    with pytest.raises(ted.CheckpointError, match=f"'{field}'|known .* {field}"):
        ted.Pruner(40, epochs=8).load_state_dict(changed)


def test_only_classes_with_known_fields_and_a_name_of_their_own_are_registered():
    with pytest.raises(TypeError, match="`kind` must be a class, got 3"):
        ted.register_kind(3)
    with pytest.raises(TypeError, match="`kind` must be a dataclass or have"):
        ted.register_kind(type("Plain", (), {}))
    with pytest.raises(ValueError, match="`kind` must have a name of its own"):
        ted.register_kind(dataclass(type("TopScore", (), {})))
    assert ted.register_kind(Slow) is Slow
