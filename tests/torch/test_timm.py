from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from ted_torch import TED
from ted_torch.integrations.timm import TimmLoader
from timm.data import AugMixDataset, FastCollateMixup, create_loader
from timm.loss import BinaryCrossEntropy
from timm.scheduler import create_scheduler_v2
from timm.task import ClassificationTask
from torch.utils.data import Dataset

N, EPOCHS, BATCH, ACCUMULATION, CLASSES, SIZE = 50, 6, 4, 2, 3, 4
CPU = torch.device("cpu")


class Pictures(Dataset):
    """Picture k is of the one colour k, whatever timm's transforms are."""

    transform = None

    def __len__(self):
        return N

    def __getitem__(self, k):
        return np.full((3, SIZE, SIZE), k, np.uint8), k % CLASSES


class Noisy(Pictures):
    """Picture k has the colour k on the average: every look at it is another."""

    def __getitem__(self, k):
        noise = torch.ones(3 * SIZE * SIZE).long()
        noise[torch.randperm(len(noise))[: len(noise) // 2]] = -1
        noise *= min(k, random.randint(0, 1))  # noqa: S311 - as transforms draw
        picture, label = super().__getitem__(k)
        return (picture + noise.view(picture.shape).numpy()).astype(np.uint8), label


def load(data, **options):
    options = {"is_training": True, "num_workers": 0, "device": CPU, **options}
    return create_loader(data, SIZE, options.pop("batch_size", BATCH), **options)


def start(*, seed=3, collate_fn=None, data=Pictures, **options):
    data = data()
    made = {k: options.pop(k) for k in ("use_prefetcher",) if k in options}
    loader = load(data, collate_fn=collate_fn, **made)
    step = BATCH * ACCUMULATION
    options = {"prune_ratio": 0.7, "multiple_of": step, "seed": seed, **options}
    ted = TED(data, epochs=EPOCHS, **options)
    return ted, loader


@dataclass
class Run:
    ted: TED
    weight: torch.Tensor
    ids: dict
    rates: list
    updates: list


def train(*, stop=None, saved=None, criterion=None, accumulation=ACCUMULATION, **made):
    """Train as timm's script does, with the lines of the page."""
    ted, loader = start(**made)
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(3 * SIZE * SIZE, CLASSES)
    )
    criterion = criterion or torch.nn.CrossEntropyLoss(
        reduction="none", label_smoothing=0.1
    )
    task = ClassificationTask(model, criterion, device=CPU, verbose=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    updates_per_epoch = (len(loader) + accumulation - 1) // accumulation
    scheduler, epochs = create_scheduler_v2(
        optimizer,
        num_epochs=EPOCHS,
        warmup_epochs=2,
        warmup_lr=1e-3,
        step_on_epochs=False,
        updates_per_epoch=updates_per_epoch,
    )
    updates_total = epochs * updates_per_epoch
    loader = TimmLoader(ted, loader)  # after the scheduler, which counts all data
    loader.loader.generator = torch.Generator()
    run = Run(ted, model[1].weight, {}, [], [])
    if saved is not None:
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        ted.load_state_dict(saved["ted"])
        loader.loader.generator.set_state(saved["generator"])
        torch.set_rng_state(saved["torch"])
        random.setstate(saved["python"])
    for epoch in range(ted.epoch, epochs):
        ted.set_epoch(epoch)
        done = ted.sampler.start // BATCH
        batches, accum = len(loader), accumulation
        updates = (done + batches + accum - 1) // accum
        for row, (ids, (x, target)) in enumerate(loader):
            assert_fits(ids, x)
            last = row == batches - 1
            if row >= batches - batches % accumulation:
                accum = batches % accumulation
            result = task(x.float(), target)
            loss = ted.loss(
                result["loss"], ids=ids, logits=result["output"], labels=target
            )
            (loss / accum).backward()
            first = ids if isinstance(ids, torch.Tensor) else ids[0][0]
            run.ids.setdefault(epoch, []).extend(first.tolist())
            if not (last or (row + 1) % accumulation == 0):
                continue
            optimizer.step()
            optimizer.zero_grad()
            progress = epoch + ((done + row) // accumulation + 1) / updates
            scheduler.step_update(round(updates_total * progress / epochs))
            run.rates.append(optimizer.param_groups[0]["lr"])
            run.updates.append(progress)
            if stop == len(run.rates):
                if last:
                    ted.close_epoch()
                return run, {
                    "generator": loader.loader.generator.get_state(),
                    "torch": torch.get_rng_state(),
                    "python": random.getstate(),
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "ted": ted.state_dict(),
                }
        scheduler.step(epoch + 1)
    ted.finish()
    return run


def assert_fits(ids, x):
    """The pictures are of the ids' colours, in their shares."""
    parts = [(ids, 1.0)] if isinstance(ids, torch.Tensor) else ids
    colours = sum(part * weight for part, weight in parts)
    if x.dtype.is_floating_point:
        mean = torch.tensor([0.485, 0.456, 0.406]) * 255
        std = torch.tensor([0.229, 0.224, 0.225]) * 255
        x = x * std.view(-1, 1, 1) + mean.view(-1, 1, 1)
    means = x.double().mean(dim=(1, 2, 3))
    torch.testing.assert_close(means, colours.double(), atol=0.51, rtol=0)


@pytest.fixture(scope="module")
def whole():
    return train(method="soft_margin")


def test_each_epoch_forwards_its_plan(whole):
    kept = whole.ted.pruner.schedule_table()["kept"].tolist()
    # timm drops what is no whole batch, of epochs on all data.
    assert [len(ids) for ids in whole.ids.values()] == [
        each // BATCH * BATCH for each in kept
    ]
    assert whole.ted.savings().forwarded == sum(map(len, whole.ids.values()))
    assert sum(kept) < EPOCHS * N


def test_a_rate_by_updates_warms_up_once_and_ends_where_timm_says(whole):
    warmup = [r for r, at in zip(whole.rates, whole.updates, strict=True) if at < 2]
    rest = [r for r, at in zip(whole.rates, whole.updates, strict=True) if at >= 2]
    assert warmup == sorted(warmup)
    assert rest == sorted(rest, reverse=True)
    assert whole.rates[-1] == pytest.approx(0, abs=1e-12)
    by_epoch = [whole.updates.index(float(epoch)) for epoch in range(1, EPOCHS + 1)]
    cosine = [0.05 * (1 + np.cos(np.pi * epoch / EPOCHS)) for epoch in range(2, 7)]
    assert [whole.rates[row] for row in by_epoch[1:]] == pytest.approx(cosine)


@pytest.mark.parametrize("stop", [3, 8, 15])
def test_a_killed_run_goes_on_to_the_same_weights(whole, stop):
    run, saved = train(method="soft_margin", stop=stop)
    rest = train(method="soft_margin", saved=saved)
    assert torch.equal(rest.weight, whole.weight)
    assert run.rates + rest.rates == whole.rates
    assert rest.ted.pruner.scores.tobytes() == whole.ted.pruner.scores.tobytes()


@pytest.mark.parametrize(("prefetcher", "stop"), [(True, 6), (False, 3), (False, 8)])
def test_with_the_random_states_a_run_that_augments_goes_on_to_the_same_bits(
    prefetcher, stop
):
    # With the prefetcher, which augments a batch ahead, between two epochs.
    made = {"method": "soft_margin", "data": Noisy, "use_prefetcher": prefetcher}
    random.seed(0)
    whole = train(**made)
    random.seed(0)
    run, saved = train(**made, stop=stop)
    assert not prefetcher or run.ted.epoch == 1
    torch.manual_seed(9)
    random.seed(9)
    rest = train(**made, saved=saved)
    assert torch.equal(rest.weight, whole.weight)
    assert rest.ted.pruner.scores.tobytes() == whole.ted.pruner.scores.tobytes()


def test_without_the_prefetcher_the_plan_is_followed_too(whole):
    plain = train(method="soft_margin", use_prefetcher=False)
    assert [len(ids) for ids in plain.ids.values()] == [
        len(ids) for ids in whole.ids.values()
    ]
    assert plain.ids[0] == whole.ids[0]


def test_workers_keep_ids_and_pictures_together():
    ted, _ = start()
    loader = load(ted.dataset.dataset, num_workers=1, persistent_workers=True)
    loader = TimmLoader(ted, loader)
    assert loader.loader.persistent_workers
    ted.set_epoch(0)
    for ids, (x, _) in loader:
        assert_fits(ids, x)
        break  # the prefetcher has read on
    seen = []
    for ids, (x, _) in loader:
        assert_fits(ids, x)
        seen += ids.tolist()
    assert seen == ted.pruner.plan().order[: len(seen)].tolist()
    assert len(loader) == len(seen) // BATCH == N // BATCH


def test_targets_of_several_labels_and_a_binary_loss_train():
    run = train(criterion=BinaryCrossEntropy(smoothing=0.1, reduction="none"))
    assert run.ted.pruner.finished


# Mixing


MIXES = {
    "batch": {"mixup_alpha": 1.0},
    "elem": {"mixup_alpha": 1.0},
    "pair": {"mixup_alpha": 1.0},
    "cut": {"mixup_alpha": 0.0, "cutmix_alpha": 1.0},
    "both": {"mixup_alpha": 0.5, "cutmix_alpha": 1.0, "prob": 0.7},
}


def mixing(name):
    mode = name if name in {"batch", "elem", "pair"} else "batch"
    return FastCollateMixup(mode=mode, num_classes=CLASSES, **MIXES[name])


@pytest.mark.parametrize("name", sorted(MIXES))
def test_mixed_batches_are_those_of_timm_and_ids_come_in_their_shares(name):
    ted, loader = start(collate_fn=mixing(name))
    loader = TimmLoader(ted, loader)
    ted.set_epoch(0)
    order = ted.pruner.plan().order
    np.random.seed(5)  # noqa: NPY002 - what timm draws from
    batches = list(loader.loader)
    np.random.seed(5)  # noqa: NPY002
    data, timms = Pictures(), mixing(name)
    for row, (ids, (x, target)) in enumerate(batches):
        chosen = order[row * BATCH : (row + 1) * BATCH].tolist()
        there, classes = timms([data[k] for k in chosen])
        assert torch.equal(x, there)
        torch.testing.assert_close(target, classes)
        (own, shares), (partners, others) = ids
        assert own.tolist() == chosen == partners.tolist()[::-1]
        torch.testing.assert_close(shares + others, torch.ones(BATCH))
        assert_fits(ids, x)


def test_a_run_that_mixes_trains_and_may_stop_mixing():
    run = train(method="ted", collate_fn=mixing("batch"))
    assert run.ted.pruner.finished
    assert np.isfinite(run.ted.pruner.scores).all()
    ted, loader = start(collate_fn=mixing("batch"))
    loader = TimmLoader(ted, loader)
    assert loader.mixup_enabled
    loader.mixup_enabled = False
    assert not loader.mixup_enabled
    ted.set_epoch(0)
    (ids, shares), (_, others) = next(iter(loader))[0]
    assert shares.tolist() == [1] * BATCH
    assert others.tolist() == [0] * BATCH
    assert ids.tolist() == ted.pruner.plan().order[:BATCH].tolist()


def test_a_loader_that_does_not_mix_has_nothing_to_switch():
    ted, loader = start()
    loader = TimmLoader(ted, loader)
    loader.mixup_enabled = True
    assert not loader.mixup_enabled
    assert loader.sampler is ted.sampler
    assert loader.dataset is ted.dataset
    assert loader.batch_sampler.sampler is ted.sampler


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"use_multi_epochs_loader": True}, r"got a MultiEpochsDataLoader"),
        ({"input_size_choices": (4, 8)}, r"one size, got a ScheduledBatchSampler"),
        (
            {
                "collate_fn": FastCollateMixup(
                    mixup_alpha=1.0, mode="half", num_classes=CLASSES
                )
            },
            r"got the mode 'half'",
        ),
    ],
)
def test_a_loader_whose_batches_are_not_the_plans_is_refused(options, message):
    data = Pictures()
    ted = TED(data, epochs=EPOCHS)
    with pytest.raises(ValueError, match=message):
        TimmLoader(ted, load(data, **options))


def test_the_splits_of_augmix_are_refused():
    data = AugMixDataset(Pictures(), num_splits=2)
    ted = TED(data, epochs=EPOCHS)
    loader = torch.utils.data.DataLoader(data, BATCH)
    with pytest.raises(ValueError, match="the splits of an AugMixDataset"):
        TimmLoader(ted, loader)


def test_repeats_are_refused():
    from timm.data.distributed_sampler import RepeatAugSampler  # noqa: PLC0415

    data = Pictures()
    sampler = RepeatAugSampler(data, num_replicas=1, rank=0)
    loader = torch.utils.data.DataLoader(data, BATCH, sampler=sampler)
    with pytest.raises(ValueError, match="leave out `num_aug_repeats`"):
        TimmLoader(TED(data, epochs=EPOCHS), loader)


def test_another_data_set_or_no_loader_is_refused():
    ted = TED(Pictures(), epochs=EPOCHS)
    with pytest.raises(ValueError, match="must be of the session's data set"):
        TimmLoader(ted, load(Pictures()))
    with pytest.raises(TypeError, match=r"`loader` must be .*, got list"):
        TimmLoader(ted, [])
