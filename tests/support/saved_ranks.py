"""The runs on two processes whose saved states are fixtures."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import saved_torch
import torch
import torch.distributed as dist
from rank_run import join
from saved_hosts import HOSTS_BY_NAME, host_of
from saved_states import RANKS

UNDER_DDP = {"strategy": "ddp", "devices": 2, "use_distributed_sampler": False}
WRITES = "WRITE_STATE_FIXTURES"
"""Environment variable that has the states written."""


def of_host(name, kind, _, *, write):
    """Give what a run under a host does: never stopped, or gone on with."""
    host, path = host_of(name, "ranks")
    options = UNDER_DDP if name.startswith("lightning") else {}
    with tempfile.TemporaryDirectory() as folder:
        if write:
            host.write(kind, folder, path, **options)
        dist.barrier()
        return host.run(kind, folder, None if write else path, **options)


def of_session(name, kind, rank, *, write):
    """Give what a run of the session does: never stopped, or gone on with."""
    if write:
        return saved_torch.written(f"ranks/{name}", kind, rank=rank)
    return saved_torch.resumed(f"ranks/{name}", kind, rank=rank)


def main(rank, size, folder):
    """Run all on one process of a group, and write what it saw."""
    torch.set_num_threads(1)
    join(rank, size, folder)
    record = {}
    for name, kind in RANKS.items():
        hosted = name.partition("_")[0] in HOSTS_BY_NAME
        run = of_host if hosted else of_session
        record[name] = run(name, kind, rank, write=WRITES in os.environ)
    (folder / f"{rank}.json").write_text(json.dumps(record), encoding="utf-8")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), Path(sys.argv[1]))
