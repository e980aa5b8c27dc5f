"""A framework's loader, made again for a session's data."""

from __future__ import annotations

from typing import Any

from torch.utils.data import DataLoader


def options_of(loader: DataLoader[Any]) -> dict[str, Any]:
    """Return what a loader was made with, but for data, sampler and collation."""
    return {
        "batch_size": loader.batch_size,
        "num_workers": loader.num_workers,
        "pin_memory": loader.pin_memory,
        "drop_last": loader.drop_last,
        "timeout": loader.timeout,
        "worker_init_fn": loader.worker_init_fn,
        "multiprocessing_context": loader.multiprocessing_context,
        "generator": loader.generator,
        "prefetch_factor": loader.prefetch_factor,
        "persistent_workers": loader.persistent_workers,
    }
