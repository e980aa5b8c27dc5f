"""What a TED step is made of: operations, functions, closing an epoch, device waits."""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import time
from collections import Counter

import ted_torch
import torch
from ted_torch import TED
from torch.nn import functional as F  # noqa: N812
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["added_operations", "closing_costs", "device_evidence", "profile_parts"]

COUNTED = 64


class Counting(TorchDispatchMode):
    """Count the operations that reach a device; views and reads to the host apart."""

    def __init__(self):
        super().__init__()
        self.operations, self.reads = Counter(), 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Count one call."""
        del types
        name = func.overloadpacket.__name__
        if name == "_local_scalar_dense":
            self.reads += 1
        elif not func.is_view:
            self.operations[name] += 1
        return func(*args, **(kwargs or {}))


def count(steps, site):
    """Count many eager steps of a site: what waits for later steps is in them."""
    steps(site)
    with Counting() as counting:
        for _ in range(COUNTED):
            steps(site)
    return counting


def added_operations(make, sites):
    """Count what each site adds to a step with unreduced losses: eager, on average."""
    options = argparse.Namespace(
        batch=8, device="cpu", dtype="float32", compile=False, channels_last=False
    )
    steps = make("small", options)
    plain = count(steps, "unreduced losses")
    found = {}
    for site in sites:
        mine = count(steps, site)
        added = Counter(mine.operations)
        added.subtract(plain.operations)
        found[site] = {
            "operations": sum(added.values()) / COUNTED,
            "reads to the host": (mine.reads - plain.reads) / COUNTED,
            "by name": {k: v / COUNTED for k, v in sorted(added.items()) if v},
        }
    return found


def profile_parts(steps, rounds):
    """Give the microseconds a step spends in each function of the adapter.

    By cProfile, which makes every call dearer; cumulative, so parts are in their
    callers.
    """
    profile = cProfile.Profile()
    for _ in range(rounds):
        steps("plain")
        profile.enable()
        steps("logits")
        profile.disable()
    folder = next(iter(ted_torch.__path__))
    found = {}
    for (path, line, name), row in pstats.Stats(profile).stats.items():
        if path.startswith(folder):
            place = f"{path[len(folder) + 1 :].removesuffix('.py')}:{line} {name}"
            found[place] = round(1e6 * row[3] / rounds, 1)
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def closing_costs(n, device, epochs=6):
    """Give the seconds of ``set_epoch``, and what a loader's own shuffle takes."""
    ted = TED(range(n), epochs=epochs, device=device)
    closing, shuffling = [], []
    ted.set_epoch(0)
    for epoch in range(1, epochs):
        ids = torch.tensor(ted.pruner.plan().order.tolist())
        z = torch.randn(len(ids), 10, device=device, requires_grad=True)
        y = torch.randint(0, 10, (len(ids),), device=device)
        losses = F.cross_entropy(z, y, reduction="none")
        ted.loss(losses, mask=z, ids=ids).backward()
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        ted.set_epoch(epoch)
        closing.append(time.perf_counter() - start)
        start = time.perf_counter()
        torch.randperm(n).tolist()
        shuffling.append(time.perf_counter() - start)
    return {
        "n": n,
        "epochs closed": len(closing),
        "median seconds": round(statistics.median(closing), 5),
        "largest seconds": round(max(closing), 5),
        "torch.randperm(n).tolist(), median seconds": round(
            statistics.median(shuffling), 5
        ),
    }


def device_evidence(steps, sites):
    """Show what a device runs in a step of each site, and that no step waits for it.

    Over as many steps as values are gathered in, so that bringing them to the buffer
    is among them.
    """
    found = {}
    for site in sites:
        steps(site)
        torch.cuda.synchronize()
        # Any operation that PyTorch knows to wait for the device raises here.
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(COUNTED):
                steps(site)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        torch.cuda.synchronize()
        found[site] = {"sync debug mode 'error'": "passed", **traced(steps, site)}
    return found


def traced(steps, site):
    """Count kernels, copies and waits between two marks of a profile."""
    kinds = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[kinds.CPU, kinds.CUDA]) as profile:
        for mark in ("first", "last"):
            with torch.profiler.record_function(f"{mark} mark"):
                pass
            for _ in range(COUNTED if mark == "first" else 0):
                steps(site)
    events = profile.events()
    first, last = (
        next(e.time_range.start for e in events if e.name == f"{mark} mark")
        for mark in ("first", "last")
    )
    host, cuda = [], []
    for event in events:
        on_device = event.device_type == torch.autograd.DeviceType.CUDA
        (cuda if on_device else host).append(event)
    # The profiler's own waits lie outside the marks.
    waits = Counter(
        e.name
        for e in host
        if "Synchronize" in e.name and first <= e.time_range.start < last
    )
    work = [e.name for e in cuda if not e.name.endswith(" mark")]
    copies = Counter(name for name in work if name.startswith("Memcpy"))
    return {
        "steps": COUNTED,
        "kernels and fills a step": (len(work) - copies.total()) / COUNTED,
        "copies": dict(copies),
        "waits": dict(waits),
    }
