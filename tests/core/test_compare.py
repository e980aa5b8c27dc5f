"""Whether pruning pays on data of one's own: arms, records, refusals, the verdict."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import types
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ted_core as ted

N = 40
FULL, PRUNED_RATE, RANDOM = "full", "full, pruned rate", "random"


def session_of(epochs, n=N, **options):
    """Run a session on values that cost nothing."""
    pruner = ted.Pruner(n, epochs=epochs, **options)
    while not pruner.finished:
        ids = pruner.plan().order
        pruner.observe(ids, ids % 7 + 0.5)
        pruner.advance()
    return pruner


def arm_of(options):
    """Give the name of the arm that gets these options."""
    if options.get("prune_ratio") == 0:
        return FULL
    return options.get("method") or PRUNED_RATE


SESSIONS = {}


class Stub:
    """A training without training: a metric by a known rule, and what was asked for."""

    def __init__(self, effects=None, *, sd=0.01, best_rate=0.1, worth=0.1):
        self.effects, self.sd, self.best_rate = effects or {}, sd, best_rate
        self.worth = worth  # of training on many samples
        self.calls = []

    def __call__(self, *, seed, epochs, lr=None, **options):
        self.calls.append((arm_of(options), epochs, seed, lr, options))
        # The counts of a session do not depend on the seed: one does for all.
        key = epochs, str(options)
        if key not in SESSIONS:
            SESSIONS[key] = session_of(epochs, seed=seed, **options)
        pruner = SESSIONS[key]
        arm = arm_of(options)
        rng = np.random.default_rng([seed, epochs, *arm.encode()])
        seen = pruner.savings().forwarded / N
        level = 0.8 - self.worth * np.exp(-seen / 10) + self.effects.get(arm, 0)
        if lr is not None:
            level -= 0.05 * np.log(lr / self.best_rate) ** 2
        return level + rng.normal(scale=self.sd), pruner


def compare(train, **options):
    options = {
        "epochs": 8,
        "methods": ["ted"],
        "seeds": 3,
        "budgets": [1.0],
        "progress": False,
        **options,
    }
    return ted.compare(train, **options)


# Arms and budgets


def test_every_arm_gets_the_words_of_the_session():
    stub = Stub()
    compare(stub, methods=["soft_margin", "ted_loss"])
    given_to = {arm: options for arm, _, _, _, options in stub.calls}
    assert given_to == {
        FULL: {"prune_ratio": 0.0, "method": "random"},
        PRUNED_RATE: {"prune_ratio": 0.7, "strategy": ted.Random(balanced=True)},
        RANDOM: {"prune_ratio": 0.7, "method": "random"},
        "soft_margin": {"prune_ratio": 0.7, "method": "soft_margin"},
        "ted_loss": {"prune_ratio": 0.7, "method": "ted_loss"},
    }


@pytest.mark.parametrize("schedule", [ted.Constant(0.4, anneal=0), ted.Linear(0.5)])
def test_a_schedule_stands_in_the_place_of_the_prune_ratio(schedule):
    stub = Stub()
    compare(stub, schedule=schedule)
    assert all(
        options["schedule"] == schedule and "prune_ratio" not in options
        for arm, _, _, _, options in stub.calls
        if arm != FULL
    )


def test_a_method_may_have_a_ratio_and_a_strategy_of_its_own():
    own = {"prune_ratio": 0.3, "signal": "loss", "strategy": ted.EpsilonGreedy()}
    seen = []

    def train(*, seed, epochs, **options):
        seen.append((epochs, options))
        return np.random.default_rng([seed, epochs]).random(), session_of(
            epochs, seed=seed, **options
        )

    result = compare(train, methods={"mild": own, "strong": {"method": "ted"}})
    mild, strong = (row for row in result.rows if row.arm in {"mild", "strong"})
    assert mild.epochs < strong.epochs
    assert abs(mild.samples - strong.samples) < N
    assert (mild.epochs, own) in seen


@given(
    epochs=st.integers(10, 60),
    ratio=st.floats(0.3, 0.9),
    budget=st.floats(0.4, 1.0),
)
@settings(max_examples=15)
def test_no_other_number_of_epochs_is_nearer_to_the_samples_of_the_full_arm(
    epochs, ratio, budget
):
    budgets = [1.0] if round(budget * epochs) == epochs else [budget]
    rows = compare(Stub(), epochs=epochs, prune_ratio=ratio, budgets=budgets).rows
    full, *pruned = (row for row in rows if row.budget == budgets[0])
    assert full.samples == full.epochs * N
    assert abs(full.epochs - budgets[0] * epochs) <= 0.5

    def planned(count):
        return ted.keep_ratios(ted.RollerCoaster(ratio), count).sum()

    found = pruned[0].epochs
    assert {row.epochs for row in pruned} == {found}
    for other in range(2, 3 * found):
        assert abs(planned(found) - full.epochs) <= abs(planned(other) - full.epochs)


def test_full_training_is_always_run_and_all_arms_of_a_seed_come_before_the_next():
    stub = Stub()
    result = compare(stub, budgets=[0.5], seeds=[7, 3, 5])
    assert [(row.arm, row.budget) for row in result.rows] == [
        (FULL, 0.5),
        (PRUNED_RATE, 0.5),
        (RANDOM, 0.5),
        ("ted", 0.5),
        (FULL, 1.0),
    ]
    assert [seed for _, _, seed, _, _ in stub.calls] == [7] * 5 + [3] * 5 + [5] * 5
    arms = [arm for arm, *_ in stub.calls]
    assert arms == arms[:5] * 3
    assert result.seeds == (7, 3, 5)


@pytest.mark.parametrize(("margin", "asks"), [(None, True), (0.05, False)])
def test_a_run_that_may_have_failed_is_noted_with_the_margin_that_it_makes(
    margin, asks
):
    stub, failed = Stub(), (FULL, 2)

    def train(*, seed, **options):
        metric, pruner = stub(seed=seed, **options)
        return (0.1 if (stub.calls[-1][0], seed) == failed else metric), pruner

    found = compare(train, margin=margin)
    (note,) = (note for note in found.notes if "may have failed" in note)
    assert "the seeds lie far apart: 'full' at 100 % from 0.1 to 0." in note
    assert ("give `margin=`" in note) == asks
    assert (found.margin > 0.3) == asks
    calm = compare(Stub(sd=0.1))
    assert not any("may have failed" in note for note in calm.notes)


def test_a_count_that_scores_decide_is_served_by_its_bound_and_noted():
    methods = {"infobatch": {"signal": "loss", "strategy": ted.InfoBatch()}}
    schedule = ted.Constant(0.5)
    result = compare(named(Stub()), methods=methods, schedule=schedule, epochs=12)
    row = result.rows[-1]
    assert row.arm == "infobatch"
    assert row.epochs == 12
    assert row.samples < 12 * N
    more = f"{row.samples / (12 * N) - 1:+.0%}"
    assert (
        f"Samples processed, against 'full' at the budget: 'infobatch' at 100 % {more}"
        in (str(result))
    )


def test_a_method_with_a_schedule_of_its_own_is_noted_beside_its_controls():
    half = ted.Constant(0.5, anneal=0)
    methods = {"half": {"method": "importance", "schedule": half}, "ted": {}}
    (note,) = (n for n in compare(Stub(), methods=methods).notes if "of its own" in n)
    assert note.startswith("'half': with a schedule of its own, other than that of ")
    alike = compare(Stub(), methods={"half": {"method": "importance"}}, schedule=half)
    assert not any("of its own" in note for note in alike.notes)


def named(stub):
    """Give the method a name that the stub can read."""

    def train(*, seed, epochs, **options):
        _, pruner = stub(seed=seed, epochs=epochs, **options)
        return np.random.default_rng([seed, epochs, *str(options).encode()]).random(), (
            pruner
        )

    return train


# Rates


def test_each_arm_has_its_own_best_rate_by_seeds_that_judge_nothing():
    rates = [0.4, 0.05, 0.1, 0.2]

    class Fussy(Stub):
        def __call__(self, *, seed, epochs, lr, **options):
            self.best_rate = {FULL: 0.1, "ted": 0.2}.get(arm_of(options), 0.05)
            return super().__call__(seed=seed, epochs=epochs, lr=lr, **options)

    stub = Fussy(sd=1e-4)
    result = compare(stub, rates=rates, sweep_seeds=2)
    assert {row.arm: row.rate for row in result.rows} == {
        FULL: 0.1,
        PRUNED_RATE: 0.05,
        RANDOM: 0.05,
        "ted": 0.2,
    }
    sweeps, judged = stub.calls[: 2 * 4 * 4], stub.calls[2 * 4 * 4 :]
    assert {seed for _, _, seed, _, _ in judged} == {0, 1, 2}
    assert {seed for _, _, seed, _, _ in sweeps}.isdisjoint({0, 1, 2})
    assert len({(arm, seed, lr) for arm, _, seed, lr, _ in sweeps}) == len(sweeps)
    assert len(judged) == 3 * 4
    assert (
        "Note: The best rate is the lowest that was tried, 0.05, for "
        "'full, pruned rate' at 100 %, 'random' at 100 %; lower ones may be better"
    ) in str(result)


def test_a_lower_metric_can_be_the_better_one():
    class Loss(Stub):
        def __call__(self, **given):
            metric, session = super().__call__(**given)
            return 1 - metric, session

    same = {"rates": [0.05, 0.1, 0.2], "seeds": 8}
    high = compare(Stub({"ted": 0.1}), **same)
    low = compare(Loss({"ted": 0.1}), higher_is_better=False, **same)
    for mine, other in zip(high.rows, low.rows, strict=True):
        assert mine.rate == other.rate
        assert mine.mean == pytest.approx(1 - other.mean)
        for label, gain in mine.over.items():
            assert gain.mean == pytest.approx(other.over[label].mean)
    assert high.verdict == low.verdict


def test_without_rates_lr_is_not_given_and_the_result_says_so():
    def train(*, seed, epochs, **options):
        assert "lr" not in options
        return Stub()(seed=seed, epochs=epochs, **options)

    assert "All arms trained at the learning rate of `train`" in str(compare(train))


# The record


def test_a_killed_comparison_goes_on_and_ends_as_if_nothing_had_been(tmp_path):
    script = """
import os, signal, sys
from test_compare import Stub, compare
stub = Stub()
def train(**given):
    if len(stub.calls) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return stub(**given)
compare(train, budgets=[0.5, 1.0], rates=[0.1, 0.2], sweep_seeds=1, record=sys.argv[1])
"""
    path = tmp_path / "record.json"
    here = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    for calls in (0, 9, 20):
        done = subprocess.run(  # noqa: S603 - our own code
            [sys.executable, "-c", script, str(path), str(calls)],
            env={**os.environ, "PYTHONPATH": here},
            check=False,
        )
        assert done.returncode == -signal.SIGKILL
    assert len(json.loads(path.read_text())["runs"]) == 29
    options = {"budgets": [0.5, 1.0], "rates": [0.1, 0.2], "sweep_seeds": 1}
    stub = Stub()
    resumed = compare(stub, record=path, **options)
    assert len(stub.calls) == 8 * 2 + 8 * 3 - 29
    assert without_seconds(resumed) == without_seconds(compare(Stub(), **options))
    assert list(tmp_path.glob(".*.tmp")) == []


def without_seconds(result):
    found = result.to_dict()
    for row in found["rows"]:
        row.pop("seconds")
    return found


def test_a_whole_record_needs_no_training(tmp_path):
    path = tmp_path / "record.json"
    first = compare(Stub(), record=path)

    def never(**_given):
        raise AssertionError

    again = compare(never, record=path)
    assert again.to_dict() == first.to_dict()
    assert str(again) == str(first)


def test_seeds_rates_budgets_and_methods_may_be_added(tmp_path):
    path = tmp_path / "record.json"
    options = {"rates": [0.1, 0.2], "sweep_seeds": 1, "record": path}
    steps = [
        {},
        {"seeds": 4},
        {"rates": [0.05, 0.1, 0.2]},
        {"sweep_seeds": 2},
        {"methods": ["ted", "ted_loss"]},
        {"budgets": [0.5, 1.0]},
    ]
    sizes = []
    for step in steps:
        options |= step
        result = compare(Stub(best_rate=0.05), **options)
        sizes.append(len(json.loads(path.read_text())["runs"]))
    assert all(before < after for before, after in pairwise(sizes))
    fresh = compare(Stub(best_rate=0.05), **(options | {"record": None}))
    assert without_seconds(result) == without_seconds(fresh)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"epochs": 12}, "`epochs` must be as in .*, recorded 8, here 12"),
        ({"prune_ratio": 0.5}, "`prune_ratio` must be .* recorded 0.7, here 0.5"),
        (
            {"schedule": ted.Constant(0.5)},
            "`prune_ratio` must be .* recorded 0.7, here None",
        ),
        ({"higher_is_better": False}, "`higher_is_better` .* recorded True, here"),
        ({"rates": [0.1, 0.2]}, "`rates_given` must be .* recorded False, here True"),
        ({"budgets": [0.5]}, r"`budgets` must be .* recorded 1.0, here \[0.5, 1.0\]"),
        ({"methods": ["ted_loss"]}, r"`methods\['ted'\]` .* recorded .*, here None"),
        (
            {"methods": {"ted": {"method": "ted_loss"}}},
            r"`methods\['ted'\]` must be .*recorded .*'ted'.*, here .*'ted_loss'",
        ),
        ({"seeds": [0, 1, 3]}, r"`seeds` must be .* recorded 2, here \[0, 1, 3\]"),
    ],
)
def test_a_record_of_another_comparison_is_refused_by_name(tmp_path, other, words):
    path = tmp_path / "record.json"
    compare(Stub(), record=path)
    before = path.read_bytes()
    with pytest.raises(ted.CheckpointError, match=words):
        compare(Stub(), record=path, **other)
    assert path.read_bytes() == before


def test_a_seed_that_chose_a_rate_never_judges(tmp_path):
    path = tmp_path / "record.json"
    options = {"rates": [0.1, 0.2], "record": path}
    compare(Stub(), sweep_seeds=[3, 4], **options)
    with pytest.raises(ted.CheckpointError, match="`sweep_seeds` must be as in"):
        compare(Stub(), sweep_seeds=[5], seeds=5, **options)
    with pytest.raises(ValueError, match="`sweep_seeds` must not judge, got 3"):
        compare(Stub(), sweep_seeds=[3, 4], seeds=5, **options)


def test_other_data_are_refused(tmp_path):
    path = tmp_path / "record.json"
    compare(Stub(), record=path)

    def other(*, seed, epochs, **options):
        return 0.5, session_of(epochs, n=N + 1, seed=seed, **options)

    with pytest.raises(ValueError, match="the same samples in every run, 40, got 41"):
        compare(other, record=path, seeds=4)


EMPTY = {
    "format": "ted_core.compare",
    "version": 1,
    "n": None,
    "options": {},
    "runs": [],
}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        json.dumps(EMPTY | {"format": "other"}),
        json.dumps(EMPTY | {"version": 9}),
        json.dumps(EMPTY | {"runs": 3}),
        json.dumps(EMPTY | {"n": "many"}),
    ],
)
def test_a_damaged_or_foreign_record_is_refused_and_stays(tmp_path, text):
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(ted.CheckpointError, match="`record` must be a whole record"):
        compare(Stub(), record=path)
    assert path.read_text() == text


@pytest.mark.parametrize("metric", [None, "0.5", True, float("nan")])
def test_a_run_of_the_record_without_a_number_is_refused(tmp_path, metric):
    path = tmp_path / "record.json"
    compare(Stub(), record=path)
    content = json.loads(path.read_text())
    content["runs"][3]["metric"] = metric
    path.write_text(json.dumps(content))
    with pytest.raises(ted.CheckpointError, match="metric is"):
        compare(Stub(), record=path)


def test_a_record_without_a_folder_is_refused_before_anything_is_trained(tmp_path):
    stub = Stub()
    for path in (tmp_path / "none" / "record.json", tmp_path):
        with pytest.raises(FileNotFoundError, match="`record` must be a file"):
            compare(stub, record=path)
    assert stub.calls == []


# Runs that fail


def test_a_run_that_raises_is_named_and_keeps_what_was_measured(tmp_path):
    path = tmp_path / "record.json"
    stub = Stub()

    def train(**given):
        if len(stub.calls) == 9:
            msg = "out of memory"
            raise MemoryError(msg)
        return stub(**given)

    words = (
        r"failed in 'full' at 100 %, sweep seed 1000000, rate 0.2: MemoryError: "
        r"out of memory; 9 runs are in .*record.json, the same call goes on there"
    )
    options = {"rates": [0.1, 0.2], "record": path, "budgets": [0.5, 1.0]}
    with pytest.raises(ted.ComparisonError, match=words) as caught:
        compare(train, **options)
    assert isinstance(caught.value.__cause__, MemoryError)
    assert len(json.loads(path.read_text())["runs"]) == 9


def test_an_interrupt_stays_one_and_says_where(tmp_path):
    path = tmp_path / "record.json"
    stub = Stub()

    def train(**given):
        if len(stub.calls) == 2:
            raise KeyboardInterrupt
        return stub(**given)

    with pytest.raises(KeyboardInterrupt) as caught:
        compare(train, record=path)
    (note,) = caught.value.__notes__
    assert note.startswith("`compare` stopped in 'random' at 100 %, seed 0; 2 runs are")


def returning(value):
    def train(*, seed, epochs, **options):
        session = session_of(epochs, seed=seed, **options)
        return value(session) if callable(value) else value

    return train


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "got None in 'full' at 100 %, seed 0"),
        (0.5, "got 0.5 in"),
        (lambda s: s, "got a Pruner in|got Pruner\\("),
        (lambda s: (0.5, s, 1), "must return the metric, a finite number, and the"),
        (lambda s: (s, 0.5), "in this order, got the session first"),
        (lambda s: (None, s), "got None for the metric"),
        (lambda s: ("0.5", s), "got '0.5' for the metric"),
        (lambda s: (True, s), "got True for the metric"),
        (lambda s: (np.array([0.5]), s), r"got shape \(1,\)"),
        (lambda s: (np.zeros((2, 3)), s), r"got shape \(2, 3\)"),
        (lambda _: (0.5, None), r"has a `report\(\)`, got None"),
        (lambda _: (0.5, ted.Pruner), "got <class"),
        (
            lambda _: (0.5, types.SimpleNamespace(report=lambda: 1)),
            "got 1 in .*planned",
        ),
    ],
)
def test_what_is_no_metric_and_session_is_refused(value, words):
    with pytest.raises(TypeError, match=words):
        compare(returning(value))


@pytest.mark.parametrize("metric", [float("nan"), float("inf"), np.float32("nan")])
def test_a_metric_that_is_not_finite_is_refused_with_the_remedy(metric):
    words = "got (nan|inf) for the metric in .*; where a run diverges, return what"
    with pytest.raises(ValueError, match=words):
        compare(returning(lambda session: (metric, session)))


@pytest.mark.parametrize("number", [np.float32(0.5), np.array(0.5), 1])
def test_any_number_is_a_metric(number):
    assert compare(returning(lambda s: (number, s))).rows[0].mean == float(number)


def only(*names):
    """Keep some of the options alone."""
    return lambda options: {name: options[name] for name in names}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda options: options | {"epochs": 6},
            r"run the 8 `epochs` that it gets, got a session of 6 .* in 'full' at",
        ),
        (only("epochs"), r"about 320 of 320, got a session .* in 'full' at 100 %"),
        (
            lambda options: only("epochs")(options) | {"prune_ratio": 0},
            r"about 326 of 640, got a session that planned 640 in 'full, pruned rate'",
        ),
        (
            lambda options: options | {"prune_ratio": 0.9 * options["prune_ratio"]},
            r"about 326 of 640, got a session that planned \d+ in 'full, pruned rate'",
        ),
        (
            only("epochs", "prune_ratio"),
            r"prune by the `options` .* Random\(balanced=True\) .* got .* TopScore",
        ),
    ],
)
def test_a_function_that_ignores_its_options_is_refused(change, words):
    def train(*, seed, **options):
        metric = np.random.default_rng([seed, *str(options).encode()]).random()
        return metric, session_of(seed=seed, **change(options))

    with pytest.raises(ValueError, match=words):
        compare(train)


@pytest.mark.parametrize("multiple_of", [1, 3, 8, 16])
def test_a_session_may_round_its_counts_up_to_a_multiple(multiple_of):
    def train(*, seed, epochs, **options):
        session = session_of(epochs, seed=seed, multiple_of=multiple_of, **options)
        return np.random.default_rng([seed, epochs]).random(), session

    rows = compare(train, epochs=12).rows
    assert rows[-1].samples >= rows[0].samples - N


def test_a_session_that_is_not_trained_to_the_end_is_refused():
    def half(*, seed, epochs, **options):
        pruner = ted.Pruner(N, epochs=epochs, seed=seed, **options)
        while not pruner.finished:
            ids = np.sort(pruner.plan().order)[
                pruner.epoch % 2 :: 2
            ]  # never missing twice
            pruner.observe(ids, ids)
            pruner.advance()
        return 0.5, pruner

    with pytest.raises(ValueError, match=r"must forward .* got 160 of 320 in 'full'"):
        compare(half)


def test_epochs_that_observe_nothing_count_as_planned():
    def silent(*, seed, epochs, **options):
        pruner = ted.Pruner(N, epochs=epochs, seed=seed, **options)
        while not pruner.finished:
            ids = pruner.plan().order
            if pruner.config.strategy.uses_scores:
                pruner.observe(ids, ids)
            pruner.advance()
        return np.random.default_rng([seed, epochs]).random(), pruner

    by = {row.arm: row.samples for row in compare(silent).rows}
    assert by[FULL] == 8 * N
    assert by[RANDOM] == by["ted"]


def test_a_session_may_count_the_forward_passes_of_a_proxy():
    def train(*, seed, epochs, **options):
        metric, pruner = Stub()(seed=seed, epochs=epochs, **options)
        report, extra = pruner.report(), 10 * ("ted" in options.values())
        more = dataclasses.replace(report, forwarded=report.forwarded + extra)
        return metric, types.SimpleNamespace(report=lambda: more)

    *_, random, method = compare(train).rows
    assert method.samples == random.samples + 10 * method.epochs


def test_a_function_that_ignores_its_seed_is_refused():
    def train(*, seed, epochs, **options):
        del seed
        return float(epochs), session_of(epochs, **options)

    with pytest.raises(ValueError, match="must depend on its `seed`"):
        compare(train)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"epochs": 1}, ValueError, "`epochs` must be at least 2, got 1"),
        ({"epochs": None}, TypeError, "`epochs` must be a known number"),
        ({"prune_ratio": 1.0}, ValueError, r"`prune_ratio` must be in \[0, 1\)"),
        (
            {"prune_ratio": 0.0},
            ValueError,
            "`prune_ratio` must prune, got .* keeps all",
        ),
        (
            {"prune_ratio": 0.5, "schedule": ted.Constant(0.5)},
            ValueError,
            "`prune_ratio` must not be given beside `schedule`",
        ),
        ({"methods": []}, ValueError, "`methods` must hold a method"),
        ({"methods": "ted"}, TypeError, "`methods` must be names, or options"),
        ({"methods": ["tedd"]}, ValueError, "`methods` must be of ted, .* got 'tedd'"),
        ({"methods": [ted.TopScore()]}, ValueError, "or options by label, got TopS"),
        ({"methods": ["ted", "ted"]}, ValueError, "must differ, got 'ted' twice"),
        ({"methods": ["random"]}, ValueError, "always run, got 'random'"),
        ({"methods": {"full": {}}}, ValueError, "always run, got 'full'"),
        ({"methods": {"a": "ted"}}, TypeError, r"`methods\['a'\]` must be options"),
        (
            {"methods": {"a": {"method": "tedd"}}},
            ValueError,
            r"`methods\['a'\]` .* `method` must be one of",
        ),
        ({"methods": {"a": {"epochs": 3}}}, ValueError, "got 'epochs', which `train`"),
        ({"budgets": []}, ValueError, "`budgets` must hold a share"),
        ({"budgets": 0.5}, TypeError, "`budgets` must be a sequence"),
        ({"budgets": [0.0]}, ValueError, r"`budgets` must be in \(0, 1\], got 0.0"),
        ({"budgets": [1.5]}, ValueError, r"`budgets` must be in \(0, 1\], got 1.5"),
        (
            {"budgets": [0.1]},
            ValueError,
            "leave 2 epochs or more, got 0.1, which is 1 of 8; give 0.25 or more",
        ),
        ({"budgets": [0.5, 0.5]}, ValueError, "`budgets` must differ, got 0.5 and 0.5"),
        ({"budgets": [0.99]}, ValueError, "got 0.99 and 1, which are both 8 of 8"),
        ({"seeds": 2}, ValueError, r"`seeds` must be in \[3, 65536\], got 2; paired"),
        ({"seeds": 10**400}, ValueError, r"`seeds` must be in \[3, 65536\], got 1000"),
        ({"budgets": np.ones(())}, TypeError, "`budgets` must be a sequence of numb"),
        ({"seeds": [1, 2]}, ValueError, "must be at least 3, got 2; paired"),
        ({"seeds": [1, 2, 2]}, ValueError, "`seeds` must differ, got 2 twice"),
        ({"seeds": [1, 2, -1]}, ValueError, "`seeds` must be in .* got -1"),
        ({"seeds": 3.5}, TypeError, "`seeds` must be an integer, got 3.5"),
        ({"seeds": "012"}, TypeError, "`seeds` must be a sequence of numbers"),
        ({"rates": [0.1]}, ValueError, "`rates` must be 2 or more and differ"),
        ({"rates": [0.1, 0.1]}, ValueError, "`rates` must be 2 or more and differ"),
        ({"rates": [0.1, 0.0]}, ValueError, r"`rates` must be in \(0, inf\), got 0.0"),
        ({"rates": 0.1}, TypeError, "`rates` must be a sequence"),
        ({"rates": [0.1, 0.2], "sweep_seeds": 0}, ValueError, "`sweep_seeds` must"),
        ({"higher_is_better": 1}, TypeError, "`higher_is_better` must be True or"),
        ({"margin": 0}, ValueError, "`margin` must be in"),
        ({"record": 3}, TypeError, "`path` must be a str or a path"),
        ({"progress": "yes"}, TypeError, "`progress` must be True or False"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_trained(options, error, words):
    stub = Stub()
    with pytest.raises(error, match=words):
        compare(stub, **options)
    assert stub.calls == []


def test_what_is_no_function_is_refused():
    with pytest.raises(TypeError, match="`train` must be a function"):
        compare("train")


# Progress


def test_progress_is_told_by_tqdm_on_the_standard_error(capsys, tmp_path):
    path = tmp_path / "record.json"
    compare(Stub(), progress=True, record=path)
    out, told = capsys.readouterr()
    assert out == ""
    assert "compare, judging: 100%" in told
    assert "'ted' at 100 %, seed 2" in told
    compare(Stub(), progress=True, record=path)
    assert f"12 runs are in {path}" in capsys.readouterr().err


def test_without_tqdm_each_run_is_a_line(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    compare(Stub(), progress=True, rates=[0.1, 0.2], sweep_seeds=1)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4 * 2 + 4 * 3
    assert lines[1] == (
        "compare, 1 of 2, choosing rates, before 12 runs: run 2 of 8, 'full' at 100 %, "
        "sweep seed 1000000, rate 0.2"
    )
    compare(Stub(), progress=False)
    assert capsys.readouterr().err == ""


# The verdict


def verdict(effects, **options):
    worth = options.pop("worth", 0.1)
    return compare(Stub(effects, sd=options.pop("sd", 0.01), worth=worth), **options)


def test_a_method_that_beats_all_three_controls_pays():
    result = verdict({"ted": 0.05}, seeds=8)
    assert result.verdict.startswith("At 100 % of the samples ted pays: it is 0.0")
    assert [row.arm for row in result.rows if row.pays] == ["ted"]


def test_a_method_that_beats_two_of_them_does_not():
    effects = {"ted": 0.05, RANDOM: 0.05}
    result = verdict(effects, seeds=8)
    assert "only the recipe pays: 'random' is above full training by 0.0" in (
        result.verdict
    )
    assert not result.rows[-1].pays


def test_two_methods_may_pay():
    effects = {"ted": 0.05, "ted_loss": 0.08}
    found = verdict(effects, methods=["ted", "ted_loss"], seeds=8).verdict
    assert "ted_loss and ted pay: they are 0.0" in found


def test_pruning_may_lose():
    found = verdict({"ted": -0.05, "ted_loss": -0.09}, methods=["ted", "ted_loss"])
    assert "pruning loses: every method is below full training, by 0.0" in found.verdict


def test_a_shorter_full_run_may_be_as_good():
    found = verdict({}, margin=0.03, seeds=8, budgets=[0.5], worth=0.0).verdict
    assert "a shorter full run is as good: no pruned arm is above it by" in found
    assert "the shorter full run is as good as full training on all samples" in found


def test_seeds_may_be_too_few_to_say():
    found = verdict({"ted": 0.005}).verdict
    assert "3 seeds are too few to say: they show gains from about 0.0" in found
    fine, coarse = (verdict({"ted": 0.005}, margin=m).verdict for m in (1e-9, 0.006))
    assert ", where 1000 or more seeds would show the margin of " in fine
    assert 3 < int(re.search(r"where (\d+) seeds would show", coarse)[1]) < 1000
    assert "the best method, ted, is " in found


@pytest.mark.parametrize(
    ("effect", "words"),
    [
        (0.1, "ted ends above full training on all samples (p "),
        (-0.1, "the shorter full run stays below full training on all samples ("),
        (0.034, "ted is as good as full training on all samples, or better ("),
    ],
)
def test_it_says_how_half_of_the_samples_stand_to_all(effect, words):
    found = verdict({"ted": effect}, budgets=[0.5], epochs=12, seeds=8, margin=0.02)
    assert words in found.verdict


def test_few_seeds_cannot_tell_half_of_the_samples_from_all():
    found = verdict({"ted": 0.04}, budgets=[0.5], sd=0.05).verdict
    assert "can't be told from full training on all samples" in found


def test_the_table_has_every_row_and_every_gain():
    result = compare(Stub(), budgets=[0.5, 1.0], methods=["ted", "ted_loss"])
    lines = str(result).splitlines()
    for row in result.rows:
        start = f"{row.arm:17}{100 * row.budget:>6.0f} %{row.epochs:8d}"
        assert sum(line.startswith(start) for line in lines) == 1
    gains = sum(len(row.over) for row in result.rows)
    assert sum(" to " in line and " %" not in line[28:] for line in lines) == gains
    assert result.verdict in lines
    assert max(map(len, lines[: lines.index(result.verdict)])) <= 88


def test_the_result_is_json():
    result = compare(Stub(), budgets=[0.5])
    found = json.loads(json.dumps(result.to_dict()))
    assert found["verdict"] == result.verdict
    assert found["rows"][-2]["over"][RANDOM]["n"] == 3
    assert found["n"] == N
    assert found["epochs"] == 8


@pytest.mark.parametrize(
    ("effects", "arms"),
    [
        ({}, {PRUNED_RATE, RANDOM, "ted"}),
        # The recipe is worth something, and the method no more than a random selection.
        (dict.fromkeys([PRUNED_RATE, RANDOM, "ted"], 0.05), {"ted"}),
    ],
)
def test_with_no_true_difference_few_comparisons_claim_a_gain(effects, arms):
    """By chance 5 % of them may: 10 of 200, and more than 16 in 2 % of such tests."""
    claimed = 0
    for trial in range(200):
        seeds = range(10 * trial, 10 * trial + 5)
        result = verdict(effects, seeds=seeds, budgets=[0.5, 1.0], epochs=10, worth=0)
        wrong = [row for row in result.rows if row.pays and row.arm in arms]
        if not effects:
            wrong += [row for row in result.rows if (row.p_over_all or 1) < 0.05]
        assert ("ted pays" in result.verdict) == any(
            row.pays for row in result.rows if row.arm == "ted"
        )
        claimed += bool(wrong)
    assert claimed <= 16


def test_a_large_difference_is_named_in_nearly_all_comparisons():
    named = 0
    for trial in range(30):
        seeds = range(10 * trial, 10 * trial + 8)
        named += "ted pays" in verdict({"ted": 0.05}, seeds=seeds).verdict
    assert named >= 29


# The picture


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_budget_curve_is_drawn(tmp_path, suffix):
    result = compare(Stub(), epochs=16, budgets=[0.25, 0.5, 1.0])
    path = tmp_path / f"curve.{suffix}"
    result.plot(path, metric="accuracy")
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix]
    assert path.read_bytes().startswith(start)


def test_the_same_comparison_gives_the_same_picture(tmp_path):
    result = compare(Stub(), budgets=[0.5])
    for name in ("one.svg", "two.svg"):
        result.plot(tmp_path / name)
    one, two = ((tmp_path / name).read_bytes() for name in ("one.svg", "two.svg"))
    assert one == two
    for arm in (FULL, PRUNED_RATE, RANDOM, "ted", "full on all"):
        assert f"<!-- {arm} -->".encode() in one


def test_a_picture_without_matplotlib_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'ted-core\[plot\]'"):
        compare(Stub()).plot(tmp_path / "curve.png")


def test_a_picture_of_an_unknown_kind_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="not supported"):
        compare(Stub()).plot(tmp_path / "curve.xyz")
    assert list(tmp_path.iterdir()) == []
