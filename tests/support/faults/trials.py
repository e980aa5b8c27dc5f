"""Fork a training, kill it, resume it, and compare its end with that of a whole one."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
import traceback

from faults.watch import Moment, Watch

__all__ = ["draw", "reference", "trial"]

LONGEST = 120.0
"""Seconds after which a process counts as hanging."""


def fork(run, folder, watch, rank):
    """Run in a child; what it returns is written to ``end-RANK.json``."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        said = os.open(
            folder / f"said-{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        )
        os.dup2(said, 1)
        os.dup2(said, 2)
        end = run(folder / "work", watch, rank)
        watch.tell("ended")
        (folder / f"end-{rank}.json").write_text(json.dumps(end), encoding="utf-8")
        status = 0
    except BaseException:  # noqa: BLE001 - a forked child must not return
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def attempt(run, folder, moment=None, *, ranks=1, seconds=None):
    """Run once, to the end or to the moment; give what became of it.

    Returns
    -------
    dict
        ``codes`` of the processes, whether the one that was to die was ``killed``,
        ``seconds``, and what its watch has seen.
    """
    watches = [
        Watch(moment if moment is not None and moment.rank == rank else None)
        for rank in range(ranks)
    ]
    for watch in watches:
        watch.attempt = sum(1 for _ in (folder / "work").glob("store-*"))
    begun = time.perf_counter()
    pids = {fork(run, folder, watch, rank): rank for rank, watch in enumerate(watches)}
    due = None
    if moment is not None and moment.kind == "time":
        due = begun + moment.at * seconds
    codes, first = [0] * ranks, None
    while pids:
        time.sleep(0.0005)
        now = time.perf_counter()
        if due is not None and now >= due:
            due = None
            # The rank may have ended just before.
            stop([pid for pid, rank in pids.items() if rank == moment.rank])
        if now - begun > LONGEST:
            stop(pids)
            raise TimeoutError("\n".join(said(folder)))
        for pid in list(pids):
            over, status = os.waitpid(pid, os.WNOHANG)
            if not over:
                continue
            rank = pids.pop(pid)
            codes[rank] = os.waitstatus_to_exitcode(status)
            if codes[rank] and first is None:
                first = rank
                stop(pids)  # as a launcher does: no rank is left behind
    which = 0 if moment is None else moment.rank
    died = codes[which] in {-signal.SIGKILL, -signal.SIGXFSZ}
    return {
        "codes": codes,
        "killed": died and first == which,
        "seconds": round(time.perf_counter() - begun, 3),
        **watches[which].read(),
    }


def stop(pids):
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def hit(found, rank):
    """Give where a kill has hit."""
    names = "phase", "place", "steps", "savings", "seconds"
    by = signal.Signals(-found["codes"][rank]).name
    return {"by": by} | {name: found[name] for name in names}


def ends(folder, ranks):
    return [
        json.loads((folder / f"end-{rank}.json").read_text(encoding="utf-8"))
        for rank in range(ranks)
    ]


def said(folder):
    """Give the last line of what each process has said."""
    lines = []
    for path in sorted(folder.glob("said-*.txt")):
        text = path.read_text(encoding="utf-8", errors="replace").strip()
        lines.append(text.rpartition("\n")[2])
    return lines


def reference(run, folder, *, ranks=1):
    """Run without a kill; give the ends and what there is to draw moments from."""
    (folder / "work").mkdir(parents=True)
    found = attempt(run, folder, ranks=ranks)
    if any(found["codes"]):
        raise RuntimeError("\n".join(said(folder)))
    sizes = [p.stat().st_size for p in (folder / "work").rglob("*") if p.is_file()]
    names = "seconds", "steps", "savings", "calls"
    facts = {name: found[name] for name in names}
    return {**facts, "ends": ends(folder, ranks), "bytes": max([*sizes, 32_768])}


def draw(rng: random.Random, whole, *, ranks=1):
    """Draw a moment of any kind."""
    kind = rng.choice(["step", "time", "call", "byte"])
    saving = rng.randint(1, whole["savings"])
    rank = rng.randrange(ranks)
    if kind == "step":
        return Moment(kind, rng.randint(1, whole["steps"]), rank=rank)
    if kind == "time":
        return Moment(kind, round(rng.uniform(0, 1), 4), rank=rank)
    if kind == "call":
        at, after = rng.randint(1, whole["calls"]), rng.random() < 0.5
        return Moment(kind, at, saving, after, rank)
    return Moment(kind, rng.randrange(whole["bytes"]), saving, rank=rank)


def trial(run, folder, moments, whole, *, ranks=1):
    """Kill at each moment in turn, resume to the end, and compare.

    Returns
    -------
    dict
        ``kills``, those that hit; ``equal``, whether all that the run left is that of
        the whole one bit for bit; ``differs``, the names of what is not; ``refused``,
        the last words of a run that did not resume.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "work").mkdir(parents=True)
    kills, refused = [], None
    for moment in [*moments, None]:
        found = attempt(run, folder, moment, ranks=ranks, seconds=whole["seconds"])
        if found["killed"]:
            kills.append({"moment": moment.as_record(), **hit(found, moment.rank)})
        elif any(found["codes"]):
            refused = said(folder)
            break
        else:
            break
    differs = []
    if refused is None:
        for want, got in zip(whole["ends"], ends(folder, ranks), strict=True):
            differs += [name for name in want if want[name] != got.get(name)]
    litter = sum(1 for path in (folder / "work").rglob(".*.tmp"))
    shutil.rmtree(folder, ignore_errors=True)
    return {
        "kills": kills,
        "equal": refused is None and not differs,
        "differs": sorted(set(differs)),
        "refused": refused,
        "hidden files left": litter,
    }
