from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ted_core as ted
from ted_core import CheckpointError

STRATEGIES = [ted.TopScore(), ted.Random(), ted.SoftTop(), ted.InfoBatch()]
EVERY = st.sampled_from(STRATEGIES)


@st.composite
def runs(draw):
    lengths = draw(st.lists(st.integers(0, 9), min_size=1, max_size=300))
    return {
        "lengths": lengths,
        "multiple_of": draw(st.integers(2, 9)),
        "strategy": draw(EVERY),
        "seed": draw(st.integers(0, 99)),
    }


def make(lengths, **options):
    return ted.Pruner(len(lengths), epochs=6, lengths=lengths, **options)


def trained(pruner, epochs):
    """Close epochs, with values that know nothing of the lengths."""
    for _ in range(epochs):
        order = pruner.plan().order
        pruner.observe(order, order * 7919 % 101)
        pruner.advance()
    return pruner


def one_by_one(order, lengths, batch):
    """Group an order in the plainest way: cut, and sort each part."""
    order = order.tolist()
    longest = max(order, key=lambda k: lengths[k])
    at = order.index(longest)
    order[0], order[at] = order[at], order[0]
    size = batch * max(1, min(50, len(order) // (4 * batch)))
    parts = [order[k : k + size] for k in range(0, len(order), size)]
    return [k for part in parts for k in sorted(part, key=lambda k: -lengths[k])]


@given(run=runs(), epochs=st.integers(0, 3))
def test_an_epoch_is_the_ungrouped_one_cut_and_sorted(run, epochs):
    pruner = trained(make(**run), epochs)
    plain = {name: value for name, value in run.items() if name != "lengths"}
    other = trained(ted.Pruner(pruner.n, epochs=6, **plain), epochs).plan()
    grouped = pruner.plan()
    assert grouped.kept.tolist() == other.kept.tolist()
    want = one_by_one(other.order, run["lengths"], run["multiple_of"])
    assert grouped.order.tolist() == want
    if other.weights is not None:
        of = dict(zip(other.order.tolist(), other.weights.tolist(), strict=True))
        assert grouped.weights.tolist() == [of[k] for k in want]


@given(run=runs(), epochs=st.integers(0, 3))
def test_the_first_batch_has_the_longest_sample(run, epochs):
    order = trained(make(**run), epochs).plan().order
    lengths = np.array(run["lengths"])[order]
    assert lengths[0] == lengths.max()


@given(run=runs(), epochs=st.integers(0, 3))
def test_a_saved_run_goes_on_with_the_same_order_and_counts(run, epochs):
    pruner = trained(make(**run), epochs)
    half = pruner.plan().order[: len(pruner.plan()) // 2]
    pruner.observe(half, half + 1.0)
    again = make(**run)
    again.load_state_dict(pruner.state_dict())
    assert again.plan().order.tolist() == pruner.plan().order.tolist()
    assert again.savings() == pruner.savings()
    rest = pruner.plan().order[half.size :]
    for one in (pruner, again):
        one.observe(rest, rest + 1.0)
        one.advance()
    assert again.plan().order.tolist() == pruner.plan().order.tolist()
    assert str(again.report()) == str(pruner.report())


@given(run=runs())
def test_savings_and_report_count_the_tokens_of_what_was_delivered(run):
    pruner, lengths = make(**run), np.array(run["lengths"])
    planned, delivered = [], []
    for epoch in range(4):
        order = pruner.plan().order
        given_out = order[: -epoch or None]
        pruner.observe(given_out, given_out + 1.0)
        if given_out.size == 0:
            break
        pruner.observe(given_out[:1], [1.0])  # a repeat is no further token
        planned.append(lengths[order].sum())
        delivered.append(lengths[given_out].sum())
        pruner.advance()
    report, tokens = pruner.report(), pruner.savings().tokens
    assert report.planned_tokens.tolist() == planned
    assert report.forwarded_tokens.tolist() == delivered
    assert tokens.forwarded == tokens.planned == sum(delivered)
    assert ted.run_metrics(pruner)["ted/tokens_saved"] == tokens.ratio


def test_an_epoch_cut_short_saves_no_tokens():
    pruner = make([5] * 20, multiple_of=2)
    pruner.observe(pruner.plan().order[:10], np.ones(10))
    pruner.advance()
    assert (pruner.savings().tokens.full, pruner.savings().tokens.ratio) == (50, 0)


def test_a_run_without_lengths_tells_no_tokens():
    pruner = trained(ted.Pruner(20, epochs=6), 2)
    assert pruner.savings().tokens is None is pruner.report().planned_tokens
    assert "ted/tokens_saved" not in ted.run_metrics(pruner)
    assert "tokens" not in str(pruner.report())
    assert not any("tokens" in name for name in pruner.state_dict())


def test_tables_tell_the_tokens_beside_the_samples():
    report = trained(make([3, 1, 4, 1, 5, 9], multiple_of=2), 1).report()
    frame = report.to_dataframe()
    assert list(frame)[-2:] == ["planned_tokens", "forwarded_tokens"]
    head, row, total = str(report).splitlines()
    assert total.endswith("0.0% of the tokens saved")
    assert dict(zip(head.split(), row.split(), strict=True))["planned_tokens"] == "23"


@pytest.mark.parametrize("lengths", [[1, 2, 4], None])
def test_a_state_of_other_lengths_is_refused(lengths):
    state = trained(make([1, 2, 3], multiple_of=2), 1).state_dict()
    other = ted.Pruner(3, epochs=6, multiple_of=2, lengths=lengths)
    with pytest.raises(CheckpointError, match="`lengths` must equal the saved one"):
        other.load_state_dict(state)


def test_a_state_of_no_lengths_is_refused_by_a_run_with_some():
    state = trained(ted.Pruner(3, epochs=6, multiple_of=2), 1).state_dict()
    del state["lengths"]  # as saved before there were any
    plain = ted.Pruner(3, epochs=6, multiple_of=2)
    plain.load_state_dict(state)
    assert plain.epoch == 1
    with pytest.raises(CheckpointError, match="must equal the saved one, saved -1"):
        make([1, 2, 3], multiple_of=2).load_state_dict(state)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("planned_tokens", 7, "at most 6, saved"),
        ("forwarded_tokens", 7, "at most those planned, saved"),
        ("forwarded_tokens", -1, "at least 0, saved -1"),
    ],
)
def test_damaged_counts_of_tokens_are_refused(name, value, says):
    pruner = trained(make([1, 2, 3], multiple_of=2), 1)
    state = pruner.state_dict() | {f"history.{name}": np.array([value])}
    with pytest.raises(CheckpointError, match=f"`history.{name}` must be {says}"):
        pruner.load_state_dict(state)


@pytest.mark.parametrize(
    ("lengths", "says"),
    [
        ([1, 2], r"`lengths` must hold integers of shape \(3,\), got int64 of shape"),
        ([1.0, 2.0, 3.0], "`lengths` must hold integers .*, got float64"),
        ([1, -2, 3], r"`lengths` must be in \[0, 2\^31\), got -2 at 1"),
        ([1, 2, 2**31], r"`lengths` must be in \[0, 2\^31\), got 2147483648 at 2"),
    ],
)
def test_what_is_no_length_of_each_sample_is_refused(lengths, says):
    with pytest.raises(ValueError, match=says):
        ted.Pruner(3, epochs=6, lengths=lengths, multiple_of=2)


def test_lengths_beside_what_is_no_number_of_samples_are_refused_by_its_name():
    with pytest.raises(TypeError, match="`n` must be an integer, got array"):
        ted.Pruner(np.ones(3), epochs=5, multiple_of=2, lengths=[1, 2, 3])


def test_lengths_without_a_batch_to_group_them_in_are_refused():
    with pytest.raises(
        ValueError, match="`multiple_of` must be the samples of a batch"
    ):
        make([1, 2, 3])


def test_the_lengths_of_a_run_are_its_own_copy():
    lengths = np.arange(9)
    pruner = make(lengths, multiple_of=2)
    lengths[:] = 0
    assert pruner.plan().order.tolist()[0] == 8
