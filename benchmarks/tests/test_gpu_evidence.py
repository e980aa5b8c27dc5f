"""The GPU's comparison, tried on the CPU at an eighth of the width."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

SCRIPT = Path(__file__).parents[1] / "evidence" / "gpu.py"
SMALL = "--device cpu --width 0.125 --samples 96 --epochs 4 --batch 32 --seeds 3"


def run(folder, *more):
    command = [sys.executable, SCRIPT, "--data-dir", folder, "--record"]
    command += [folder / "record.json", *SMALL.split(), "--rates", "0.1", "0.2", *more]
    return subprocess.run(  # noqa: S603 - our own script
        command, capture_output=True, text=True, check=False
    )


def test_a_stopped_comparison_goes_on_and_counts_the_proxys_passes(tmp_path):
    dice = np.random.default_rng(0)
    np.savez(
        tmp_path / "cifar10.npz",
        x_train=dice.integers(0, 256, (128, 32, 32, 3), np.uint8),
        y_train=np.arange(128) % 10,
        x_test=dice.integers(0, 256, (32, 32, 32, 3), np.uint8),
        y_test=np.arange(32) % 10,
    )
    stopped = run(tmp_path, "--limit-seconds", "1")
    assert stopped.returncode == 75, stopped.stderr
    assert "the same command goes on" in stopped.stdout
    before = json.loads((tmp_path / "record.json").read_text())["runs"]
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    runs = json.loads((tmp_path / "record.json").read_text())["runs"]
    assert runs[: len(before)] == before
    judged = {run["arm"]: run for run in runs if run["budget"] == 0.5}
    assert {"full", "random", "soft_margin", "ted", "proxy"} <= judged.keys()
    # Trained on the plan, forward over all: a sixteenth of a sample's cost each.
    proxy, n, epochs = judged["proxy"], 96, judged["proxy"]["epochs"]
    extra = (proxy["planned"] + epochs * n / 3) / 16
    assert abs(proxy["samples"] - proxy["planned"] - extra) <= epochs
    assert all(judged[arm]["samples"] == judged[arm]["planned"] for arm in ("ted",))
