"""Write the saved states that are kept as fixtures, and what their runs do afterwards.

The files in ``tests/fixtures/states`` were written by the code of commit 3e817b2, the
last one before the format of states changed. They stand for the files that users
have: newer code must never write them anew, it must load them. The script refuses to
write into a folder that has files; a later format gets a folder of its own.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import saved_core
from saved_runs import FOLDER, same, write
from saved_states import CORE, HOSTS, KERAS, RANKS, SHARDS, TORCH
from torchrun import records


def core():
    """Write those of the core; the recorded scores that another needs come first."""
    for name in sorted(CORE, key=lambda name: bool(CORE[name].recorded)):
        kind = CORE[name]
        never = saved_core.written(f"core/{name}", kind)
        record = saved_core.resumed(f"core/{name}", kind)
        check([never], [record], kind)
        write(f"core/{name}", record, kind)
    for name, kind in SHARDS.items():
        never = saved_core.on_all(f"shards/{name}", kind, write=True)
        records = saved_core.on_all(f"shards/{name}", kind)
        check(never, records, kind)
        write(f"shards/{name}", {"ranks": records}, kind)


def check(never, records, kind):
    """Refuse to keep a state whose run is another one than that never stopped."""
    for one, other in zip(never, records, strict=True):
        if not kind.longer:
            same({**one, "loaded": other["loaded"]}, other)


def pytorch():
    """Write those of `ted_torch.TED` in one process."""
    import saved_torch  # noqa: PLC0415 - one framework a call

    for name, kind in TORCH.items():
        never = saved_torch.written(f"torch/{name}", kind)
        record = saved_torch.resumed(f"torch/{name}", kind)
        check([never], [record], kind)
        write(f"torch/{name}", record, kind)


def tensorflow():
    """Write those of `ted_keras.TED`, on TensorFlow."""
    import saved_keras  # noqa: PLC0415

    for name, kind in KERAS.items():
        with tempfile.TemporaryDirectory() as folder:
            never = saved_keras.written(f"keras/{name}", kind, Path(folder))
        with tempfile.TemporaryDirectory() as folder:
            record = saved_keras.resumed(f"keras/{name}", kind, Path(folder))
        check([never], [record], kind)
        write(f"keras/{name}", record, kind)


def hosts():
    """Write those of the trainers and loops of others."""
    from saved_hosts import host_of  # noqa: PLC0415

    for name, kind in HOSTS.items():
        host, path = host_of(name)
        runs = []
        for call in ("write", "never", "again"):
            with tempfile.TemporaryDirectory() as folder:
                if call == "write":
                    host.write(kind, folder, path)
                else:
                    saved = path if call == "again" else None
                    runs.append(host.run(kind, folder, saved))
        never, record = runs
        never["epochs"] = never["epochs"][-len(record["epochs"]) :]
        check([never], [record], kind)
        write(f"hosts/{name}", record, kind)


def ranks():
    """Write those of two processes."""
    from saved_ranks import WRITES  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        os.environ[WRITES] = "1"
        never = records("saved_ranks.py", 2, Path(folder))
        del os.environ[WRITES]
        again = records("saved_ranks.py", 2, Path(folder))
    for name, kind in RANKS.items():
        found = [record[name] for record in again]
        runs = [record[name] for record in never]
        for one, other in zip(runs, found, strict=True):
            one["epochs"] = one["epochs"][-len(other["epochs"]) :]
        check(runs, found, kind)
        write(f"ranks/{name}", {"ranks": found}, kind)


GROUPS = {
    "core": core,
    "torch": pytorch,
    "keras": tensorflow,
    "hosts": hosts,
    "ranks": ranks,
}


def main():
    parser = argparse.ArgumentParser(description="Write the saved states of fixtures.")
    parser.add_argument("group", choices=GROUPS)
    group = parser.parse_args().group
    for folder in {"core": ("core", "shards")}.get(group, (group,)):
        (FOLDER / folder).mkdir(parents=True, exist_ok=True)
        if any((FOLDER / folder).iterdir()):
            parser.error(f"{folder!r} must be empty: its files are never written anew")
    GROUPS[group]()


if __name__ == "__main__":
    main()
