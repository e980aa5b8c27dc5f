"""The site: Sphinx, furo, MyST-NB and numpydoc; every page's examples run at build."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import ted_core

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
# Kernels inherit these: pages show what they print and no framework's greetings.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
# And the stand-in for torchvision's operators, as the tests' processes.
_SUPPORT = str(HERE.parent / "tests/support")
os.environ["PYTHONPATH"] = os.pathsep.join(
    [_SUPPORT, os.environ.get("PYTHONPATH", "")]
).rstrip(os.pathsep)

project = "ted-core"
author = "The ted-core developers"
project_copyright = "the ted-core developers, MIT licence"
version = release = ted_core.__version__

extensions = [
    "sphinx.ext.autodoc",
    "numpydoc",
    "myst_nb",
    "examples",  # _ext: ```python blocks become cells
    "public_names",  # _ext: the API pages, and the check that they are whole
]
exclude_patterns = ["_ext", "_static", "**/.ipynb_checkpoints"]
nitpicky = True
default_role = "code"
toc_object_entries_show_parents = "hide"

myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_execution_in_temp = True
nb_merge_streams = True
nb_output_stderr = "remove"  # bars and greetings; the tests make warnings errors

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
numpydoc_show_class_members = False
autosummary_generate = False  # numpydoc loads it; it would import every page's modules

# What other libraries document; their inventories would need a network at build.
nitpick_ignore_regex = [
    (r"py:.*", r"(numpy|np|npt|torch|keras|tensorflow|jax|hypothesis)(\..*)?"),
    (r"py:.*", r"(collections|typing|types|os|pathlib|dataclasses|abc)(\..*)?"),
    (r"py:.*", r".*\._.*|.*\.(Item|ItemIn|Batch|Kind|Source|Recorded)"),  # private
    (r"py:.*", r"(transformers|accelerate|lightning|torchdata|peft)(\..*)?"),
    (r"py:.*", r"(timm|ultralytics)(\..*)?"),
    (r"py:.*", r"(fastai|fastcore|fasttransform)(\..*)?"),
]

html_theme = "furo"
html_title = f"ted-core {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"sidebar_hide_name": False, "navigation_with_keys": True}
