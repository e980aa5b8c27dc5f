"""Several ranks in one process: threads that add up their arrays."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import ted_core as ted


class Group:
    """Threads that take part in the same sums, and what passed between them."""

    def __init__(self, size):
        self.size = size
        self.bytes = []  # of each sum
        self._barrier = threading.Barrier(size, timeout=20)
        self._slots = [None] * size

    def all_sum(self, rank):
        def add(array):
            array = np.asarray(array)
            assert array.dtype in {np.dtype(np.int64), np.dtype(np.float64)}
            self._slots[rank] = array
            self._barrier.wait()
            parts = list(self._slots)
            assert len({(part.shape, part.dtype) for part in parts}) == 1
            self._barrier.wait()
            if rank == 0:
                self.bytes.append(array.nbytes)
            return np.sum(parts, axis=0, dtype=array.dtype)

        return add

    def run(self, function):
        """Call ``function(rank, all_sum)`` on every rank; give all results."""

        def call(rank):
            try:
                return function(rank, self.all_sum(rank))
            except BaseException:
                self._barrier.abort()
                raise

        if self.size == 1:
            return [call(0)]
        with ThreadPoolExecutor(self.size) as pool:
            futures = [pool.submit(call, rank) for rank in range(self.size)]
            errors = [future.exception() for future in futures]
        broken = threading.BrokenBarrierError
        for error in sorted(filter(None, errors), key=lambda e: isinstance(e, broken)):
            raise error
        return [future.result() for future in futures]


def split(array, sizes):
    """Give each rank's part."""
    return np.split(np.asarray(array), np.cumsum(sizes)[:-1])


def pruners(group, sizes, **options):
    """Give a function that makes this rank's pruner."""

    def make(rank, all_sum, balance="exact", **more):
        shard = ted.Shard(tuple(sizes), rank, all_sum, balance=balance)
        return ted.Pruner(sizes[rank], shard=shard, **{**options, **more})

    assert group.size == len(sizes)
    return make
