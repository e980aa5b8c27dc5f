"""Trainers whose losses are their own: TRL's, sentence-transformers', distillation."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import trl_runs
from sentence_transformers.base.sampler import BatchSamplers
from trl_runs import EPOCHS, LOOSE, PACKED, PAPER, N, run_of

from ted_core import InfoBatch

pytestmark = pytest.mark.filterwarnings(
    # Of the packages, not of what is tested here.
    "ignore:::(trl|datasets|sentence_transformers|transformers|torch|accelerate)",
)
LOSS = PAPER | {"signal": "loss"}
CASES = {
    "sft": ("sft", {}, PAPER),
    "sft, padding free": ("sft", LOOSE, PAPER),
    "sft, packed": ("sft", PACKED | {"per_device_train_batch_size": 2}, PAPER),
    "dpo": ("dpo", {}, PAPER),
    "reward": ("reward", {}, PAPER),
    "kto": ("kto", {}, PAPER),
    "similarity": ("similarity", {}, LOSS),
    "ranking": ("ranking", {}, PAPER),
    "distillation": ("distillation", {}, PAPER),
    "distillation, unreduced": ("distillation, unreduced", {}, LOSS),
}
OF_TRL = {"entropy", "mean_token_accuracy", "num_tokens"}
METRICS = {
    "sft": OF_TRL,
    "dpo": OF_TRL | {"rewards/accuracies", "rewards/margins"},
    "reward": {"accuracy", "margin", "num_tokens"},
    "kto": {"kl", "entropy", "rewards/chosen"},
}


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    """Give a host, and a run of it, saved in the middle of its second epoch."""
    host, options, ted = CASES[request.param]
    options = {"save_strategy": "steps", "save_steps": 7, **options}
    folder = tmp_path_factory.mktemp("host")
    logged = {"logging_strategy": "steps", "logging_steps": 1}
    run = run_of(host, folder, ted=ted, **logged, **options)
    run.train()
    return host, options, ted, run


def test_a_host_visits_what_is_planned_and_its_rate_ends_at_zero(case):
    *_, run = case
    batch, n = run.args.per_device_train_batch_size, len(run.train_dataset)
    assert run.state.global_step == run.state.max_steps == run.ted.total_steps(batch)
    assert set(run.lr_scheduler.get_last_lr()) == {0.0}
    kept = [sum(map(len, run.seen[epoch])) for epoch in range(EPOCHS)]
    assert kept == run.ted.pruner.schedule_table()["kept"].tolist()
    assert min(kept) < n
    for batches in run.seen.values():
        ids = [k for batch in batches for k in batch]
        assert len(ids) == len(set(ids))  # each once
    assert (run.ted.pruner.scores > 0).all()


def test_a_hosts_own_metrics_are_logged_beside_both_losses(case):
    host, _, _, run = case
    logs = [log for log in run.state.log_history if "loss" in log]
    assert len(logs) == run.state.global_step
    for log in logs:
        assert METRICS.get(host, set()) <= set(log)
        factor = log["ted/scaled_loss"] / log["loss"]
        assert factor >= 0.999
    pruned = [log for log in logs if log["ted/keep_ratio"] < 1]
    assert all(log["ted/scaled_loss"] > 1.1 * log["loss"] for log in pruned)


def test_a_host_that_is_stopped_goes_on_to_the_same_weights(case, tmp_path):
    host, options, ted, first = case
    again = run_of(host, tmp_path, ted=ted, **options)
    again.train(resume_from_checkpoint=f"{first.args.output_dir}/checkpoint-7")
    assert again.state.global_step == first.state.global_step
    np.testing.assert_array_equal(again.ted.pruner.scores, first.ted.pruner.scores)
    theirs = first.model.state_dict()
    for name, mine in again.model.state_dict().items():
        assert torch.equal(mine, theirs[name])


@pytest.mark.parametrize("host", trl_runs.SCRIPTS)
def test_trls_own_script_follows_the_plan_and_resumes(host, tmp_path, monkeypatch):
    def script(out, *arguments):
        saving = "--save_strategy=steps", "--save_steps=7", *arguments
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return trl_runs.run_script(
                host, tmp_path / "files", monkeypatch, *saving, out=tmp_path / out
            )

    first = script("first")
    kept = [sum(map(len, first.seen[epoch])) for epoch in range(EPOCHS)]
    assert kept == first.ted.pruner.schedule_table()["kept"].tolist()
    assert first.state.global_step == first.state.max_steps == first.ted.total_steps(4)
    assert set(first.lr_scheduler.get_last_lr()) == {0.0}
    checkpoint = tmp_path / "first" / "checkpoint-7"
    again = script("again", f"--resume_from_checkpoint={checkpoint}")
    assert sorted(again.seen) == [1, 2, 3]
    np.testing.assert_array_equal(again.ted.pruner.scores, first.ted.pruner.scores)
    for mine, theirs in zip(
        again.model.parameters(), first.model.parameters(), strict=True
    ):
        assert torch.equal(mine, theirs)


STILL = {"learning_rate": 0.0, "num_train_epochs": 2}


def still(host, folder, **options):
    """Give the scores of a run whose weights stay as they are."""
    run = run_of(host, folder, **STILL, **options)
    run.train()
    return run, run.ted.pruner.scores


def oracle(run, name):
    """Differentiate the host's own loss of each sample alone by a delta."""
    net = run.model.train()
    core = net if name == "logits" else net.base_model
    columns = run._remove_unused_columns(run.train_dataset, "training")
    for k in range(len(columns)):
        delta = torch.ones((), requires_grad=True)

        def scaled(_, __, output, delta=delta):
            output[name] = output[name] * delta
            return output

        handle = core.register_forward_hook(scaled)
        batch = run.data_collator([columns[k]])
        loss = super(trl_runs.TEDTrainerMixin, run).compute_loss(net, batch)
        handle.remove()
        yield torch.autograd.grad(loss, delta)[0].abs().item()


@pytest.mark.parametrize(
    ("host", "name", "options"),
    [
        ("dpo", "last_hidden_state", {}),
        ("dpo", "last_hidden_state", {"loss_type": ["ipo"]}),
        ("reward", "logits", {}),
        ("kto", "last_hidden_state", {"loss_type": "apo_zero_unpaired"}),
        ("sft", "last_hidden_state", {}),
        ("sft", "last_hidden_state", {"loss_type": "dft"}),
    ],
    ids=str,
)
def test_a_score_is_that_of_the_hosts_own_loss_of_a_sample(
    host, name, options, tmp_path
):
    run, scores = still(host, tmp_path, **options)
    want = list(oracle(run, name))
    np.testing.assert_allclose(scores, want, rtol=1e-3, atol=1e-5 * max(want))


def test_texts_in_one_row_score_as_padded_ones(tmp_path):
    _, padded = still("sft", tmp_path)
    _, loose = still("sft", tmp_path, **LOOSE)
    np.testing.assert_allclose(loose, padded, rtol=1e-4)
    _, aligned = still("sft", tmp_path, pad_to_multiple_of=32, **LOOSE)
    np.testing.assert_allclose(aligned, padded, rtol=1e-4)


def test_packed_rows_score_alike_in_batches_of_any_size(tmp_path):
    runs = [
        still("sft", tmp_path, per_device_train_batch_size=size, **PACKED)
        for size in (1, 3)
    ]
    assert len(runs[0][0].train_dataset) < N
    np.testing.assert_allclose(runs[0][1], runs[1][1], rtol=1e-4)


@pytest.mark.parametrize(
    ("host", "options", "error", "says"),
    [
        (
            "dpo",
            {"loss_type": ["sigmoid", "aot"]},
            ValueError,
            "`loss_type` must be a mean over the samples, got 'aot', which sorts",
        ),
        (
            "dpo",
            {"ted": LOSS},
            TypeError,
            "of DPOTrainer must return one loss a sample for TopScore .* their mean",
        ),
        (
            "reward",
            {"ted": LOSS},
            TypeError,
            "of RewardTrainer must return one loss a sample for TopScore .* their mean",
        ),
        (
            "kto",
            {"ted": {"strategy": InfoBatch(), "signal": "loss"}},
            TypeError,
            "of KTOTrainer must return one loss a sample for InfoBatch .* their mean",
        ),
        (
            "sft",
            {"ted": {"signal": "el2n"}},
            ValueError,
            "`signal='el2n'` needs an output of classes, .* got a model of tokens",
        ),
        (
            "ranking",
            {"batch_sampler": BatchSamplers.NO_DUPLICATES},
            TypeError,
            "its own BatchSampler, got NoDuplicatesBatchSampler, which would be",
        ),
        (
            "similarity",
            {"ted": PAPER},
            ValueError,
            "`signal` must be 'loss' for BaseTrainer on a SentenceTransformer, which",
        ),
    ],
    ids=str,
)
def test_what_a_host_cannot_do_is_refused_by_name(host, options, error, says, tmp_path):
    with pytest.raises(error, match=says):
        run_of(host, tmp_path, **options).train()


@pytest.mark.filterwarnings("ignore:`use_liger_kernel=True` is deprecated")
def test_ligers_fused_loss_is_left_out_by_trl_itself(tmp_path, monkeypatch):
    """Its kernels need a GPU: what it is told to fuse is all that is looked at."""
    asked = []
    monkeypatch.setattr(
        "transformers.trainer.apply_liger_kernel",
        lambda _, config: asked.append(config),
    )
    run = run_of("sft", tmp_path, use_liger_kernel=True, **STILL)
    run.train()
    assert asked == [{"fused_linear_cross_entropy": False}]
    np.testing.assert_array_equal(run.ted.pruner.scores, still("sft", tmp_path)[1])


class Tokens(trl_runs.Distilling):
    def compute_loss(self, model, inputs, **_):
        return model(**inputs).logits.mean(-1)


class OfTokens(trl_runs.TEDTrainerMixin, Tokens):
    pass


def test_a_loss_of_neither_a_batch_nor_a_sample_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(trl_runs.HOSTS, "tokens", trl_runs._distilling(OfTokens))
    says = r"of Tokens must return a mean, or one loss for each of the 4 samples, got"
    with pytest.raises(TypeError, match=says):
        run_of("tokens", tmp_path).train()


class Preferring(trl_runs.DPO):
    """The default loss of pairs, one a sample."""

    def sample_losses(self, outputs, inputs, hidden):
        chosen, rejected = outputs["log_probs"].sum(1).chunk(2)
        chosen = chosen - inputs["ref_chosen_logps"]
        rejected = rejected - inputs["ref_rejected_logps"]
        found = -torch.nn.functional.logsigmoid(self.beta * (chosen - rejected))
        return {"losses": found, "mask": hidden}


def preferring(folder, monkeypatch, **options):
    names = trl_runs.PAIR
    make = trl_runs._of_trl(Preferring, trl_runs.DPOConfig, *names, reference=True)
    monkeypatch.setitem(trl_runs.HOSTS, "dpo", make)
    return run_of("dpo", folder, ted=LOSS, **options)


def test_losses_of_pairs_of_ones_own_are_held_against_the_hosts(tmp_path, monkeypatch):
    """A warning that they differ would be an error."""
    options = {"precompute_ref_log_probs": True}
    run = preferring(tmp_path, monkeypatch, **STILL, **options)
    run.train()
    net = run.model.eval()
    with torch.no_grad():
        for k in range(3):
            batch = run.data_collator([run.train_dataset[k]])
            loss = run.compute_loss(net, batch).item()
            assert run.ted.pruner.scores[k] == pytest.approx(loss, rel=1e-4)


def test_a_column_that_is_not_there_is_named(tmp_path, monkeypatch):
    says = "must have the column 'ref_chosen_logps' that `sample_losses` reads, or the"
    with pytest.raises(ValueError, match=says):
        preferring(tmp_path, monkeypatch).train()
