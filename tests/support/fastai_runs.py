"""A learner of fastai on a few points, and a run of it, that several tests share."""

from __future__ import annotations

from functools import partial

import torch
from fastai.callback.core import Callback
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.optimizer import OptimWrapper
from ted_torch.integrations.fastai import TEDCallback
from torch import nn
from torch_runs import CLASSES, FEATURES, labelled

__all__ = ["BATCH", "EPOCHS", "N", "Seen", "fit", "loaders", "make_learner", "make_ted"]

N, EPOCHS, BATCH = 80, 6, 8


class Seen(Callback):
    """Note each epoch's ids, and each step's rate and losses."""

    order = -4  # once the ids are out of the batch

    def before_fit(self):
        self.ids, self.losses = {}, []

    def after_loss(self):
        ids = self.learn.ted._ids
        if self.training and ids is not None:
            self.ids.setdefault(self.epoch, []).extend(ids.tolist())
            self.losses.append((self.learn.loss.item(), self.learn.loss_grad.item()))


def loaders(data=None, **options):
    data = labelled(N) if data is None else data
    options = {"bs": BATCH, "device": "cpu", "num_workers": 0, **options}
    return DataLoaders.from_dsets(data, labelled(16, seed=6), **options)


def make_ted(**options):
    options = {"prune_ratio": 0.6, "signal": "mask_gradient", "seed": 3, **options}
    return TEDCallback(**options)


def make_learner(*cbs, dls=None, ted=None, loss_func=None, path=".", **options):
    """Give a learner of a linear layer under SGD with momentum, and its callback."""
    torch.manual_seed(0)
    ted = make_ted() if ted is None else ted
    learn = Learner(
        loaders() if dls is None else dls,
        nn.Linear(FEATURES, CLASSES),
        loss_func=CrossEntropyLossFlat() if loss_func is None else loss_func,
        opt_func=partial(OptimWrapper, opt=partial(torch.optim.SGD, momentum=0.9)),
        cbs=[ted, Seen(), *cbs],
        path=path,
        **options,
    )
    learn.logger = lambda _: None
    return learn, ted


def fit(*cbs, how="fit", epochs=EPOCHS, start_epoch=0, **options):
    """Train a run, or the rest of one; give learner and callback."""
    learn, ted = make_learner(*cbs, **options)
    with learn.no_bar():
        getattr(learn, how)(epochs, 0.5, start_epoch=start_epoch)
    return learn, ted
