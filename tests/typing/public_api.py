"""The exact types of the public API: read by the type checkers, never run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO, assert_type

import numpy as np
from numpy.typing import NDArray

import ted_core as ted
from ted_core.comparison import Comparison, Difference, Row
from ted_core.typing import Ids, Scores, State

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ted_core.schedules import Schedule
    from ted_core.strategies import Strategy


def a_run_gives_plans_scores_and_counts(ids: NDArray[np.int64]) -> None:
    pruner = ted.Pruner(100, epochs=10, prune_ratio=0.5)
    assert_type(pruner.n, int)
    assert_type(pruner.epoch, int)
    assert_type(pruner.finished, bool)
    assert_type(pruner.scores, Scores)
    assert_type(pruner.update_counts, NDArray[np.uint16])
    plan = assert_type(pruner.plan(), ted.EpochPlan)
    assert_type(plan.order, Ids)
    assert_type(plan.kept, Ids)
    assert_type(plan.keep_ratio, float)
    assert_type(plan.keep_fraction, float)
    assert_type(plan.loss_scale, float)
    assert_type(plan.weights, NDArray[np.float32] | None)
    assert_type(plan.steps(32, accumulation=2, world_size=4, drop_last=True), int)
    pruner.observe(ids, [0.5, 0.25])
    pruner.observe_sums(np.zeros(100, np.float32), np.zeros(100, np.uint8))
    pruner.observe(ids, np.ma.masked_array([0.5, 0.25]), valid=[True, False])
    counts = np.zeros(100, np.uint8)
    pruner.observe_sums(counts, counts, deliveries=counts, weightless=counts)
    pruner.advance(forwarded=90, max_missing=10)
    pruner.finish(max_missing=10)
    assert_type(pruner.total_steps(32), int)
    assert_type(pruner.max_total_steps(32), int)
    assert_type(pruner.savings(), ted.Savings)
    assert_type(pruner.savings().ratio, float)
    assert_type(pruner.savings().tokens, ted.Savings | None)
    ted.Pruner(3, epochs=10, multiple_of=2, lengths=[3, 1, 4])
    assert_type(pruner.report(), ted.Report)
    assert_type(pruner.nonfinite_dropped, int)
    assert_type(pruner.report().nonfinite_ids, NDArray[np.int64])
    assert_type(pruner.report().keep_ratio, NDArray[np.float64])
    assert_type(pruner.report().savings, ted.Savings)


def a_state_is_a_flat_mapping(pruner: ted.Pruner, path: Path) -> None:
    state = assert_type(pruner.state_dict(), State)
    ted.save_state(path, state)
    ted.save_state("run.npz", state)
    assert_type(ted.register_kind(ted.TopScore), type[ted.TopScore])
    with ted.atomic_write(path) as file:
        assert_type(file, BinaryIO)
    pruner.load_state_dict(ted.load_state(path), allow=("epochs",))
    loaded: Mapping[str, Any] = ted.load_state("run.npz")
    pruner.load_state_dict(loaded)


def every_schedule_is_one() -> None:
    schedules: list[Schedule] = [
        ted.RollerCoaster(),
        ted.RollerCoaster(0.7, beta=0.3, anneal=0.0, horizon="pruning", warmup=2),
        ted.Linear(0.5),
        ted.Cosine(0.5),
        ted.Constant(0.5, anneal=0.1),
    ]
    for schedule in schedules:
        assert_type(schedule(0.5), NDArray[np.float64])
        assert_type(ted.keep_ratios(schedule, 10), NDArray[np.float64])
        assert_type(ted.planned_save_ratio(schedule, 10, n=100), float)
        ted.Pruner(100, epochs=10, schedule=schedule)


def every_strategy_is_one(labels: NDArray[np.int64]) -> None:
    strategies: list[Strategy] = [
        ted.TopScore(),
        ted.TopScore(class_floor=0.1),
        ted.Random(),
        ted.Random(balanced=True),
        ted.EpsilonGreedy(epsilon=0.1),
        ted.UCB(confidence=1.0, alpha=0.9, bonus="deviation", class_floor=0.1),
        ted.InfoBatch(),
        ted.Importance(mix=0.1, correction=1.0),
        ted.SoftTop(sharpness=2.0, class_floor=0.1),
        ted.Static(labels, class_floor=0.1),
    ]
    for strategy in strategies:
        ted.Pruner(100, epochs=10, strategy=strategy, labels=labels)


def a_static_ranking_comes_from_scores_or_a_state(path: Path, scores: Scores) -> None:
    assert_type(ted.Static([0.5, 1.0]), ted.Static)
    assert_type(ted.Static(scores).scores, Scores)
    assert_type(ted.Static.from_state(ted.load_state(path)), ted.Static)
    assert_type(ted.Static.from_state(ted.Pruner(9, epochs=9).state_dict()), ted.Static)


def a_ranking_of_a_last_layer_is_scores(h: NDArray[np.float32], y: list[int]) -> None:
    count = 10
    assert_type(ted.rankings.deepfool(h, h), Scores)
    assert_type(ted.rankings.contextual_diversity(h, count=count, labels=y), Scores)
    assert_type(ted.rankings.craig(h, h, y, count=count, bias=False), Scores)
    assert_type(ted.rankings.dataset_pruning(h, h, y, bound=0.5, damping=0.1), Scores)
    ranking = ted.rankings.glister(h, h, y, count=count, held_out=(h, h, y), rate=0.5)
    assert_type(ranking, Scores)
    ted.Static(ranking)
    ted.rankings.craig(h, h, y)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    ted.rankings.craig(h, h, y, 3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def signals_are_functions_of_arrays(logits: NDArray[np.float32]) -> None:
    labels = np.zeros(3, np.int64)
    ted.signals.loss(logits[:, 0])
    ted.signals.el2n(logits, labels)
    ted.signals.grand(logits, labels, logits, bias=False)
    ted.signals.margin(logits)
    ted.signals.least_confidence(logits)
    ted.signals.forgetting(logits, labels)
    ted.signals.normalize(logits[:, 0])
    ted.signals.compute("el2n", logits=logits, labels=labels)
    assert_type(ted.signals.INPUTS["grand"], tuple[str, ...])
    ted.signals.compute("el2n", logits, labels)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    ted.signals.loss(logits, labels)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    ted.UCB(1.0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def every_reduction_is_one() -> None:
    ted.Pruner(100, epochs=10, reduction=ted.Polyak(alpha=0.9, start="zero"))
    ted.Pruner(100, epochs=10, reduction=ted.Last())
    ted.Pruner(100, epochs=10, reduction=ted.Mean())
    ted.Pruner(100, epochs=10, signal="forgetting", reduction=ted.Count())


def functions_of_numbers_give_numbers(scores: Scores) -> None:
    assert_type(ted.keep_count(100, 0.3, multiple_of=8), int)
    assert_type(ted.steps_for(100, 32, drop_last=True), int)
    assert_type(ted.loss_scale(0.3), float)
    assert_type(ted.save_ratio(100, 40), float)
    assert_type(ted.redundant_subset(scores, 3, seed=1, epoch=2), Ids)
    assert_type(ted.top_ids(scores, 3), Ids)


def a_logger_takes_plain_floats(pruner: ted.Pruner) -> None:
    assert_type(ted.run_metrics(pruner), dict[str, float])
    assert_type(ted.early_warning([2.0, 1.0], epochs=8), bool)


def options_are_keywords_and_values_are_checked(scores: Scores) -> None:
    ted.Pruner(100, 10)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    ted.RollerCoaster(0.7, 0.3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert_type(ted.Pruner(9, epochs=9, method="soft_margin"), ted.Pruner)
    ted.Pruner(100, epochs=10, method=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ted.RollerCoaster(horizon="tail")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ted.top_ids(scores, 3, 1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    ted.Polyak(start="last")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def a_comparison_takes_any_training(path: Path) -> None:
    def train(
        *, seed: int, lr: float, epochs: int, **options: Any
    ) -> tuple[float, ted.Pruner]:
        return lr, ted.Pruner(9, epochs=epochs, seed=seed, **options)

    result = assert_type(
        ted.compare(train, epochs=9, rates=[0.1, 0.2], record=path), Comparison
    )
    ted.compare(
        train,
        epochs=9,
        methods={"own": {"strategy": ted.UCB()}},
        schedule=ted.Linear(0.5),
        seeds=[1, 2, 3],
        margin=0.1,
    )
    assert_type(result.verdict, str)
    assert_type(result.notes, tuple[str, ...])
    assert_type(result.to_dict(), dict[str, Any])
    result.plot(path, title="Budget curve of my data")
    for row in assert_type(result.rows, tuple[Row, ...]):
        assert_type(row.pays, bool)
        assert_type(row.p, float | None)
        assert_type(row.over["full"], Difference)
    ted.compare(train, 9)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    ted.compare(lambda: 3, epochs=9)  # type: ignore[arg-type, return-value]  # pyright: ignore[reportArgumentType]


def a_run_tells_what_it_kept(pruner: ted.Pruner, path: Path) -> None:
    table = assert_type(ted.sample_table(pruner), ted.SampleTable)
    assert_type(table.ids, NDArray[np.int64])
    assert_type(table.update_counts, NDArray[np.uint16])
    assert_type(table.scores, Scores)
    assert_type(table.signal, str | None)
    assert_type(table.reads_labels, bool)
    assert_type(table.most_kept(10), ted.SampleTable)
    assert_type(table.least_kept(10), ted.SampleTable)
    table.to_csv(path)
    table.to_parquet(path)
    assert_type(str(pruner.report()), str)
