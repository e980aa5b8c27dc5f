"""Run the examples of the README, the docs and every docstring."""

from __future__ import annotations

from doctest import ELLIPSIS

from hypothesis import settings
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser
from sybil.parsers.rest import DocTestParser

# A busy machine is no error. The gate takes the profile "ci", whose examples are the
# same in every run.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

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
        "ted_core/*/*/*.py",
        "adapters/*/*.py",
        "adapters/*/*/*.py",
    ],
)
pytest_collect_file = (_pages + _docstrings).pytest()
