"""Run the examples of the README, the docs and every docstring."""

from __future__ import annotations

import os
import tempfile
from doctest import ELLIPSIS
from importlib import import_module
from typing import Any

from hypothesis import settings
from sybil.sybil import Sybil, SybilCollection
from sybil.parsers.markdown import PythonCodeBlockParser
from sybil.parsers.rest import DocTestParser

# A busy machine is no error. The gate takes the profile "ci", whose examples are the
# same in every run.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# Imported, Ultralytics looks for a network and writes its settings.
_FOLDER = tempfile.TemporaryDirectory(prefix="ultralytics")
os.environ |= {
    "YOLO_CONFIG_DIR": _FOLDER.name,
    "YOLO_OFFLINE": "true",
    "YOLO_AUTOINSTALL": "false",
    "YOLO_VERBOSE": "false",
}


def _offline(_: dict[str, Any]) -> None:
    """Import what stands in for the operators and files that can't be had here."""
    import_module("ultralytics_offline")


_ON_TORCHVISION = ["docs/adapters/timm.md", "docs/adapters/torchvision.md"]
_ON_TORCHVISION += ["docs/adapters/ultralytics.md"]
_pages = Sybil(
    parsers=[PythonCodeBlockParser()],
    patterns=["README.md", "docs/**/*.md"],
    excludes=_ON_TORCHVISION,
)
_offline_pages = Sybil(
    parsers=[PythonCodeBlockParser()], patterns=_ON_TORCHVISION, setup=_offline
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
pytest_collect_file = SybilCollection([_pages, _offline_pages, _docstrings]).pytest()
