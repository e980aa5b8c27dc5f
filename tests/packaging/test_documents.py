from __future__ import annotations

import re
from pathlib import Path

import ted_core

ROOT = Path(__file__).parents[2]
INSTALLED = re.compile(r"-c constraints\.txt (torch .*?--group dev)")


def text(name: str) -> str:
    """Give a file's text with continued lines and runs of blanks joined."""
    joined = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    return re.sub(r"[ \t]+", " ", joined)


def test_the_gate_and_the_contributor_install_what_the_readme_does():
    (readme,) = INSTALLED.findall(text("README.md"))
    assert INSTALLED.findall(text(".ci/run")) == [readme]
    assert INSTALLED.findall(text("CONTRIBUTING.md")) == [readme]


def test_each_command_of_the_readme_starts_with_its_own_environment():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    commands = [line for line in lines if ".venv/bin/python -m" in line]
    assert len(commands) == 3
    assert all(line.startswith("python3 -m venv .venv && ") for line in commands)


def test_the_citation_names_the_version_of_the_source():
    assert f"\nversion: {ted_core.__version__}\n" in text("CITATION.cff")


def test_the_changelog_has_a_place_for_the_next_release():
    assert "\n## [Unreleased]\n" in text("CHANGELOG.md")
