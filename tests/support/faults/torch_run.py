"""A PyTorch run that saves as the docs say, on one process or on several ranks."""

from __future__ import annotations

import hashlib
import shutil
import struct

import torch
import torch._dynamo  # a child that was forked need not import it
import torch.distributed as dist
from ted_torch import TED
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

from ted_core import TopScore, atomic_write

__all__ = ["on_ranks", "over_the_only_one", "run"]

N, EPOCHS, BATCH, EVERY = 1500, 6, 50, 7


class Training:
    """All that makes a run, in one object that goes to a file and back."""

    def __init__(self, wrap=lambda net: net):
        torch.manual_seed(1)
        x = torch.randn(N, 8)
        data = TensorDataset(x, (x[:, 0] > 0).long() + (x[:, 1] > 0.3))
        self.net = nn.Sequential(
            nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3)
        )
        self.wrapped = wrap(self.net)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.1, momentum=0.9)
        self.ted = TED(
            data,
            epochs=EPOCHS,
            prune_ratio=0.6,
            seed=4,
            signal="mask_gradient",
            strategy=TopScore(),
        )
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, max_lr=0.2, total_steps=self.ted.total_steps(BATCH)
        )
        # Without a generator of its own a loader draws from the global one each epoch.
        self.loader = DataLoader(
            self.ted.dataset,
            batch_size=BATCH,
            sampler=self.ted.sampler,
            generator=torch.Generator(),
        )
        self.trail = ""

    @property
    def parts(self):
        return {
            "net": self.net,
            "optimizer": self.optimizer,
            "scheduler": self.scheduler,
            "ted": self.ted,
        }

    def state_dict(self):
        state = {name: part.state_dict() for name, part in self.parts.items()}
        return {**state, "generator": torch.get_rng_state(), "trail": self.trail}

    def load_state_dict(self, state):
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        torch.set_rng_state(state["generator"])
        self.trail = state["trail"]

    def steps(self):
        """Train to the end; yield after every step."""
        for epoch in range(self.ted.epoch, EPOCHS):
            self.ted.set_epoch(epoch)
            plan = self.ted.pruner.plan()
            for ids, (x, y) in self.loader:
                yield "begin"
                logits = self.wrapped(x)
                losses = F.cross_entropy(logits, y, reduction="none")
                loss = self.ted.loss(losses, mask=logits, ids=ids)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                self.scheduler.step()
                self._follow(plan, ids, loss)
                yield "end"
        self.ted.finish()

    def _follow(self, plan, ids, loss):
        """Chain what this step was: epoch, order, scale, ids and loss."""
        head = struct.pack("<qqd", plan.epoch, plan.checksum, plan.loss_scale)
        body = ids.numpy().tobytes() + loss.detach().numpy().tobytes()
        self.trail = digest(self.trail.encode() + head + body)

    def end(self):
        """Give what must be alike, bit for bit."""
        pruner = self.ted.pruner
        history = repr(pruner.report()).encode() + repr(pruner.savings()).encode()
        return {
            "order and losses of every step": self.trail,
            "scores": digest(pruner.scores.tobytes()),
            "visits": digest(pruner.update_counts.tobytes()),
            "history": digest(history),
            "session": digest(flat(self.ted.state_dict())),
            "weights": digest(flat(self.net.state_dict())),
            "optimizer": digest(flat(self.optimizer.state_dict())),
            "generator": digest(torch.get_rng_state().numpy().tobytes()),
        }


def digest(data):
    return hashlib.sha256(data).hexdigest()


def flat(value):
    """Give the bytes of nested tensors and plain values."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype).encode() + value.numpy().tobytes()
    if isinstance(value, dict):
        return b"".join(repr(k).encode() + flat(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return b"".join(flat(part) for part in value)
    return repr(value).encode()


def whole(state, path):
    """Save so that the file is whole at any moment."""
    with atomic_write(path) as file:
        torch.save(state, file)


def run(folder, watch, _rank=0, save=whole):
    """Train from the checkpoint, if there is one."""
    torch.set_num_threads(1)
    training, path = Training(), folder / "run.pt"
    if path.exists():
        training.load_state_dict(torch.load(path, weights_only=True))
    done = 0
    for moment in training.steps():
        if moment == "begin":
            watch.step()
            continue
        done += 1
        if done % EVERY == 0:
            with watch.saving():
                save(training.state_dict(), path)
    return training.end()


def over_the_only_one(folder, watch, _rank=0):
    """Train likewise, but write over the only checkpoint: what not to do."""
    return run(folder, watch, save=torch.save)


def on_ranks(folder, watch, rank):
    """Train on two ranks; a checkpoint is a folder that appears whole or not at all."""
    torch.set_num_threads(1)
    store = f"file://{folder}/store-{watch.attempt}"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    training = Training(DistributedDataParallel)
    torch.manual_seed(100 + rank)
    saved = sorted(folder.glob("step-*"))
    done = 0
    if saved:
        state = torch.load(saved[-1] / f"{rank}.pt", weights_only=True)
        training.load_state_dict(state["training"])
        done = state["done"]
    for moment in training.steps():
        if moment == "begin":
            watch.step()
            continue
        done += 1
        if done % EVERY == 0:
            with watch.saving():
                state = {"training": training.state_dict(), "done": done}
                save_on_ranks(folder, state, rank, f"step-{done:06d}")
    end = training.end()
    dist.barrier()
    # First the wrapper: it frees a group that it holds last with Python's lock held,
    # for which a thread of gloo may wait.
    del training
    dist.destroy_process_group()
    return end


def save_on_ranks(folder, state, rank, name):
    """Write one file a rank, then give the folder its name."""
    new = folder / "new"
    new.mkdir(exist_ok=True)
    whole(state, new / f"{rank}.pt")
    dist.barrier()
    if rank == 0:
        new.replace(folder / name)
        for older in sorted(folder.glob("step-*"))[:-1]:
            shutil.rmtree(older)
    dist.barrier()
