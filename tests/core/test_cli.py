"""What ``ted`` prints, and how it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest

import ted_core as ted
from ted_core.cli import main

PLAN = ["plan", "--samples", "50000", "--epochs", "200", "--batch-size", "128"]


@pytest.fixture
def saved(tmp_path):
    pruner = ted.Pruner(20, epochs=8, prune_ratio=0.5, seed=3)
    for _ in range(3):
        order = pruner.plan().order
        pruner.observe(order, np.where(order == 4, np.nan, order))
        pruner.advance()
    path = tmp_path / "run.npz"
    ted.save_state(path, pruner.state_dict())
    return path, pruner


def refused(capsys, arguments):
    """Give the one line of an error and check the status."""
    try:
        status = main(arguments)
    except SystemExit as end:
        status = end.code
    assert status == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ted: error: ")
    return line


def test_the_table_of_a_long_run_is_condensed_and_shows_both_turns(capsys):
    assert main(PLAN) == 0
    printed = capsys.readouterr().out.splitlines()
    epochs = [int(line.split()[0]) for line in printed[3:]]
    assert len(epochs) <= 24
    assert {0, 1, 174, 175, 199} <= set(epochs)


def test_the_rows_are_those_of_the_pruner(capsys):
    assert (
        main(["plan", "--samples", "100", "--epochs", "10", "--batch-size", "10"]) == 0
    )
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[3:]]
    table = ted.Pruner(100, epochs=10).schedule_table()
    assert [int(row[2]) for row in rows] == table["kept"].tolist()


@pytest.mark.filterwarnings("ignore:`batch_size` of 128 leaves a last batch of one")
@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ("--world-size 4", {"world_size": 4}),
        ("--accumulation 3", {"accumulation": 3}),
        ("--drop-last", {"drop_last": True}),
    ],
)
def test_the_steps_follow_the_options_of_the_loader(capsys, options, steps):
    assert main([*PLAN, *options.split()]) == 0
    expected = ted.Pruner(50000, epochs=200).total_steps(128, **steps)
    printed = capsys.readouterr()
    assert f"optimizer steps {expected} of" in printed.out
    warned = (
        "ted: warning: `batch_size` of 128 leaves a last batch of one" in printed.err
    )
    assert warned == ("drop_last" not in steps)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "plan --samples 100 --epochs 9 --batch-size 64 --drop-last",
            "`batch_size` must be at most 32 with `drop_last`",
        ),
        ("dance", "invalid choice: 'dance'"),
        ("plan", "--samples, --epochs, --batch-size"),
        ("plan --samples many --epochs 9 --batch-size 8", "as 50000, 50_000 or 5e4"),
        ("plan --samples 9 --epochs 2.5 --batch-size 8", "--epochs: must be a whole"),
        ("plan --samples nan --epochs 9 --batch-size 8", "got 'nan'"),
        ("plan --samples 1e30 --epochs 9 --batch-size 8", "`--samples` must be in [1"),
        ("plan --samples 9 --epochs 1 --batch-size 8", "`epochs` must be at least 2"),
        ("plan --samples 9 --epochs 9 --batch-size 0", "`batch_size` must be at"),
        (
            "plan --samples 9 --epochs 9 --batch-size 8 --prune-ratio nan",
            "`prune_ratio` must be in [0, 1), got nan",
        ),
        (
            "plan --samples 9 --epochs 9 --batch-size 8 --schedule zigzag",
            "invalid choice: 'zigzag'",
        ),
        ("inspect no.npz", "`FILE` must be a file that can be read, got 'no.npz': no "),
        ("inspect .", "must be a file or a checkpoint's folder with a session"),
    ],
)
def test_every_bad_argument_is_refused_in_one_line(
    capsys, line, words, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    found = refused(capsys, line.split())
    assert words in found
    assert "Errno" not in found


def test_alone_it_prints_its_help(capsys):
    assert main([]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("usage: ted")
    assert not printed.err


@pytest.mark.parametrize("samples", ["5e4", "50_000", "5E+4"])
def test_a_number_of_samples_is_read_as_people_write_it(capsys, samples):
    assert main(PLAN) == 0
    plain = capsys.readouterr().out
    assert main([samples if word == "50000" else word for word in PLAN]) == 0
    assert capsys.readouterr().out == plain


def test_a_plot_without_matplotlib_names_the_extra(capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main([*PLAN, "--plot", str(tmp_path / "plan.png")]) == 2
    printed = capsys.readouterr()
    assert "pip install 'ted-core[plot]'" in printed.err
    assert not printed.out  # no table, below which no one would look
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no/plan.png", "`--plot` must be a file that can be written, got "),
        ("plan.doc", "`--plot` must end in one of"),
    ],
)
def test_a_plot_that_can_not_be_written_is_refused_before_the_table(
    capsys, tmp_path, name, words
):
    assert main([*PLAN, "--plot", str(tmp_path / name)]) == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert "Errno" not in printed.err
    assert not printed.out


def test_a_plot_has_the_plan_as_its_title(capsys, tmp_path):
    assert main([*PLAN, "--plot", str(tmp_path / "plan.svg")]) == 0
    head, *_, last = capsys.readouterr().out.splitlines()
    assert last == f"wrote {tmp_path / 'plan.svg'}"
    # The picture has its letters as shapes, and says in comments which.
    assert f"<!-- {head} -->" in (tmp_path / "plan.svg").read_text(encoding="utf-8")


def test_inspect_prints_the_run_its_savings_and_its_scores(capsys, saved):
    path, pruner = saved
    assert main(["inspect", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    printed = {line[:20].strip(): line[21:] for line in lines}
    assert (printed["n"], printed["epoch"], printed["seed"]) == ("20", "3", "3")
    assert printed["saved, forwarded"] == f"{100 * pruner.savings().ratio:.1f} %"
    nonfinite = int(pruner.report().nonfinite.sum())
    assert nonfinite > 0
    assert printed["history.nonfinite"] == f"{nonfinite} in 3 epochs"
    finite = pruner.scores[np.isfinite(pruner.scores)]
    assert printed["scored samples"] == f"{finite.size} of 20"
    low, *_, high = printed["score quartiles"].split()
    assert float(low) == pytest.approx(finite.min(), rel=1e-3)
    assert float(high) == pytest.approx(finite.max(), rel=1e-3)


def first_asked(capsys, path):
    """Give what stands before the fields of the state, by name."""
    assert main(["inspect", str(path)]) == 0
    head = capsys.readouterr().out.partition("\n\n")[0].splitlines()
    return {line[:20].strip(): line[21:] for line in head}


def test_inspect_begins_with_what_is_asked_first(capsys, saved):
    path, pruner = saved
    table, savings = ted.sample_table(pruner), pruner.savings()
    found = first_asked(capsys, path)
    assert list(found) == [
        *("epoch", "samples", "samples saved", "method", "most kept", "least kept")
    ]
    assert (found["epoch"], found["samples"]) == ("3 of 8", "20")
    assert found["samples saved"] == (
        f"{100 * savings.ratio:.1f} %, {savings.forwarded} of 60 samples forwarded"
    )
    assert found["method"] == "ted"
    for name, rows in (
        ("most kept", table.most_kept(5)),
        ("least kept", table.least_kept(5)),
    ):
        ids = [int(one.split("(")[0]) for one in found[name].split(", ")]
        assert ids == rows.ids.tolist()
    assert found["most kept"].startswith(
        f"{table.ids[0]} ({table.update_counts[0]}x), "
    )


@pytest.mark.parametrize(
    ("options", "method"),
    [
        ({"method": "soft_margin"}, "soft_margin"),
        ({"strategy": ted.SoftTop(), "signal": "margin"}, "soft_margin"),
        ({"strategy": ted.Random(), "signal": "margin"}, "random"),
        ({"signal": "el2n"}, "TopScore(class_floor=0.0) of el2n"),
        ({"strategy": ted.Static(np.arange(20.0))}, "Static of mask_gradient"),
    ],
)
def test_inspect_names_the_method_and_which_lists_are_no_suspects(
    capsys, tmp_path, options, method
):
    pruner = ted.Pruner(20, epochs=6, **options)
    pruner.observe(pruner.plan().order, np.ones(pruner.plan().order.size))
    ted.save_state(tmp_path / "begun", pruner.state_dict())
    found = first_asked(capsys, tmp_path / "begun")
    assert (found["epoch"], found["method"]) == ("0 of 6, begun", method)
    assert found["most kept"] == found["least kept"] == "none yet"
    assert ("" in found) == (options.get("signal") != "el2n")
    pruner.advance()
    with pytest.warns(ted.TedWarning, match="must have 6 epochs"):
        pruner.finish()
    ted.save_state(tmp_path / "stopped", pruner.state_dict())
    assert first_asked(capsys, tmp_path / "stopped")["epoch"] == "1 of 6: stopped early"


def test_inspect_of_a_fresh_run_has_no_scores_and_no_savings(capsys, tmp_path):
    ted.save_state(tmp_path / "s", ted.Pruner(20, epochs=8).state_dict())
    found = first_asked(capsys, tmp_path / "s")
    assert found["epoch"] == "0 of 8"
    assert found["samples saved"] == "0.0 %, 0 of 0 samples forwarded"
    assert main(["inspect", str(tmp_path / "s")]) == 0
    printed = capsys.readouterr().out
    assert "0 of 20" in printed
    assert "quartiles" not in printed


@pytest.mark.parametrize("given", [False, True])
def test_inspect_says_in_words_what_a_state_holds_as_a_code(capsys, tmp_path, given):
    options, said = {}, "none"
    if given:
        schedule = ted.RollerCoaster(horizon="pruning")
        options = {"labels": np.zeros(20, int), "schedule": schedule}
        said = "given, checksum "
    pruner = ted.Pruner(20, epochs=8, **options)
    ted.save_state(tmp_path / "s", pruner.state_dict())
    assert main(["inspect", str(tmp_path / "s")]) == 0
    printed = capsys.readouterr().out
    epochs = "the epochs that prune" if given else "all epochs"
    assert f"{'labels':20} {said}" in printed
    assert f"{'lengths':20} none\n" in printed
    assert f"{'schedule.horizon':20} {epochs}\n" in printed


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_that_can_not_be_written_is_refused_in_words(
    capsys, saved, tmp_path, kind
):
    out = tmp_path / "no" / "samples"
    line = refused(capsys, ["inspect", str(saved[0]), f"--{kind}", str(out)])
    assert f"`--{kind}` must be a file that can be written, got '{out}': no " in line


def test_keras_folder_is_read_by_its_session_and_of_a_backup_the_newest(
    capsys, saved, tmp_path
):
    path, pruner = saved
    folder = tmp_path / "epoch-003"
    folder.mkdir()
    (folder / "model.keras").write_bytes(b"PK")
    path.rename(folder / "ted.npz.before")
    pruner.observe(pruner.plan().order, pruner.plan().order)
    pruner.advance()
    ted.save_state(folder / "ted.npz", pruner.state_dict())
    assert main(["inspect", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{'epoch':20} 4 of 8\n")
    assert f"{'found in':20} ted.npz\n" in printed
    assert f"{'not shown':20} ted.npz.before\n" in printed


@pytest.mark.parametrize("name", ["scores.score", "history.planned"])
def test_inspect_of_a_state_with_a_missing_field_names_it(capsys, saved, name):
    path, pruner = saved
    state = pruner.state_dict()
    del state[name]
    ted.save_state(path, state)
    line = refused(capsys, ["inspect", str(path)])
    assert f"`{name}` must be an array" in line
    assert str(path) in line


def test_inspect_of_a_trainers_folder_names_a_checkpoint_in_it(capsys, tmp_path):
    for step in (5, 40, 100):
        (tmp_path / f"checkpoint-{step}").mkdir()
    (tmp_path / "checkpoints").mkdir()
    line = refused(capsys, ["inspect", str(tmp_path)])
    assert f"give one of its 3 checkpoints, `{tmp_path}/checkpoint-100` say" in line


def test_inspect_of_a_model_of_keras_names_the_file_to_give(capsys, tmp_path):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.weights.h5", b"")
    line = refused(capsys, ["inspect", str(path)])
    assert (
        "got Keras' model, which holds no session; give the file of `backup=`" in line
    )


def test_inspect_of_a_damaged_file_says_so(capsys, saved):
    path, _ = saved
    path.write_bytes(path.read_bytes()[:-9])
    assert "must be a whole saved state" in refused(capsys, ["inspect", str(path)])


@pytest.mark.parametrize("unbuffered", [[], ["-u"]], ids=["buffered", "by line"])
def test_a_reader_that_goes_ends_it_quietly(saved, unbuffered):
    path, _ = saved
    code = "import sys; from ted_core.cli import main; sys.exit(main())"
    command = [sys.executable, *unbuffered, "-c", code, "inspect", str(path)]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            command, check=False, stdout=writing, stderr=subprocess.PIPE, text=True
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("line", ["--help", "plan --help", "inspect --help"])
def test_the_help_explains_every_option(capsys, line):
    with pytest.raises(SystemExit) as end:
        main(line.split())
    assert end.value.code == 0
    assert "show this help message" in capsys.readouterr().out


def test_the_version_is_that_of_the_library(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"ted {ted.__version__}\n"


def test_the_samples_of_a_saved_run_are_written_as_those_of_the_run(saved, tmp_path):
    path, pruner = saved
    ted.sample_table(pruner).to_csv(tmp_path / "of_the_run.csv")
    assert main(["inspect", str(path), "--csv", str(tmp_path / "saved.csv")]) == 0
    written = (tmp_path / "saved.csv").read_text(encoding="utf-8")
    assert written == (tmp_path / "of_the_run.csv").read_text(encoding="utf-8")
    assert len(written.splitlines()) == 1 + pruner.n


def test_parquet_of_a_saved_run_is_that_of_the_run(saved, tmp_path):
    path, pruner = saved
    assert main(["inspect", str(path), "--parquet", str(tmp_path / "a")]) == 0
    table = ted.sample_table(pruner).to_dataframe()
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "a"), table)


@pytest.mark.parametrize("package", ["pandas", "pyarrow"])
def test_parquet_without_a_package_that_it_needs_names_it(
    capsys, monkeypatch, package, saved, tmp_path
):
    monkeypatch.setitem(sys.modules, package, None)
    line = refused(capsys, ["inspect", str(saved[0]), "--parquet", str(tmp_path / "a")])
    assert f"pip install {package}" in line
    assert not (tmp_path / "a").exists()
