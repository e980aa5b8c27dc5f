"""The record of the Hugging Face steps as Markdown."""

from __future__ import annotations

from step_table import change, row

__all__ = ["markdown"]


def markdown(record):
    """Give one row for each run: what a step costs and what TED adds.

    Parameters
    ----------
    record : dict
        What `huggingface_steps.py` wrote.

    Returns
    -------
    str
        Markdown.
    """
    heads = ["", "processor ms a step", "the same again", "with TED", "extra ms"]
    lines = [row(heads), row(["---"] * len(heads))]
    for result in record["results"]:
        plain, again, ted = (site["cpu"] for site in result["sites"])
        cells = [f"{plain['median ms']:.1f}", change(again)[0], *change(ted)]
        lines.append(row([result["run"], *cells]))
    return "\n".join(lines)
