"""The frameworks' own loggers write TED's numbers under their own names."""

from __future__ import annotations

import fastai_runs
import pandas as pd
import pytest
import torch
from accelerate import Accelerator
from event_files import numbers, told
from fastai.callback.progress import CSVLogger
from fastai.callback.tensorboard import TensorBoardCallback
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from lightning.pytorch.loggers import TensorBoardLogger
from lightning_runs import fit
from ted_torch.integrations.accelerate import AcceleratedTED
from torch.utils.data import DataLoader
from torch_runs import CLASSES, FEATURES, cross_entropy, labelled
from trainer_runs import trainer

from ted_core import run_metrics

EPOCHS = 5


def close(found, wanted):
    assert found.keys() == wanted.keys()
    for name, values in found.items():
        assert values == pytest.approx(wanted[name], abs=1e-6)


def test_hugging_faces_trainer(tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    run = trainer(tmp_path, report_to="tensorboard", logging_strategy="epoch")
    run.train()
    board = tmp_path / "board"
    steps, found = numbers(board, prefix="train/", others=["ted/scaled_loss"])
    # An epoch is logged when it has closed, and the whole run at its end.
    assert steps[-2:] == [run.state.global_step] * 2
    close({k: values[:-1] for k, values in found.items()}, told(run.ted.pruner))
    for name, values in told(run.ted.pruner).items():
        assert found[name][-1] == pytest.approx(values[-1])


@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many")
def test_lightning(tmp_path):
    logger = TensorBoardLogger(tmp_path)
    _, ted, trainer = fit(logger=logger, log_every_n_steps=1)
    steps, found = numbers(logger.log_dir)
    assert steps[-1] == trainer.global_step - 1
    close(found, told(ted.pruner))


def test_accelerate(tmp_path):
    accelerator = Accelerator(cpu=True, log_with="tensorboard", project_dir=tmp_path)
    accelerator.init_trackers("run")
    ted = AcceleratedTED(accelerator, labelled(40), epochs=EPOCHS, batch_size=8)
    net = torch.nn.Linear(FEATURES, CLASSES)
    loader = DataLoader(ted.dataset, 8, sampler=ted.sampler)
    net, loader = accelerator.prepare(net, loader)
    for epoch in range(EPOCHS):
        ted.set_epoch(epoch)
        for ids, (x, y) in loader:
            z = net(x)
            accelerator.backward(ted.loss(cross_entropy(z, y), mask=z, ids=ids))
        ted.close_epoch()
        accelerator.log(run_metrics(ted.pruner), step=epoch)
    ted.finish()
    accelerator.end_training()
    steps, found = numbers(tmp_path / "run")
    assert steps == list(range(EPOCHS))
    close(found, told(ted.pruner))


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
def test_fastai(tmp_path):
    board = TensorBoardCallback(tmp_path, trace_model=False, log_preds=False)
    ted, table = fastai_runs.make_ted(), CSVLogger(tmp_path / "log.csv")
    learn = Learner(
        fastai_runs.loaders(),
        torch.nn.Linear(FEATURES, CLASSES),
        loss_func=CrossEntropyLossFlat(),
        cbs=[ted, board, table],
        path=tmp_path,
    )
    with learn.no_bar(), learn.no_logging():
        learn.fit(EPOCHS)
    _, found = numbers(tmp_path)
    close(found, told(ted.pruner))
    rows = pd.read_csv(tmp_path / "log.csv")
    assert rows["ted/samples_saved"].tolist() == pytest.approx(
        found["ted/samples_saved"], abs=1e-6
    )
    assert list(learn.metrics) == []  # as before the fit
