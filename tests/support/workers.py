"""Workers of PyTorch's loaders, made by a process that has no threads.

A test process may hold JAX, TensorFlow and Ray, and what it forks among their threads
may crash. What a worker is given must be importable here.
"""

from __future__ import annotations

import multiprocessing

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["ted_torch", "torchdata.stateful_dataloader"])
WORKERS = {"num_workers": 2, "multiprocessing_context": SERVER}
