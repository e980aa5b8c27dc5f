"""Make the API pages before a build, and fail it when they lack a public name.

Every session lists the options of a run, which its docstring leaves to ``Pruner``.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from api_pages import pages
from docutils import nodes
from public_modules import names
from sphinx.util import logging
from sphinx.util.nodes import make_refnode

from ted_core import Pruner
from ted_core.config import RunOptions

__all__ = ["setup"]

_log = logging.getLogger(__name__)
_OPTIONS = "**options : RunOptions"


def _write(app: Any) -> None:
    folder = Path(app.srcdir) / "api" / "generated"
    made = {folder / f"{name}.rst": text for name, text in pages().items()}
    for path in set(folder.rglob("*.rst")) - set(made):
        path.unlink()
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _spell_out(
    _app: Any, _what: str, _name: str, _thing: Any, _options: Any, lines: list[str]
) -> None:
    """Put the options of a run in the place of ``**options : RunOptions``."""
    if _OPTIONS not in lines:
        return
    start = lines.index(_OPTIONS)
    end = next(i for i in range(start + 1, len(lines)) if not lines[i].startswith(" "))
    note = " ".join(lines[start:end])
    given = RunOptions.__annotations__.keys()
    spelt = []
    for entry in _entries(inspect.getdoc(Pruner) or ""):
        told = set(entry[0].partition(" : ")[0].split(", "))
        if told & given and not any(f"save `{name}`" in note for name in told):
            spelt += entry
    lines[end:end] = spelt


def _entries(text: str) -> Iterator[list[str]]:
    """Yield the lines of each parameter of a docstring."""
    section = text.split("Parameters\n----------\n")[1].split("\n\n", maxsplit=1)[0]
    entry: list[str] = []
    for line in section.splitlines():
        if entry and not line.startswith(" "):
            yield entry
            entry = []
        entry.append(line)
    yield entry


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
    app.connect(
        "autodoc-process-docstring", _spell_out, priority=400
    )  # numpydoc's: 500
    app.connect("env-check-consistency", _check)
    app.connect("missing-reference", _resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
