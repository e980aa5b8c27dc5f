"""Public is what a module without an underscore lists in `__all__`."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

from numpydoc.hooks.validate_docstrings import parse_config, process_file

import ted_core
from ted_core.config import RunOptions

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = [ROOT / "ted_core", *sorted((ROOT / "adapters").glob("ted_*"))]
# Programs are run, not imported; pages of words describe them.
PROGRAMS = {"demo", "cli", "__main__"}


def dotted(path: Path, folder: Path) -> str:
    """Give a file's name as a module."""
    parts = path.relative_to(folder.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


PATHS = {
    dotted(path, folder): path
    for folder in FOLDERS
    for path in sorted(folder.rglob("*.py"))
}
TREES = {
    name: ast.parse(path.read_text(encoding="utf-8")) for name, path in PATHS.items()
}


def is_private(module: str) -> bool:
    parts = module.split(".")
    return any(p.startswith("_") and p not in PROGRAMS for p in parts)


def is_program(module: str) -> bool:
    return not PROGRAMS.isdisjoint(module.split("."))


def bound(module: str) -> dict[str, ast.stmt]:
    """Give the statements that bind a module's names."""
    names: dict[str, ast.stmt] = {}
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.ImportFrom | ast.Import):
            names |= {a.asname or a.name.partition(".")[0]: node for a in node.names}
    for node in TREES[module].body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names[node.name] = node
        elif isinstance(node, ast.Assign):
            targets = (t for each in node.targets for t in ast.walk(each))
            names |= {t.id: node for t in targets if isinstance(t, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names[node.target.id] = node
    return names


def exported(module: str) -> list[str] | None:
    """Give `__all__` as the module's text has it, or None."""
    node = bound(module).get("__all__")
    return None if node is None else list(ast.literal_eval(node.value))


def home(module: str, name: str) -> tuple[str, str]:
    """Follow a name through our own modules to the one that binds it."""
    node = bound(module).get(name)
    if not isinstance(node, ast.ImportFrom) or node.module not in TREES:
        return module, name
    (source,) = (a.name for a in node.names if name in {a.name, a.asname})
    inner = f"{node.module}.{source}"
    return (inner, "") if inner in TREES else home(node.module, source)


def documented(module: str, name: str) -> bool:
    """Tell whether a docstring stands in or under what binds a name."""
    tree = TREES[module]
    if not name:
        return ast.get_docstring(tree) is not None
    node = bound(module)[name]
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return ast.get_docstring(node) is not None
    if node not in tree.body:
        return True  # another library's
    after = tree.body[tree.body.index(node) + 1 :][:1]
    return bool(after) and isinstance(getattr(after[0], "value", None), ast.Constant)


PUBLIC = {
    module: names
    for module in TREES
    if not is_private(module) and (names := exported(module)) is not None
}
HOMES = {home(module, name) for module, names in PUBLIC.items() for name in names}


def test_modules_without_an_underscore_list_their_public_names():
    public = [m for m in TREES if not is_private(m) and not is_program(m)]
    defining = [m for m in public if bound(m).keys() - {"annotations"}]
    unlisted = [m for m in defining if m not in PUBLIC]
    assert not unlisted, f"these need `__all__`, or an underscore: {unlisted}"
    listed = [m for m in TREES if is_private(m) and exported(m) is not None]
    assert not listed, f"modules with an underscore have no `__all__`: {listed}"


def test_what_is_listed_is_bound_once_and_has_no_underscore():
    wrong = [
        f"{module}.{name}"
        for module, names in PUBLIC.items()
        for name in names
        if names.count(name) > 1
        or name not in bound(module)
        or (name.startswith("_") and name != "__version__")
    ]
    assert not wrong, f"listed twice, unbound or private: {wrong}"


def test_every_public_name_and_every_module_is_documented():
    things = {thing for thing in HOMES if thing[1] != "__version__"}
    things |= {(module, "") for module in TREES}
    silent = sorted(thing for thing in things if not documented(*thing))
    assert not silent, f"these have no docstring: {silent}"


def test_a_public_docstring_has_its_sections():
    """Check by numpydoc's rules, as the configuration chooses them."""
    config = parse_config(ROOT)
    found = []
    for module in sorted({module for module, _ in HOMES}):
        own = {name for where, name in HOMES if where == module}
        for line, name, code, rule in process_file(PATHS[module], config):
            _, *path = name.split(".")
            if not path or path[0] in own:
                found.append(f"{line} {name} {code} {rule}")
    assert not found, "\n".join(found)


def test_a_name_means_the_same_thing_wherever_it_is_exported():
    for name in ted_core.__all__:
        thing = getattr(ted_core, name)
        module = getattr(thing, "__module__", None)
        if module is not None:
            assert getattr(importlib.import_module(module), name) is thing


def test_the_help_of_a_session_names_every_option_of_a_run():
    for module in ("ted_torch.session", "ted_keras.callbacks"):
        classes = [n for n in TREES[module].body if isinstance(n, ast.ClassDef)]
        text = next(ast.get_docstring(node) for node in classes if node.name == "TED")
        told = set(re.findall(r"`(\w+)`", text.partition("**options")[2]))
        assert RunOptions.__annotations__.keys() - told == set(), module
