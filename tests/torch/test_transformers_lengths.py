from __future__ import annotations

import numpy as np
import pytest
from trainer_runs import EPOCHS, PAPER, N, Ragged, flat, padded, trainer

BY_LENGTH = {
    "train_sampling_strategy": "group_by_length",
    "data_collator": padded,
    "save_strategy": "steps",
    "save_steps": 1,
}


def run(folder, data=None, **options):
    return trainer(folder, data=data or Ragged(), **{**BY_LENGTH, **options})


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    made = run(tmp_path_factory.mktemp("grouped"))
    made.train()
    return made


def padding(batches, lengths):
    """Count the tokens of padded batches."""
    return sum(len(ids) * max(lengths[k] for k in ids) for ids in batches)


def test_the_trainers_own_argument_groups_the_kept_samples(grouped, tmp_path):
    lengths, plain = Ragged().lengths, run(tmp_path, train_sampling_strategy="random")
    plain.train()
    for epoch, batches in grouped.seen.items():
        ids = flat(batches)
        assert len(set(ids)) == len(ids) == grouped.ted.report().planned[epoch]
        assert lengths[ids[0]] == max(lengths[k] for k in ids)
        if len(ids) == N:
            assert padding(batches, lengths) < padding(plain.seen[epoch], lengths)
    assert sorted(flat(plain.seen[0])) == sorted(flat(grouped.seen[0]))


def test_savings_and_logs_tell_the_tokens(grouped):
    lengths = np.array(Ragged().lengths)
    want = sum(lengths[flat(batches)].sum() for batches in grouped.seen.values())
    tokens = grouped.ted.savings().tokens
    assert (tokens.full, tokens.forwarded) == (EPOCHS * lengths.sum(), want)
    logs = grouped.state.log_history[-1]
    assert logs["ted/tokens_saved"] == tokens.ratio > 0


@pytest.mark.parametrize("step", [4, 11, 17])
def test_a_run_by_length_resumes_bit_for_bit(step, grouped, tmp_path):
    again = run(tmp_path)
    again.train(resume_from_checkpoint=f"{grouped.args.output_dir}/checkpoint-{step}")
    theirs = grouped.model.state_dict()
    for name, weight in again.model.state_dict().items():
        assert weight.equal(theirs[name])
    assert again.ted.savings() == grouped.ted.savings()
    for epoch, batches in again.seen.items():
        assert batches == grouped.seen[epoch][-len(batches) :]


def test_lengths_of_ones_own_are_not_looked_for_in_the_texts(tmp_path):
    class Unreadable(Ragged):
        def __getitem__(self, k):
            raise AssertionError(k)

    lengths = [k % 5 for k in range(N)]
    made = run(tmp_path, Unreadable(), ted=PAPER | {"lengths": lengths})
    loader = made.get_train_dataloader()
    assert len(loader.dataset) == N
    order = [lengths[k] for k in made.ted.pruner.plan().order]
    assert order[0] == 4


def test_a_trainer_that_does_not_know_lengths_asks_for_them(tmp_path):
    class Shapeless(Ragged):
        def __getitem__(self, k):
            return super().__getitem__(k)["input_ids"]

    with pytest.raises(ValueError, match="Can only automatically infer lengths"):
        run(tmp_path, Shapeless())
