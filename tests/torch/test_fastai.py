from __future__ import annotations

import math
import zlib
from functools import partial

import fastai.callback.schedule  # noqa: F401 - gives learners `fit_one_cycle`
import numpy as np
import pandas as pd
import pytest
import torch
from fastai.callback.core import Callback, CancelFitException
from fastai.callback.data import WeightedDL
from fastai.callback.mixup import CutMix, MixUp
from fastai.callback.training import GradientAccumulation, ShortEpochCallback
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader as FastaiLoader
from fastai.data.load import SkipItemException
from fastai.learner import Learner, ValueMetric, load_learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import error_rate
from fastai.optimizer import OptimWrapper
from fastai.tabular.core import Categorify, Normalize
from fastai.tabular.data import TabularDataLoaders
from fastai.tabular.learner import tabular_learner
from fastai.text.data import SortedDL
from fastai.torch_core import TensorBase
from fastai.vision.augment import Resize, aug_transforms
from fastai.vision.data import ImageDataLoaders, get_image_files
from fastai.vision.learner import vision_learner
from fastai_runs import BATCH, EPOCHS, N, Seen, fit, loaders, make_learner, make_ted
from PIL import Image
from ted_torch import TED
from ted_torch.integrations.fastai import SaveTEDCallback, TEDCallback
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, TensorDataset
from torch_runs import CLASSES, cross_entropy, labelled

from ted_core import CheckpointError, EpochError, TedWarning
from ted_core.testing import CHECKS

# fastai, as it reads a frame
pytestmark = pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")


@pytest.fixture(scope="module")
def plain():
    """Train the same run in a loop of one's own: orders, scores, weights, losses."""
    ted = TED(
        labelled(N),
        epochs=EPOCHS,
        prune_ratio=0.6,
        signal="mask_gradient",
        seed=3,
        multiple_of=BATCH,
    )
    torch.manual_seed(0)
    net = torch.nn.Linear(6, 4)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.9)
    orders, losses = {}, []
    for epoch in range(EPOCHS):
        ted.set_epoch(epoch)
        orders[epoch] = ted.pruner.plan().order.tolist()
        for ids, (x, y) in DataLoader(ted.dataset, BATCH, sampler=ted.sampler):
            z = net(x)
            optimizer.zero_grad()
            each = cross_entropy(z, y)
            total = ted.loss(each, mask=z, ids=ids)
            total.backward()
            optimizer.step()
            losses.append((each.mean().item(), total.item()))
    ted.finish()
    return orders, ted.pruner.scores.tobytes(), net.weight.detach(), losses


@pytest.fixture(scope="module")
def whole():
    return fit()


def same(plain, learn, ted):
    orders, scores, weight, _ = plain
    assert learn.seen.ids == orders
    assert ted.pruner.scores.tobytes() == scores
    assert torch.equal(learn.model.weight, weight)


def test_a_fit_is_bit_for_bit_the_loop_of_ones_own(plain, whole):
    learn, ted = whole
    same(plain, learn, ted)
    assert ted.pruner.finished


def test_the_learner_logs_its_own_loss_and_differentiates_the_divided_one(plain, whole):
    learn, _ = whole
    np.testing.assert_allclose(learn.seen.losses, plain[3], rtol=1e-6)
    assert any(math.isclose(total, mean) for mean, total in learn.seen.losses)
    assert any(total > 1.5 * mean for mean, total in learn.seen.losses)


def test_one_cycle_ends_at_its_last_rate_in_the_steps_foretold():
    learn, ted = fit(how="fit_one_cycle")
    steps = ted.session.total_steps(BATCH, drop_last=True)
    assert len(learn.recorder.lrs) == steps < EPOCHS * N // BATCH
    # fastai goes by epochs: its last step is one of the last epoch's short of the end.
    end, most = 0.5 / 1e5, 0.5
    left = 1 / (N // BATCH) / EPOCHS / 0.75
    last = most + (end - most) * (1 + math.cos(math.pi * left)) / 2
    assert learn.recorder.lrs[-1] == pytest.approx(last)


def test_events_of_a_subclass_and_of_an_instance_are_called():
    called = []

    class Own(TEDCallback):
        def before_step(self):
            called.append("subclass")

    ted = Own(prune_ratio=0.6)
    ted.after_step = lambda: called.append("instance")
    fit(ted=ted)
    steps = -(-ted.report().planned // BATCH)
    assert called == ["subclass", "instance"] * int(steps.sum())


def test_workers_change_nothing(plain):
    same(plain, *fit(dls=loaders(num_workers=1)))


def test_a_plain_loader_of_fastais_serves(plain):
    valid = loaders().valid
    train = FastaiLoader(labelled(N), bs=BATCH, shuffle=True, drop_last=True)
    same(plain, *fit(dls=DataLoaders(train, valid, device="cpu")))


def test_a_learning_rate_is_searched_as_without_ted_and_the_fit_is_the_same(
    plain, tmp_path
):
    learn, ted = make_learner(path=tmp_path)
    before = learn.dls.train
    with learn.no_bar():
        learn.lr_find(num_it=20, show_plot=False)
        with pytest.raises(EpochError, match="a session needs a fit"):
            _ = ted.session
        learn.fit(EPOCHS, 0.5)
    same(plain, learn, ted)
    assert learn.dls.train is before


def test_validation_and_predictions_leave_the_session_alone(plain, whole):
    learn, ted = whole
    session = ted.session
    with learn.no_bar():
        learn.validate()
        assert len(learn.get_preds(ds_idx=0)[0]) == N
    assert ted.session is session
    assert ted.pruner.scores.tobytes() == plain[1]
    assert torch.equal(learn.model.weight, plain[2])


def test_a_metric_shows_what_was_saved():
    ted = make_ted()
    saved = ValueMetric(lambda: ted.savings().ratio, "saved")
    learn, _ = fit(ted=ted, metrics=saved)
    assert learn.recorder.metric_names[3] == "saved"
    assert learn.final_record[2] == ted.savings().ratio > 0.2


def test_frozen_epochs_belong_to_the_run():
    ted = make_ted(epochs=EPOCHS)
    learn, _ = make_learner(ted=ted, splitter=lambda net: [[net.bias], [net.weight]])
    with learn.no_bar():
        learn.fine_tune(EPOCHS - 1, 0.5)
    assert ted.pruner.finished
    assert ted.report().planned.tolist() == ted.pruner.schedule_table()["kept"].tolist()
    with pytest.raises(EpochError, match="at most the 0 epochs"), learn.no_bar():
        learn.fit(1)


def test_a_fit_after_a_fit_is_a_run_of_its_own(plain):
    learn, ted = fit()
    with torch.no_grad():
        torch.manual_seed(0)
        learn.model.reset_parameters()
    with learn.no_bar():
        learn.fit(EPOCHS, 0.5, reset_opt=True)
    assert ted.pruner.finished
    assert learn.seen.ids == plain[0]


def test_accumulated_gradients_record_the_same_values():
    """With a rate of 0, for accumulation takes other steps."""

    def scores(*cbs):
        learn, ted = make_learner(*cbs)
        with learn.no_bar():
            learn.fit(EPOCHS, 0.0)
        return ted.pruner.scores

    accumulated = scores(GradientAccumulation(2 * BATCH))
    np.testing.assert_allclose(accumulated, scores(), rtol=1e-5)


def test_what_a_callback_adds_to_the_loss_is_neither_divided_nor_recorded():
    class Penalty(Callback):
        order, run_valid = 1, False  # as RNNRegularizer

        def after_loss(self):
            self.before = self.learn.loss_grad.item()
            self.learn.loss_grad += 7 * self.model.weight.pow(2).sum()
            added.append(self.learn.loss_grad.item() - self.before)

    def scores(*cbs):
        learn, ted = make_learner(*cbs)
        with learn.no_bar():
            learn.fit(EPOCHS, 0.0)
        return learn, ted.pruner.scores

    added = []
    learn, penalised = scores(Penalty())
    np.testing.assert_allclose(penalised, scores()[1], rtol=1e-6)
    expected = 7 * learn.model.weight.pow(2).sum().item()
    np.testing.assert_allclose(added, expected, rtol=1e-5)


@pytest.mark.parametrize("mix", [MixUp, CutMix])
def test_mixed_batches_train_on_their_mixed_losses(mix):
    torch.manual_seed(1)
    x, y = labelled(N).tensors
    data = TensorDataset(x.reshape(N, 1, 2, 3), y)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, CLASSES))
    ted = make_ted()
    learn = Learner(
        loaders(data),
        net,
        loss_func=CrossEntropyLossFlat(),
        cbs=[ted, Seen(), mix()],
    )
    learn.logger = lambda _: None
    with learn.no_bar():
        learn.fit(EPOCHS, 0.01)
    table = ted.pruner.schedule_table()
    for epoch, scale in enumerate(table["loss_scale"]):
        steps = [k for k, e in enumerate(epochs_of(learn.seen.ids)) if e == epoch]
        for step in steps:
            mean, total = learn.seen.losses[step]
            assert total == pytest.approx(scale * mean, rel=1e-5)
    assert isinstance(learn.loss_func, CrossEntropyLossFlat)
    assert learn.loss_func.reduction == "mean"


def epochs_of(ids):
    return [epoch for epoch, some in ids.items() for _ in range(len(some) // BATCH)]


def test_pixels_are_averaged_to_one_loss_a_sample():
    data = [(torch.randn(3, 4, 4), torch.randint(0, 2, (4, 4))) for _ in range(32)]
    ted, net = make_ted(), torch.nn.Conv2d(3, 2, 1)
    learn = Learner(
        DataLoaders.from_dsets(data, data[:8], bs=BATCH, num_workers=0, device="cpu"),
        net,
        loss_func=CrossEntropyLossFlat(axis=1),
        cbs=[ted, Seen()],
    )
    learn.logger = lambda _: None
    with learn.no_bar():
        learn.fit(5, 0.0)
    x, y = (torch.stack(part) for part in zip(*data, strict=True))
    z = net(x).detach().requires_grad_()
    F.cross_entropy(z, y, reduction="none").mean((1, 2)).sum().backward()
    expected = (z * z.grad).sum((1, 2, 3)).abs().detach()
    np.testing.assert_allclose(ted.pruner.scores, expected, rtol=1e-4)


def test_operations_of_fastais_tensors_take_no_detour_for_the_session(monkeypatch):
    detours = []
    keep_kind = TensorBase.__torch_function__.__func__

    def count(cls, func, types, args=(), kwargs=None):
        detours.append(func)
        return keep_kind(cls, func, types, args, kwargs)

    monkeypatch.setattr(TensorBase, "__torch_function__", classmethod(count))
    counts = []
    for ted in (make_ted(prune_ratio=0.0), Callback()):
        learn, _ = make_learner(ted=ted)
        learn.remove_cb(learn.seen)
        detours.clear()
        with learn.no_bar():
            learn.fit(2)
        counts.append(len(detours))
    assert 0 < counts[0] <= counts[1]


@pytest.mark.parametrize("method", ["soft_margin", "ted_loss", "random", "importance"])
def test_every_method_trains(method):
    _, ted = fit(ted=TEDCallback(prune_ratio=0.6, method=method))
    assert ted.savings().ratio > 0.2


class Skips(torch.utils.data.Dataset):
    """Has broken samples, which fastai passes over."""

    broken = (3, 17)

    def __len__(self):
        return N

    def __getitem__(self, k):
        if k in self.broken:
            raise SkipItemException
        x, y = labelled(N)[k]
        return x * 0 + k, y


def test_an_item_that_fastai_skips_shifts_no_id():
    class Fits(Callback):
        order = -4

        def after_loss(self):
            if self.training:
                assert self.learn.xb[0][:, 0].tolist() == self.learn.ted._ids.tolist()

    with pytest.warns(TedWarning, match="planned samples must be delivered, got 2"):
        _, ted = fit(Fits(), dls=loaders(Skips(), drop_last=False))
    assert ted.report().undelivered_ids.tolist() == [3, 17]


class FastaiAdapter:
    """TED for fastai as the suite drives it: a fit of one epoch after the other.

    Sample k's logit is a parameter of its own, and its loss the logit: the value is
    |h_k|. In float64, so that dividing by c_k leaves each float32 as it was.
    """

    def start(self, n, *, batch_size, epochs, **options):
        self.ted = TEDCallback(epochs=epochs, **{"multiple_of": 1, **options})
        self.batch_size = batch_size
        data = [(k, 0) for k in range(n)]
        dls = DataLoaders.from_dsets(
            data, data[:1], bs=batch_size, drop_last=False, num_workers=0, device="cpu"
        )
        opt_func = partial(OptimWrapper, opt=torch.optim.SGD)
        net, cbs = torch.nn.Embedding(n, 1).double(), [self.ted, Seen()]
        self.learn = Learner(dls, net, raised, opt_func=opt_func, cbs=cbs)
        self.learn.logger = lambda _: None

    def run_epoch(self, epoch, values, *, steps=None):
        del epoch
        assert steps is None
        signs = 1 - 2 * (np.arange(values.size) % 2)
        with torch.no_grad():
            self.learn.model.weight.copy_(torch.from_numpy(signs * values)[:, None])
        with self.learn.no_bar():
            self.learn.fit(1, 0.0)
        mean, total = self.learn.seen.losses[-1]
        self.scale = total / mean
        ids = np.array(self.learn.seen.ids[0])
        return np.split(ids, range(self.batch_size, len(ids), self.batch_size))

    def finish(self):
        """Do nothing: the last fit has closed its epoch."""

    def loss_scale(self):
        return self.scale

    def core_state(self):
        return self.ted.pruner.state_dict()


def raised(pred, target, reduction="mean"):
    losses = (3 + pred.squeeze(1) + 0 * target).float()
    return losses if reduction == "none" else losses.mean()


BETWEEN_EPOCHS = set(CHECKS) - {
    "total_steps_are_those_planned",
    "resumed_equals_never_stopped",
}
"""Checks without a stop in mid-epoch, where fastai doesn't resume."""


@pytest.mark.parametrize("name", sorted(BETWEEN_EPOCHS))
def test_the_callback_conforms(name):
    CHECKS[name](FastaiAdapter)


class Dies(Callback):
    """End a run in the middle of an epoch, as a kill does."""

    def after_batch(self):
        if self.training and self.epoch == 3 and self.iter == 2:
            raise KeyboardInterrupt


def test_a_run_that_died_resumes_from_its_last_model_to_the_same_weights(
    plain, tmp_path
):
    def saver():
        return SaveTEDCallback(every_epoch=True, with_opt=True)

    with pytest.raises(KeyboardInterrupt):
        fit(saver(), Dies(), path=tmp_path)
    first = (tmp_path / "models" / "model_0.pth").read_bytes()
    learn, ted = make_learner(saver(), path=tmp_path)
    learn.load("model_2", with_opt=True)
    ted.load("model_2")
    with learn.no_bar():
        learn.fit(EPOCHS, 0.5, start_epoch=ted.epoch)
    orders, scores, weight, _ = plain
    assert learn.seen.ids == {e: orders[e] for e in (3, 4, 5)}
    assert ted.pruner.scores.tobytes() == scores
    assert torch.equal(learn.model.weight, weight)
    assert ted.report().planned.tolist() == ted.pruner.schedule_table()["kept"].tolist()
    assert (tmp_path / "models" / "model_5.ted").exists()
    assert (tmp_path / "models" / "model_0.pth").read_bytes() == first


class Rows(Callback):
    """Hold each batch's rows against the samples of its ids."""

    order, run_valid = -4, False

    def __init__(self, check):
        self.check, self.checked = check, 0

    def after_loss(self):
        ids = self.learn.ted._ids
        if ids is not None:
            self.check(self.learn, ids.tolist())
            self.checked += len(ids)


def small_network(pretrained=False):  # noqa: FBT002 - as fastai calls it
    assert not pretrained
    body = torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1)
    return torch.nn.Sequential(*body, torch.nn.Flatten(), torch.nn.Linear(8, 2))


def test_pictures_are_fine_tuned_as_fastais_quick_start_does(tmp_path):
    letters = "ab"
    for k in range(40):
        grey = np.full((8, 8, 3), 40 + 5 * k, np.uint8)
        Image.fromarray(grey).save(tmp_path / f"{letters[k % 2]}_{k}.png")
    dls = ImageDataLoaders.from_name_func(
        tmp_path,
        get_image_files(tmp_path),
        valid_pct=0.2,
        seed=42,
        label_func=lambda name: name[0],
        item_tfms=Resize(16),
        batch_tfms=aug_transforms(size=16),
        bs=BATCH,
        num_workers=0,
        device="cpu",
    )

    def check(learn, ids):
        names = [dls.train_ds.items[k].name[0] for k in ids]
        assert [dls.vocab[y] for y in learn.yb[0]] == names

    rows, ted = Rows(check), make_ted(epochs=5)
    options = {"pretrained": False, "metrics": error_rate, "cbs": [ted, rows]}
    learn = vision_learner(dls, small_network, **options)
    learn.logger = lambda _: None
    with learn.no_bar():
        learn.fine_tune(4)
    assert ted.pruner.finished
    assert rows.checked == ted.savings().forwarded < 5 * 32
    found = ted.session.state_dict()["fingerprint"]
    assert found == zlib.crc32(np.asarray(dls.train_ds.splits[0]).tobytes())


def make_table(held_out):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=60), "c": rng.choice([*"uvw"], 60)})
    frame["y"] = np.where(frame.x > 0, "yes", "no")
    return TabularDataLoaders.from_df(
        frame,
        procs=[Categorify, Normalize],
        cat_names=["c"],
        cont_names=["x"],
        y_names="y",
        valid_idx=list(held_out),
        bs=BATCH,
        device="cpu",
    )


@pytest.fixture
def table():
    return make_table(range(0, 60, 3))


def test_rows_of_a_table_train_and_an_exported_learner_has_no_session(table, tmp_path):
    def check(learn, ids):
        kept = learn.dls.train_ds.conts.to_numpy()[ids]
        np.testing.assert_allclose(learn.xb[1].numpy(), kept, rtol=1e-6)

    rows, ted = Rows(check), make_ted()
    learn = tabular_learner(table, layers=[6], n_out=2, cbs=[ted, rows], path=tmp_path)
    learn.logger = lambda _: None
    with learn.no_bar():
        learn.fit_one_cycle(EPOCHS, 0.01)
    assert rows.checked == ted.savings().forwarded < EPOCHS * 40
    assert ted.session.state_dict()["fingerprint"]
    learn.remove_cb(rows)  # its check is a function in here
    learn.export("learner.pkl")
    with pytest.warns(UserWarning, match="insecure pickle"):
        again = load_learner(tmp_path / "learner.pkl")
    with pytest.raises(EpochError, match="a session needs a fit"):
        _ = again.ted.session


def weighted():
    train = WeightedDL(labelled(N), bs=BATCH, wgts=range(1, N + 1), num_workers=0)
    return DataLoaders(train, loaders().valid, device="cpu")


def by_length():
    train = SortedDL(labelled(N), res=[1] * N, bs=BATCH, shuffle=True, num_workers=0)
    return DataLoaders(train, loaders().valid, device="cpu")


def torch_loaders():
    valid = loaders().valid
    return DataLoaders(DataLoader(labelled(N), BATCH), valid, device="cpu")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (torch_loaders, TypeError, "a loader of fastai's, got torch"),
        (weighted, ValueError, "WeightedDL with its own `get_idxs`"),
        (by_length, ValueError, "SortedDL with its own `get_idxs`"),
        (lambda: loaders(n=40), ValueError, "all its 80 samples, got `n=40`"),
        (lambda: loaders(bs=None, drop_last=False), ValueError, "got `bs=None`"),
    ],
)
def test_a_loader_that_can_not_follow_the_plan_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        fit(dls=make())


def test_a_loader_that_has_shown_a_batch_is_not_taken_for_another(plain):
    dls = loaders()
    dls.train.get_idxs = dls.train.get_idxs  # as `show_batch(unique=True)` leaves it
    same(plain, *fit(dls=dls))


def scalar(pred, target, reduction="mean"):
    del reduction
    return F.cross_entropy(pred, target)


@pytest.mark.parametrize(
    ("loss_func", "found"),
    [(scalar, r"got \(\)"), (lambda z, y: cross_entropy(z, y).mean(), "got no `red")],
)
def test_a_loss_that_is_not_had_for_each_sample_is_refused(loss_func, found):
    with pytest.raises(ValueError, match=f"`loss_func` must give a loss .*{found}"):
        fit(loss_func=loss_func)


def test_a_loss_that_the_samples_losses_do_not_make_is_told_once():
    weights = torch.tensor([5.0, 3.0, 2.0, 4.0])
    with pytest.warns(TedWarning, match="must be the mean of its samples'") as told:
        fit(loss_func=CrossEntropyLossFlat(weight=weights))
    assert len(told) == 1


def test_a_fit_that_ends_early_is_told():
    class Stops(Callback):
        def after_epoch(self):
            if self.epoch == 2:
                raise CancelFitException

    with pytest.warns(TedWarning, match="must have 6 epochs as planned, got 3"):
        fit(Stops())
    with pytest.warns(TedWarning) as told:
        fit(ShortEpochCallback(pct=0.3, short_valid=False))
    assert "epoch 0 must deliver its 80 planned samples" in str(told[0].message)


def test_a_fit_of_one_epoch_and_one_at_another_epoch_are_refused():
    with pytest.raises(ValueError, match=r"`n_epoch` must be at least 2, got 1; for"):
        fit(epochs=1)
    with pytest.raises(EpochError, match="begin at the session's epoch 0, got 2"):
        fit(start_epoch=2)
    ted = make_ted(epochs=5)
    with pytest.raises(EpochError, match="at most the 5 epochs that are left"):
        fit(ted=ted)


def test_a_second_callback_beside_the_learners_own_is_refused_and_may_follow_it():
    learn, ted = fit()
    with learn.no_bar():
        with pytest.raises(ValueError, match="must have one TEDCallback, got 2; take"):
            learn.fit(EPOCHS, cbs=make_ted())
        learn.remove_cb(ted)
        other = make_ted()
        learn.fit(EPOCHS, cbs=other)
    assert other.savings() == ted.savings()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"device": "cpu"}, "`TEDCallback` must leave 'device' to the trainer"),
        ({"ids": "id"}, "`TEDCallback` must leave 'ids' to the trainer"),
        ({"prune_ration": 0.5}, "no option, did you mean `prune_ratio`"),
    ],
    ids=str,
)
def test_an_option_that_is_the_learners_or_nobodys_is_refused_at_once(options, says):
    with pytest.raises(TypeError, match=says):
        TEDCallback(**options)


def test_a_run_of_several_fits_stays_with_its_samples():
    ted = make_ted(epochs=EPOCHS)
    learn, _ = make_learner(ted=ted)
    with learn.no_bar():
        learn.fit(2, 0.5)
        for other in (labelled(N + BATCH), labelled(N - BATCH)):
            learn.dls = loaders(other)
            says = f"other fits, of number {N}, got {len(other)}; give"
            with pytest.raises(ValueError, match=says):
                learn.fit(2, 0.5)
        learn.dls = loaders(labelled(N))  # read anew, as larger pictures are
        learn.fit(EPOCHS - 2, 0.5)
    assert ted.pruner.finished


def test_another_split_of_the_data_is_refused_in_a_later_fit(table):
    learn = tabular_learner(table, layers=[4], n_out=2, cbs=make_ted(epochs=EPOCHS))
    learn.logger = lambda _: None
    with learn.no_bar():
        learn.fit(2)
        learn.dls = make_table(range(1, 60, 3))
        with pytest.raises(ValueError, match=r"other fits, of fingerprint \d+, got"):
            learn.fit(EPOCHS - 2)


def test_a_loaded_session_is_not_fitted_from_the_first_epoch_on():
    class Keeps(Callback):
        def after_epoch(self):
            if self.epoch == 1:
                self.state = self.learn.ted.state_dict()

    keeps, ted = Keeps(), make_ted()
    fit(keeps)
    ted.load_state_dict(keeps.state)
    with pytest.raises(EpochError, match=r"epoch 2, got 0; load .*start_epoch=ted\.ep"):
        fit(ted=ted)


class Interrupted(Callback):
    """Save the session in the middle of an epoch."""

    def after_batch(self):
        self.learn.ted.state_dict()


def test_a_state_in_the_middle_of_an_epoch_is_refused():
    with pytest.raises(EpochError, match="must be saved at an epoch's end"):
        fit(Interrupted())


def test_a_run_of_several_fits_does_not_go_on_from_the_middle_of_an_epoch():
    ted = make_ted(epochs=EPOCHS)
    learn, _ = make_learner(ted=ted)
    with pytest.raises(KeyboardInterrupt), learn.no_bar():
        learn.fit(EPOCHS, 0.5, cbs=Dies())
    with pytest.raises(EpochError, match="got epoch 3 left in its middle"):
        learn.fit(2, 0.5)


def test_the_best_model_is_saved_with_its_session_and_no_other_is_taken(
    tmp_path, capsys
):
    learn, ted = fit(SaveTEDCallback(with_opt=True), path=tmp_path)
    assert "Better model found" in capsys.readouterr().out
    ted.load("model")
    best = ted.epoch - 1
    losses = [row[1] for row in learn.recorder.values]  # noqa: PD011 - no frame
    assert losses[best] == min(losses)
    learn.save("model", with_opt=True)
    (tmp_path / "models" / "model.pth").write_bytes(b"another")
    with pytest.raises(CheckpointError, match="`model` must be the file that"):
        ted.load("model")
    (tmp_path / "models" / "model.ted").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"'model.ted' must be a session"):
        ted.load("model")
    with pytest.raises(CheckpointError, match=r"'other.ted' must be a session"):
        ted.load("other")


def test_a_run_goes_on_to_more_epochs_where_it_is_allowed(tmp_path):
    fit(SaveTEDCallback(every_epoch=True, with_opt=True), path=tmp_path)
    learn, ted = make_learner(ted=make_ted(allow=("epochs",)), path=tmp_path)
    learn.load("model_5", with_opt=True)
    ted.load("model_5")
    with learn.no_bar():
        learn.fit(EPOCHS + 3, 0.1, start_epoch=ted.epoch)
    assert len(ted.report().planned) == EPOCHS + 3
