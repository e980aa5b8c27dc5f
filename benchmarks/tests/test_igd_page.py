from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's own habit

from ted_core.analysis.generalization import logistic_gradients, logistic_hessian

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", params=["igd_correlation", "igd_network"])
def script(request):
    return runpy.run_path(str(ROOT / f"benchmarks/pages/{request.param}.py"))


def record_of(script):
    return json.loads(script["RECORD"].read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def record(script):
    return record_of(script)


@pytest.fixture(scope="module")
def network_script():
    return runpy.run_path(str(ROOT / "benchmarks/pages/igd_network.py"))


def test_the_pages_table_is_made_from_the_record(script, record):
    text = script["PAGE"].read_text(encoding="utf-8")
    assert script["page"](text, record) == text


def test_the_record_was_made_with_the_committed_configuration(script, record):
    assert record["config"] == script["CONFIG"]


def test_each_result_has_its_runs_behind_it(record):
    for result in record["results"]:
        assert result["n"] == len(result["values"]) >= 5
        assert result["mean"] == pytest.approx(
            sum(result["values"]) / result["n"], abs=1e-6
        )


def test_what_the_page_says_in_words_of_softmax_regression_holds_in_the_record():
    script = runpy.run_path(str(ROOT / "benchmarks/pages/igd_correlation.py"))
    rows = {}
    for r in record_of(script)["results"]:
        key = r["dataset"], r["l2"], r["without"]
        rows.setdefault(key, {})[r["quantity"]] = r["mean"]
    shown = 0.0005
    for (dataset, l2, _), row in rows.items():
        for site in ("input", "logits"):
            assert row[f"{site}_absolute"] <= row["loss"] + shown
            assert row[f"{site}_signed"] <= row[f"{site}_absolute"] + shown
            underfits = dataset == "digits_pooled" and l2 >= 0.01
            assert (row[f"{site}_absolute"] < 0) is underfits
        assert row["quadratic"] > 0.99


def test_what_the_page_says_in_words_of_a_network_holds_in_the_record(network_script):
    rows = {}
    for r in record_of(network_script)["results"]:
        key = r["data"], r["truth"], r["damping"]
        rows.setdefault(key, {})[r["quantity"]] = r["mean"]
    alike = ("loss", "el2n", "grand", "margin", "least_confidence")
    at_logits = ("mask_gradient", "mask_gradient, feature")
    for (data, truth, _), row in rows.items():
        solved = data != "cifar10, early"
        assert solved == (row["accuracy"] > 0.95)
        for name in at_logits:
            assert (row[name] > 0.85) is solved
            assert (row[name] < 0) is not solved
        assert min(row["loss"], row["el2n"]) > 0.79
        assert row["forgetting"] < 0.5
        assert row["mask_gradient, input"] < row["loss"] - 0.1
        if solved:
            least = 0.96 if truth != "retrained" else 0.86
            assert min(row[name] for name in alike) > least
            assert 0.6 < row["mask_gradient, input"] < min(row[k] for k in at_logits)
        else:
            assert 0.2 < row["mask_gradient, input"] < 0.5
            assert max(row["margin"], row["least_confidence"]) < row["loss"] - 0.1
        if truth == "retrained":
            closed = row[network_script["CLOSED"]]
            assert max(row[k] for k in network_script["SIGNALS"]) < closed < 0.99


def test_the_gradients_and_the_curvature_are_those_of_the_loss(network_script):
    x, y = network_script["pictures"]("digits", 60, 0, None)
    network, _ = network_script["trained"](x, y, 6, 0)
    x = x.double()
    gradients, matrix = network_script["curvature"](network, x, y)
    feature, logits = network(x)
    loss = F.cross_entropy(logits[7:8], y[7:8])
    whole = torch.autograd.grad(loss, list(network.parameters()))
    expected = torch.cat([part.flatten() for part in whole])
    np.testing.assert_allclose(gradients[7], expected, atol=1e-10)
    # In the last layer Gauss-Newton is Newton: the library's closed form.
    inputs = np.c_[feature.detach(), np.ones(60)]
    weight, bias = (p.detach().numpy() for p in network.head.parameters())
    theta = np.c_[weight, bias]
    place = np.arange(theta.size).reshape(theta.shape)
    order = np.r_[place[:, :-1].ravel(), place[:, -1]]  # the network's: rows, then bias
    hessian = logistic_hessian(theta, inputs, l2=0.0)[np.ix_(order, order)]
    own = logistic_gradients(theta, inputs, y.numpy(), l2=0.0)[:, order]
    np.testing.assert_allclose(matrix[-order.size :, -order.size :], hessian, atol=1e-8)
    np.testing.assert_allclose(gradients[:, -order.size :], own, atol=1e-10)


def test_every_signal_is_compared_with_every_influence(network_script, monkeypatch):
    config = network_script["CONFIG"]
    setting = {"set": "digits", "samples": 60, "epochs": 6}
    monkeypatch.setitem(config["data"], "digits", setting)
    monkeypatch.setitem(config, "left_out", 10)
    found = network_script["correlations"]("digits", 0, None)
    assert len(found) == 1 + 2 * len(config["damping"])
    for row in found.values():
        assert set(row) == {
            *network_script["SIGNALS"],
            network_script["CLOSED"],
            "accuracy",
        }
        assert all(-1 <= value <= 1 for value in row.values())
