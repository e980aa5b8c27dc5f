from __future__ import annotations

import numpy as np
import pytest

import ted_core as ted


def pruner(**options):
    return ted.Pruner(**{"n": 40, "epochs": 8, "seed": 3, **options})


def half_way(**options):
    run = pruner(**options)
    for _ in range(3):
        run.observe(run.plan().order, np.cos(run.plan().order))
        run.advance()
    order = run.plan().order
    run.observe(order[:7], np.sin(order[:7]))
    return run


def test_a_loaded_state_is_copied_and_two_runs_can_share_it():
    state = half_way().state_dict()
    first, second, later = pruner(), pruner(), pruner()
    first.load_state_dict(state)
    second.load_state_dict(state)
    first.observe(first.plan().order, np.ones(first.plan().order.size))
    first.advance()
    later.load_state_dict(state)
    for run in (second, later):
        np.testing.assert_array_equal(run.scores, half_way().scores)
        assert run.plan().order.tolist() == half_way().plan().order.tolist()
    for array in state.values():
        if isinstance(array, np.ndarray):
            array[...] = 0
    np.testing.assert_array_equal(second.scores, half_way().scores)


@pytest.mark.parametrize(
    "options",
    [
        {"reduction": ted.Polyak(start="debiased")},
        {"reduction": ted.Last()},
        {"reduction": ted.Mean()},
        {"signal": "forgetting"},
    ],
)
def test_a_run_resumed_in_mid_epoch_goes_on_bit_for_bit(options):
    straight = half_way(**options)
    resumed = pruner(**options)
    resumed.load_state_dict(straight.state_dict())
    for run in (straight, resumed):
        order = run.plan().order
        run.observe(order[7:], np.sin(order[7:]))
        while True:
            run.advance()
            if run.finished:
                break
            run.observe(run.plan().order, np.tan(run.plan().order))
    one, other = straight.state_dict(), resumed.state_dict()
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name])


def test_a_state_is_flat_little_endian_and_a_copy():
    run = half_way()
    state = run.state_dict()
    for value in state.values():
        assert isinstance(value, np.ndarray | str | int | float | bool)
        if isinstance(value, np.ndarray):
            assert value.dtype == value.dtype.newbyteorder("<")
            value[...] = 0
    assert np.isfinite(run.scores).all()


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"n": 41}, "n"),
        ({"epochs": 9}, "epochs"),
        ({"seed": 4}, "seed"),
        ({"prune_ratio": 0.5}, "schedule.prune_ratio"),
        ({"strategy": ted.Random()}, "method"),
        ({"strategy": ted.UCB()}, "strategy.kind"),
        ({"reduction": ted.Last()}, "reduction.kind"),
        ({"signal": "loss"}, "method"),
        ({"signal": "grand"}, "signal"),
        ({"multiple_of": 2}, "multiple_of"),
        ({"scale_loss": False}, "scale_loss"),
        ({"labels": np.zeros(40, int)}, "labels"),
    ],
)
def test_another_configuration_is_refused_with_the_field_and_both_values(
    options, field
):
    here = pruner(**options)
    before = here.state_dict()
    with pytest.raises(
        ted.CheckpointError, match=f"`{field}` must equal .* saved .*, "
    ):
        here.load_state_dict(half_way().state_dict())
    np.testing.assert_array_equal(
        here.state_dict()["scores.score"], before["scores.score"]
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"method": "soft_margin"},
            "saved 'ted', here 'soft_margin'; resume with the saved one, or begin anew",
        ),
        ({"seed": 4}, "saved '3', here '4'; resume with the saved one, or begin anew"),
        ({"multiple_of": 2}, "saved 1, here 2; keep `multiple_of=1`, also on another"),
        ({"epochs": 9}, r"saved 8, here 9; `allow=\('epochs',\)` lets a run go on"),
    ],
)
def test_another_configuration_is_refused_with_what_to_do(options, says):
    with pytest.raises(ted.CheckpointError, match=says):
        pruner(**options).load_state_dict(half_way().state_dict())


def test_a_whole_checkpoint_is_refused_with_the_name_of_the_state_in_it():
    whole = {"model": {"w": np.ones(3)}, "ted": half_way().state_dict(), "epoch": 3}
    rule = r"must have 'format', as all that `state_dict\(\)` returns, got "
    says = f"{rule}'model', 'ted', 'epoch'; give `state\\['ted'\\]`$"
    with pytest.raises(ted.CheckpointError, match=says):
        pruner().load_state_dict(whole)
    others = dict.fromkeys(range(7))
    with pytest.raises(ted.CheckpointError, match=f"{rule}0, 1, 2, 3, 4 and 2 more$"):
        pruner().load_state_dict(others)


def broken(name, value):
    state = half_way().state_dict()
    if value is None:
        del state[name]
    else:
        state[name] = value
    return state


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("format", "other", "`format` must be 'ted_core.Pruner', saved 'other'"),
        ("version", 3, r"`version` must be in \[1, 2\], saved 3"),
        ("version", "1", r"`version` must be in \[1, 2\], saved '1'"),
        ("epoch", None, "`state` must have 'epoch'"),
        ("epoch", -1, r"`epoch` must be in \[0, 8\], saved -1"),
        ("epoch", 4, "`history.planned` must be int64 of shape"),
        ("scores.score", None, "`state` must have 'scores.score'"),
        (
            "scores.score",
            np.zeros(40),
            "`scores.score` must be float32 .* saved float64",
        ),
        ("scores.score", np.zeros(39, np.float32), r"saved float32 of shape \(39,\)"),
        (
            "scores.score",
            np.full(40, np.nan, np.float32),
            "`scores.score` must be finite",
        ),
        (
            "scores.update_counts",
            np.zeros(40, ">u2"),
            "`scores.update_counts` must be uint16",
        ),
        (
            "open.observed",
            9,
            "`open.observed` must equal the sum of its deliveries, saved",
        ),
        ("open.checksum", 1, "`state` must have the order of this epoch"),
        ("stopped", 0, "`stopped` must be bool, saved 0"),
        ("strategy.kind", np.zeros(0), "`strategy.kind` must be"),
        ("strategy.kind", np.zeros(2), "`strategy.kind` must be"),
        ("signal", np.zeros(2), "`signal` must"),
        ("surprise", 1, "`state` must hold known fields only, got surprise"),
    ],
)
def test_a_damaged_state_is_refused_by_name_and_nothing_changes(name, value, message):
    here = half_way()
    before = here.state_dict()
    with pytest.raises(ted.CheckpointError, match=message):
        here.load_state_dict(broken(name, value))
    for key, kept in here.state_dict().items():
        np.testing.assert_array_equal(kept, before[key])


def test_a_run_is_extended_on_purpose_only():
    longer, shorter = pruner(epochs=20), half_way()
    shorter.observe(shorter.plan().order, np.ones(len(shorter.plan())))
    shorter.advance()
    longer.load_state_dict(shorter.state_dict(), allow=("epochs",))
    assert (longer.epoch, longer.epochs) == (4, 20)
    with pytest.raises(ValueError, match="`allow` must hold only 'epochs', got 'n'"):
        longer.load_state_dict({}, allow=("n",))


def test_a_state_that_is_no_mapping_is_refused():
    with pytest.raises(TypeError, match="`state` must be a mapping, got list"):
        pruner().load_state_dict([])


def test_a_path_in_place_of_a_state_is_refused_with_the_function_that_reads_it():
    said = r"got str; read the file first, `ted_core\.load_state\(path\)`"
    with pytest.raises(TypeError, match=said):
        pruner().load_state_dict("ted.npz")
