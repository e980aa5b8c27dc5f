"""Run the examples of the README, the docs and every docstring."""

from __future__ import annotations

import gc
import os
import tempfile
from doctest import ELLIPSIS
from importlib import import_module
from pathlib import Path
from typing import Any

import torchvision_ops
from hypothesis import settings
from sybil.parsers.markdown import PythonCodeBlockParser
from sybil.parsers.rest import DocTestParser
from sybil.sybil import Sybil, SybilCollection

# A busy machine is no error. The gate takes the profile "ci", whose examples are the
# same in every run.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# Two test processes share the cores, and what they start: each keeps to one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Processes that the tests start know the stand-in for torchvision's operators, too.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(Path(torchvision_ops.__file__).parent), os.environ.get("PYTHONPATH", "")]
).rstrip(os.pathsep)
# Imported, Ultralytics looks for a network and writes its settings; TRL's trainers tell
# the hub that they were made.
_FOLDER = tempfile.TemporaryDirectory(prefix="ultralytics")
os.environ |= {
    "YOLO_CONFIG_DIR": _FOLDER.name,
    "YOLO_OFFLINE": "true",
    "YOLO_AUTOINSTALL": "false",
    "YOLO_VERBOSE": "false",
    "HF_HUB_OFFLINE": "1",
}
# What imports torchvision, or would download.
_PAGES = [f"docs/adapters/{name}.md" for name in ("timm", "torchvision", "ultralytics")]
_MODULES = [f"adapters/*/*/{name}.py" for name in ("timm", "ultralytics")]


def _stand_in(_: dict[str, Any]) -> None:
    """Import what stands in for operators and files that can't be had here."""
    import_module("ultralytics_offline")


_pages: dict[str, Any] = {"parsers": [PythonCodeBlockParser()]}
_docstrings: dict[str, Any] = {"parsers": [DocTestParser(optionflags=ELLIPSIS)]}
# "**" is one folder here, before Python 3.13.
_ALL = ["ted_core/*.py", "ted_core/*/*.py", "ted_core/*/*/*.py"]
_ALL += ["adapters/*/*.py", "adapters/*/*/*.py"]
pytest_collect_file = SybilCollection(
    [
        Sybil(
            patterns=["README.md", "docs/*.md", "docs/**/*.md"],
            excludes=_PAGES,
            **_pages,
        ),
        Sybil(patterns=_PAGES, setup=_stand_in, **_pages),
        Sybil(patterns=_ALL, excludes=_MODULES, **_docstrings),
        Sybil(patterns=_MODULES, setup=_stand_in, **_docstrings),
    ]
).pytest()

# A million objects of the frameworks stay from their import on. Nobody looks for
# garbage among them: neither Python during the imports, nor a trainer after its run.
gc.disable()


def pytest_collection_finish() -> None:
    """Look for garbage in what is made from here on."""
    gc.freeze()
    gc.enable()
