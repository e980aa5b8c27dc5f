"""TED in the trainers of Ultralytics' YOLO; needs the extra ``ultralytics``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import ultralytics
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.models.yolo.classify import ClassificationTrainer
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.utils.loss import E2ELoss, v8ClassificationLoss, v8DetectionLoss
from ultralytics.utils.torch_utils import unwrap_model

from ted_core import CheckpointError, atomic_write, run_metrics
from ted_core.config import RunOptions
from ted_torch._losses import weighs
from ted_torch._state import damage_refused
from ted_torch._validation import check_bases, check_prunes, check_trainer_options
from ted_torch.data import CollateWithIds, options_of
from ted_torch.session import TED

__all__ = [
    "TEDClassificationTrainer",
    "TEDDetectionTrainer",
    "TEDTrainerMixin",
    "TrainerOptions",
]

_IDS, _STATE = "ted_id", "ted.pt"
_TAKEN = ("epochs", "device", "num_replicas", "rank", "group", "ids")

# The arguments that must be off, and why.
_ONE_IMAGE = "an item must be one image, with one id"
_OFF: dict[str, str] = {
    "time": "say `epochs`: the schedule is planned over them",
    "compile": "it was not tried with TED",
    "quantize": "it was not tried with TED",
    "distill_model": "its loss is no sum over images",
    "rect": "it fixes the order of the images",
}
_OFF_IN_DETECTION = dict.fromkeys(
    ("mosaic", "mixup", "cutmix", "copy_paste"), _ONE_IMAGE
)

# What the criterion of a run has beside the trainer's own.
_OWN = {"_criterion", "_trainer", "_parts", "_weights", "_compared"}

# How far the images' losses may add up from the trainer's own: half precision rounds.
_NEAR = 1e-2

if TYPE_CHECKING:
    from ultralytics.models.yolo.detect import DetectionTrainer as _Trainer
else:
    _Trainer = object


class TrainerOptions(RunOptions, total=False):
    """Options of a session that the trainer does not give itself."""

    buffer: str
    fingerprint: int | str


class TEDTrainerMixin(_Trainer):
    """Make a trainer's epochs visit the images worth their time.

    Parameters
    ----------
    *args : any
        What the trainer takes.
    ted : TrainerOptions, optional
        Options of the run: all of :class:`ted_core.Pruner`, and `buffer` and
        `fingerprint` of :class:`ted_torch.TED`. `seed` is the trainer's by default, and
        `multiple_of` the images of one optimizer step, so that every pruned epoch is
        made of whole steps.
    **kwargs : any
        What the trainer takes.

    Attributes
    ----------
    ted : TED
        The session: plans, scores, savings. There from the start of training on.

    Raises
    ------
    TypeError, ValueError
        An argument leaves no images to choose or no epochs to plan, by name; or a base
        class stands before the mixin.

    Notes
    -----
    Comes first among the base classes: ``class Mine(TEDTrainerMixin, MyTrainer)``, for
    the tasks ``detect`` and ``classify``.

    An image's loss is its part of the loss of its batch, times the images of the batch:
    the derivative of Ultralytics' own loss by a weight of the image, which costs a few
    products over the class scores, and no formula is written twice. The mask gradient
    needs no value of it, so where images weigh the same only the first batch has it.
    """

    ted: TED[Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse base classes in the other order."""
        super().__init_subclass__(**kwargs)
        check_bases(cls, TEDTrainerMixin, BaseTrainer)

    def __init__(
        self, *args: Any, ted: TrainerOptions | None = None, **kwargs: Any
    ) -> None:
        self._options = check_trainer_options(
            ted, _TAKEN, framework="Ultralytics", remedy="give it to `train`"
        )
        super().__init__(*args, **kwargs)
        _check_arguments(self)
        # States before and after the epoch closed last.
        self._states: dict[int, Mapping[str, Any]] = {}
        # The epoch opened last, and the batches of an optimizer step, once warmed up.
        self._opened, self._nominal = -1, 1
        for event, act in (
            ("on_pretrain_routine_end", self._start),
            ("on_train_epoch_start", self._open_epoch),
            ("on_train_end", lambda _: self.ted.finish()),
        ):
            self.add_callback(event, act)

    def _start(self, _: Any) -> None:
        """Give the model's losses to the session; take over that of a checkpoint."""
        model = unwrap_model(self.model)
        criterion = getattr(model, "criterion", None)
        if criterion is None:
            criterion = model.init_criterion()
        model.criterion = _ImageLosses(criterion, self)
        if self.resume:
            state = _read_state(Path(self.args.resume), self.start_epoch)
            self.ted.load_state_dict(state)
            self._states[self.start_epoch] = state

    def _open_epoch(self, _: Any) -> None:
        """Open the epoch; one that is trained again, after a NaN, from its start."""
        again = self._opened == self.epoch
        if again and self.epoch in self._states:
            self.ted.load_state_dict(self._states[self.epoch])
        self._opened = self.epoch
        if self.epoch == self.start_epoch:
            self._nominal = self.accumulate
        self.ted.set_epoch(self.epoch)
        self._end_warm_up()

    def _end_warm_up(self) -> None:
        """Reach the end of a warm-up that fell into batches which an epoch left out."""
        batches = len(self.train_loader)
        before, ramp = batches * (self.epoch - 1), self._get_warmup_iterations(batches)
        if not (ramp and self.epoch and before <= ramp < before + batches):
            return
        planned = int(self.ted.report().planned[self.epoch - 1])
        if ramp < before + -(-planned // self.batch_size):
            return
        self.accumulate = self._nominal
        for group in self.optimizer.param_groups:
            if "momentum" in group:
                group["momentum"] = self.args.momentum

    def get_dataloader(
        self,
        dataset_path: str,
        batch_size: int = 16,
        rank: int = 0,
        mode: str = "train",
    ) -> DataLoader[Any]:
        """Return the trainer's loader; for training, of the images that are kept.

        Parameters
        ----------
        dataset_path, batch_size, rank, mode : see above
            As of the trainer.

        Returns
        -------
        DataLoader
            Batches as the trainer's, with the images' ids.
        """
        loader: DataLoader[Any] = super().get_dataloader(
            dataset_path, batch_size, rank, mode
        )
        if mode != "train":
            return loader
        # A trainer that has run out of memory asks again, for smaller batches.
        step = batch_size * int(max(round(self.args.nbs / batch_size), 1))
        options: Any = {"seed": self.args.seed, "multiple_of": step, **self._options}
        if self._states:  # a resumed run, whose plan was made for the larger ones
            options["multiple_of"] = self.ted.pruner.config.multiple_of
        self.ted = TED(
            loader.dataset,
            epochs=self.epochs,
            device=self.device,
            num_replicas=1,
            rank=0,
            **options,
        )
        config = self.ted.pruner.config
        check_prunes("data", self.ted.pruner, step)
        if config.known_count:
            self.ted.total_steps(batch_size)  # warns of a last batch of one image
        signal = config.signal
        if self.args.task == "detect" and signal not in {"mask_gradient", "loss"}:
            msg = (
                "`signal` must be 'mask_gradient' or 'loss' for detection, whose "
                f"images have no class of their own, got {signal!r}; take "
                "`method='ted'` or `method='ted_loss'`"
            )
            raise ValueError(msg)
        return _EpochLoader(loader, self.ted)

    def save_model(self) -> bool:
        """Write the checkpoints, and the session's states beside them.

        Returns
        -------
        bool
            As of the trainer.
        """
        # First, and with the state before this epoch: whichever of both files a killed
        # run has left older, they fit together.
        with atomic_write(self.wdir / _STATE) as file:
            torch.save(self._states, file)
        return bool(super().save_model())

    def save_metrics(self, metrics: dict[str, float]) -> None:
        """Close the epoch, and add keep ratio and savings to ``results.csv``.

        Here the trainer goes on with what the epoch has trained; after a NaN it does
        not, and trains the epoch again.

        Parameters
        ----------
        metrics : dict of str to float
            The trainer's numbers.
        """
        self.ted.close_epoch()
        ours = run_metrics(self.ted.pruner)
        before = {k: v for k, v in self._states.items() if k == self.epoch}
        self._states = {**before, self.epoch + 1: self.ted.state_dict()}
        super().save_metrics({**metrics, **ours})


class TEDDetectionTrainer(TEDTrainerMixin, DetectionTrainer):
    """Ultralytics' ``DetectionTrainer``, on the images that an epoch keeps.

    See :class:`TEDTrainerMixin`.

    Examples
    --------
    >>> from functools import partial
    >>> from ted_torch.integrations.ultralytics import TEDDetectionTrainer
    >>> trainer = partial(TEDDetectionTrainer, ted={"prune_ratio": 0.7})
    """


class TEDClassificationTrainer(TEDTrainerMixin, ClassificationTrainer):
    """Ultralytics' ``ClassificationTrainer``, on the images that an epoch keeps.

    See :class:`TEDTrainerMixin`.

    Examples
    --------
    >>> from functools import partial
    >>> from ted_torch.integrations.ultralytics import TEDClassificationTrainer
    >>> trainer = partial(TEDClassificationTrainer, ted={"method": "soft_margin"})
    """


class _Collate(CollateWithIds[Any, Any]):
    """Put the ids into the dict of a batch: the trainer takes no pair."""

    def __call__(self, pairs: Sequence[tuple[int, Any]]) -> Any:
        ids, batch = super().__call__(pairs)
        return {**batch, _IDS: ids}


class _EpochLoader(DataLoader[Any]):
    """The batches of the current epoch, by workers that live on."""

    # Its length is that of all data: the trainer asks once, for its warm-up.

    def __init__(self, like: DataLoader[Any], ted: TED[Any]) -> None:
        collate: Callable[..., Any] = like.collate_fn
        super().__init__(
            ted.dataset,
            sampler=ted.sampler,
            collate_fn=_Collate(collate),
            **{**options_of(like), "persistent_workers": like.num_workers > 0},
        )
        self._batches = len(like)

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        # Late: the trainer makes two iterators an epoch, and reads from one.
        yield from super().__iter__()

    def reset(self) -> None:
        """Have the next epoch's workers read the data set as it is then."""
        workers, self._iterator = self._iterator, None
        if workers is not None:
            workers._shutdown_workers()  # type: ignore[attr-defined]  # noqa: SLF001


class _ImageLosses:
    """A model's criterion, which gives each image's loss to a session."""

    def __init__(self, criterion: Any, trainer: TEDTrainerMixin) -> None:
        self._criterion, self._trainer = criterion, trainer
        self._parts = _parts_of(criterion)
        self._weights: Tensor | None = None
        self._compared = False
        for part in self._parts:
            part.bce = self._weighted_classes(part.bce)
            part.bbox_loss = self._weighted_boxes(part.bbox_loss)

    def __getattr__(self, name: str) -> Any:
        """Read what else the trainer asks of a criterion, such as `update`."""
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._criterion, name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set what is the criterion's there, such as the share of a head."""
        if name in _OWN:
            super().__setattr__(name, value)
        else:
            setattr(self._criterion, name, value)

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        """Give a copy of the model none: it makes a plain one itself."""
        return type(None), ()

    def _weighted_classes(self, loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def weighted(*args: Tensor) -> Tensor:
            losses, weights = loss(*args), self._weights
            return losses if weights is None else losses * weights.view(-1, 1, 1)

        return weighted

    def _weighted_boxes(self, loss: Callable[..., Any]) -> Callable[..., Any]:
        def weighted(*args: Tensor) -> Any:
            if self._weights is None:
                return loss(*args)
            # A box weighs as much as its target score, summed over the classes.
            scores = args[4].sum(-1, keepdim=True) * self._weights.view(-1, 1, 1)
            return loss(*args[:4], scores, *args[5:])

        return weighted

    def __call__(self, preds: Any, batch: dict[str, Any]) -> tuple[Tensor, Any]:
        """Return the loss over r_t, and the trainer's own parts of it."""
        ids = batch.get(_IDS)
        if ids is None or not torch.is_grad_enabled():
            return self._criterion(preds, batch)  # type: ignore[no-any-return]
        ted: TED[Any] = self._trainer.ted
        if not self._parts:
            logits = preds[1] if isinstance(preds, list | tuple) else preds
            losses = F.cross_entropy(logits, batch["cls"], reduction="none")
            total = ted.loss(losses, ids=ids, logits=logits, labels=batch["cls"])
            return total, {"loss": losses.detach().mean()}
        losses, items = self._image_losses(preds, batch)
        found, two = self._parts[0].parse_output(preds), len(self._parts) > 1
        heads = [found["one2many"], found["one2one"]] if two else [found]
        masks = [head[name] for head in heads for name in ("boxes", "scores")]
        # The trainer trains on the sum over the images of a batch, and logs the mean.
        return ted.loss(losses, ids=ids, mask=masks) * len(ids), items

    def _image_losses(self, preds: Any, batch: dict[str, Any]) -> tuple[Tensor, Any]:
        """Return each image's loss, whose sum the trainer trains on, and its items."""
        pruner = self._trainer.ted.pruner
        weighted = weighs(pruner.plan())
        if weighted or pruner.config.signal == "loss":
            return self._taken_apart(preds, batch, weighted=weighted)
        if not self._compared:  # by itself: a resumed run's first step is as any other
            self._taken_apart(preds, batch, weighted=False)
        # Their mean is all that is read: the mask gradient needs no loss's value.
        losses, items = self._criterion(preds, batch)
        size = len(batch["img"])
        return (losses.sum() / size).expand(size), items

    def _taken_apart(
        self, preds: Any, batch: dict[str, Any], *, weighted: bool
    ) -> tuple[Tensor, Any]:
        """Return each image's part of the loss, by a weight of each, and the items."""
        size = len(batch["img"])
        self._weights = torch.ones(size, device=batch["img"].device, requires_grad=True)
        try:
            losses, items = self._criterion(preds, batch)
        finally:
            weights, self._weights = self._weights, None
        whole = losses.sum()
        # The loss is linear in the weights: what it changes by with a weight is the
        # image's part. Only the products with the weights are passed backwards, and
        # once more where images don't weigh the same.
        (parts,) = torch.autograd.grad(
            whole, weights, retain_graph=True, create_graph=weighted
        )
        if not self._compared:
            self._compare(float(parts.detach().sum()), float(whole.detach()))
        if not weighted:
            parts = _Parts.apply(whole, parts)  # type: ignore[no-untyped-call]
        return parts, items

    def _compare(self, here: float, theirs: float) -> None:
        """Refuse a loss that is no sum over the images; a first batch tells."""
        self._compared = True
        if not math.isclose(here, theirs, rel_tol=_NEAR) and math.isfinite(theirs):
            msg = (
                "the loss must be a sum over the images of a batch, got parts that "
                f"add up to {here:.6g} of {theirs:.6g} with Ultralytics "
                f"{ultralytics.__version__}; train without TED"
            )
            raise ValueError(msg)


class _Parts(torch.autograd.Function):
    """The images' parts of a loss that is their sum, to be averaged alike."""

    @staticmethod
    def forward(_: Any, whole: Tensor, parts: Tensor) -> Tensor:
        """Return the parts; the loss is there for its graph."""
        del whole
        return parts.clone()

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of each part, which is that of the sum."""
        return gradient[0], None


def _parts_of(criterion: Any) -> list[Any]:
    """Return the detection losses of a criterion, none of a classifier's."""
    if type(criterion) is v8ClassificationLoss:
        return []
    two = type(criterion) is E2ELoss
    parts = [criterion.one2many, criterion.one2one] if two else [criterion]
    for part in parts:
        if type(part) is not v8DetectionLoss:
            msg = (
                "the model's loss must be v8DetectionLoss or v8ClassificationLoss, got "
                f"{type(part).__name__}, which TED does not know image by image"
            )
            raise TypeError(msg)
    return parts


def _check_arguments(trainer: Any) -> None:
    """Refuse arguments that leave no images to choose, or no epochs to plan."""
    args = trainer.args
    if args.task not in {"detect", "classify"}:
        msg = f"`task` must be 'detect' or 'classify', got {args.task!r}"
        raise ValueError(msg)
    if trainer.ddp or trainer.world_size > 1:
        msg = (
            f"`device` must be one device, got {args.device!r}; Ultralytics starts the "
            "processes of several by itself, which was not tried with TED"
        )
        raise ValueError(msg)
    off = _OFF | (_OFF_IN_DETECTION if args.task == "detect" else {})
    for name, why in off.items():
        value = getattr(args, name, None)
        if value:
            needed = type(value)() if isinstance(value, bool | int | float) else None
            msg = f"`{name}` must be {needed}, got {value!r}: {why}"
            raise ValueError(msg)


def _read_state(checkpoint: Path, epoch: int) -> Mapping[str, Any]:
    """Return the session's state before an epoch, from beside a checkpoint."""
    path = checkpoint.with_name(_STATE)
    if not path.is_file():
        msg = (
            f"a checkpoint must have {_STATE!r} beside it, got none in "
            f"{path.parent.name!r}; resume a run with TED"
        )
        raise CheckpointError(msg)
    with damage_refused(path):
        states = dict(torch.load(path, weights_only=True, map_location="cpu"))
    if epoch not in states:
        msg = (
            f"{path.name!r} must hold the state before epoch {epoch}, got those of "
            f"{sorted(states)}; resume from `last.pt`"
        )
        raise CheckpointError(msg)
    return states[epoch]  # type: ignore[no-any-return]
