"""How well the mask gradient, and the loss, rank samples by their true IGD.

``python benchmarks/pages/igd_correlation.py`` measures and writes the record;
``--page`` rewrites the table of ``docs/method/igd.md`` from the record.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr
from sklearn.datasets import load_breast_cancer, load_digits

from ted_core import __version__, cross_entropy_mask_gradient, mask_gradient
from ted_core.analysis import (
    fit_logistic,
    leave_one_out_igd,
    logistic_objective,
    quadratic_igd,
)
from ted_core.analysis.generalization import (
    logistic_gradients,
    logistic_hessian,
    logistic_losses,
)
from ted_core.demo.engine import machine

__all__ = ["PAGE", "RECORD", "page", "table"]

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "benchmarks/paper/records/igd_correlation.json"
PAGE = ROOT / "docs/method/igd.md"
BEGIN = "<!-- table: benchmarks/pages/igd_correlation.py --page -->\n"
END = "<!-- end of table -->"
CONFIG = {
    "model": "softmax regression with bias, mean cross entropy + l2/2 |theta|^2",
    "samples": {"breast_cancer": 300, "digits_3_8": 150, "digits_pooled": 150},
    "l2": [0.001, 0.01, 0.1],
    "without": {
        "mean": "mean over the other n - 1 samples + l2/2 |theta|^2 (Sec. 3.1)",
        "mask": "sum over the other n - 1 samples / n + l2/2 |theta|^2 (Eq. 10)",
    },
    "seeds": [0, 1, 2, 3, 4],
    "tolerance": 1e-12,
}
SIGNALS = {
    "input_absolute": "mask gradient, input",
    "input_signed": "the same, signed",
    "logits_absolute": "mask gradient, logits",
    "logits_signed": "the same, signed",
    "loss": "loss",
    "quadratic": "g'H⁻¹g / 2n²",
}


def subset(dataset, size, seed):
    """Return inputs (size, d) without the bias and labels of a random subset."""
    if dataset == "breast_cancer":
        x, y = load_breast_cancer(return_X_y=True)
    else:
        x, y = load_digits(return_X_y=True)
        x = x / 16
    if dataset == "digits_3_8":
        pair = np.isin(y, (3, 8))
        x, y = x[pair], (y[pair] == 8).astype(np.int64)
    if dataset == "digits_pooled":
        x = x.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16)
    ids = np.random.default_rng(seed).choice(len(x), size, replace=False)
    x, y = x[ids], y[ids]
    if dataset == "breast_cancer":
        x = (x - x.mean(axis=0)) / x.std(axis=0)
    return x, y


def correlations(x, y, l2, without):
    """Return the Spearman correlation of each signal with the true IGD, and the fit."""
    inputs, x = x, np.c_[x, np.ones(len(x))]
    n, classes = len(x), int(y.max()) + 1
    theta = fit_logistic(x, y, l2=l2, tolerance=CONFIG["tolerance"])

    def fit(ids):
        weight = l2 if without == "mean" else l2 * n / len(ids)
        options = {"l2": weight, "classes": classes, "start": theta}
        return fit_logistic(x[ids], y[ids], tolerance=CONFIG["tolerance"], **options)

    igd = leave_one_out_igd(fit, lambda t: logistic_objective(t, x, y, l2=l2), n)
    own = logistic_gradients(theta, x, y, l2=l2 if without == "mean" else 0.0)
    data = logistic_gradients(theta, x, y, l2=0.0).reshape(n, classes, -1)
    logits, residual = x @ theta.T, data[:, :, -1]  # the bias sees p - y itself
    at_input = residual @ theta[:, :-1]
    signals = {
        "input_absolute": mask_gradient(inputs, at_input),
        "input_signed": mask_gradient(inputs, at_input, signed=True),
        "logits_absolute": cross_entropy_mask_gradient(logits, y),
        "logits_signed": cross_entropy_mask_gradient(logits, y, signed=True),
        "loss": logistic_losses(theta, x, y),
        "quadratic": quadratic_igd(own, logistic_hessian(theta, x, l2=l2)),
    }
    found = {
        name: round(float(spearmanr(values, igd).statistic), 6)
        for name, values in signals.items()
    }
    return found | {"accuracy": round(float((logits.argmax(axis=1) == y).mean()), 6)}


def measure():
    """Run every configuration and write the record."""
    begun = time.perf_counter()
    results = []
    for dataset, size in CONFIG["samples"].items():
        for l2 in CONFIG["l2"]:
            for without in CONFIG["without"]:
                runs = [
                    correlations(*subset(dataset, size, seed), l2, without)
                    for seed in CONFIG["seeds"]
                ]
                for name in [*SIGNALS, "accuracy"]:
                    values = [run[name] for run in runs]
                    results.append(
                        {
                            "dataset": dataset,
                            "samples": size,
                            "l2": l2,
                            "without": without,
                            "quantity": name,
                            "n": len(values),
                            "mean": round(float(np.mean(values)), 6),
                            "sd": round(float(np.std(values, ddof=1)), 6),
                            "values": values,
                        }
                    )
                print(dataset, l2, without, runs[-1], flush=True)
    record = {
        "name": "igd_correlation",
        "config": CONFIG,
        "versions": {"ted-core": __version__, "python": platform.python_version()}
        | {name: version(name) for name in ("numpy", "scipy", "scikit-learn")},
        "machine": machine(),
        "seconds": round(time.perf_counter() - begun, 1),
        "results": results,
    }
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def table(record):
    """Return the record as a Markdown table, with where it was measured."""
    results = record["results"]
    rows = list(dict.fromkeys((r["dataset"], r["l2"], r["without"]) for r in results))
    cell = {
        (r["dataset"], r["l2"], r["without"], r["quantity"]): (
            f"{r['mean']:.3f} ± {r['sd']:.3f}"
        )
        for r in results
    }
    head = ["data", "l2", "accuracy", "without", *SIGNALS.values()]
    lines = [head, ["---"] * len(head)]
    lines += [
        [f"`{data}`", f"{l2:g}", cell[data, l2, without, "accuracy"], without]
        + [cell[data, l2, without, signal] for signal in SIGNALS]
        for data, l2, without in rows
    ]
    versions = ", ".join(f"{k} {v}" for k, v in record["versions"].items())
    cpu = f"{record['machine']['cpu']}, {record['machine']['cores']} cores"
    foot = (
        f"Mean ± sd over n = {results[0]['n']} subsets; {versions}; {cpu}; "
        f"{record['seconds']:.0f} s in all."
    )
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{body}\n\n{foot}\n"


def page(text, record):
    """Return the page's text with its table made anew from the record."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table(record)}\n{END}{after}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--page", action="store_true", help="only rewrite the page")
    if not parser.parse_args().page:
        measure()
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(page(text, record), encoding="utf-8")


if __name__ == "__main__":
    main()
