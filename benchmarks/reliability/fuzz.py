"""Call every public function with drawn arguments; write ``records/fuzz.json``.

``python benchmarks/reliability/fuzz.py --examples 200``: of each function, and ten
times as many of each state. An error that is not the library's own ends the run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
import warnings
from collections import Counter
from importlib.metadata import version
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

HERE = Path(__file__).resolve().parent
os.environ["KERAS_BACKEND"] = "tensorflow"
sys.path.insert(0, str(HERE.parents[1] / "tests" / "support"))

import fuzz_cases  # noqa: E402 - the folder is known now
import fuzz_keras  # noqa: E402
import fuzz_states  # noqa: E402
import fuzz_torch  # noqa: E402
import fuzzing  # noqa: E402

from ted_core import __version__  # noqa: E402
from ted_core.demo.engine import machine  # noqa: E402

HANGS = 60
"""Seconds after which one example counts as hanging."""


def outcomes(strategy, call, examples, number):
    """Count how the calls ended."""
    found = Counter()

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(strategy)
    def run(drawn):
        signal.alarm(HANGS)  # ends the process: nothing may take as long
        found[call(drawn)] += 1
        signal.alarm(0)

    run()
    return dict(sorted(found.items()))


def rows(examples, number):
    """Yield name, what is fuzzed, and the counts."""
    for kind, cases, things in (
        ("core", fuzz_cases.CASES, fuzzing.junk),
        ("PyTorch", fuzz_torch.CASES, fuzz_torch.things),
        ("Keras", fuzz_keras.CASES, fuzz_keras.things),
    ):
        for name, (call, known) in cases.items():
            drawn = fuzzing.arguments(known, things)
            judged = outcomes(
                drawn,
                lambda given, c=call: fuzzing.judge(c, given),
                examples,
                number,
            )
            yield {"where": kind, "name": name, "outcomes": judged}
    for name in fuzz_states.RUNS:
        state = fuzz_states.part_way(name, pending=True).state_dict()
        judged = outcomes(
            fuzz_states.changed(state),
            lambda drawn, n=name: fuzz_states.judge_state(fuzz_states.make(n), drawn),
            10 * examples,
            number,
        )
        yield {"where": "core", "name": f"state, {name}", "outcomes": judged}
    state = fuzz_torch.part_way().state_dict()
    judged = outcomes(
        fuzz_torch.changed(state),
        lambda drawn: fuzz_torch.judge_state(fuzz_torch.session(), drawn),
        10 * examples,
        number,
    )
    yield {"where": "PyTorch", "name": "state", "outcomes": judged}
    judged = outcomes(
        fuzz_states.changed(fuzz_keras.part_way()),
        lambda drawn: fuzz_keras.judge_state(fuzz_keras.session(), drawn),
        10 * examples,
        number,
    )
    yield {"where": "Keras", "name": "state", "outcomes": judged}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HERE / "records" / "fuzz.json")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    begun = time.perf_counter()
    results = list(rows(options.examples, options.seed))
    record = {
        "name": "fuzz",
        "config": {"examples": options.examples, "seed": options.seed},
        "versions": {
            "ted-core": __version__,
            "python": platform.python_version(),
            **{
                name: version(name)
                for name in ("numpy", "torch", "keras", "tensorflow-cpu", "hypothesis")
            },
        },
        "machine": machine(),
        "seconds": round(time.perf_counter() - begun, 1),
    }
    text = json.dumps(record, indent=1)[:-2] + ',\n "results": [\n'
    text += ",\n".join("  " + json.dumps(one) for one in results) + "\n ]\n}\n"
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
