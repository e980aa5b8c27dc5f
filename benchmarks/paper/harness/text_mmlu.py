"""MMLU: which of four answers a language model finds likeliest.

D. Hendrycks et al., Measuring massive multitask language understanding, ICLR 2021:
the prompt, five worked examples before each question, and the four groups of subjects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from harness.text_data import read_rows

__all__ = ["GROUPS", "Questions", "evaluate", "prompt", "read_questions", "tally"]

LETTERS = "ABCD"
STEM = """abstract_algebra anatomy astronomy college_biology college_chemistry
college_computer_science college_mathematics college_physics computer_security
conceptual_physics electrical_engineering elementary_mathematics high_school_biology
high_school_chemistry high_school_computer_science high_school_mathematics
high_school_physics high_school_statistics machine_learning"""
SOCIAL = """econometrics high_school_geography high_school_government_and_politics
high_school_macroeconomics high_school_microeconomics high_school_psychology
human_sexuality professional_psychology public_relations security_studies sociology
us_foreign_policy"""
HUMANITIES = """formal_logic high_school_european_history high_school_us_history
high_school_world_history international_law jurisprudence logical_fallacies
moral_disputes moral_scenarios philosophy prehistory professional_law world_religions"""
OTHER = """business_ethics clinical_knowledge college_medicine global_facts human_aging
management marketing medical_genetics miscellaneous nutrition professional_accounting
professional_medicine virology"""
GROUPS = {
    "STEM": STEM.split(),
    "social sciences": SOCIAL.split(),
    "humanities": HUMANITIES.split(),
    "other": OTHER.split(),
}
"""The subjects of the benchmark's four groups, 57 in all."""


@dataclass(frozen=True)
class Questions:
    """Prompts as tokens, their subjects and answers, and the tokens of the letters."""

    prompts: list[list[int]]
    subjects: list[str]
    answers: list[int]
    letters: list[int]


def entry(row, *, answered):
    """Return a question with its choices, and with its answer if it is an example."""
    lines = [row["question"]]
    lines += [f"{a}. {b}" for a, b in zip(LETTERS, row["choices"], strict=True)]
    end = f" {LETTERS[row['answer']]}\n\n" if answered else ""
    return "\n".join(lines) + "\nAnswer:" + end


def prompt(row, examples):
    """Return the text before the answer: heading, examples, question."""
    subject = row["subject"].replace("_", " ")
    head = "The following are multiple choice questions (with answers) about"
    worked = "".join(entry(each, answered=True) for each in examples)
    return f"{head} {subject}.\n\n{worked}{entry(row, answered=False)}"


def read_questions(folder, tokenizer, *, shots=5, each=None):
    """Return the test questions, the first `each` of a subject, with worked examples.

    ``DATA/mmlu/dev.jsonl`` and ``test.jsonl``: objects with ``subject``, ``question``,
    ``choices`` and the place of the ``answer`` among these.
    """
    examples = {}
    for row in read_rows(folder, "mmlu", "dev"):
        examples.setdefault(row["subject"], []).append(row)
    found, taken = [], {}
    for row in read_rows(folder, "mmlu", "test"):
        taken[row["subject"]] = taken.get(row["subject"], 0) + 1
        if each is None or taken[row["subject"]] <= each:
            found.append(row)
    texts = [prompt(r, examples.get(r["subject"], [])[:shots]) for r in found]
    letters = [
        tokenizer(f" {letter}", add_special_tokens=False)["input_ids"][-1]
        for letter in LETTERS
    ]
    return Questions(
        tokenizer(texts)["input_ids"],
        [row["subject"] for row in found],
        [row["answer"] for row in found],
        letters,
    )


@torch.no_grad()
def evaluate(model, questions, progress=None):
    """Return the share of right answers by group, and over all questions.

    Parameters
    ----------
    model : callable
        Called with ``input_ids`` of one question, shape (1, T); has ``logits``.
    questions : Questions
        What to ask.
    progress : callable, optional
        Called after each question.
    """
    device = next(model.parameters()).device
    chosen = []
    for tokens in questions.prompts:
        given: dict[str, Any] = {"input_ids": torch.tensor([tokens], device=device)}
        logits = model(**given).logits[0, -1, questions.letters]
        chosen.append(int(logits.argmax()))
        if progress is not None:
            progress()
    return tally(questions.subjects, questions.answers, chosen)


def tally(subjects, answers, chosen):
    """Return the share of right answers by group, and their average.

    A group's share is over all of its questions, so large subjects count more; the
    average is over all questions likewise.
    """
    group_of = {name: group for group, names in GROUPS.items() for name in names}
    right = {}
    for subject, answer, choice in zip(subjects, answers, chosen, strict=True):
        right.setdefault(group_of[subject], []).append(answer == choice)
    out = {
        group: sum(right[group]) / len(right[group])
        for group in GROUPS
        if group in right
    }
    every = [hit for hits in right.values() for hit in hits]
    return out | {"average": sum(every) / len(every), "questions": len(every)}
