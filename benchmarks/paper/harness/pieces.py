"""Runs one after the other, each in pieces: what is done, and what is next."""

from __future__ import annotations

import json
import re
import time
import zlib

import numpy as np
import torch
from harness.configs import read_config, rows
from harness.methods import pruner_options
from harness.records import PARTS, open_record, take_run, write
from harness.rivals import RIVALS
from harness.sources import Plain, TedSource
from harness.static_rows import RANKINGS
from harness.tasks import kind_of, loop_of

from ted_core import keep_count

__all__ = ["SAVE_SECONDS", "Pieces"]

SAVE_SECONDS = 20
"""Seconds between two checkpoints of a run: what may be lost when it is killed."""


class Pieces:
    """The runs of a configuration.

    Parameters
    ----------
    arguments : argparse.Namespace
        Those of ``run.py``.
    end : float
        ``time.perf_counter()`` at which the piece has to be over.
    """

    def __init__(self, arguments, end):
        torch.set_num_threads(arguments.threads)
        torch.set_float32_matmul_precision("high")
        self.config = config = read_config(arguments.config)
        self.rows = [
            row
            for row in rows(config)
            if not arguments.methods or row[1] in arguments.methods
        ]
        self._device, self._end = arguments.device, end
        alike = json.dumps([config[part] for part in PARTS], sort_keys=True)
        folder = f"{config['name']}-{zlib.crc32(alike.encode()):08x}"
        self._work = arguments.work / folder
        self._work.mkdir(parents=True, exist_ok=True)
        self._path = arguments.out / f"{config['name']}.json"
        self._kind, self._loop = kind_of(config), loop_of(config)
        self._record = open_record(
            self._path,
            config,
            device=arguments.device,
            threads=arguments.threads,
            packages=(*self._kind.PACKAGES, *self._loop.PACKAGES),
        )
        self._data = self._kind.load(config, arguments)
        self._labels = self._kind.labels(self._data)
        self._longest = {}

    def run(self, ratio, method, spec, seed):
        """Train this run to its end; False if the time does not suffice."""
        if take_run(self._record, ratio, method, seed) is not None:
            return True
        name = re.sub(r"[^A-Za-z0-9.]+", "-", f"{ratio} {method} {seed}")
        training = self._train(name, spec, seed)
        if training is None:
            return False
        n = len(self._labels)
        result = {"prune_ratio": ratio, "method": method, "seed": seed}
        result |= training.result()
        if spec.get("source") in RIVALS:
            result["version"] = training.source.version
        full = n * self.config["training"]["epochs"]
        result["samples_full"] = full
        self._record["runs"].append(result)
        write(self._path, self._record)
        self._checkpoint(name).unlink(missing_ok=True)
        saved = 1 - result["samples_forwarded"] / full
        metric = self.config["metric"]
        print(
            f"{ratio} {method}, seed {seed}: {result[metric]:.4f}, saved "
            f"{saved:.3f}, {result['seconds']:.1f} s",
            flush=True,
        )
        return True

    def _train(self, name, spec, seed):
        """Return the finished training, from its checkpoint on; None if time is up."""
        source = self._source(name, spec, seed)
        if source is None:
            return None
        setup, path = self.config["training"], self._checkpoint(name)
        where = {"device": self._device}
        task = self._kind.Task(self._data, setup, seed=seed, **where)
        training = self._loop.Training(source, task, setup, **where)
        if path.exists():
            training.load_state_dict(torch.load(path, weights_only=True))
        kind = spec.get("source", "ted")
        saved = time.perf_counter()
        while not training.finished:
            begun = time.perf_counter()
            over = begun + 1.1 * self._longest.get(kind, 0) > self._end
            if training.epoch and (over or begun - saved > SAVE_SECONDS):
                save(path, training)
                saved = begun
            if over:
                return None
            training.train_epoch()
            took = time.perf_counter() - begun
            self._longest[kind] = max(took, self._longest.get(kind, 0))
        if spec.get("keeps") == "last layer":
            np.savez(self._scores(spec, seed), **training.task.last_layer())
        elif source.scores is not None:
            np.save(self._scores(spec, seed), source.scores)
        return training

    def _source(self, name, spec, seed):
        """Return who chooses the samples; None if its surrogate needs more time."""
        n, setup = len(self._labels), self.config["training"]
        options = {"epochs": setup["epochs"], "batch": setup["batch"], "seed": seed}
        kind = spec.get("source", "ted")
        if kind == "plain":
            steps = spec.get("steps")
            if "steps of" in spec:
                steps = self._ted(spec, spec["steps of"], options).total_steps
            return Plain(n, **options, steps=steps)
        if kind in RIVALS:
            counts = self._ted(spec, {}, options).ted.pruner.schedule_table()["kept"]
            given = {"seed": seed, "folder": self._work / name, "batch": setup["batch"]}
            return RIVALS[kind](spec, self._labels, counts, **given)
        scores = None
        if spec.get("scores of") == "chance":
            scores = np.random.default_rng(seed).random(n)
        elif "scores of" in spec:
            scores = self._surrogate(spec, seed)
            if scores is None:
                return None
        return self._ted(spec, {}, options, scores=scores, own=True)

    def _ted(self, spec, other, options, *, scores=None, own=False):
        """Return a session: the spec's own, or TED's at its ratio but for `other`."""
        if not own:
            spec = self._like_ted(spec) | other
        options = options | {"epochs": spec.get("epochs", options["epochs"])}
        given = pruner_options(spec, labels=self._labels, scores=scores)
        if self.config["training"].get("compile"):
            # Two shapes of a batch at most, so that little is compiled.
            given.setdefault("multiple_of", self.config["training"]["batch"])
        n = len(self._labels)
        return TedSource(n, **options, device=self._device, spec=spec, options=given)

    def _surrogate(self, spec, seed):
        """Return the scores that a run of TED's, or of another method, ended with.

        Or a ranking by what its last layer gave for each sample at its end.
        """
        count = keep_count(len(self._labels), 1 - spec["prune_ratio"])
        rank = RANKINGS.get(spec.get("ranking"))
        spec = self._like_ted(spec) | spec["scores of"]
        path = self._scores(spec, seed)
        if not path.exists():
            name = path.stem
            if self._train(name, spec, seed) is None:
                return None
            self._checkpoint(name).unlink(missing_ok=True)
        found = np.load(path)
        return found if rank is None else rank(found, count, seed)

    def _scores(self, spec, seed):
        text = " ".join(f"{k} {v}" for k, v in sorted(spec.items()))
        name = re.sub(r"[^A-Za-z0-9.]+", "-", f"{text} {seed}")
        return self._work / (name + (".npz" if spec.get("keeps") else ".npy"))

    def _checkpoint(self, name):
        return self._work / f"{name}.pt"

    def _like_ted(self, spec):
        """Return TED's spec at the prune ratio of another's."""
        pruning = dict(self.config["pruning"])
        del pruning["prune_ratios"]
        return pruning | {"prune_ratio": spec["prune_ratio"]}


def save(path, training):
    """Write a checkpoint, whole or not at all."""
    beside = path.with_suffix(".new")
    torch.save(training.state_dict(), beside)
    beside.replace(path)
