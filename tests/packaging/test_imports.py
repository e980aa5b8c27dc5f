from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {
    "hypothesis",
    "jax",
    "keras",
    "matplotlib",
    "scipy",
    "sklearn",
    "tensorflow",
    "torch",
    "tqdm",
}
LOADED = "import json, sys, {}; print(json.dumps(sorted(sys.modules)))"
WITHOUT = """
import sys
sys.modules[{framework!r}] = None
try:
    import {adapter}
except ModuleNotFoundError as error:
    print(error)
else:
    print("imported")
"""


def output_of(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(  # noqa: S603 - our own code
        command, check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.parametrize("module", ["ted_core", "ted_core.cli"])
def test_importing_the_core_loads_nothing_heavier_than_numpy(module):
    loaded = set(json.loads(output_of(LOADED.format(module))))
    assert "numpy" in loaded
    assert loaded & HEAVY == set()


@pytest.mark.parametrize(
    ("adapter", "framework"), [("ted_torch", "torch"), ("ted_keras", "keras")]
)
def test_an_adapter_without_its_framework_says_what_to_install(adapter, framework):
    said = output_of(WITHOUT.format(adapter=adapter, framework=framework))
    assert "pip install 'ted-core[" in said


def test_an_adapter_loads_no_trainer_of_others():
    loaded = set(json.loads(output_of(LOADED.format("ted_torch"))))
    hosts = {"transformers", "accelerate", "peft", "lightning", "torchdata"}
    hosts |= {"fastai", "timm", "torchvision", "ultralytics"}
    assert loaded & hosts == set()
