from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil

import pytest

import ted_core

# Importing this module runs the demo.
NOT_IMPORTED = {"ted_core.demo.__main__"}
MODULES = sorted(
    {"ted_core"}
    | {
        info.name
        for info in pkgutil.walk_packages(ted_core.__path__, "ted_core.")
        if info.name not in NOT_IMPORTED
    }
)


def private(module: str) -> bool:
    return any(part.startswith("_") for part in module.split("."))


PUBLIC = [module for module in MODULES if not private(module)]


def defined_names(module: str) -> set[str]:
    """Give the public names that the module's own text binds at its top level."""
    tree = ast.parse(inspect.getsource(importlib.import_module(module)))
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {t.id for t in node.targets if isinstance(t, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return {name for name in names if not name.startswith("_")}


def exported(module: str) -> list[str]:
    return list(importlib.import_module(module).__all__)


@pytest.mark.parametrize("module", MODULES)
def test_every_module_lists_its_public_names(module):
    names = exported(module)
    assert len(names) == len(set(names))
    loaded = importlib.import_module(module)
    assert [name for name in names if not hasattr(loaded, name)] == []


@pytest.mark.parametrize("module", PUBLIC)
def test_all_holds_every_public_name_that_a_module_defines(module):
    assert defined_names(module) - set(exported(module)) == set()


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_documented(module):
    loaded = importlib.import_module(module)
    assert inspect.getdoc(loaded)
    things = {name: getattr(loaded, name) for name in exported(module)}
    silent = [
        name
        for name, thing in things.items()
        if (inspect.isclass(thing) or inspect.isfunction(thing))
        and not inspect.getdoc(thing)
    ]
    assert silent == []


def test_a_name_means_the_same_thing_wherever_it_is_exported():
    for name in ted_core.__all__:
        thing = getattr(ted_core, name)
        home = getattr(thing, "__module__", None)
        if home is not None:
            assert getattr(importlib.import_module(home), name) is thing
