from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = [ROOT / "ted_core", ROOT / "adapters/ted_torch", ROOT / "adapters/ted_keras"]


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def short(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_only_packages_have_an_init_and_each_says_that_it_is_typed():
    assert not (ROOT / "adapters" / "__init__.py").exists()
    assert not list((ROOT / "tests").rglob("__init__.py"))
    assert [p.name for p in PACKAGES if not (p / "py.typed").is_file()] == []


def test_the_library_never_asserts():
    asserting = [
        short(path)
        for package in PACKAGES
        for path in package.rglob("*.py")
        if any(isinstance(node, ast.Assert) for node in ast.walk(tree(path)))
    ]
    assert asserting == []


def test_what_the_benchmarks_import_of_the_library_is_there():
    """Find renames without running a benchmark; its own tests run when it changes."""
    lost = []
    for path in sorted((ROOT / "benchmarks").rglob("*.py")):
        for node in ast.walk(tree(path)):
            module = getattr(node, "module", None) or ""
            if isinstance(node, ast.ImportFrom) and module.startswith("ted_"):
                lost += [
                    f"{short(path)}: {module}.{alias.name}"
                    for alias in node.names
                    if not is_bound(module, alias.name)
                ]
    assert lost == []


def is_bound(module: str, name: str) -> bool:
    """Tell whether a module of the library has a name, by its text alone."""
    folder = next((p.parent for p in PACKAGES if module.startswith(p.name)), ROOT)
    path = folder.joinpath(*module.split("."))
    if path.is_dir():
        if any((path / f"{name}{end}").exists() for end in (".py", "/__init__.py")):
            return True
        path /= "__init__.py"
    else:
        path = path.with_suffix(".py")
    if not path.exists():
        return False
    body = ast.walk(tree(path))
    return any(name in names_of(node) for node in body)


def names_of(node: ast.AST) -> list[str]:
    """Give the names that a statement binds."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return [node.id]
    if isinstance(node, ast.ImportFrom | ast.Import):
        return [alias.asname or alias.name for alias in node.names]
    return []


def test_the_constraints_are_pins_without_address_path_or_gpu_package():
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pins = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert pins
    banned = ("://", "/", "@", "nvidia", "cuda")
    assert [
        p for p in pins if "==" not in p or any(b in p.lower() for b in banned)
    ] == []
