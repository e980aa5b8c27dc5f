"""`ted inspect` of the checkpoints that the pages tell people to write."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
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


def test_two_sessions_in_one_file_are_both_named(capsys, tmp_path, session):
    state = session[0].state_dict()
    torch.save({"one": state, "two": state}, tmp_path / "gan.pt")
    assert main(["inspect", str(tmp_path / "gan.pt")]) == 0
    printed = capsys.readouterr().out
    assert "gan.pt > one" in printed
    assert "not shown            gan.pt > two" in printed
