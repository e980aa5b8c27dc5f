"""A loop of one's own with JAX, and Grain over the plan's order."""

from __future__ import annotations

import grain
import jax
import jax.numpy as jnp
import jax_ranks
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax_runs import CLASSES, JaxAdapter, Training, points, read, train_step
from killed import trials
from oracles.delta import cross_entropy, delta_derivative

import ted_core
from ted_core import signals
from ted_core.testing import CHECKS, PAIRS, check_resume, trains_or_refuses


def trained(**options):
    training = Training(**options)
    for _ in training.run():
        pass
    return training


@pytest.mark.parametrize("name", CHECKS)
def test_a_loop_with_jax_and_grain_conforms(name):
    CHECKS[name](JaxAdapter)


def test_the_loop_may_be_saved_at_every_step():
    check_resume(JaxAdapter, every=3)


@pytest.mark.parametrize("name", PAIRS)
def test_every_strategy_trains_with_every_schedule(name):
    assert trains_or_refuses(JaxAdapter, PAIRS[name])


def test_what_is_forwarded_is_the_plan_and_the_rate_ends_where_it_should():
    training, planned = Training(n=90), []
    for moment in training.run():
        if moment == "begin" and not training.position:
            planned += training.pruner.plan().order.tolist()
    assert [k for ids in training.forwarded for k in ids] == planned
    assert training.done == training.steps
    assert training.pruner.savings().forwarded == len(planned)


@pytest.mark.parametrize("name", ["ids", "values"])
def test_a_pruner_inside_of_jit_is_refused_by_name(name):
    pruner = ted_core.Pruner(8, epochs=5)
    given = {"ids": np.arange(8), "values": np.ones(8)}

    @jax.jit
    def step(traced):
        pruner.observe(**given | {name: traced})

    with pytest.raises(TypeError, match=f"`{name}` must be an array, got Dyn"):
        step(given[name])
    assert pruner.state_dict()["open.observed"] == 0


def test_a_jitted_step_is_compiled_for_two_shapes_at_most():
    before = train_step._cache_size()
    training = trained(n=90, epochs=6)
    assert {len(ids) for ids in training.forwarded} == {16, 90 % 16}
    assert train_step._cache_size() - before <= 2


@pytest.mark.parametrize("signal", signals.SIGNALS)
def test_every_signal_is_recorded_in_a_jitted_step(signal):
    training = Training(signal=signal, rate=0.0, strategy=ted_core.Random())
    x, y = (np.stack(part) for part in zip(*training.source, strict=True))
    weights = {k: np.asarray(w, np.float64) for k, w in training.state[0].items()}
    hidden = np.tanh(x @ weights["in"])
    z = hidden @ weights["out"]
    losses = np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(y)), y]
    expected = signals.compute(
        signal, losses=losses, logits=z, labels=y, hidden=hidden, bias=False
    )
    run = training.run()
    while training.position < len(y):
        next(run)
    for ids, values in training.seen:
        np.testing.assert_allclose(values, expected[ids], rtol=1e-4, atol=1e-6)


@settings(max_examples=8)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 5]), st.floats(0.5, 4))
def test_a_delta_in_the_forward_pass_gives_the_values_of_the_oracle(seed, n, scale):
    rng = np.random.default_rng(seed)
    h, head = rng.normal(size=(n, 3)), rng.normal(size=(3, CLASSES))
    y = rng.integers(0, CLASSES, size=n)

    def total(head, delta):
        z = (h * delta[:, None]) @ head + 0.5
        losses = -jax.nn.log_softmax(z)[jnp.arange(n), y]
        return scale * losses.mean()

    def loss(delta):
        z = (h * delta[:, None]) @ head + 0.5
        return cross_entropy(z[:, None], np.eye(CLASSES)[y][:, None], np.ones((n, 1)))

    delta = jnp.ones(n)
    _, slope = jax.grad(total, argnums=(0, 1))(head, delta)
    values = ted_core.mask_gradient(delta, slope, loss_gradient=jnp.full(n, scale / n))
    expected = np.abs(delta_derivative(loss, n))
    np.testing.assert_allclose(values, expected, rtol=1e-3, atol=1e-4)


def test_grain_gives_an_epoch_resumed_in_its_middle_the_same_augmentations():
    source = points(40)
    plan = ted_core.Pruner(40, epochs=5).plan()

    def augmented(start=0):
        data = read(plan, source).random_map(_with_noise, seed=plan.epoch)
        return list(data[start:].batch(8))

    whole, rest = augmented(), augmented(16)
    for one, other in zip(whole[2:], rest, strict=True):
        jax.tree.map(np.testing.assert_array_equal, one, other)
    assert whole[0][0].tolist() == plan.order[:8].tolist()
    assert not np.array_equal(whole[0][2][0][0], source[plan.order[0]][0])


def _with_noise(item, rng):
    ids, weight, (x, y) = item
    return ids, weight, (x + rng.normal(size=x.shape), y)


def test_grains_data_loader_reads_the_plan_as_its_source():
    source = points(40)
    plan = ted_core.Pruner(40, epochs=5).plan()
    loader = grain.DataLoader(
        data_source=read(plan, source),
        sampler=grain.samplers.SequentialSampler(len(plan)),
        operations=[grain.transforms.Batch(8)],
    )
    batches = list(loader)
    assert (
        np.concatenate([ids for ids, _, _ in batches]).tolist() == plan.order.tolist()
    )
    ids, _, (x, y) = batches[1]
    for row, k in enumerate(ids):
        assert (x[row] == source[k][0]).all()
        assert y[row] == source[k][1]


def test_two_processes_score_what_one_does(tmp_path):
    one, two = trained(), jax_ranks.records(tmp_path)
    assert two[0]["scores"] == two[1]["scores"]
    np.testing.assert_allclose(two[0]["scores"], one.pruner.scores, rtol=1e-4)
    assert {record["savings"] for record in two} == {repr(one.pruner.savings())}
    for step, ids in enumerate(one.forwarded):
        parts = [k for record in two for k in record["forwarded"][step]]
        assert sorted(parts) == sorted(ids)


def test_a_killed_training_ends_as_the_one_never_stopped():
    found = trials("jax", 1, seed=1)
    assert sum(len(one["kills"]) for one in found) == 1
    assert [one["refused"] or one["differs"] for one in found] == [[]] * len(found)
    assert all(one["equal"] for one in found)
