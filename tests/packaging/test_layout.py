from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = (ROOT / "ted_core", ROOT / "adapters", ROOT / "tests", ROOT / "benchmarks")
SOURCES = sorted(
    path
    for package in PACKAGES
    for path in package.rglob("*.py")
    if "__pycache__" not in path.parts
)
LIBRARY = [
    path
    for path in SOURCES
    if path.relative_to(ROOT).parts[0] in {"ted_core", "adapters"}
]


def ids(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_adapters_is_a_plain_folder_and_never_a_package():
    assert not (ROOT / "adapters" / "__init__.py").exists()


def test_no_folder_of_tests_is_a_package():
    assert not list((ROOT / "tests").rglob("__init__.py"))


@pytest.mark.parametrize(
    "package", ["ted_core", "adapters/ted_torch", "adapters/ted_keras"]
)
def test_each_package_says_that_it_is_typed(package):
    assert (ROOT / package / "py.typed").is_file()


@pytest.mark.parametrize("path", LIBRARY, ids=ids)
def test_the_library_never_asserts(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Assert)]


def test_the_constraints_name_no_address_and_no_path():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins
    assert not [pin for pin in pins if "://" in pin or "/" in pin or "@" in pin]
    assert not [pin for pin in pins if "==" not in pin]


def test_the_constraints_pull_no_gpu_package():
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8").lower()
    assert "nvidia" not in text
    assert "cuda" not in text
