from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "paper"
sys.path.insert(0, str(FOLDER))

from harness.configs import read_config, rows  # noqa: E402 - the folder is known now
from harness.methods import pruner_options, ranking_samples  # noqa: E402
from harness.networks import make_network  # noqa: E402
from harness.optimizers import LARS, one_cycle  # noqa: E402

CONFIGS = sorted((FOLDER / "configs").glob("*.toml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_method_of_a_configuration_has_its_options(path):
    config = read_config(path)
    table = rows(config)
    assert {name for _, name, _ in table} == set(config["methods"])
    for ratio, _, spec in table:
        scores = [1.0] if "scores of" in spec else None
        options = pruner_options(spec, labels=[0], scores=scores)
        if ratio:
            assert options["schedule"].prune_ratio == ratio


def test_a_static_methods_saving_counts_the_run_that_ranks():
    config = read_config(FOLDER / "configs" / "cpu_static.toml")
    specs = {name: spec for _, name, spec in rows(config)}
    full = 32 * 5000
    assert ranking_samples(config, specs["EL2N, static"], full) == 20 * 5000
    assert ranking_samples(config, specs["margin, static"], full) == full
    for name in ("Random, static", "Random", "full"):
        assert ranking_samples(config, specs[name], full) == 0
    ted = read_config(FOLDER / "configs" / "gpu_cifar10.toml")
    spec = {name: spec for _, name, spec in rows(ted)}["TEDS"]
    assert 0 < ranking_samples(ted, spec, full) < full


def test_the_rate_is_that_of_pytorchs_one_cycle():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=101, cycle_momentum=False
    )
    up = 0.3 * 101 - 1  # PyTorch's peak lies a step earlier
    for step in range(101):
        (rate,) = scheduler.get_last_lr()
        place = step / up * 0.3 if step <= up else 0.3 + 0.7 * (step - up) / (100 - up)
        assert one_cycle(place) == pytest.approx(rate)
        optimizer.step()
        scheduler.step() if step < 100 else None


def test_lars_scales_a_layers_step_to_its_weights():
    weight = torch.nn.Parameter(torch.tensor([[3.0, 4.0]]))
    bias = torch.nn.Parameter(torch.tensor([2.0]))
    optimizer = LARS([weight, bias], 1.0, momentum=0.5, weight_decay=0.1, trust=0.01)
    for _ in range(2):
        weight.grad, bias.grad = torch.tensor([[0.0, 2.0]]), torch.tensor([1.0])
        optimizer.step()
    # trust 0.01 * 5 / (2 + 0.1 * 5) = 0.02 on g + d w = (0.3, 2.4)
    first = torch.tensor([[3 - 0.006, 4 - 0.048]])
    size = torch.linalg.vector_norm(first)
    trust = 0.01 * size / (2 + 0.1 * size)
    move = trust * (torch.tensor([[0.0, 2.0]]) + 0.1 * first)
    moved = first - move - 0.5 * torch.tensor([[0.006, 0.048]])
    torch.testing.assert_close(weight.detach(), moved)
    assert bias.item() == pytest.approx(2 - 1 - 1.5)


@pytest.mark.parametrize(
    ("name", "classes", "side", "millions"),
    [
        ("resnet18", 10, 32, 11.17),
        ("resnet32", 10, 32, 0.47),
        ("resnet50", 1000, 64, 25.56),
    ],
)
def test_the_networks_have_their_papers_sizes(name, classes, side, millions):
    network = make_network(name, classes=classes, channels=3, seed=0).eval()
    count = sum(p.numel() for p in network.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.01)
    feature, logits = network(torch.zeros(1, 3, side, side))
    assert logits.shape == (1, classes)
    torch.testing.assert_close(network.head(feature), logits)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_papers_numbers_belong_to_rows_of_the_table(path):
    config = read_config(path)
    published = config.get("paper", {})
    assert bool(published) == path.stem.startswith("table")
    assert set(published) <= set(config["methods"])
    for method, values in published.items():
        ratios = [0.0] if method == "full" else config["pruning"]["prune_ratios"]
        assert 0 < len(values) <= len(ratios)
