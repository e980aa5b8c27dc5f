"""Watch a training without the library's help: samples, steps, rate, final weights.

Python imports this file at the start of each process that has this folder on its path.
Where ``TED_WATCH`` names a folder, the process leaves its account there at its end;
with ``TED_KILL`` it kills itself after that optimizer step.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import random
import re
import signal
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import numpy as np


def killed_after(step):
    """Kill this process if that was the step to die after."""
    if step == int(os.environ.get("TED_KILL", "0")):
        os.kill(os.getpid(), signal.SIGKILL)


def write(account):
    """Leave an account of this process, with the plan of its last session."""
    if pruners:
        pruner = pruners[-1]
        account["planned"] = int(pruner.schedule_table()["kept"].sum())
        account["session"] = int(pruner.savings().forwarded)
    account["ended"] = time.time()
    path = Path(os.environ["TED_WATCH"]) / f"{os.getpid()}.json"
    path.write_text(json.dumps(account), encoding="utf-8")


def checksum(arrays):
    """Return one checksum of arrays."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(array.tobytes())
    return total.hexdigest()


def keep_pruners():
    """Keep the sessions' pruners, to read their plans at the end."""
    import ted_core  # noqa: PLC0415 - only where a training is watched

    begin = ted_core.Pruner.__init__

    def kept(self, *args, **kwargs):
        begin(self, *args, **kwargs)
        pruners.append(self)

    ted_core.Pruner.__init__ = kept


def rows(value):
    """Return the samples of a call's argument: the first tensor's, or a list's."""
    if hasattr(value, "ndim"):
        return len(value) if value.ndim else None
    if isinstance(value, list | tuple) and value:
        if hasattr(value[0], "items"):  # the columns of a batch
            return rows(value[0])
        return len(value) if rows(value[0]) is not None else None
    values = value.values() if hasattr(value, "items") else ()
    return next((n for n in map(rows, values) if n is not None), None)


def watch_torch():
    """Count the samples of outermost forward calls in training, by hooks of PyTorch."""
    import torch  # noqa: PLC0415
    from torch.nn.modules import module as hooks  # noqa: PLC0415
    from torch.optim.optimizer import (  # noqa: PLC0415
        register_optimizer_step_post_hook,
    )

    torch.manual_seed(0)
    depth, steps, counts, optimizers = 0, 0, {}, []

    def enter(*_):
        nonlocal depth
        depth += 1

    def leave(module, args, kwargs, _):
        nonlocal depth
        depth -= 1
        trained = any(weight.requires_grad for weight in module.parameters())
        if depth == 0 and module.training and trained and torch.is_grad_enabled():
            counts.setdefault(module, 0)
            counts[module] += rows({"args": args[0] if args else None, **kwargs})

    def stepped(optimizer, *_):
        nonlocal steps
        steps += 1
        optimizers[:] = [optimizer]
        killed_after(steps)

    def ended():
        if not steps:
            return
        model = max(counts, key=counts.get)
        tensors = [t for t in model.state_dict().values() if torch.is_tensor(t)]
        write(
            {
                "forwarded": counts[model],
                "steps": steps,
                "rate": [float(g["lr"]) for g in optimizers[0].param_groups],
                "weights": checksum(
                    t.cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
                    for t in tensors
                ),
            }
        )

    hooks.register_module_forward_pre_hook(enter)
    hooks.register_module_forward_hook(leave, with_kwargs=True, always_call=True)
    register_optimizer_step_post_hook(stepped)
    if os.environ["TED_FRAMEWORK"] == "fastai":  # its optimizers are its own
        from fastai.optimizer import Optimizer  # noqa: PLC0415

        step = Optimizer.step
        Optimizer.step = lambda self: stepped(self, step(self))
    if os.environ["TED_FRAMEWORK"] == "ray":  # which ends its workers by force
        import ray.train  # noqa: PLC0415

        report = ray.train.report
        ray.train.report = lambda *a, **k: (ended(), report(*a, **k))[1]
    atexit.register(ended)


def watch_module(framework):
    """Watch another framework, by a module of this folder."""
    account_of = import_module(f"watch_{framework}").watch(killed_after)

    def ended():
        account = account_of()
        if account["steps"]:
            write(account | {"weights": checksum(account["weights"])})

    atexit.register(ended)


pruners = []
of_these = re.search(os.environ.get("TED_PROCESSES", ""), " ".join(sys.orig_argv))
if "TED_WATCH" in os.environ and of_these:
    with suppress(ImportError):  # beside a PyTorch that torchvision is not made for
        import torchvision_ops

        torchvision_ops.use()
    keep_pruners()
    random.seed(0)  # for scripts that take no seed
    np.random.seed(0)  # noqa: NPY002
    if os.environ["TED_FRAMEWORK"] in {"torch", "fastai", "ray"}:
        watch_torch()
    else:
        watch_module(os.environ["TED_FRAMEWORK"])
