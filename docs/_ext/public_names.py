"""Make the API pages before a build, and fail it when they lack a public name."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from api_pages import pages
from docutils import nodes
from public_modules import names
from sphinx.util import logging
from sphinx.util.nodes import make_refnode

__all__ = ["setup"]

_log = logging.getLogger(__name__)


def _write(app: Any) -> None:
    folder = Path(app.srcdir) / "api" / "generated"
    folder.mkdir(parents=True, exist_ok=True)
    made = {folder / f"{name}.rst": text for name, text in pages().items()}
    for path in set(folder.glob("*.rst")) - set(made):
        path.unlink()
    for path, text in made.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _check(_app: Any, env: Any) -> None:
    """Warn of every name that has no entry or no words."""
    entries = env.domains["py"].objects
    for name in names():
        if name.path not in entries:
            _log.warning("%s is public and has no API entry", name.path)
        speaks = inspect.isclass(name.thing) or inspect.isroutine(name.thing)
        if not (inspect.getdoc(name.thing) if speaks else name.comment()):
            _log.warning("%s is public and undocumented", name.path)


def _resolve(app: Any, env: Any, node: Any, content: Any) -> nodes.reference | None:
    """Find a class or function that a docstring names without its module."""
    if node.get("refdomain") != "py":
        return None
    suffix = "." + node["reftarget"].lstrip(".")
    entries = env.domains["py"].objects
    found = {
        (entry.docname, entry.node_id)
        for path, entry in entries.items()
        if path.endswith(suffix) and not entry.aliased
    }
    if len(found) != 1:
        return None
    page, anchor = found.pop()
    return make_refnode(app.builder, node["refdoc"], page, anchor, content)


def setup(app: Any) -> dict[str, bool]:
    """Register the extension.

    Parameters
    ----------
    app : sphinx.application.Sphinx
        The builder's application.

    Returns
    -------
    dict of str to bool
        What Sphinx may do with it.
    """
    app.connect("builder-inited", _write)
    app.connect("env-check-consistency", _check)
    app.connect("missing-reference", _resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
