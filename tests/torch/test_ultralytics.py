from __future__ import annotations

import csv
import pickle
import shutil
from copy import deepcopy
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from ted_torch.integrations.ultralytics import (
    TEDClassificationTrainer,
    TEDDetectionTrainer,
    TEDTrainerMixin,
)
from torch.nn import functional as F  # noqa: N812
from ultralytics import YOLO
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics_runs import (
    BATCH,
    EPOCHS,
    QUIET,
    N,
    class_data,
    classify,
    detect,
    detection_data,
)

from ted_core import CheckpointError, TedWarning


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("boxes")


@pytest.fixture(scope="module")
def data(folder):
    return detection_data(folder)


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    return class_data(tmp_path_factory.mktemp("classes"))


@pytest.fixture(scope="module")
def whole(folder, data):
    return detect(folder, data, ted={"method": "ted_loss"})


def test_each_epoch_forwards_the_plan_and_no_more(whole):
    _, trainer, seen = whole
    ted = trainer.ted
    kept = ted.pruner.schedule_table()["kept"].tolist()
    assert [len(ids) for ids in seen.ids.values()] == kept
    assert kept == [40, 24, 16, 16, 16, 40]
    assert all(len(set(ids)) == len(ids) for ids in seen.ids.values())
    assert ted.savings().forwarded == sum(kept)
    assert ted.report().missing.sum() == 0
    assert ted.pruner.finished


def test_the_rate_ends_where_the_trainer_says(whole):
    _, trainer, seen = whole
    for epoch in range(1, EPOCHS):  # after the warm-up
        whole_rate = QUIET["lr0"] * (1 - epoch / EPOCHS * (1 - QUIET["lrf"]))
        assert seen.rates[epoch] == pytest.approx([whole_rate] * 3)
    assert trainer.accumulate == 2
    # Two batches a step; the ramp's first steps are of one.
    batches = sum(len(ids) for ids in seen.ids.values()) // BATCH
    assert batches // 2 <= seen.steps <= batches // 2 + 2


def test_a_warm_up_that_ends_in_a_pruned_epoch_reaches_its_momentum(folder, data):
    *_, trainer, seen = detect(folder, data, warmup_epochs=1.9, epochs=5)
    assert seen.momenta[1] < 0.92 < trainer.args.momentum == seen.momenta[2]
    assert trainer.accumulate == 2


def test_momentum_and_accumulation_of_ones_own_stay(folder, data):
    seen = {}

    class Mine(TEDDetectionTrainer):
        def run_callbacks(self, event):
            super().run_callbacks(event)  # last, as nothing of the trainer's comes
            if event == "on_train_start":
                self.accumulate = 1
            if event == "on_train_epoch_start":
                momenta = {group["momentum"] for group in self.optimizer.param_groups}
                seen[self.epoch] = (self.accumulate, *momenta)
                for group in self.optimizer.param_groups:
                    group["momentum"] = 0.8

    options = {**QUIET, "warmup_epochs": 0.0, "momentum": 0.9}
    YOLO(folder / "tiny.yaml").train(
        trainer=partial(Mine, ted={"prune_ratio": 0.7}),
        data=str(data),
        project=str(folder / "runs"),
        **options,
    )
    assert list(seen.values()) == [(1, 0.9)] + [(1, 0.8)] * (EPOCHS - 1)


def test_what_is_set_on_the_criterion_reaches_it(folder, data):
    def let_be(trainer):
        trainer.model.criterion.o2m = 0.25
        assert vars(trainer.model.criterion._criterion)["o2m"] == 0.25
        trainer.stop = True

    model = YOLO(folder / "tiny-end.yaml")
    model.add_callback("on_train_epoch_start", let_be)
    with pytest.warns(TedWarning):
        model.train(
            trainer=TEDDetectionTrainer,
            data=str(data),
            project=str(folder / "runs"),
            **QUIET,
        )


def test_a_last_batch_of_one_picture_is_warned_of(folder, data):
    options = {"prune_ratio": 0.6, "multiple_of": 1}
    with pytest.warns(TedWarning, match="leaves a last batch of one sample"):
        detect(folder, data, ted=options, batch=8, imgsz=64)


def test_the_table_of_results_has_the_share_kept(whole):
    _, trainer, _ = whole
    with Path(trainer.csv).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    kept = [float(row["ted/keep_ratio"]) * N for row in rows]
    assert kept == trainer.ted.pruner.schedule_table()["kept"].tolist()
    saved = 1 - np.cumsum(kept) / N / np.arange(1, len(kept) + 1)
    found = [float(row["ted/samples_saved"]) for row in rows]
    assert found == pytest.approx(saved, abs=1e-5)
    assert {float(row["ted/nonfinite_dropped"]) for row in rows} == {0.0}


class Observed:
    """The plain loss of each batch of epoch 0, and each image's part of it."""

    def __init__(self, trainer):
        self.trainer, self.values = trainer, {}
        self.network, self.loss = trainer.model, trainer.model.loss
        trainer.model.loss = self

    def __call__(self, batch, preds=None):
        if self.trainer.epoch:
            return self.loss(batch, preds)
        preds = self.network.forward(batch["img"])
        plain = self.network.init_criterion()
        total, theirs = plain(preds, batch)
        found, items = self.network.criterion(preds, batch)
        assert found.item() == pytest.approx(total.sum().item(), rel=1e-5)
        assert {k: v.item() for k, v in items.items()} == pytest.approx(
            {k: v.item() for k, v in theirs.items()}, rel=1e-5
        )
        heads = preds.values() if "one2many" in preds else [preds]
        tensors = [head[name] for head in heads for name in ("boxes", "scores")]
        here = torch.autograd.grad(found, tensors, retain_graph=True)
        there = torch.autograd.grad(total.sum(), tensors, retain_graph=True)
        for one, other in zip(here, there, strict=True):
            torch.testing.assert_close(one, other)
        products = [
            (h.detach() * g).flatten(1).sum(1)
            for h, g in zip(tensors, there, strict=True)
        ]
        values = (
            self.losses(preds, batch)
            if self.trainer.ted.pruner.config.signal == "loss"
            else sum(products).abs()
        )
        self.values |= dict(zip(batch["ted_id"].tolist(), values.tolist(), strict=True))
        return found, items

    def losses(self, preds, batch):
        """Each image alone, in the shares of its batch's objects."""
        plain = self.network.init_criterion()
        sums, boxes = [], plain.bbox_loss

        def note(*args):
            sums.append(args[5])
            return boxes(*args)

        plain.bbox_loss = note
        plain(preds, batch)
        (whole,) = sums
        size, losses = len(batch["img"]), []
        for row in range(size):
            own = batch["batch_idx"] == row
            part = {
                "boxes": preds["boxes"][row : row + 1],
                "scores": preds["scores"][row : row + 1],
                "feats": [level[row : row + 1] for level in preds["feats"]],
            }
            alone = {name: batch[name][own] for name in ("cls", "bboxes")}
            alone["batch_idx"] = torch.zeros(int(own.sum()))
            loss = plain(part, alone)[0].sum()
            losses.append(loss * sums[-1] / whole * size)
        return torch.stack(losses)


@pytest.mark.parametrize(
    ("method", "model"),
    [("ted_loss", "tiny.yaml"), ("ted", "tiny.yaml"), ("ted", "tiny-end.yaml")],
)
def test_an_images_value_is_that_of_its_part_of_the_loss(folder, data, method, model):
    made = []

    def watch(trainer):
        made.append(Observed(trainer))

    def compare(trainer):
        if not trainer.epoch:
            values = made[0].values
            scores = trainer.ted.pruner.scores
            assert len(values) == N
            expected = [values[number] for number in range(N)]
            np.testing.assert_allclose(scores, expected, rtol=2e-4)
            trainer.stop = True

    model = YOLO(folder / model)
    model.add_callback("on_train_start", watch)
    model.add_callback("on_fit_epoch_end", compare)

    def trainer(**kwargs):
        return TEDDetectionTrainer(ted={"method": method}, **kwargs)

    # Boxes that weigh: an untrained network's hardly do.
    options = {**QUIET, "box": 2e3, "dfl": 2e3}
    with pytest.warns(TedWarning, match="`finish`|epochs"):
        model.train(
            trainer=trainer, data=str(data), project=str(folder / "runs"), **options
        )
    assert made[0].values


def test_strategies_that_weigh_the_images_train(folder, data):
    from ted_core import InfoBatch  # noqa: PLC0415

    options = {"strategy": InfoBatch(), "signal": "loss", "prune_ratio": 0.9}
    _, trainer, seen = detect(folder, data, ted=options, epochs=5)
    planned = trainer.ted.report().planned.tolist()
    assert [len(ids) for ids in seen.ids.values()] == planned
    assert sum(planned) < 5 * N


def test_a_classifier_follows_its_plan(classes):
    options = {"method": "soft_margin"}
    *_, trainer, seen = classify(classes, classes, ted=options, val=True)
    kept = trainer.ted.pruner.schedule_table()["kept"].tolist()
    assert [len(ids) for ids in seen.ids.values()] == kept
    assert sum(kept) < EPOCHS * N
    assert isinstance(trainer, TEDClassificationTrainer)


def test_a_killed_classifier_goes_on_and_its_rate_ends_where_the_trainer_says(
    classes, tmp_path
):
    options = {"method": "soft_margin"}
    *_, whole = classify(classes, classes, ted=options)
    *_, trainer, _ = classify(classes, classes, ted=options, stop=3)
    runs = []
    for name in ("one", "two"):
        run = tmp_path / name
        shutil.copytree(trainer.wdir, run / "weights")
        given = {"model": "last.pt", "resume": True, "save_dir": str(run)}
        runs.append(classify(run / "weights", classes, ted=options, **given)[1:])
    (resumed, seen), (again, _) = runs
    assert seen.ids[3] == whole.ids[3]
    assert seen.rates[EPOCHS - 1] == whole.rates[EPOCHS - 1]
    last = QUIET["lr0"] * (1 - (EPOCHS - 1) / EPOCHS * (1 - QUIET["lrf"]))
    assert whole.rates[EPOCHS - 1] == pytest.approx([last] * 3)
    kept = resumed.ted.pruner.schedule_table()["kept"].tolist()
    assert [len(ids) for ids in seen.ids.values()] == kept[3:]
    for one, other in zip(
        resumed.model.parameters(), again.model.parameters(), strict=True
    ):
        assert torch.equal(one, other)


def test_a_classifiers_losses_are_those_of_its_images(classes):
    values = {}

    def watch(trainer):
        network = trainer.model
        forward = network.predict

        def predict(x, *args, **kwargs):
            out = forward(x, *args, **kwargs)
            batch = trainer.now
            losses = F.cross_entropy(out, batch["cls"], reduction="none")
            if not trainer.epoch:
                ids = batch["ted_id"].tolist()
                values.update(zip(ids, losses.tolist(), strict=True))
            return out

        network.predict = predict
        prepare = trainer.preprocess_batch

        def remember(batch):
            trainer.now = prepare(batch)
            return trainer.now

        trainer.preprocess_batch = remember

    model = YOLO(classes / "tiny-cls.yaml")
    model.add_callback("on_train_start", watch)
    scores = []

    def stop(trainer):
        scores.append(trainer.ted.pruner.scores.copy())
        trainer.stop = True

    model.add_callback("on_fit_epoch_end", stop)

    def trainer(**kwargs):
        return TEDClassificationTrainer(ted={"method": "ted_loss"}, **kwargs)

    with pytest.warns(TedWarning, match="epochs"):
        model.train(
            trainer=trainer, data=str(classes), project=str(classes / "runs"), **QUIET
        )
    expected = [values[number] for number in range(N)]
    np.testing.assert_allclose(scores[0], expected, rtol=1e-5)


def test_workers_live_on_and_read_no_epoch_ahead(folder, data):
    alive = set()
    model = YOLO(folder / "tiny.yaml")
    model.add_callback(
        "on_pretrain_routine_start",
        lambda trainer: vars(trainer.args).update(workers=1),
    )

    def note(trainer):
        alive.update(worker.pid for worker in trainer.train_loader._iterator._workers)

    model.add_callback("on_train_batch_end", note)

    def trainer(**kwargs):
        return TEDDetectionTrainer(ted={"prune_ratio": 0.7}, **kwargs)

    model.train(
        trainer=trainer,
        data=str(data),
        project=str(folder / "runs"),
        **{**QUIET, "close_mosaic": 2},
    )
    kept = model.trainer.ted.pruner.schedule_table()["kept"]
    assert model.trainer.ted.savings().forwarded == kept.sum()
    assert len(alive) == 2  # the trainer calls `reset` once, at `close_mosaic`


# Stop and resume


@pytest.fixture(scope="module")
def killed(folder, data):
    _, trainer, seen = detect(folder, data, ted={"method": "ted_loss"}, stop=3)
    return trainer.wdir, seen


def resume(killed, tmp_path, data, name="last.pt"):
    wdir, _ = killed
    run = tmp_path / "run"
    shutil.copytree(wdir, run / "weights")
    _, trainer, seen = detect(
        run / "weights",
        data,
        ted={"method": "ted_loss"},
        model=name,
        resume=True,
        save_dir=str(run),
    )
    return trainer, seen


def test_a_killed_run_goes_on_with_the_epoch_that_it_was_in(
    whole, killed, tmp_path, data
):
    trainer, seen = resume(killed, tmp_path / "one", data)
    _, _, all_seen = whole
    assert seen.ids[3] == all_seen.ids[3]
    kept = trainer.ted.pruner.schedule_table()["kept"].tolist()
    assert [len(ids) for ids in seen.ids.values()] == kept[3:]
    assert seen.rates[EPOCHS - 1] == all_seen.rates[EPOCHS - 1]
    assert trainer.ted.savings().full == EPOCHS * N
    again, _ = resume(killed, tmp_path / "two", data)
    for one, other in zip(
        trainer.model.state_dict().values(),
        again.model.state_dict().values(),
        strict=True,
    ):
        assert torch.equal(one, other)
    assert (trainer.ted.pruner.scores == again.ted.pruner.scores).all()


def test_a_checkpoint_one_epoch_older_than_the_states_resumes(folder, data, tmp_path):
    def keep(trainer):
        if trainer.epoch == 1:
            shutil.copy(trainer.last, trainer.wdir / "older.pt")

    model = YOLO(folder / "tiny.yaml")
    model.add_callback("on_model_save", keep)
    model.add_callback(
        "on_model_save", lambda trainer: vars(trainer).update(stop=trainer.epoch == 2)
    )

    def trainer(**kwargs):
        return TEDDetectionTrainer(ted={"method": "ted_loss"}, **kwargs)

    with pytest.warns(TedWarning, match="epochs"):
        model.train(
            trainer=trainer, data=str(data), project=str(folder / "runs"), **QUIET
        )
    wdir = model.trainer.wdir
    shutil.move(wdir / "older.pt", wdir / "last.pt")
    resumed, seen = resume((wdir, None), tmp_path, data)
    assert list(seen.ids) == [2, 3, 4, 5]
    assert resumed.ted.pruner.finished


def test_a_run_without_ted_or_another_checkpoint_is_no_run_to_resume(
    killed, tmp_path, data
):
    wdir, _ = killed
    alone = tmp_path / "alone" / "weights"
    alone.mkdir(parents=True)
    shutil.copy(wdir / "last.pt", alone)
    with pytest.raises(CheckpointError, match=r"must have 'ted.pt' beside it"):
        resume((alone, None), tmp_path / "a", data)
    (alone / "ted.pt").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"'ted.pt' must be a whole state of TED"):
        resume((alone, None), tmp_path / "b", data)
    torch.save({7: {}}, alone / "ted.pt")
    with pytest.raises(CheckpointError, match=r"before epoch 3, got those of \[7\]"):
        resume((alone, None), tmp_path / "c", data)


def test_an_epoch_trained_again_after_a_nan_starts_from_its_beginning(folder, data):
    model = YOLO(folder / "tiny.yaml")
    seen, broken = {}, []

    def note(trainer):
        plan = trainer.ted.pruner.plan()
        seen.setdefault(trainer.epoch, []).append(plan.order.tolist())

    def destroy(trainer):
        if trainer.epoch == 2 and not broken:
            broken.append(trainer.epoch)
            trainer.loss = torch.tensor(float("nan"))

    model.add_callback("on_train_batch_start", note)
    model.add_callback("on_train_epoch_end", destroy)

    def trainer(**kwargs):
        return TEDDetectionTrainer(ted={"method": "ted_loss"}, **kwargs)

    model.train(trainer=trainer, data=str(data), project=str(folder / "runs"), **QUIET)
    kept = model.trainer.ted.pruner.schedule_table()["kept"]
    batches = [len(orders) * BATCH for orders in seen.values()]
    assert batches == [*kept[:2], 2 * kept[2], *kept[3:]]
    assert len({tuple(order) for order in seen[2]}) == 1
    # The trainer has copied its model, and not the session with it.
    assert deepcopy(model.trainer.model).criterion is None
    pickled = pickle.dumps(model.trainer.model)
    assert pickle.loads(pickled).criterion is None  # noqa: S301 - made above
    assert model.trainer.ted.savings().forwarded == kept.sum()


def test_an_epoch_that_has_recorded_nothing_finite_is_trained_again(folder, data):
    model, broken = YOLO(folder / "tiny.yaml"), []

    def destroy(trainer):
        # Batch norm spreads it over the batch, and the step over the weights.
        if trainer.epoch == 2 and not broken:
            broken.append(trainer.epoch)
            with torch.no_grad():
                next(trainer.model.parameters()).fill_(float("nan"))

    model.add_callback("on_train_batch_start", destroy)
    trainer = partial(TEDDetectionTrainer, ted={"prune_ratio": 0.7})
    model.train(trainer=trainer, data=str(data), project=str(folder / "runs"), **QUIET)
    ted = model.trainer.ted
    assert broken
    assert ted.pruner.finished
    assert ted.savings().forwarded == ted.pruner.schedule_table()["kept"].sum()
    assert ted.report().nonfinite.sum() == 0


def test_a_resumed_run_that_runs_out_of_memory_goes_on_in_smaller_batches(
    killed, data, tmp_path
):
    wdir, seen = killed
    shutil.copytree(wdir, tmp_path / "weights")
    model, failed = YOLO(tmp_path / "weights" / "last.pt"), []

    def fail(trainer):
        if not failed:
            failed.append(trainer.epoch)
            # Within what the trainer watches.
            trainer.preprocess_batch = refuse

    def refuse(_):
        del model.trainer.preprocess_batch
        msg = "CUDA out of memory"
        raise RuntimeError(msg)

    model.add_callback("on_train_epoch_start", fail)
    ids = {}

    def note(trainer):
        ids.setdefault(trainer.epoch, []).append(trainer.batch_size)

    model.add_callback("on_train_batch_end", note)
    options = {"prune_ratio": 0.7, "method": "ted_loss"}
    model.train(
        trainer=partial(TEDDetectionTrainer, ted=options),
        data=str(data),
        resume=True,
        save_dir=str(tmp_path),
    )
    assert failed == [3]
    assert {size for sizes in ids.values() for size in sizes} == {BATCH // 2}
    kept = model.trainer.ted.pruner.schedule_table()["kept"].tolist()
    assert [len(sizes) * BATCH // 2 for sizes in ids.values()] == kept[3:]
    assert kept == [40, 24, 16, 16, 16, 40]
    assert len(seen.ids[3]) == BATCH


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mosaic": 1.0}, r"`mosaic` must be 0.0, got 1.0: an item must be one image"),
        ({"mixup": 0.5}, r"`mixup` must be 0.0, got 0.5"),
        ({"cutmix": 0.5}, r"`cutmix` must be 0.0, got 0.5"),
        ({"copy_paste": 0.5}, r"`copy_paste` must be 0.0, got 0.5"),
        ({"rect": True}, r"`rect` must be False, got True"),
        ({"time": 1.0}, r"`time` must be 0.0, got 1.0: say `epochs`"),
        ({"compile": True}, r"`compile` must be False, got True"),
        ({"distill_model": "a.pt"}, r"`distill_model` must be None, got 'a.pt'"),
    ],
)
def test_an_argument_that_leaves_no_images_to_choose_is_refused(
    folder, data, options, message
):
    with pytest.raises(ValueError, match=message):
        detect(folder, data, **options)


def test_a_step_of_all_images_is_refused(folder, data):
    with pytest.raises(ValueError, match=r"`data` must hold more .* of 64 .*, got 40"):
        detect(folder, data, nbs=64)


def test_signals_of_classes_are_refused_for_boxes(folder, data):
    with pytest.raises(ValueError, match=r"`signal` must be .* got 'margin'"):
        detect(folder, data, ted={"method": "soft_margin"})


@pytest.mark.parametrize(
    ("ted", "error", "message"),
    [
        ({"epochs": 5}, TypeError, r"`ted` must leave 'epochs' to the trainer, got 5"),
        ([], TypeError, r"`ted` must be a mapping of options of a run, got list"),
        ({"prune": 0.5}, TypeError, r"`prune` is no option"),
    ],
)
def test_options_of_another_kind_are_refused(folder, data, ted, error, message):
    def trainer(**kwargs):
        return TEDDetectionTrainer(ted=ted, **kwargs)

    with pytest.raises(error, match=message):
        YOLO(folder / "tiny.yaml").train(
            trainer=trainer, data=str(data), project=str(folder / "runs"), **QUIET
        )


def test_several_devices_are_refused(folder, data):
    class Two(DetectionTrainer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.ddp = True

    class Mine(TEDTrainerMixin, Two):
        pass

    with pytest.raises(ValueError, match=r"`device` must be one device"):
        YOLO(folder / "tiny.yaml").train(
            trainer=Mine, data=str(data), project=str(folder / "runs"), **QUIET
        )


def test_a_model_of_another_loss_is_refused(folder, data):
    class Own:
        pass

    model = YOLO(folder / "tiny.yaml")
    model.add_callback(
        "on_pretrain_routine_end",
        lambda trainer: setattr(trainer.model, "criterion", Own()),
    )
    with pytest.raises(TypeError, match=r"must be v8DetectionLoss .* got Own"):
        model.train(
            trainer=TEDDetectionTrainer,
            data=str(data),
            project=str(folder / "runs"),
            **QUIET,
        )


@pytest.mark.parametrize("method", ["ted", "ted_loss"])
def test_a_loss_that_is_no_sum_over_the_images_is_refused(folder, data, method):
    def add_to_it(trainer):
        criterion = trainer.model.init_criterion()
        boxes = criterion.bbox_loss
        criterion.bbox_loss = lambda *args: tuple(part + 1 for part in boxes(*args))
        trainer.model.criterion = criterion

    model = YOLO(folder / "tiny.yaml")
    model.add_callback("on_pretrain_routine_end", add_to_it)
    with pytest.raises(ValueError, match="must be a sum over the images of a batch"):
        model.train(
            trainer=partial(TEDDetectionTrainer, ted={"method": method}),
            data=str(data),
            project=str(folder / "runs"),
            **QUIET,
        )


def test_another_task_is_refused(folder, data):
    class Other(TEDDetectionTrainer):
        def get_dataset(self):
            self.args.task = "pose"
            return super().get_dataset()

    with pytest.raises(ValueError, match=r"`task` must be .* got 'pose'"):
        YOLO(folder / "tiny.yaml").train(
            trainer=Other, data=str(data), project=str(folder / "runs"), **QUIET
        )


def test_the_mixin_stands_before_the_trainer():
    with pytest.raises(TypeError, match=r"must have TEDTrainerMixin first"):

        class Mine(DetectionTrainer, TEDTrainerMixin):
            pass
