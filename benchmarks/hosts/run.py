"""Run the packages' own scripts with the lines of their host's page, on tiny data.

``python benchmarks/hosts/run.py --sources DIR [NAME ...]``. ``DIR`` has a checkout of
each repository that is needed, ``DIR/examples`` of ``pytorch/examples`` and so on.

A script runs as it is, with the lines of the page, and with them killed and resumed.
What it did is counted by ``watch/sitecustomize.py``, not by the library. A record holds
what came out; `benchmarks/pages/hosts.py` makes the page.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import import_module, metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
RECORDS = HERE / "records"
GROUPS = ("vision", "texts", "frameworks")
EQUAL = "equal"


@dataclass(frozen=True)
class Script:
    """A script of a package, and what a user of the page does to it.

    ``edits`` has for each file beside the script what to do: ``at``, ``before`` or
    ``after`` the lines that a regular expression matches stand ours, with their
    indentation. In ``arguments``, and in ``resume`` which follows them, ``{data}``
    and ``{out}`` are folders; ``resume`` is None where a script can't resume, and
    ``remark`` says so. ``needed`` are edits that the script needs as it is, too: to run
    here, without a network or a GPU, or to resume.

    What ``data`` writes into ``cwd`` lies where the script starts, and modules of
    ``modules`` stand in for what it downloads. Of ``workers`` the samples are added up;
    where the page has the host start them anew, ``restarted``, one of them is killed
    and not the script.
    """

    page: str
    repository: str
    commit: str
    path: str
    edits: Mapping[str, Sequence[tuple[str, ...]]]
    arguments: str
    data: Callable[[Path], None]
    resume: str | None = None
    remark: str = ""
    rate: float | None = None  # None: where the script ends as it is
    kill: float = 0.7  # of the steps
    packages: Sequence[str] = ("torch",)
    framework: str = "torch"
    environment: Mapping[str, str] = field(default_factory=dict)
    needed: Mapping[str, Sequence[tuple[str, ...]]] = field(default_factory=dict)
    workers: int = 1
    restarted: bool = False


def edited(text, edits, name):
    """Return a file's text with our lines in it."""
    for where, anchor, *ours in edits:
        found = list(re.finditer(anchor, text, re.MULTILINE))
        if len(found) != 1:
            message = (
                f"the anchor {anchor!r} must match once in {name}, got {len(found)} "
                "matches; take the script's commit, or mend the anchor"
            )
            raise ValueError(message)
        begin = text.rfind("\n", 0, found[0].start()) + 1
        end = text.index("\n", found[0].end()) + 1
        theirs = text[begin:end]
        indent = re.match(" *", theirs)[0]
        lines = "".join(f"{indent}{line}".rstrip() + "\n" for line in ours)
        lines = {"at": lines, "before": lines + theirs, "after": theirs + lines}[where]
        text = text[:begin] + lines + text[end:]
    return text


def changed(before, after):
    """Count the lines that went and those that came."""
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    marks = [line[0] for line in lines]
    return marks.count("-"), marks.count("+")


class Place:
    """A temporary folder with the script, its data, and what its runs leave."""

    def __init__(self, script, sources, root):
        self.script, self.root = script, root
        repository = sources / script.repository.split("/")[-1]
        origin = repository / script.path if script.repository else HERE / script.path
        self.files, self.lines = {}, [0, 0]
        for name in ("plain", "ours"):
            for path in origin.parent.glob("*.py"):
                target = root / name / "script" / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
        script.data(root / "plain" / "data")
        shutil.copytree(root / "plain" / "data", root / "ours" / "data")
        for name, edits in script.edits.items():
            path = root / "ours" / "script" / name
            text = path.read_text(encoding="utf-8")
            blob = b"blob %d\0%s" % (len(text.encode()), text.encode())
            self.files[name] = hashlib.sha1(blob).hexdigest()  # noqa: S324 - as git
            text = edited(text, script.needed.get(name, ()), name)
            (root / "plain" / "script" / name).write_text(text, encoding="utf-8")
            path.write_text(edited(text, edits, name), encoding="utf-8")
            for side, count in enumerate(changed(text, path.read_text("utf-8"))):
                self.lines[side] += count

    def run(self, kind, out, *, resume=False, kill=0):
        """Run the script once; return its account, of a killed one None."""
        folder = self.root / kind
        watched = self.root / f"watched {kind} {out} {resume} {kill}"
        watched.mkdir()
        names = {"data": folder / "data", "out": folder / out}
        names["out"].mkdir(exist_ok=True)
        if (folder / "data" / "cwd").exists():
            shutil.copytree(folder / "data/cwd", names["out"], dirs_exist_ok=True)
        words = self.script.arguments.split()
        if resume:
            words += self.script.resume.split()
        command = [sys.executable, folder / "script" / Path(self.script.path).name]
        for word in (Path(word.format(**names)) for word in words):
            found = [word]
            if "*" in word.name:  # of several checkpoints the newest
                found = sorted(word.parent.glob(word.name), key=os.path.getmtime)
            command.append(found[-1])
        paths = [
            str(HERE / "watch"),
            str(folder / "data" / "modules"),
            str(HERE.parents[1] / "tests/support"),
            os.environ.get("PYTHONPATH", ""),
        ]
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONHASHSEED": "0",
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "TED_WATCH": str(watched),
            "TED_FRAMEWORK": self.script.framework,
            "TED_KILL": str(kill),
            **{k: v.format(**names) for k, v in self.script.environment.items()},
        }
        done = subprocess.run(  # noqa: S603
            command,
            cwd=names["out"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        kill = kill and not self.script.restarted
        if done.returncode != (-signal.SIGKILL if kill else 0):
            message = f"{command} ended with {done.returncode}: {done.stderr}"
            raise RuntimeError(message)
        if kill:
            return None
        accounts = [json.loads(path.read_text("utf-8")) for path in watched.iterdir()]
        accounts.sort(key=lambda one: one["ended"])
        accounts = accounts[-self.script.workers :]
        if not accounts:
            message = f"{command} took no step that was seen: {done.stderr}"
            raise RuntimeError(message)
        forwarded = sum(one["forwarded"] for one in accounts)
        return max(accounts, key=lambda one: one["steps"]) | {"forwarded": forwarded}

    def resumed(self, kind, whole):
        """Say what becomes of a run that is killed and resumed."""
        kill = max(1, int(self.script.kill * whole["steps"]))
        again = self.run(kind, "killed", kill=kill)
        try:
            again = again or self.run(kind, "killed", resume=True)
        except RuntimeError as error:
            return re.findall(r"^(?:\w+\.)*(\w+Error): ", str(error), re.MULTILINE)[-1]
        if again["steps"] >= whole["steps"]:
            return "begins anew"
        return EQUAL if again["weights"] == whole["weights"] else "other weights"

    def outcome(self, kind):
        """Return the account of a whole run, and what becomes of one that is killed."""
        whole = self.run(kind, "whole")
        alone = self.script.restarted and kind == "plain"  # no host would start it anew
        fits = self.script.resume is not None and not alone
        return whole | {"resumed": self.resumed(kind, whole) if fits else None}


def record_of(script, sources, root):
    """Run a script and return what came out."""
    place = Place(script, sources, root)
    with ThreadPoolExecutor() as pool:
        plain, ours = pool.map(place.outcome, ("plain", "ours"))
    shown = "forwarded", "steps", "rate", "resumed"
    return {
        "page": script.page,
        "repository": script.repository,
        "commit": script.commit,
        "path": script.path,
        "files": place.files,
        "lines": dict(zip(("removed", "added"), place.lines, strict=True)),
        "arguments": script.arguments,
        "full": {name: plain[name] for name in shown},
        **{name: ours[name] for name in ("session", "planned", *shown)},
        "remark": script.remark,
        "versions": {name: metadata.version(name) for name in script.packages},
    }


def wrong(script, record):
    """Return what a record shows to be wrong, in words."""
    ends = record["full"]["rate"] if script.rate is None else [script.rate]
    rates = zip(ends, record["rate"], strict=False)
    found = []
    if not record["forwarded"] == record["session"] == record["planned"]:
        found.append("the samples forwarded are not those planned")
    if record["forwarded"] >= record["full"]["forwarded"]:
        found.append("nothing was saved")
    if not all(math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-12) for a, b in rates):
        found.append("the rate ends elsewhere")
    if record["resumed"] != EQUAL:
        if record["full"].get("resumed") == EQUAL:
            found.append("without our lines it resumes to the same weights")
        if not script.remark:
            found.append("it does not resume, and no remark says why")
    return found


def scripts():
    """Return all scripts by name."""
    modules = map(import_module, GROUPS)
    return {name: each for module in modules for name, each in module.SCRIPTS.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--sources", type=Path, required=True)
    options = parser.parse_args()
    every = scripts()
    for name in options.names or every:
        with tempfile.TemporaryDirectory() as folder:
            record = record_of(every[name], options.sources.resolve(), Path(folder))
        text = json.dumps(record, indent=1) + "\n"
        (RECORDS / f"{name}.json").write_text(text, encoding="utf-8")
        print(name, text, *wrong(every[name], record))


if __name__ == "__main__":
    main()
