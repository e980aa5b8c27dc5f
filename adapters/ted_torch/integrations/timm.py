"""TED in training scripts of timm: its loader, with ids; needs the extra ``timm``."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any

import torch
from timm.data import AugMixDataset, FastCollateMixup
from timm.data.distributed_sampler import RepeatAugSampler
from timm.data.loader import MultiEpochsDataLoader, PrefetchLoader
from timm.data.mixup import mixup_target
from torch.utils.data import BatchSampler, DataLoader, default_collate

from ted_torch.data import CollateWithIds, options_of
from ted_torch.session import TED

__all__ = ["TimmLoader"]


class TimmLoader:
    """What timm's ``create_loader`` made, on the samples that an epoch keeps.

    Parameters
    ----------
    ted : TED
        The session, of the very data set that the loader is of.
    loader : DataLoader or timm.data.loader.PrefetchLoader
        From ``create_loader(..., is_training=True)``.

    Attributes
    ----------
    loader : DataLoader
        Loads ids and items: the workers, transforms and collation of `loader`, with the
        session's sampler.

    Raises
    ------
    TypeError
        `loader` is none of timm's for images.
    ValueError
        `loader` is of another data set, keeps its iterator, repeats or splits what it
        augments, has a batch sampler of its own, or mixes half batches.

    Notes
    -----
    Batches are ``(ids, (input, target))``, where timm's are ``(input, target)``. The
    prefetcher goes on moving the next batch to the device and normalising it there.
    Where ``FastCollateMixup`` mixes, the ids are pairs, as :meth:`ted_torch.TED.loss`
    takes them: each sample's value is shared by how much of the input it is.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from timm.data import create_loader
    >>> from ted_torch import TED
    >>> from ted_torch.integrations.timm import TimmLoader
    >>> class Data(torch.utils.data.Dataset):
    ...     transform = None
    ...     def __len__(self):
    ...         return 8
    ...     def __getitem__(self, k):
    ...         return np.full((3, 4, 4), k, np.uint8), k % 2
    >>> cpu, data = torch.device("cpu"), Data()
    >>> loader = create_loader(data, 4, 4, is_training=True, num_workers=0, device=cpu)
    >>> ted = TED(data, epochs=5)
    >>> loader = TimmLoader(ted, loader)
    >>> ted.set_epoch(0)
    >>> [input.shape for ids, (input, target) in loader]
    [torch.Size([4, 3, 4, 4]), torch.Size([4, 3, 4, 4])]
    """

    def __init__(self, ted: TED[Any], loader: Any) -> None:
        prefetcher: Any = loader if isinstance(loader, PrefetchLoader) else None
        plain = loader if prefetcher is None else prefetcher.loader
        _check_loader(ted, plain)
        collate = plain.collate_fn
        mixes = isinstance(collate, FastCollateMixup)
        self.loader: DataLoader[Any] = DataLoader(
            ted.dataset,
            sampler=ted.sampler,
            collate_fn=_MixedCollate(collate) if mixes else CollateWithIds(collate),
            **options_of(plain),
        )
        self._prefetcher: Any = copy(prefetcher)
        self._mixup = collate if mixes else None
        self._ids: deque[Any] = deque()
        if prefetcher is not None:
            self._prefetcher.loader = _WithoutIds(self.loader, self._ids)

    @property
    def dataset(self) -> Any:
        """The session's data set."""
        return self.loader.dataset

    @property
    def sampler(self) -> Any:
        """The session's sampler."""
        return self.loader.sampler

    @property
    def batch_sampler(self) -> Any:
        """The loader's batch sampler."""
        return self.loader.batch_sampler

    @property
    def mixup_enabled(self) -> bool:
        """Whether the loader mixes; to be set, as timm's scripts do."""
        return self._mixup is not None and bool(self._mixup.mixup_enabled)

    @mixup_enabled.setter
    def mixup_enabled(self, enabled: bool) -> None:
        if self._mixup is not None:
            self._mixup.mixup_enabled = enabled

    def __len__(self) -> int:
        """Count the batches of the current epoch."""
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        """Yield the current epoch's ids and batches."""
        if self._prefetcher is None:
            yield from self.loader
            return
        # The prefetcher gives each batch out once and in order: the ids wait in line.
        self._ids.clear()
        for batch in self._prefetcher:
            yield self._ids.popleft(), batch


class _WithoutIds:
    """Batches as the prefetcher takes them; their ids wait in line."""

    def __init__(self, loader: DataLoader[Any], ids: deque[Any]) -> None:
        self._loader, self._ids = loader, ids

    def __iter__(self) -> Iterator[Any]:
        for ids, batch in self._loader:
            self._ids.append(ids)
            yield batch


class _MixedCollate:
    """Collate and mix, and tell how much of each row is its own and its partner's."""

    def __init__(self, mixup: FastCollateMixup) -> None:
        self.mixup = mixup

    def __call__(self, pairs: Sequence[tuple[int, Any]]) -> Any:
        """Return pairs of ids and weights, and the mixed batch."""
        ids = torch.tensor([each for each, _ in pairs])
        items = [item for _, item in pairs]
        # With its place for a class, a sample's target is its share of each row.
        shares = copy(self.mixup)
        shares.num_classes, shares.label_smoothing = len(items), 0.0
        shares.multi_label = False
        marked = [(item[0], place) for place, item in enumerate(items)]
        mixed, weights = shares(marked)
        own = weights.diagonal()
        target = mixup_target(
            default_collate([item[1] for item in items]),
            self.mixup.num_classes,
            own[:, None],
            self.mixup.label_smoothing,
            self.mixup.multi_label,
        )
        return [(ids, own), (ids.flip(0), 1 - own)], (mixed, target)


def _check_loader(ted: TED[Any], loader: Any) -> None:
    """Refuse a loader whose batches would not be the plan's."""
    if not isinstance(loader, DataLoader):
        msg = (
            f"`loader` must be what `create_loader` makes, got {type(loader).__name__}"
        )
        raise TypeError(msg)
    batches, collate = loader.batch_sampler, loader.collate_fn
    found = ""
    if isinstance(loader, MultiEpochsDataLoader):
        found = (
            "must ask its sampler in each epoch, got a MultiEpochsDataLoader; leave "
            "out `use_multi_epochs_loader`: workers live on all the same"
        )
    elif type(batches) is not BatchSampler:
        found = (
            f"must have batches of one size, got a {type(batches).__name__}; leave out "
            "`input_size_choices`"
        )
    elif isinstance(loader.sampler, RepeatAugSampler):
        found = "must visit a sample once, got repeats; leave out `num_aug_repeats`"
    elif isinstance(loader.dataset, AugMixDataset):
        found = "must give a row for each item, got the splits of an AugMixDataset"
    elif isinstance(collate, FastCollateMixup) and collate.mode == "half":
        found = "must mix whole batches, got the mode 'half'; take 'elem'"
    elif loader.dataset is not ted.dataset.dataset:
        found = "must be of the session's data set, got another"
    if found:
        msg = f"`loader` {found}"
        raise ValueError(msg)
