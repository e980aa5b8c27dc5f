"""Run the examples of the README, the docs and every docstring."""

from __future__ import annotations

from doctest import ELLIPSIS

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser
from sybil.parsers.rest import DocTestParser

_pages = Sybil(
    parsers=[PythonCodeBlockParser()],
    patterns=["README.md", "docs/**/*.md"],
)
_docstrings = Sybil(
    parsers=[DocTestParser(optionflags=ELLIPSIS)],
    # "**" is one folder here, before Python 3.13.
    patterns=[
        "ted_core/*.py",
        "ted_core/*/*.py",
        "adapters/*/*.py",
        "adapters/*/*/*.py",
    ],
)
pytest_collect_file = (_pages + _docstrings).pytest()
