"""Public functions of the core, and what they take."""

from __future__ import annotations

import tempfile
from contextlib import suppress

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import ted_core as ted
from ted_core import analysis, signals
from ted_core._scores import ScoreTable
from ted_core.reductions import MeanAndVariance
from ted_core.schedules import anneal_epochs
from ted_core.selection._randomness import tie_hash
from ted_core.selection.top_k import highest_hashes
from ted_core.testing.strategies import schedules

__all__ = ["CASES"]


def floats(shape, low=-1e3, high=1e3):
    return hnp.arrays(np.float32, shape, elements=st.floats(low, high, width=32))


def labels(n, classes=3):
    return hnp.arrays(np.int64, n, elements=st.integers(0, classes - 1))


MAX_EPOCHS = 300
COUNT, RATIO, SEED = st.integers(1, 300), st.floats(0.01, 1), st.integers(0, 2**64 - 1)
EPOCHS = st.integers(2, 40)
REDUCTION = st.sampled_from([ted.Polyak(), ted.Last(), ted.Mean(), ted.Count()])
STRATEGY = st.sampled_from([ted.TopScore(), ted.Random(), ted.SoftTop(), ted.UCB()])
SCORES = floats(9)
LOGITS, LABELS, HIDDEN = floats((5, 3)), labels(5), floats((5, 4))
CURVE = {
    "prune_ratio": st.floats(0, 0.99),
    "anneal": st.floats(0, 0.5),
    "horizon": st.sampled_from(["all", "pruning"]),
    "warmup": st.integers(0, 3),
}
LOADER = {"accumulation": COUNT, "world_size": COUNT, "drop_last": st.booleans()}
KEY = {"seed": SEED, "epoch": st.integers(0, 99)}
PRUNER = {
    "n": COUNT,
    "epochs": EPOCHS,
    "prune_ratio": st.floats(0, 0.99),
    "strategy": STRATEGY,
    "signal": st.sampled_from(sorted(signals.SIGNALS)),
    "reduction": st.one_of(st.none(), REDUCTION),
    "method": st.none(),
    "seed": SEED,
    "multiple_of": st.integers(1, 9),
    "scale_loss": st.booleans(),
    "labels": st.none(),
    "lengths": st.none(),
    "initial_scores": st.none(),
}


def pruner(**options):
    """Make a run, and go through its first two epochs."""
    run = ted.Pruner(**options)
    for _ in range(2):
        order = run.plan().order
        assert np.unique(order).size == order.size <= run.n
        run.observe(order, np.arange(order.size))
        run.advance()


def sharded(sizes, rank, balance):
    """Make the first rank's run, alone with its sums, and go through two epochs."""
    shard = ted.Shard(sizes, rank, lambda array: array, balance)
    run = ted.Pruner(shard.sizes[shard.rank], epochs=5, shard=shard)
    run.observe(np.arange(run.n), np.ones(run.n))


def ranked(k):
    ted.sample_table(ted.Pruner(9, epochs=5)).most_kept(k)
    ted.sample_table(ted.Pruner(9, epochs=5)).least_kept(k)


def saved(state):
    with tempfile.TemporaryDirectory() as folder:
        ted.save_state(f"{folder}/state", state)
        with suppress(ted.CheckpointError):  # it holds no run's state
            ted.load_state(f"{folder}/state")


def filed(path):
    """Write a file and read it as a state; the system's errors are its own."""
    with tempfile.TemporaryDirectory() as folder:
        place = f"{folder}/{path}" if isinstance(path, str) else path
        with suppress(OSError):
            with ted.atomic_write(place) as file:
                file.write(b"no state")
            with suppress(ted.CheckpointError):
                ted.load_state(place)


def observed(**given):
    run = ted.Pruner(9, epochs=5)
    run.observe(given["ids"], given["values"], valid=given["valid"])
    flags = {name: given[name] for name in ("deliveries", "weightless")}
    run.observe_sums(given["sums"], given["counts"], **flags)


def closed(forwarded, max_missing):
    """Close an epoch, and the run, of which three of nine samples came."""
    for close in (ted.Pruner.advance, ted.Pruner.finish):
        run = ted.Pruner(9, epochs=5)
        run.observe([0, 1, 2], [3, 4, 5])
        close(run, forwarded=forwarded, max_missing=max_missing)


def counted(batch_size, **options):
    run = ted.Pruner(9, epochs=5)
    run.total_steps(batch_size, **options)
    run.max_total_steps(batch_size, **options)
    run.plan().steps(batch_size, **options)


class Enough(Exception):  # noqa: N818 - nothing is wrong
    """A comparison that is as long as it was asked to be."""


def trained(*, seed, epochs, **options):
    """Train nothing: a value for each sample of each plan."""
    run = ted.Pruner(9, epochs=epochs, seed=seed, **options)
    if epochs * (1 + seed % 10**6) > MAX_EPOCHS:  # sweeps begin at a million
        raise Enough
    while run.epoch < epochs:
        order = run.plan().order
        run.observe(order, order)
        run.advance()
    return seed / 7, run


def compared(*, record, **given):
    """Compare runs that train nothing; the system's errors are its own."""
    with tempfile.TemporaryDirectory() as folder, suppress(OSError):
        place = f"{folder}/{record}" if isinstance(record, str) else record
        try:
            assert str(ted.compare(trained, record=place, progress=False, **given))
        except ted.ComparisonError as error:
            if not isinstance(error.__cause__, Enough):
                raise


CASES = {
    "keep_count": (
        ted.keep_count,
        {"n": COUNT, "keep_ratio": RATIO, "multiple_of": COUNT},
    ),
    "steps_for": (
        ted.steps_for,
        {"count": COUNT, "batch_size": COUNT, **LOADER},
    ),
    "loss_scale": (ted.loss_scale, {"keep_ratio": RATIO}),
    "save_ratio": (ted.save_ratio, {"total_forward": COUNT, "real_forward": COUNT}),
    "keep_ratios": (ted.keep_ratios, {"schedule": schedules(), "epochs": EPOCHS}),
    "anneal_epochs": (anneal_epochs, {"schedule": schedules(), "epochs": EPOCHS}),
    "planned_save_ratio": (
        ted.planned_save_ratio,
        {"schedule": schedules(), "epochs": EPOCHS, "n": COUNT, "multiple_of": COUNT},
    ),
    "RollerCoaster": (ted.RollerCoaster, CURVE | {"beta": st.floats(0.01, 5)}),
    "Linear": (ted.Linear, CURVE),
    "Cosine": (ted.Cosine, CURVE),
    "Constant": (ted.Constant, CURVE),
    "TopScore": (ted.TopScore, {"class_floor": st.floats(0, 1)}),
    "SoftTop": (
        ted.SoftTop,
        {"sharpness": st.floats(0, 99), "class_floor": st.floats(0, 1)},
    ),
    "EpsilonGreedy": (ted.EpsilonGreedy, {"epsilon": st.floats(0, 1)}),
    "UCB": (
        ted.UCB,
        {
            "confidence": st.floats(0, 9),
            "alpha": st.floats(0, 0.99),
            "bonus": st.sampled_from(["variance", "deviation"]),
            "class_floor": st.floats(0, 1),
        },
    ),
    "Importance": (
        ted.Importance,
        {"mix": st.floats(0.1, 1), "correction": st.floats(0, 1)},
    ),
    "Random": (ted.Random, {"balanced": st.booleans()}),
    "compare": (
        compared,
        {
            "epochs": st.integers(4, 9),
            "prune_ratio": st.floats(0.3, 0.9),
            "methods": st.sampled_from([["ted_loss"], {"mine": {"method": "ted"}}]),
            "budgets": st.just([0.5]),
            "seeds": st.sampled_from([3, [1, 2, 5]]),
            "rates": st.none(),
            "sweep_seeds": st.just(1),
            "higher_is_better": st.booleans(),
            "margin": st.sampled_from([None, 0.1]),
            "record": st.sampled_from([None, "record.json"]),
        },
    ),
    "Static": (ted.Static, {"scores": SCORES, "class_floor": st.floats(0, 1)}),
    "Polyak": (
        ted.Polyak,
        {"alpha": st.floats(0, 0.99), "start": st.sampled_from(["first", "zero"])},
    ),
    "MeanAndVariance": (MeanAndVariance, {"alpha": st.floats(0, 0.99)}),
    "Pruner": (pruner, PRUNER),
    "observe": (
        observed,
        {
            "ids": labels(5, 9),
            "values": floats(5),
            "valid": st.sampled_from([None, [True, False, True, True, False]]),
            "sums": SCORES,
            "counts": st.just([1] * 9),
            "deliveries": st.sampled_from([None, [1] * 9]),
            "weightless": st.sampled_from([None, [0, 1] * 4 + [0]]),
        },
    ),
    "advance, finish": (
        closed,
        {
            "forwarded": st.one_of(st.none(), st.integers(0, 9)),
            "max_missing": st.one_of(st.none(), st.integers(0, 9)),
        },
    ),
    "total_steps": (counted, {"batch_size": COUNT, **LOADER}),
    "atomic_write, load_state": (filed, {"path": st.text("ab", min_size=1)}),
    "register_kind": (ted.register_kind, {"kind": st.just(ted.TopScore)}),
    "Shard": (
        sharded,
        {
            "sizes": st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple),
            "rank": st.just(0),
            "balance": st.sampled_from(["exact", "per_rank"]),
        },
    ),
    "most_kept, least_kept": (ranked, {"k": st.integers(0, 20)}),
    "save_state": (
        saved,
        {
            "state": st.dictionaries(
                st.text(max_size=5), st.one_of(st.integers(), SCORES)
            )
        },
    ),
    "early_warning": (
        ted.early_warning,
        {"losses": st.lists(st.floats(0, 9), max_size=9), "epochs": EPOCHS},
    ),
    "run_metrics": (ted.run_metrics, {"pruner": st.just(ted.Pruner(9, epochs=5))}),
    "sample_table": (ted.sample_table, {"pruner": st.just(ted.Pruner(9, epochs=5))}),
    "ScoreTable": (
        ScoreTable,
        {"n": COUNT, "reduction": REDUCTION, "initial_scores": st.none()},
    ),
    "top_ids": (ted.top_ids, {"scores": SCORES, "count": st.integers(0, 9), **KEY}),
    "redundant_subset": (
        ted.redundant_subset,
        {"scores": SCORES, "count": st.integers(0, 9), **KEY},
    ),
    "highest_hashes": (
        highest_hashes,
        {"ids": st.just(np.arange(9)), "count": st.integers(0, 9), **KEY},
    ),
    "tie_hash": (tie_hash, {"ids": st.just(np.arange(9)), **KEY}),
    "polyak_update": (
        ted.polyak_update,
        {"score": SCORES, "value": SCORES, "alpha": st.floats(0, 0.99)},
    ),
    "mask_gradient": (
        ted.mask_gradient,
        {"hidden": HIDDEN, "gradient": HIDDEN, "loss_gradient": floats(5, 0.5, 1)},
    ),
    "segment_mask_gradient": (
        ted.segment_mask_gradient,
        {
            "hidden": HIDDEN,
            "gradient": HIDDEN,
            "segment_ids": LABELS,
            "num_segments": COUNT,
        },
    ),
    "cross_entropy_mask_gradient": (
        ted.cross_entropy_mask_gradient,
        {"logits": LOGITS, "labels": LABELS, "label_smoothing": st.floats(0, 0.99)},
    ),
    "compute": (
        signals.compute,
        {
            "signal": st.sampled_from(sorted(signals.SIGNALS)),
            "losses": floats(5, 0, 9),
            "logits": LOGITS,
            "labels": LABELS,
            "hidden": HIDDEN,
            "bias": st.booleans(),
        },
    ),
    "split_losses": (
        analysis.split_losses,
        {"losses": floats(9), "kept": st.just([1, 2]), "quantiles": st.just([0.5])},
    ),
    "prune_from": (
        analysis.prune_from,
        {
            "start": st.integers(0, 9),
            "epochs": EPOCHS,
            "prune_ratio": st.floats(0, 0.99),
        },
    ),
    "forwarded_samples": (
        analysis.forwarded_samples,
        {"schedule": schedules(), "epochs": EPOCHS, "n": COUNT, "multiple_of": COUNT},
    ),
    "gradient_correlation": (
        analysis.gradient_correlation,
        {"retained": floats((4, 3)), "full": floats((4, 3))},
    ),
    "internal_generalization": (
        analysis.internal_generalization,
        {"loss_first": floats(4), "loss_last": floats(4)},
    ),
    "interpolate": (
        lambda **given: list(analysis.interpolate(**given)),
        {"theta_first": floats(4), "theta_last": floats(4), "alphas": floats(3)},
    ),
    "quadratic_igd": (
        analysis.quadratic_igd,
        {"gradients": floats((4, 2)), "hessian": st.just(np.eye(2))},
    ),
}
