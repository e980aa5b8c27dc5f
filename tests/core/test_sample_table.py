"""Which samples a run kept most and least often."""

from __future__ import annotations

import csv
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ted_core as ted
from ted_core.history import HISTORY


def run(n, epochs, seed, *, drop=()):
    """Train on random values; those of the ids in `drop` are never finite."""
    rng = np.random.default_rng(seed)
    pruner = ted.Pruner(n, epochs=epochs, prune_ratio=0.7, seed=seed)
    kept = np.zeros(n, int)
    while not pruner.finished:
        order = pruner.plan().order
        values = rng.exponential(size=order.size)
        values[np.isin(order, drop)] = np.nan
        kept[order] += ~np.isin(order, drop)
        pruner.observe(order, values)
        pruner.advance()
    return pruner, kept


@settings(max_examples=30, deadline=None)
@given(n=st.integers(2, 40), epochs=st.integers(5, 12), seed=st.integers(0, 99))
def test_every_sample_stands_once_with_how_often_it_was_kept(n, epochs, seed):
    pruner, kept = run(n, epochs, seed)
    table = ted.sample_table(pruner)
    assert sorted(table.ids) == list(range(n))
    np.testing.assert_array_equal(table.update_counts, kept[table.ids])
    np.testing.assert_array_equal(table.scores, pruner.scores[table.ids])


@settings(max_examples=30, deadline=None)
@given(n=st.integers(2, 40), epochs=st.integers(5, 12), seed=st.integers(0, 99))
def test_the_order_is_that_of_a_sort_by_update_count_score_and_id(n, epochs, seed):
    pruner, _ = run(n, epochs, seed)
    counts, scores = pruner.update_counts, pruner.scores
    slow = sorted(range(n), key=lambda k: (-int(counts[k]), -float(scores[k]), k))
    assert ted.sample_table(pruner).ids.tolist() == slow


@settings(max_examples=30, deadline=None)
@given(k=st.integers(0, 60), n=st.integers(2, 40))
def test_the_most_and_the_least_kept_are_the_ends_of_the_table(k, n):
    table = ted.sample_table(run(n, 6, 0)[0])
    assert table.most_kept(k).ids.tolist() == table.ids.tolist()[:k]
    assert table.least_kept(k).ids.tolist() == table.ids.tolist()[::-1][:k]


def test_a_sample_without_a_score_comes_last_and_was_never_kept_with_one():
    table = ted.sample_table(run(6, 6, 0, drop=(2,))[0])
    last = table.least_kept(1)
    assert (last.ids[0], last.update_counts[0]) == (2, 0)
    assert np.isnan(last.scores[0])


def test_the_csv_file_holds_the_table(tmp_path):
    table = ted.sample_table(run(30, 6, 0)[0])
    table.to_csv(tmp_path / "samples.csv")
    with (tmp_path / "samples.csv").open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["id", "update_count", "score"]
    assert [int(row[0]) for row in rows] == table.ids.tolist()
    assert [int(row[1]) for row in rows] == table.update_counts.tolist()
    assert np.array([float(r[2]) for r in rows], np.float32).tolist() == (
        table.scores.tolist()
    )


def test_the_text_of_many_samples_shows_the_ends():
    table = ted.sample_table(run(50, 6, 0)[0])
    lines = str(table).splitlines()
    assert len(lines) == 1 + 10 + 1 + 10 + 1
    shown = [int(line.split()[0]) for line in lines[1:-1] if "..." not in line]
    assert shown == [*table.ids[:10], *table.ids[-10:]]
    assert lines[-1] == "signal: mask_gradient"
    assert len(str(table.most_kept(20)).splitlines()) == 22
    assert repr(table) == str(table)


@pytest.mark.parametrize(
    ("options", "signal", "what"),
    [
        ({"method": "soft_margin"}, "margin", "the most ambiguous ones"),
        ({"signal": "least_confidence"}, "least_confidence", "those of the least sure"),
        ({"method": "random"}, None, "any"),
        ({"strategy": ted.Static(np.arange(9.0))}, None, "any"),
    ],
)
def test_the_most_kept_are_no_suspects_where_no_label_was_read(options, signal, what):
    table = ted.sample_table(ted.Pruner(9, epochs=6, **options))
    assert (table.signal, table.reads_labels) == (signal, False)
    why = "no signal" if signal is None else f"signal={signal!r} does not read"
    rule = f"kept most often are {what}.* no suspects .*: {why} .*`method='ted_loss'`"
    with pytest.warns(ted.TedWarning, match=rule) as warned:
        table.most_kept(3)
    assert warned[0].filename == __file__
    assert table.least_kept(3).signal == signal


def test_a_session_in_place_of_its_pruner_is_answered_with_the_pruner():
    session = SimpleNamespace(pruner=ted.Pruner(9, epochs=6))
    with pytest.raises(TypeError, match=r"must be a Pruner, got .*; give its `\.prun"):
        ted.sample_table(session)
    with pytest.raises(TypeError, match=r"must be a Pruner, got None$"):
        ted.sample_table(None)


@pytest.mark.parametrize("signal", ["mask_gradient", "loss", "el2n", "grand"])
def test_the_most_kept_by_a_signal_of_the_labels_are_suspects(signal):
    table = ted.sample_table(ted.Pruner(9, epochs=6, signal=signal))
    assert table.most_kept(3).signal == signal


def test_the_text_of_a_report_has_a_line_an_epoch():
    pruner = run(30, 6, 0)[0]
    report, saved = pruner.report(), pruner.savings()
    head, *rows, total = repr(report).splitlines()
    assert head.split() == ["epoch", "keep_ratio", *HISTORY]
    assert [int(row.split()[2]) for row in rows] == report.planned.tolist()
    ratios = [f"{planned / 30:.3f}" for planned in report.planned]
    assert [row.split()[1] for row in rows] == ratios
    assert report.savings == saved
    assert total == (
        f"saved {saved.ratio:.1%}: {saved.forwarded} of 180 samples forwarded"
    )


def test_the_text_of_a_long_report_shows_its_ends():
    lines = str(run(5, 23, 0)[0].report()).splitlines()
    assert [line.split()[0] for line in lines] == [
        *("epoch", *map(str, range(10)), "...", *map(str, range(13, 23)), "saved")
    ]


def test_the_report_of_a_run_that_has_not_begun_has_no_line():
    head, total = str(ted.Pruner(9, epochs=6).report()).splitlines()
    assert head.split()[0] == "epoch"
    assert total == "saved 0.0%: 0 of 0 samples forwarded"


def test_both_tables_become_data_frames():
    pruner, _ = run(10, 6, 0)
    table, report = ted.sample_table(pruner), pruner.report()
    frame = table.to_dataframe()
    assert (list(frame), frame.index.name) == (["update_count", "score"], "id")
    assert frame.index.tolist() == table.ids.tolist()
    assert frame["update_count"].tolist() == table.update_counts.tolist()
    frame = report.to_dataframe()
    assert (list(frame), frame.index.name) == (["keep_ratio", *HISTORY], "epoch")
    assert frame.index.tolist() == list(range(6))
    assert frame["planned"].tolist() == report.planned.tolist()


@pytest.mark.parametrize("drop", [(), (2,)])
def test_a_parquet_file_holds_the_table_with_its_types(drop, tmp_path):
    table = ted.sample_table(run(30, 6, 0, drop=drop)[0])
    path = tmp_path / "samples.parquet"
    table.to_parquet(path)
    back = pd.read_parquet(path)
    pd.testing.assert_frame_equal(back, table.to_dataframe())
    assert [str(kind) for kind in back.dtypes] == ["uint16", "float32"]
    columns = pyarrow.parquet.read_table(path)  # by those who have no pandas
    assert columns["id"].to_pylist() == table.ids.tolist()
    assert np.isnan(columns["score"]).sum() == len(drop)


def test_without_pandas_a_data_frame_is_refused_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ModuleNotFoundError, match="pip install pandas"):
        ted.sample_table(run(10, 6, 0)[0]).to_dataframe()


def test_without_pyarrow_parquet_is_refused_with_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ModuleNotFoundError, match="pip install pyarrow"):
        ted.sample_table(run(10, 6, 0)[0]).to_parquet(tmp_path / "samples.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_bad_number_of_samples_is_refused_by_name():
    table = ted.sample_table(run(10, 6, 0)[0])
    with pytest.raises(ValueError, match="`k` must be"):
        table.most_kept(-1)
    with pytest.raises(TypeError, match="`k` must be"):
        table.least_kept(1.5)
