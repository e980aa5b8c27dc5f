"""`ted inspect` of the checkpoints that the pages tell people to write."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from ted_torch import TED
from torch.utils.data import DataLoader, TensorDataset

from ted_core import atomic_write
from ted_core.cli import main

STATES = Path(__file__).parents[1] / "fixtures" / "states"


def refused(capsys, path):
    assert main(["inspect", str(path)]) == 2
    return capsys.readouterr().err


@pytest.fixture
def session():
    x = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    net = torch.nn.Linear(5, 2)
    ted = TED(TensorDataset(x, (x[:, 0] > 0).long()), epochs=6, prune_ratio=0.7)
    loader = DataLoader(ted.dataset, batch_size=8, sampler=ted.sampler)
    for epoch in range(3):
        ted.set_epoch(epoch)
        for ids, (x, y) in loader:
            logits = net(x)
            losses = torch.nn.functional.cross_entropy(logits, y, reduction="none")
            ted.loss(losses, mask=logits, ids=ids).backward()
    return ted, net


@pytest.mark.parametrize("alone", [True, False])
def test_a_checkpoint_of_a_loop_is_read_where_the_session_lies(
    capsys, tmp_path, session, alone
):
    ted, net = session
    state = ted.state_dict()
    saved = state if alone else {"model": net.state_dict(), "parts": {"ted": state}}
    with atomic_write(tmp_path / "run.pt") as file:
        torch.save(saved, file)
    out = ["--csv", str(tmp_path / "samples.csv")]
    assert main(["inspect", str(tmp_path / "run.pt"), *out]) == 0
    printed = capsys.readouterr().out
    facts = {line[:20].strip(): line[21:] for line in printed.splitlines()}
    assert facts["found in"] == ("run.pt" if alone else "run.pt > parts > ted")
    assert (facts["n"], facts["epochs"]) == ("60", "6")
    # The third epoch was not closed.
    assert f"2 of 6, {len(ted.sampler)} samples in\n" in printed
    assert "open.observed" not in facts
    assert facts["saved, forwarded"] == f"{100 * ted.savings().ratio:.1f} %"
    assert len((tmp_path / "samples.csv").read_text("utf-8").splitlines()) == 61


@pytest.mark.parametrize(
    "name",
    ["torch/within.pt", "hosts/trainer_within.pt", "hosts/lightning_within.ckpt"],
)
def test_a_checkpoint_of_an_earlier_version_and_of_each_trainer_is_read(capsys, name):
    assert main(["inspect", str(STATES / name)]) == 0
    assert "score quartiles" in capsys.readouterr().out


def test_a_trainers_folder_is_read_by_its_session(capsys, tmp_path):
    folder = tmp_path / "checkpoint-12"
    folder.mkdir()
    (folder / "trainer_state.json").write_text("{}", encoding="utf-8")
    assert "`ted.pt`" in (line := refused(capsys, folder))
    assert "['trainer_state.json']" in line
    saved = (STATES / "hosts" / "trainer_within.pt").read_bytes()
    (folder / "ted.pt").write_bytes(saved)
    assert main(["inspect", str(folder)]) == 0
    assert "ted.pt > session" in capsys.readouterr().out


def test_a_file_without_a_session_and_one_with_objects_are_refused_in_words(
    capsys, tmp_path, monkeypatch
):
    path = tmp_path / "model.pt"
    torch.save({"model": torch.nn.Linear(2, 2).state_dict(), "step": 3}, path)
    line = refused(capsys, path)
    assert "must hold what `ted.state_dict()` returned, got ['model', 'step']" in line
    torch.save([1, 2], path)
    assert "got <class 'list'>" in refused(capsys, path)
    torch.save({"model": torch.nn.Linear(2, 2)}, path)
    assert "must hold tensors and plain values" in refused(capsys, path)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "needs torch: pip install torch" in refused(capsys, path)


@pytest.mark.parametrize("names", [["run.pt"], ["0.pt", "1.pt"], ["model_3.ted"]])
def test_folders_of_a_loop_of_ray_and_of_fastai_are_read(
    capsys, tmp_path, session, names
):
    ted, net = session
    torch.save(net.state_dict(), tmp_path / "model.pth")
    for name in names:
        torch.save({"ted": ted.state_dict()}, tmp_path / name)
    assert main(["inspect", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{'epoch':20} 2 of 6")
    assert f"{'found in':20} {names[0]} > ted\n" in printed
    for name in names[1:]:
        assert f"{'not shown':20} {name} > ted\n" in printed


def test_of_a_file_with_the_states_of_two_epochs_the_later_is_shown(
    capsys, tmp_path, session
):
    ted, _ = session
    before = ted.state_dict()
    ted.close_epoch()
    # As beside `last.pt` of Ultralytics.
    torch.save({2: before, 3: ted.state_dict()}, tmp_path / "ted.pt")
    torch.save({"model": torch.nn.Linear(2, 2)}, tmp_path / "last.pt")
    assert main(["inspect", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{'epoch':20} 3 of 6")
    assert f"{'found in':20} ted.pt > 3\n" in printed


def test_accelerates_folder_is_read_beside_other_parts_of_the_users(
    capsys, tmp_path, session
):
    accelerator, average = Accelerator(cpu=True), torch.nn.Linear(2, 2)
    accelerator.register_for_checkpointing(average, session[0])
    accelerator.save_state(tmp_path / "state")
    assert main(["inspect", str(tmp_path / "state")]) == 0
    assert "custom_checkpoint_1.pkl" in capsys.readouterr().out


def test_a_damaged_session_in_a_folder_is_named(capsys, tmp_path, session):
    torch.save(session[0].state_dict(), tmp_path / "run.pt")
    (tmp_path / "ted.pt").write_bytes((tmp_path / "run.pt").read_bytes()[:-9])
    line = refused(capsys, tmp_path)
    assert f"`{tmp_path / 'ted.pt'}` must be a whole saved state" in line


@pytest.mark.filterwarnings("ignore:the run must have")
def test_the_repr_of_a_session_tells_how_far_it_is(session):
    ted, _ = session
    kept = len(ted.pruner.plan())
    saved = f"{ted.savings().ratio:.1%}"
    words = (
        f"TED(epoch=2 of 6, keeps {kept} of 60 samples, method='ted', saved={saved})"
    )
    assert repr(ted) == words
    ted.close_epoch()
    assert repr(ted).startswith("TED(epoch=3 of 6, keeps ")
    assert not ted.pruner.planned
    ted.finish()
    assert repr(ted).startswith("TED(epoch=3 of 6, finished, 60 samples, method='ted'")


def test_two_sessions_in_one_file_are_both_named(capsys, tmp_path, session):
    state = session[0].state_dict()
    torch.save({"one": state, "two": state}, tmp_path / "gan.pt")
    assert main(["inspect", str(tmp_path / "gan.pt")]) == 0
    printed = capsys.readouterr().out
    assert "gan.pt > one" in printed
    assert "not shown            gan.pt > two" in printed
