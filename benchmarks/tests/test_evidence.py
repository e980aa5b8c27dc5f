from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

import ted_core
from ted_core.strategies.base import Request

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks" / "evidence"))

import candidates  # noqa: E402 - the folder is known
import crossed  # noqa: E402
from trials import networks, pictures, text, training  # noqa: E402
from trials.records import compared, look, refuse  # noqa: E402
from trials.settings import SETTINGS  # noqa: E402

SCRIPTS = ROOT / "benchmarks" / "pages"
RESULTS = ROOT / "docs" / "results"
HARDEST = "the highest reducible loss"


@pytest.fixture(scope="module")
def page():
    sys.path.insert(0, str(SCRIPTS))
    try:
        return import_module("evidence")
    finally:
        sys.path.remove(str(SCRIPTS))


@pytest.fixture
def setting():
    return replace(
        SETTINGS["solved"],
        network=partial(networks.dense, 16, 8, 3),
        epochs=6,
        rates=(0.05, 0.1),
        batch=32,
        budgets=(0.5,),
        seeds=3,
    )


@pytest.fixture
def data():
    dice = torch.Generator().manual_seed(0)
    y = torch.arange(120) % 3
    x = torch.randn(120, 1, 4, 4, generator=dice) + y[:, None, None, None]
    return pictures.Pictures(x[:90], y[:90], x[90:], y[90:], margin=1, flip=True)


def test_every_setting_has_four_rates_or_more_and_a_network_of_its_own():
    for setting in SETTINGS.values():
        assert len(setting.rates) >= 4
        assert isinstance(setting.network(), torch.nn.Module)


def test_a_batch_keeps_each_picture_but_for_shift_and_mirror():
    x = torch.arange(2 * 9.0).reshape(2, 1, 3, 3) + 1
    plain = pictures.Pictures(x, torch.tensor([0, 1]), x, x, margin=0, flip=False)
    dice = torch.Generator().manual_seed(0)
    ((ids, found, y),) = plain.batches([torch.tensor([1, 0])], dice)
    assert ids.tolist() == y.tolist() == [1, 0]
    assert torch.equal(found, x[[1, 0]])
    mirrored = pictures.Pictures(x, torch.tensor([0, 1]), x, x, margin=0, flip=True)
    sides = {
        tuple(found[0, 0, 0].tolist())
        for _ in range(20)
        for _, found, _ in mirrored.batches([torch.tensor([0])], dice)
    }
    assert sides == {(1.0, 2.0, 3.0), (3.0, 2.0, 1.0)}


def test_even_batches_leave_no_small_last_one():
    order = torch.arange(5000)
    left = [len(part) for part in training.split(order, 128, even=False)]
    even = training.split(order, 128, even=True)
    assert (len(left), left[-1]) == (40, 8)
    assert [len(part) for part in even] == [125] * 40
    assert torch.equal(torch.cat(even), order)


def test_pictures_shrink_to_the_means_of_blocks():
    x = np.arange(16, dtype=np.uint8).reshape(1, 4, 4)
    assert pictures.shrink(x, 2).tolist() == [[[[2.5, 4.5], [10.5, 12.5]]]]


def test_rows_of_text_come_in_the_order_asked_for():
    x = torch.arange(6.0).reshape(3, 2)
    rows = text.Rows(x, torch.tensor([0, 1, 0]), x, torch.tensor([0, 1, 0]))
    ((ids, found, y),) = rows.batches([torch.tensor([2, 1])], None)
    assert (ids.tolist(), found.tolist(), y.tolist()) == (
        [2, 1],
        [[4, 5], [2, 3]],
        [0, 1],
    )


def test_a_run_depends_on_its_seed_alone(setting, data):
    options = {"lr": 0.1, "epochs": 5, "prune_ratio": 0.5, "method": "soft_margin"}
    first, ted = training.train(setting, data, seed=1, **options)
    again, _ = training.train(setting, data, seed=1, **options)
    assert first == again
    assert ted.savings().forwarded == ted.pruner.schedule_table()["kept"].sum()


def test_a_comparison_is_read_from_its_record_without_training(setting, data, tmp_path):
    record = tmp_path / "solved.json"
    made = compared(setting, partial(training.train, setting, data), record)
    read = compared(setting, refuse, record, progress=False)
    assert str(read) == str(made)


def test_a_last_sample_alone_joins_the_batch_before(setting, data):
    options = {"lr": 0.1, "epochs": 4, "prune_ratio": 0.0, "method": "random"}
    alone = replace(setting, batch=89)  # of 90 samples
    _, ted = training.train(alone, data, seed=1, **options)
    assert ted.savings().forwarded == 4 * 90


def test_so_many_labels_are_wrong_and_those_of_the_test_are_right(data):
    wrong_data, wrong = data.with_wrong_labels(0.2)
    ids = torch.arange(90)
    (_, _, y), (_, _, planted) = (
        next(each.batches([ids], torch.Generator().manual_seed(0)))
        for each in (data, wrong_data)
    )
    assert sorted(wrong.tolist()) == ids[y != planted].tolist()
    assert (len(wrong), set(planted.tolist())) == (18, {0, 1, 2})
    right, left = (torch.cat([y for _, y in d.test()]) for d in (data, wrong_data))
    assert torch.equal(right, left)


def test_reducible_loss_with_nothing_known_is_the_loss(setting, data):
    options = {"seed": 1, "lr": 0.1}
    _, network, _ = training.run(
        setting, data, epochs=6, prune_ratio=0.7, method="ted_loss", **options
    )
    known = torch.zeros(len(data))
    _, again = crossed.run_reducible(
        setting, data, known, strategy=crossed.REDUCIBLE[HARDEST], **options
    )
    for mine, theirs in zip(
        network.state_dict().values(), again.state_dict().values(), strict=True
    ):
        assert torch.equal(mine, theirs)


def test_a_proxy_has_not_seen_the_samples_that_it_scores(setting, data):
    halves = torch.randperm(90, generator=torch.Generator().manual_seed(1)).chunk(2)
    before = crossed.irreducible(setting, data, 1)
    # Another picture in the first half: its losses are of the other half's proxy.
    changed = int(halves[0][0])
    data._x[changed] += 5
    after = crossed.irreducible(setting, data, 1)
    same = halves[0][halves[0] != changed]
    assert torch.equal(before[same], after[same])
    assert not torch.equal(before[halves[1]], after[halves[1]])


@pytest.mark.parametrize("values", [[0.5, 2.0, 1.0], [1.0, 1.0, 1.0]])
def test_learning_progress_is_the_distance_of_two_averages(values):
    progress, columns = candidates.Progress(), {}
    columns = {"score": np.zeros(1, np.float32), "slow": np.zeros(1, np.float32)}
    fast = slow = values[0]
    for updates, value in enumerate(values):
        columns = progress.update(
            columns, np.array([updates]), np.array([value], np.float32)
        )
        if updates:
            fast, slow = 0.5 * fast + 0.5 * value, 0.9 * slow + 0.1 * value
    ranked = progress.rank(columns, np.array([len(values)]))
    np.testing.assert_allclose(ranked, abs(fast - slow), rtol=1e-5)


def test_no_sample_stays_unseen_for_long():
    half = candidates.Curve("geometric", 0.5, 0.0)  # from all down to half
    pruner = ted_core.Pruner(
        40, epochs=30, schedule=half, strategy=candidates.UnseenFirst(), signal="loss"
    )
    last = np.full(40, -1)
    while not pruner.finished:
        plan = pruner.plan()
        last[plan.kept] = plan.epoch
        assert (plan.epoch - last <= candidates.PATIENCE).all()
        pruner.observe(plan.kept, plan.kept / 40)  # the same ones rank high
        pruner.advance()


def test_a_beta_draw_takes_each_rank_as_often_as_its_weight_says():
    strategy, times = candidates.BetaDraw(), np.zeros(5)
    scores = np.arange(5, dtype=np.float32)
    for epoch in range(4000):  # one sample each: in proportion, exactly
        request = Request(
            n=5, count=1, keep_ratio=0.2, epoch=epoch, seed=0, ranking=lambda: scores
        )
        times[strategy.select(request).kept] += 1
    q = (np.arange(5) + 0.5) / 5
    weights = q**strategy.a * (1 - q) ** strategy.b
    np.testing.assert_allclose(times / 4000, weights / weights.sum(), atol=0.03)


@pytest.mark.parametrize("epochs", [8, 16, 40])
@pytest.mark.parametrize(("name", "anneal"), [("oscillating", 0.125), ("geometric", 0)])
def test_the_schedules_keep_as_many_samples(name, anneal, epochs):
    ratios = (
        ted_core.keep_ratios(schedule, epochs)
        for schedule in (
            candidates.equal(name, anneal or 1 / epochs, epochs),
            ted_core.RollerCoaster(0.7),
        )
    )
    mine, theirs = (each.sum() for each in ratios)
    assert mine == pytest.approx(theirs, rel=1e-3)


def test_facts_tell_the_most_frequent_class(setting, data):
    facts = look(replace(setting, epochs=2), data)
    assert facts["majority"] == pytest.approx(100 / 3, abs=0.01)
    assert json.loads(json.dumps(facts)) == facts


def test_the_page_is_made_from_the_records(page):
    found = page.load()
    assert page.page(found) == (RESULTS / "evidence.md").read_text(encoding="utf-8")


def test_a_claim_takes_the_largest_of_its_p(page):
    found = page.load()
    ps = page.claims(found)
    for name, (result, _) in found.items():
        for row in result.rows:
            claim = ps.get((name, row.arm, row.budget, "controls"))
            if row.arm in page.CONTROLS or claim is None or claim >= 0.05:
                continue
            assert all(row.over[label].low > 0 for label in page.CONTROLS)
