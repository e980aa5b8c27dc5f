from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision_ops
from ted_torch import TED
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, Dataset
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.models.segmentation.fcn import FCN, FCNHead
from torchvision.ops import MultiScaleRoIAlign

from ted_core import InfoBatch

torchvision_ops.use()
N, EPOCHS, BATCH, SIZE = 16, 6, 4, 32


class Boxes(Dataset):
    """Noise with none, one or two boxes."""

    def __len__(self):
        return N

    def __getitem__(self, k):
        generator = torch.Generator().manual_seed(k)
        count = k % 3
        corner = torch.randint(2, 10, (count, 2), generator=generator).float()
        extent = torch.randint(8, 20, (count, 2), generator=generator).float()
        return torch.rand(3, SIZE, SIZE, generator=generator), {
            "boxes": torch.cat([corner, corner + extent], 1),
            "labels": torch.randint(1, 3, (count,), generator=generator),
        }


class Features(nn.Sequential):
    """A backbone of one level."""

    out_channels = 32  # groups of FCOS

    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU(), nn.Conv2d(8, 32, 3, 2, 1), nn.ReLU()
        )


class ImageRetinaNet(RetinaNet):
    """RetinaNet that gives each image's losses; its own are their means."""

    def compute_loss(self, targets, head_outputs, anchors):
        rows = [slice(k, k + 1) for k in range(len(targets))]
        parts = [
            super(ImageRetinaNet, self).compute_loss(
                targets[row],
                {name: out[row] for name, out in head_outputs.items()},
                anchors[row],
            )
            for row in rows
        ]
        return {name: torch.stack([part[name] for part in parts]) for name in parts[0]}


def make(kind):
    torch.manual_seed(0)
    shape = {"num_classes": 3, "min_size": SIZE, "max_size": SIZE}
    square = AnchorGenerator(((8,),), ((1.0,),))
    if kind == "fcos":
        return FCOS(Features(), anchor_generator=square, **shape)
    anchors = AnchorGenerator(((8, 16),), ((0.5, 1.0, 2.0),))
    if kind == "faster":
        pool = MultiScaleRoIAlign(["0"], output_size=3, sampling_ratio=1)
        return FasterRCNN(
            Features(),
            rpn_anchor_generator=anchors,
            box_roi_pool=pool,
            rpn_post_nms_top_n_train=20,
            **shape,
        )
    classes = ImageRetinaNet if kind == "images" else RetinaNet
    head = RetinaNetHead(32, anchors.num_anchors_per_location()[0], 3)
    return classes(Features(), anchor_generator=anchors, head=head, **shape)


def watch(model):
    """Give what the mask stands at, of the forward pass that comes last."""
    seen = {}
    two_stages = isinstance(model, FasterRCNN)

    def keep(_, __, out):
        seen.update(out if isinstance(out, dict) else {"0": out})

    (model.backbone if two_stages else model.head).register_forward_hook(keep)
    return seen


def collate(batch):
    return tuple(zip(*batch, strict=True))


def load(ted, size):
    return DataLoader(
        ted.dataset, size, sampler=ted.sampler, collate_fn=ted.collate(collate)
    )


def detect(kind, *, saved=None, stop=None, **options):
    """Train as torchvision's reference does, with the lines of the page."""
    options = {"prune_ratio": 0.7, "multiple_of": BATCH, "seed": 2, **options}
    ted = TED(Boxes(), epochs=EPOCHS, **options)
    loader = load(ted, BATCH)
    model = make(kind).train()
    seen = watch(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    rate = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5], 0.1)
    run = {"ids": {}, "rates": [], "ted": ted, "model": model}
    if saved is not None:
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        rate.load_state_dict(saved["rate"])
        ted.load_state_dict(saved["ted"])
    for epoch in range(ted.epoch, EPOCHS):
        ted.set_epoch(epoch)
        for ids, (images, targets) in loader:
            torch.manual_seed(int(ids[0]))  # the samples of Faster R-CNN
            losses = sum(model(list(images), list(targets)).values())
            if losses.ndim == 0:
                losses = losses.expand(len(ids))
            loss = ted.loss(losses, ids=ids, mask=list(seen.values()))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run["ids"].setdefault(epoch, []).extend(ids.tolist())
        rate.step()
        ted.close_epoch()
        run["rates"].append(rate.get_last_lr()[0])
        run["state"] = {
            "model": {k: v.clone() for k, v in model.state_dict().items()},
            "optimizer": optimizer.state_dict(),
            "rate": rate.state_dict(),
            "ted": ted.state_dict(),
        }
        if epoch == stop:
            return run
    ted.finish()
    return run


@pytest.mark.parametrize("kind", ["fcos", "retina", "faster", "images"])
def test_a_detector_follows_its_plan_and_resumes_to_the_same_weights(kind):
    run = detect(kind)
    kept = run["ted"].pruner.schedule_table()["kept"].tolist()
    assert [len(ids) for ids in run["ids"].values()] == kept
    assert sum(kept) < EPOCHS * N
    assert run["rates"][-1] == pytest.approx(0.02 * 0.01)
    rest = detect(kind, saved=detect(kind, stop=2)["state"])
    for one, other in zip(
        run["model"].parameters(), rest["model"].parameters(), strict=True
    ):
        assert torch.equal(one, other)
    there = rest["ted"].pruner.scores.tobytes()
    assert run["ted"].pruner.scores.tobytes() == there


@pytest.mark.parametrize("kind", ["fcos", "retina", "faster"])
def test_an_images_value_is_the_gradient_of_its_own_part_of_the_loss(kind):
    model = make(kind).train()
    seen = watch(model)
    data = Boxes()
    ted = TED(data, epochs=EPOCHS)
    ted.set_epoch(0)
    values = {}
    for ids, (images, targets) in load(ted, BATCH):
        torch.manual_seed(1)
        whole = sum(model(list(images), list(targets)).values())
        masks = list(seen.values())
        loss = ted.loss(whole.expand(BATCH), ids=ids, mask=masks)
        assert loss.item() == pytest.approx(whole.item())
        gradients = torch.autograd.grad(whole, masks, retain_graph=True)
        for row in range(BATCH):
            value = sum(
                (mask[row].detach() * gradient[row]).sum()
                for mask, gradient in zip(masks, gradients, strict=True)
            )
            values[int(ids[row])] = abs(BATCH * float(value))
        loss.backward()
    ted.close_epoch()
    expected = [values[k] for k in range(N)]
    np.testing.assert_allclose(ted.pruner.scores, expected, rtol=1e-4)
    assert ted.pruner.scores.max() > 0


def test_an_image_of_retinanet_has_the_value_that_it_has_alone():
    model, data = make("retina").train(), Boxes()
    seen = watch(model)
    ted, single = TED(data, epochs=EPOCHS), TED(data, epochs=EPOCHS)
    for session, size in ((ted, BATCH), (single, 1)):
        session.set_epoch(0)
        for ids, (images, targets) in load(session, size):
            losses = sum(model(list(images), list(targets)).values())
            masks = list(seen.values())
            session.loss(losses.expand(size), ids=ids, mask=masks).backward()
        session.close_epoch()
    np.testing.assert_allclose(ted.pruner.scores, single.pruner.scores, rtol=1e-4)


def test_each_images_losses_of_retinanet_serve_every_strategy():
    whole, own = make("retina").train(), make("images").train()
    images, targets = collate([Boxes()[k] for k in range(BATCH)])
    there = whole(list(images), list(targets))
    here = own(list(images), list(targets))
    for name, loss in there.items():
        assert here[name].mean().item() == pytest.approx(loss.item(), rel=1e-5)
    for options in (
        {"method": "ted_loss"},
        {"signal": "loss", "strategy": InfoBatch(), "prune_ratio": 0.5},
    ):
        run = detect("images", **options)
        assert run["ted"].pruner.finished


def test_one_number_of_a_batch_is_refused_where_each_loss_counts():
    with pytest.raises(ValueError, match="for the signal 'loss', got one number"):
        detect("retina", method="ted_loss")
    ted = TED(range(4), epochs=5)
    ted.set_epoch(0)
    mask = torch.ones(4, 2, requires_grad=True)
    with pytest.raises(ValueError, match="for weights, got one number"):
        ted.loss(
            mask.sum().expand(4), mask=mask, ids=torch.arange(4), weights=torch.ones(4)
        )


# Segmentation


class Scenes(Dataset):
    """Noise whose pixels are of two classes, or of none."""

    def __len__(self):
        return N

    def __getitem__(self, k):
        generator = torch.Generator().manual_seed(k)
        x = torch.rand(3, SIZE, SIZE, generator=generator)
        y = (x[0] > 0.5).long()
        y[: 2 * k] = 255
        return x, y


class Levels(nn.Module):
    """A backbone of two levels."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)

    def forward(self, x):
        first = self.first(x).relu()
        return {"aux": first, "out": self.second(first).relu()}


def segment(*, saved=None, stop=None, **options):
    options = {"prune_ratio": 0.7, "multiple_of": BATCH, "seed": 2, **options}
    ted = TED(Scenes(), epochs=EPOCHS, **options)
    loader = DataLoader(ted.dataset, BATCH, sampler=ted.sampler, drop_last=True)
    torch.manual_seed(0)
    model = FCN(Levels(), FCNHead(8, 2), FCNHead(8, 2)).train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    rate = torch.optim.lr_scheduler.PolynomialLR(
        optimizer, ted.total_steps(BATCH, drop_last=True), power=0.9
    )
    ids_of, scores = {}, {}
    if saved is not None:
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        rate.load_state_dict(saved["rate"])
        ted.load_state_dict(saved["ted"])
    steps = 0
    for epoch in range(ted.epoch, EPOCHS):
        ted.set_epoch(epoch)
        for ids, (image, target) in loader:
            output = model(image)
            losses = sum(
                weight
                * F.cross_entropy(
                    output[name], target, ignore_index=255, reduction="none"
                )
                for name, weight in (("out", 1.0), ("aux", 0.5))
            )
            valid = target != 255
            loss = ted.loss(
                losses,
                ids=ids,
                valid=valid,
                mask=[output["out"], output["aux"]],
            )
            if not epoch:
                means = losses.sum((1, 2)) / valid.sum((1, 2)).clamp(min=1)
                scores |= dict(zip(ids.tolist(), means.tolist(), strict=True))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
            steps += 1
            ids_of.setdefault(epoch, []).extend(ids.tolist())
            if steps == stop:
                return {
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "rate": rate.state_dict(),
                    "ted": ted.state_dict(),
                }
        if not epoch:
            ted.close_epoch()
            scores["observed"] = ted.pruner.scores.copy()
    ted.finish()
    return ted, model, rate, ids_of, scores


@pytest.mark.parametrize("stop", [3, 7, 12])
def test_a_segmentation_run_follows_its_plan_and_resumes_in_mid_epoch(stop):
    ted, model, rate, ids_of, _ = segment()
    kept = ted.pruner.schedule_table()["kept"].tolist()
    assert [len(ids) for ids in ids_of.values()] == kept
    assert rate.get_last_lr()[0] == pytest.approx(0, abs=1e-12)
    _, rest, _, _, _ = segment(saved=segment(stop=stop))
    for one, other in zip(model.parameters(), rest.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("method", ["soft_margin", "importance"])
def test_a_signal_of_classes_is_refused_for_pixels(method):
    ted = TED(Scenes(), epochs=EPOCHS, method=method)
    ted.set_epoch(0)
    z = torch.ones(BATCH, 2, SIZE, SIZE, requires_grad=True)
    y = torch.ones(BATCH, SIZE, SIZE, dtype=torch.long)
    losses = F.cross_entropy(z, y, reduction="none")
    with pytest.raises(ValueError, match=r"`logits` must have shape \(B, C\), got .*"):
        ted.loss(losses, ids=torch.arange(BATCH), logits=z, labels=y)


def test_a_scenes_loss_is_the_mean_of_its_pixels_that_count():
    scores = segment(method="ted_loss")[-1]
    expected = [scores[k] for k in range(N)]
    np.testing.assert_allclose(scores["observed"], expected, rtol=1e-5)
