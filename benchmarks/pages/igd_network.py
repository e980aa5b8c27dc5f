"""How well each signal ranks the samples of a small network by their self-influence.

``python benchmarks/pages/igd_network.py --data-dir DATA`` measures and writes the
record; ``--page`` rewrites the network's table of ``docs/method/igd.md`` from it. DATA
has CIFAR-10 as ``benchmarks/paper/README.md`` says.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from torch.func import functional_call, jacrev, vmap
from torch.nn import functional as F  # noqa: N812 - PyTorch's own habit

from ted_core import Count, Pruner, __version__, mask_gradient, signals
from ted_core.analysis import (
    fit_logistic,
    leave_one_out_igd,
    logistic_objective,
    quadratic_igd,
)
from ted_core.analysis.generalization import logistic_gradients, logistic_hessian
from ted_core.demo.engine import machine

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks" / "paper"))

from harness.networks import make_network  # noqa: E402 - the folder is known now
from harness.optimizers import one_cycle  # noqa: E402
from harness.pictures import load  # noqa: E402

__all__ = ["CLOSED", "CONFIG", "PAGE", "RECORD", "curvature", "page", "table"]

RECORD = ROOT / "benchmarks/paper/records/igd_network.json"
PAGE = ROOT / "docs/method/igd.md"
BEGIN = "<!-- table: benchmarks/pages/igd_network.py --page -->\n"
END = "<!-- end of table -->"
CONFIG = {
    "model": "convolutions with batch norm, and a linear head; mean cross entropy",
    "data": {
        "digits": {"set": "digits", "samples": 600, "epochs": 20},
        "cifar10, early": {"set": "cifar10", "samples": 600, "epochs": 15},
        "cifar10, late": {"set": "cifar10", "samples": 600, "epochs": 80},
    },
    "width": 6,
    "side": 16,
    "batch": 50,
    "rate": 0.1,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "damping": [5e-4, 1e-2],
    "left_out": 100,
    "seeds": [0, 1, 2, 3, 4],
}
SIGNALS = {
    "mask_gradient, input": "mask gradient, input",
    "mask_gradient, feature": "feature",
    "mask_gradient": "logits",
} | {name: name.replace("_", " ") for name in signals.SIGNALS if "mask" not in name}
CLOSED = "self-influence, last layer"
TRUTHS = {
    "retrained": "last layer, retrained",
    "last layer": "last layer",
    "all layers": "all layers",
}


def pictures(name, samples, seed, folder):
    """Return standardised pictures (n, channels, H, W) and labels, a random subset."""
    if name == "digits":
        images, y = load_digits().images, load_digits().target
        x = images[:, None]
    else:
        found = load(name, folder, side=CONFIG["side"])
        x, y = found.x_train.transpose(0, 3, 1, 2), found.y_train
    ids = np.random.default_rng(seed).choice(len(x), samples, replace=False)
    x = torch.tensor(x[ids], dtype=torch.float32)
    axes = (0, 2, 3)
    x = (x - x.mean(axes, keepdim=True)) / x.std(axes, keepdim=True)
    return x, torch.tensor(y[ids], dtype=torch.int64)


def trained(x, y, epochs, seed):
    """Return the network after its epochs, and how often each sample was forgotten."""
    network = make_network(
        "small",
        classes=int(y.max()) + 1,
        channels=x.shape[1],
        seed=seed,
        width=CONFIG["width"],
        side=x.shape[2],
    )
    given = {name: CONFIG[name] for name in ("momentum", "weight_decay")}
    optimizer = torch.optim.SGD(
        network.parameters(), lr=CONFIG["rate"], nesterov=True, **given
    )
    n, batch = len(x), CONFIG["batch"]
    steps = epochs * -(-n // batch)
    dice = torch.Generator().manual_seed(seed)
    watched = Pruner(
        n, epochs=epochs, prune_ratio=0, signal="forgetting", reduction=Count()
    )
    step = 0
    for _ in range(epochs):
        network.train()
        for ids in torch.randperm(n, generator=dice).split(batch):
            optimizer.param_groups[0]["lr"] = CONFIG["rate"] * one_cycle(step / steps)
            optimizer.zero_grad()
            F.cross_entropy(network(x[ids])[1], y[ids]).backward()
            optimizer.step()
            step += 1
        network.eval()
        with torch.no_grad():
            watched.observe(np.arange(n), signals.forgetting(network(x)[1], y).numpy())
        watched.advance()
    return network.double(), watched.scores


def curvature(network, x, y):
    """Return each sample's gradient (n, p) and the Gauss-Newton matrix (p, p).

    That of the mean cross entropy in all parameters, in evaluation mode.
    """
    weights = {k: v.detach() for k, v in network.named_parameters()}
    buffers = dict(network.named_buffers())

    def logits_of(weights, picture):
        return functional_call(network, (weights, buffers), (picture[None],))[1][0]

    gradients, matrix = [], 0.0
    for some, labels in zip(x.split(50), y.split(50), strict=True):
        parts = vmap(jacrev(logits_of), (None, 0))(weights, some)
        jacobian = torch.cat([part.flatten(2) for part in parts.values()], dim=2)
        with torch.no_grad():
            p = network(some)[1].softmax(dim=1)
            error = p - F.one_hot(labels, p.shape[1])
            gradients.append(torch.einsum("bc,bcp->bp", error, jacobian))
            # diag(p) - p p' is A A' with A = diag(root) - p root'
            root = p.sqrt()
            factor = torch.diag_embed(root) - p[:, :, None] * root[:, None, :]
            rows = torch.einsum("bcd,bcp->bdp", factor, jacobian).flatten(0, 1)
            matrix = matrix + rows.T @ rows
    return torch.cat(gradients).numpy(), (matrix / len(x)).numpy()


def values_of(network, x, y, forgotten):
    """Return every signal's value of every sample, and the last layer's numbers."""
    picture = x.clone().requires_grad_()
    feature, logits = network(picture)
    losses = F.cross_entropy(logits, y, reduction="none")
    given = (feature, picture)
    at_feature, at_input = torch.autograd.grad(losses.sum(), given)
    found = {
        "mask_gradient, input": mask_gradient(x, at_input),
        "mask_gradient, feature": mask_gradient(feature.detach(), at_feature),
    }
    inputs = {
        "losses": losses.detach(),
        "logits": logits.detach(),
        "labels": y,
        "hidden": feature.detach(),
    }
    for name in signals.SIGNALS:
        found[name] = signals.compute(name, **inputs)
    found = {name: value.numpy() for name, value in found.items()}
    found["forgetting"] = forgotten
    return found, feature.detach().numpy(), logits.detach().numpy()


def influences(network, x, y, features, seed):
    """Return by name the IGD of samples, and of which ones where not of all."""
    labels, n = y.numpy(), len(y)
    inputs = np.c_[features, np.ones(n)]
    head = network.head
    theta = np.c_[head.weight.detach().numpy(), head.bias.detach().numpy()]
    gradients, matrix = curvature(network, x, y)
    found = {}
    for damping in CONFIG["damping"]:
        last = logistic_hessian(theta, inputs, l2=damping)
        own = logistic_gradients(theta, inputs, labels, l2=0.0)
        found["last layer", damping] = quadratic_igd(own, last)
        whole = matrix + damping * np.eye(len(matrix))
        found["all layers", damping] = quadratic_igd(gradients, whole)
    l2 = CONFIG["damping"][0]
    solved = fit_logistic(inputs, labels, l2=l2, start=theta)

    def fit(ids):
        options = {"l2": l2 * n / len(ids), "classes": len(theta), "start": solved}
        return fit_logistic(inputs[ids], labels[ids], **options)

    def objective(parameters):
        return logistic_objective(parameters, inputs, labels, l2=l2)

    some = np.random.default_rng(seed).choice(n, CONFIG["left_out"], replace=False)
    found["retrained", l2] = leave_one_out_igd(fit, objective, n, ids=np.sort(some))
    return found, np.sort(some)


def correlations(name, seed, folder):
    """Return {(truth, damping): {signal: Spearman correlation}} of one network."""
    setting = CONFIG["data"][name]
    x, y = pictures(setting["set"], setting["samples"], seed, folder)
    network, forgotten = trained(x, y, setting["epochs"], seed)
    values, features, logits = values_of(network, x.double(), y, forgotten)
    found, some = influences(network, x.double(), y, features, seed)
    values[CLOSED] = found["last layer", CONFIG["damping"][0]]
    accuracy = float((logits.argmax(axis=1) == y.numpy()).mean())
    out = {}
    for (truth, damping), igd in found.items():
        ids = some if truth == "retrained" else slice(None)
        row = {k: float(spearmanr(v[ids], igd).statistic) for k, v in values.items()}
        out[truth, damping] = row | {"accuracy": accuracy}
    return out


def measure(folder):
    """Train every network and write the record."""
    torch.set_num_threads(1)
    begun = time.perf_counter()
    results = []
    for name in CONFIG["data"]:
        runs = []
        for seed in CONFIG["seeds"]:
            runs.append(correlations(name, seed, folder))
            print(name, seed, round(time.perf_counter() - begun), flush=True)
        for truth, damping in runs[0]:
            for quantity in runs[0][truth, damping]:
                values = [round(run[truth, damping][quantity], 6) for run in runs]
                results.append(
                    {
                        "data": name,
                        "truth": truth,
                        "damping": damping,
                        "quantity": quantity,
                        "n": len(values),
                        "mean": round(float(np.mean(values)), 6),
                        "sd": round(float(np.std(values, ddof=1)), 6),
                        "values": values,
                    }
                )
    names = ("numpy", "scipy", "scikit-learn", "torch")
    record = {
        "name": "igd_network",
        "config": CONFIG,
        "versions": {"ted-core": __version__, "python": platform.python_version()}
        | {name: version(name) for name in names},
        "machine": machine(),
        "seconds": round(time.perf_counter() - begun, 1),
        "results": results,
    }
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def table(record):
    """Return the record as a Markdown table, with where it was measured."""
    results = record["results"]
    rows = list(dict.fromkeys((r["data"], r["truth"], r["damping"]) for r in results))
    cell = {
        (r["data"], r["truth"], r["damping"], r["quantity"]): (
            f"{r['mean']:.2f} ± {r['sd']:.2f}"
        )
        for r in results
    }
    head = ["data", "accuracy", "IGD of the", "λ", *SIGNALS.values(), CLOSED]
    lines = [head, ["---"] * len(head)]
    lines += [
        [data, cell[data, truth, damping, "accuracy"], TRUTHS[truth], f"{damping:g}"]
        + [cell[data, truth, damping, signal] for signal in (*SIGNALS, CLOSED)]
        for data, truth, damping in rows
    ]
    versions = ", ".join(f"{k} {v}" for k, v in record["versions"].items())
    foot = (
        f"Mean ± sd over n = {results[0]['n']} networks and subsets; {versions}; "
        f"{record['machine']['cpu']}, {record['machine']['cores']} cores; "
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
    parser.add_argument("--data-dir", type=Path, default=Path())
    parser.add_argument("--page", action="store_true", help="only rewrite the page")
    arguments = parser.parse_args()
    if not arguments.page:
        measure(arguments.data_dir)
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(page(text, record), encoding="utf-8")


if __name__ == "__main__":
    main()
