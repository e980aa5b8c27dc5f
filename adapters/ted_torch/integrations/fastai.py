"""TED under ``fastai.Learner``: one callback; needs the extra ``fastai``."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import pandas as pd
import torch
from fastai.callback.core import Callback
from fastai.callback.mixup import MixHandler
from fastai.callback.tracker import SaveModelCallback
from fastai.data.core import FilteredBase, TfmdDL
from fastai.data.load import DataLoader
from fastai.layers import NoneReduce
from fastai.learner import ValueMetric
from fastcore.xtras import join_path_file
from fasttransform.transform import Pipeline
from torch import Tensor

from ted_core import (
    CheckpointError,
    EpochError,
    Pruner,
    Report,
    Savings,
    atomic_write,
    run_metrics,
)
from ted_core.config import RunOptions
from ted_core.errors import warn_caller
from ted_core.reports.metrics import METRICS, TOKENS_SAVED
from ted_torch._validation import DAMAGE, check_trainer_options
from ted_torch.session import TED

__all__ = ["SaveTEDCallback", "TEDCallback"]

# What of a loader chooses its samples and counts its batches.
_CHOOSING = "__iter__ __len__ get_idxs shuffle_fn sample create_batches chunkify"
_MIN_EPOCHS = 2
_TOLERANCE = 1e-3


class TEDCallback(Callback):  # type: ignore[misc]
    r"""Prune ``Learner.fit``: which samples, the scaled loss, and their scores.

    Parameters
    ----------
    epochs : int, optional
        T, epochs of a run that several fits share, as those of ``fine_tune`` do; by
        default each fit is a run of its own.
    buffer : {"device", "cpu"}, default "device"
        Where values gather, 7 bytes a sample; for the CPU, steps wait now and then.
    fingerprint : int or str, optional
        What tells these samples from others, see :class:`ted_torch.TED`; by default
        the CRC-32 of the training split's indices, where fastai has split the data.
    allow : sequence of str, default ()
        ``("epochs",)`` lets the state of a run with another number of epochs go on.
    **options : RunOptions
        All of :class:`ted_core.Pruner`: `prune_ratio`, `method`, ... `multiple_of` is
        by default the loader's batch size.

    Raises
    ------
    TypeError, ValueError
        In a fit: the training loader is none of fastai's, chooses its samples by
        itself, or has no batches; the loss can't be had for each sample; an option is
        out of range.
    EpochError
        In a fit: it begins at another epoch than the session, or has more than are
        left.

    Warns
    -----
    TedWarning
        In a fit: the loss is not the mean of its samples' losses; the fit ends early.

    Notes
    -----
    The learner's loader, loss function and model stay as they are. For a fit
    `ted_core.run_metrics` stand beside the learner's metrics. The loss that it logs is
    not divided; the one that it differentiates is. A step evaluates the loss function
    twice. Source: TED, ECAI 2024, Algorithm 1.

    Examples
    --------
    >>> import torch
    >>> from fastai.basics import DataLoaders, Learner
    >>> from fastai.losses import CrossEntropyLossFlat
    >>> from ted_torch.integrations.fastai import TEDCallback
    >>> x = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
    >>> data = [(one, int(one[0] > 0)) for one in x]
    >>> dls = DataLoaders.from_dsets(data, data, bs=8, device="cpu", num_workers=0)
    >>> ted, net = TEDCallback(prune_ratio=0.7), torch.nn.Linear(5, 2)
    >>> learn = Learner(dls, net, loss_func=CrossEntropyLossFlat(), cbs=ted)
    >>> with learn.no_bar(), learn.no_logging():
    ...     learn.fit(6)
    >>> ted.savings().ratio > 0.3
    True
    """

    # Before callbacks that add to the loss, mix samples or accumulate.
    order, run_valid = -5, False
    # What the file of an exported learner does not hold.
    _stateattrs = ("_own", "_saved")

    def __init__(
        self,
        *,
        epochs: int | None = None,
        buffer: str = "device",
        fingerprint: int | str | None = None,
        allow: Sequence[str] = (),
        **options: Unpack[RunOptions],
    ) -> None:
        super().__init__()
        self._options = check_trainer_options(
            options,
            ("ids", "device", "num_replicas", "rank", "group"),
            framework="fastai",
            remedy="its batches keep their form, and its device is the model's",
            taker=type(self),
        )
        self._epochs, self._allow = epochs, tuple(allow)
        self._buffer, self._fingerprint = buffer, fingerprint
        self._init_state()

    def _init_state(self) -> None:
        """Begin without a session."""
        super()._init_state()
        self._own: TED[Any] | None = None
        self._saved: Mapping[str, Any] | None = None
        self._samples: Any = None  # how many the session has, and their fingerprint
        self._fits = self._compared = False
        self._ids: Any = None

    def __call__(self, event_name: str) -> Any:
        """Call the event's method; where there is none, fastai searches the learner."""
        if hasattr(type(self), event_name) or event_name in vars(self):
            return super().__call__(event_name)
        return None

    @property
    def name(self) -> str:
        """Name under which the learner has the callback."""
        return "ted"

    @property
    def session(self) -> TED[Any]:
        """The run's :class:`ted_torch.TED`; an EpochError before the first fit."""
        if self._own is None:
            msg = "a session needs a fit, got none yet; call `learn.fit` or the like"
            raise EpochError(msg)
        return self._own

    @property
    def pruner(self) -> Pruner:
        """Plans, scores, savings and report of the run."""
        return self.session.pruner

    def savings(self) -> Savings:
        """Return the samples saved in the closed epochs, counted (Eq. 24)."""
        return self.session.savings()

    def report(self) -> Report:
        """Return the counts of the closed epochs and the ids to look at."""
        return self.session.report()

    def before_fit(self) -> None:
        """Stand aside where nothing is trained, or a learning rate is searched."""
        self.run = not (hasattr(self, "lr_finder") or hasattr(self, "gather_preds"))
        self._fits = False
        self.learn.metrics = self._own_metrics()
        if self.run:
            self.learn.metrics += [
                ValueMetric(partial(self._metric, name), name) for name in self._names
            ]

    @property
    def _names(self) -> tuple[str, ...]:
        """Names of the run's numbers, before there is a session."""
        tokens = self._options.get("lengths") is not None
        return (*METRICS, TOKENS_SAVED) if tokens else METRICS

    def _own_metrics(self) -> list[Any]:
        """Return the learner's metrics without the run's numbers."""
        return [one for one in self.learn.metrics if one.name not in self._names]

    def _metric(self, name: str) -> float:
        """Return one of the run's numbers."""
        return run_metrics(self.pruner)[name]

    def before_train(self) -> None:
        """Open the session's epoch, and read its samples."""
        loader = self.learn.dl
        if not self._fits:
            self._begin(loader)
            self._fits = True
        session = self.session
        session.set_epoch(session.epoch)
        self.learn.dl = _planned(loader, list(session.sampler))

    def _begin(self, loader: Any) -> None:
        """Make the fit's session, or go on with the run's."""
        found = sum(isinstance(one, TEDCallback) for one in self.learn.cbs)
        if found > 1:
            msg = (
                f"`cbs` must have one TEDCallback, got {found}; take the learner's own "
                "away, `learn.remove_cb(ted)`, before a fit with another"
            )
            raise ValueError(msg)
        _check_loader(loader)
        fingerprint, session = self._fingerprint, self._own
        if fingerprint is None:
            fingerprint = _fingerprint_of(loader.dataset)
        samples = len(loader.dataset), fingerprint
        if session is None or self._epochs is None:
            epochs = self.learn.n_epoch if self._epochs is None else self._epochs
            if self._epochs is None and epochs < _MIN_EPOCHS:
                msg = (
                    f"`n_epoch` must be at least {_MIN_EPOCHS}, got {epochs}; for "
                    "`fine_tune` and other runs of several fits give the callback the "
                    "epochs of all of them, `TEDCallback(epochs=5)`"
                )
                raise ValueError(msg)
            options = self._options.copy()
            options.setdefault("multiple_of", loader.bs)
            session = TED(
                loader.dataset,
                epochs=epochs,
                device=next(self.learn.model.parameters()).device,
                buffer=self._buffer,
                fingerprint=fingerprint,
                **options,
            )
            if self._saved is not None:
                session.load_state_dict(self._saved, allow=self._allow)
            self._saved = None
        elif samples != self._samples:
            differs = int(samples[0] == self._samples[0])
            msg = (
                "`dls.train` must have the samples of the run's other fits, of "
                f"{('number', 'fingerprint')[differs]} {self._samples[differs]}, got "
                f"{samples[differs]}; give a fit on others a callback of its own"
            )
            raise ValueError(msg)
        self._samples = samples
        self._check_epochs(session)
        self._own, self._compared = session, False

    def _check_epochs(self, session: TED[Any]) -> None:
        """Refuse a fit that begins elsewhere than the session, or is too long."""
        here, fit = session.epoch, self.learn.epoch
        left, wanted = session.pruner.epochs - here, self.learn.n_epoch - fit
        finished = session.pruner.finished
        if self._epochs is None and fit != here and not finished:
            msg = (
                f"the fit must begin at the session's epoch {here}, got {fit}; load "
                "the state saved beside the model, `ted.load(name)`, and fit with "
                "`start_epoch=ted.epoch`, which `fit_flat_cos` ignores"
            )
            raise EpochError(msg)
        if finished or wanted > left:
            left = 0 if finished else left
            msg = (
                f"a fit must have at most the {left} epochs that are left of the run's "
                f"{session.pruner.epochs}, got {wanted}; `epochs` of the callback is "
                "the number of all fits together, frozen epochs included"
            )
            raise EpochError(msg)
        if session.state_dict(every_process=True)["position"]:
            msg = (
                f"a fit must begin between two epochs, got epoch {here} left in its "
                "middle; load what was saved at an epoch's end, `ted.load(name)`"
            )
            raise EpochError(msg)

    def before_batch(self) -> None:
        """Take the ids out of the batch."""
        batch: tuple[Any, ...] = (*self.learn.xb, *self.learn.yb)
        self.__dict__["_ids"] = batch[-1]  # fastai searches the learner for a name
        self.learn._split(batch[:-1])  # noqa: SLF001 - as it split the longer one

    def after_loss(self) -> None:
        """Have the learner differentiate the mean loss over r_t, which records."""
        if self.learn.yb:
            # Operations on fastai's tensors take a detour in Python to keep their type.
            with torch._C.DisableTorchFunctionSubclass():  # noqa: SLF001
                self._record(*self.learn.yb)

    def _record(self, target: Any, *others: Any) -> None:
        """Give the session the batch's losses."""
        pred, ids = self.learn.pred, self._ids
        losses = self._losses(len(ids))
        if not self._compared:
            self._compared = True
            _compare(self.learn.loss.detach().item(), losses.detach().mean().item())
        inputs: Any = {}
        if not isinstance(pred, Tensor):
            inputs["mask"] = list(pred)
        elif others:
            inputs["logits"] = pred
        else:
            inputs |= {"logits": pred, "labels": target}
        self.learn.loss_grad = self.session.loss(losses, ids=ids, **inputs)

    def _losses(self, size: int) -> Tensor:
        """Return the losses of the batch, by the learner's function, not reduced."""
        function = self.learn.loss_func
        # Mixing callbacks put a method of theirs in the place of the loss.
        owner: Any = getattr(function, "__self__", None)
        mixes = isinstance(owner, MixHandler)
        unreduced: AbstractContextManager[Any] = NoneReduce(
            owner.old_lf if mixes else function
        )
        with unreduced as plain:
            try:
                losses = (function if mixes else plain)(self.learn.pred, *self.learn.yb)
            except TypeError as error:
                if "reduction" not in str(error):
                    raise
                losses = None
        if losses is None or losses.ndim == 0 or losses.numel() % size:
            found = "no `reduction`" if losses is None else tuple(losses.shape)
            msg = (
                f"`loss_func` must give a loss for each of {size} samples with "
                f"`reduction='none'`, got {found} of {function!r}; take one of "
                "fastai's or PyTorch's, or a function with that argument"
            )
            raise ValueError(msg)
        # fastai's losses flatten pixels, tokens and labels into one axis.
        rows: Tensor = losses.as_subclass(Tensor).reshape(size, -1)
        return rows

    def after_train(self) -> None:
        """Close the epoch, before the learner validates and saves."""
        self.session.close_epoch()

    def after_fit(self) -> None:
        """Close what was left open; a run of one fit ends here."""
        self.learn.metrics = self._own_metrics()
        if not self._fits:
            return
        self._fits, self._ids = False, None
        if self._epochs is None:
            self.session.finish()
        else:
            self.session.close_epoch()

    @property
    def epoch(self) -> int:
        """Current epoch of the run: where a fit that resumes begins."""
        if self._saved is not None:
            return int(self._saved["pruner.epoch"])
        return self.session.epoch

    def state_dict(self) -> dict[str, Any]:
        """Return the session's state, to be saved at an epoch's end.

        Returns
        -------
        dict of str to Tensor, str, int, float or bool
            To be given to :meth:`load_state_dict`.

        Raises
        ------
        EpochError
            There was no fit yet, or an epoch is open: ``start_epoch`` resumes between
            two epochs alone.
        """
        session = self.session
        state = session.state_dict(every_process=True)
        if state["position"]:
            msg = (
                "a state must be saved at an epoch's end, for `start_epoch` resumes "
                f"there, got position {state['position']} of epoch {session.epoch}"
            )
            raise EpochError(msg)
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take a state, which the next fit goes on from.

        Parameters
        ----------
        state : mapping
            What :meth:`state_dict` returned; it is checked when the fit begins.
        """
        self._own, self._saved = None, dict(state)

    def save(self, file: str | Path) -> Path:
        """Save the session beside a model that ``learn.save(file)`` has saved.

        Parameters
        ----------
        file : str or path
            Name of the model's file, as ``learn.save`` takes it.

        Returns
        -------
        Path
            The session's file, ``NAME.ted``. It holds the CRC-32 of the model's.
        """
        path = self._path(file, ".ted")
        saved = {"model": self._checksum(file), "session": self.state_dict()}
        with atomic_write(path) as opened:
            torch.save(saved, opened)
        return path

    def load(self, file: str | Path) -> None:
        """Take the state that :meth:`save` wrote; ``learn.load`` takes the model.

        Parameters
        ----------
        file : str or path
            Name of the model's file.

        Raises
        ------
        CheckpointError
            There is no such file, it is damaged, or the model's is another than the
            one that it was saved beside.
        """
        path = self._path(file, ".ted")
        try:
            saved = torch.load(path, weights_only=True, map_location="cpu")
            model, session = int(saved["model"]), dict(saved["session"])
            int(session["pruner.epoch"])
        except (OSError, *DAMAGE) as error:
            msg = (
                f"{path.name!r} must be a session saved beside a model, by "
                f"`SaveTEDCallback` or `ted.save`, got {type(error).__name__}: {error}"
            )
            raise CheckpointError(msg) from error
        found = self._checksum(file)
        if found != model:
            msg = (
                f"`model` must be the file that the session was saved beside, of "
                f"CRC-32 {model}, got {found}; go on from an older pair"
            )
            raise CheckpointError(msg)
        self.load_state_dict(session)

    def _path(self, file: str | Path, suffix: str) -> Path:
        """Return where the learner has a file of this name."""
        folder = self.learn.path / self.learn.model_dir
        return Path(join_path_file(file, folder, ext=suffix))

    def _checksum(self, file: str | Path) -> int:
        """Return the CRC-32 of a model's file."""
        checksum = 0
        with self._path(file, ".pth").open("rb") as opened:
            while part := opened.read(1 << 20):
                checksum = zlib.crc32(part, checksum)
        return checksum


class SaveTEDCallback(SaveModelCallback):  # type: ignore[misc]
    """Save as fastai's ``SaveModelCallback`` does, and the session beside each model.

    Parameters
    ----------
    *args, **kwargs : see above
        As of ``SaveModelCallback``: `monitor`, `every_epoch`, `with_opt`, ...

    Notes
    -----
    To resume: ``learn.load(name, with_opt=True)``, ``learn.ted.load(name)``, and a fit
    with ``start_epoch=learn.ted.epoch``. The epochs that it skips are not saved again;
    ``SaveModelCallback`` writes the loaded model over theirs.

    Examples
    --------
    >>> from ted_torch.integrations.fastai import SaveTEDCallback
    >>> SaveTEDCallback(every_epoch=True, with_opt=True).name
    'save_model'
    """

    @property
    def name(self) -> str:
        """Name under which the learner has the callback."""
        return "save_model"

    def after_epoch(self) -> None:
        """Save where fastai would, but not after an epoch that a resumed fit skips."""
        if self.learn.ted._fits:  # noqa: SLF001 - of this module
            super().after_epoch()

    def _save(self, name: str) -> None:
        """Save the model, then the session."""
        super()._save(name)
        self.learn.ted.save(name)


def _with_ids(loader: Any, samples: Iterable[int]) -> Iterator[tuple[Tensor, Any]]:
    """Make batches as a loader does, each beside the ids of its samples."""
    read = loader.do_item
    # An item that is skipped leaves its batch to the next ones.
    pairs_read = ((k, item) for k in samples if (item := read(k)) is not None)
    for pairs in loader.chunkify(pairs_read):
        ids, items = zip(*pairs, strict=True)
        yield torch.tensor(ids), loader.do_batch(list(items))


class _PastIds(Pipeline):  # type: ignore[misc]
    """The transforms of a batch, which don't see its ids; they become the last part."""

    def __call__(self, batch: Any) -> tuple[Any, ...]:
        ids, rest = batch
        if type(rest) is list:  # pinned memory makes lists of tuples
            rest = tuple(rest)
        rest = super().__call__(rest)
        return (*(rest if isinstance(rest, tuple) else (rest,)), ids)


def _planned(loader: Any, ids: list[int]) -> Any:
    """Return a loader like the learner's, of these samples, whose batches have ids."""
    kind = {} if isinstance(loader, TfmdDL) else {"cls": TfmdDL}
    given: Any = partial(list, ids)
    planned = loader.new(shuffle=False, n=len(ids), get_idxs=given, **kind)
    planned.create_batches = partial(_with_ids, planned)
    planned.after_batch = _PastIds(planned.after_batch)
    return planned


def _check_loader(loader: Any) -> None:
    """Refuse a loader whose samples or batches can't be the plan's."""
    if not isinstance(loader, DataLoader):
        msg = (
            "`dls.train` must be a loader of fastai's, got "
            f"{type(loader).__module__}.{type(loader).__name__}; make the loaders with "
            "`DataLoaders.from_dsets(train_set, valid_set, bs=64)`"
        )
        raise TypeError(msg)
    own = [
        name
        for name in _CHOOSING.split()
        if getattr(getattr(loader, name), "__func__", None)
        is not getattr(DataLoader, name)
    ]
    weights = vars(loader).get("wgts")
    if own == ["get_idxs"] and weights is not None and np.ptp(weights) == 0:
        own = []  # weights that are all alike choose nothing: fastai's for tables
    found = ""
    if own:
        found = (
            f"must leave it to TED which samples it visits, got {type(loader).__name__}"
            f" with its own `{own[0]}`; make the loaders with `dl_type=TfmdDL`, and "
            "train in one process"
        )
    elif loader.bs is None:
        found = "must make batches of samples, got `bs=None`; give it a batch size"
    elif not loader.indexed:
        found = "must read samples by index, got a stream"
    elif loader.n != len(loader.dataset):
        found = (
            f"must visit all its {len(loader.dataset)} samples, got `n={loader.n}`; "
            "give it a smaller data set"
        )
    if found:
        msg = f"`dls.train` {found}"
        raise ValueError(msg)


def _fingerprint_of(dataset: Any) -> int | None:
    """Return the CRC-32 of where a split's samples stood; None if that is not known."""
    items = getattr(dataset, "items", None)
    if isinstance(items, pd.DataFrame):
        chosen = pd.util.hash_pandas_object(items.index).to_numpy()
    elif isinstance(dataset, FilteredBase):
        chosen = np.asarray(dataset.splits[0], np.int64)
    else:
        return None
    return zlib.crc32(np.ascontiguousarray(chosen).tobytes())


def _compare(host: float, ours: float) -> None:
    """Warn where the learner's loss is not the mean of the samples' losses."""
    same = math.isclose(host, ours, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    if same or not math.isfinite(host):
        return
    warn_caller(
        f"the learner's loss must be the mean of its samples' losses, got {host:.6g} "
        f"and a mean of {ours:.6g}; the mean is trained: class weights, `ignore_index` "
        "and `reduction='sum'` make the difference"
    )
