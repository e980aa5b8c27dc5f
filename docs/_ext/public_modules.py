"""What is public: the names in `__all__` of every module that has no underscore."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from sphinx.pycode import ModuleAnalyzer

__all__ = ["PACKAGES", "Name", "modules", "names"]

PACKAGES = ("ted_core", "ted_torch", "ted_keras")
_PROGRAMS = {"demo", "__main__", "cli"}  # run, not imported; they have pages of words


@dataclass(frozen=True)
class Name:
    """A public thing, where to import it from, and where it is written.

    Parameters
    ----------
    module : str
        Shortest module that exports it.
    name : str
        Its name there.
    thing : object
        What it is.
    source : str
        Module whose text binds it.
    """

    module: str
    name: str
    thing: Any
    source: str

    @property
    def path(self) -> str:
        """Dotted path to import."""
        return f"{self.module}.{self.name}"

    def comment(self) -> str:
        """Return the docstring under an assignment, or nothing."""
        return "\n".join(_comments(self.source).get(("", self.name), ())).strip()


@cache
def modules() -> dict[str, ModuleType]:
    """Import every public module.

    Returns
    -------
    dict of str to module
        By name, the shorter ones first.
    """
    # torchvision's stand-ins, as the tests take them: timm imports it.
    sys.path.append(str(Path(__file__).parents[2] / "tests/support"))
    importlib.import_module("torchvision_ops")
    found = {}
    for package in PACKAGES:
        root = importlib.import_module(package)
        inside = pkgutil.walk_packages(root.__path__, f"{package}.", onerror=_fail)
        for module in (package, *(info.name for info in inside)):
            parts = module.split(".")
            if not any(p.startswith("_") or p in _PROGRAMS for p in parts):
                found[module] = importlib.import_module(module)
    return dict(sorted(found.items(), key=lambda item: (item[0].count("."), item[0])))


def _fail(module: str) -> None:
    msg = f"`{module}` must be importable for the API pages; install its extra"
    raise ImportError(msg)


@cache
def names() -> tuple[Name, ...]:
    """List every public thing once, under its shortest module.

    Returns
    -------
    tuple of Name
        In the order of the modules and of their `__all__`.
    """
    return tuple(_names())


def _names() -> Iterator[Name]:
    seen = set()
    for path, module in modules().items():
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            key = name, id(thing)
            hidden = name.startswith("__") or isinstance(thing, ModuleType)
            if key not in seen and not hidden:
                seen.add(key)
                yield Name(path, name, thing, _source(name, thing, path))


def _source(name: str, thing: Any, path: str) -> str:
    own = getattr(thing, "__module__", None)
    if isinstance(own, str) and own in modules():
        return own
    inside = (module for module in modules() if module.startswith(path))
    return next((module for module in inside if ("", name) in _comments(module)), path)


def _comments(module: str) -> dict[tuple[str, str], list[str]]:
    return ModuleAnalyzer.for_module(module).find_attr_docs()
