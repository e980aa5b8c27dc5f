"""What the pages say of commands, files, names and links holds in the checkout."""

from __future__ import annotations

import importlib
import re
from collections import Counter
from pathlib import Path

import ted_core

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
INSTALLED = re.compile(r"-c constraints\.txt (torch .*?--group dev)")
PAPER_TO_CODE = (ROOT / "docs/method/paper_to_code.md").read_text(encoding="utf-8")
OF_THE_PAPER = [
    *(f"Eq. {number}" for number in range(1, 25)),
    *(f"Definition {number}" for number in range(1, 4)),
    *(f"Lemma {number}" for number in range(1, 3)),
    *(f"{line}" for line in range(1, 12)),
    *(f"Table {number}" for number in range(1, 13)),
    *(f"Figure {number}" for number in range(1, 11)),
]


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


def test_each_local_link_of_a_page_leads_to_a_file():
    lost = []
    for page in PAGES:
        prose = re.sub(r"(?ms)^```.*?^```$", "", page.read_text(encoding="utf-8"))
        pairs = re.findall(
            r"\]\(([^)\s]+)\)|^\[[^]]+\]: (\S+)$", prose, flags=re.MULTILINE
        )
        local = [link for pair in pairs for link in pair if link and "://" not in link]
        lost += [
            f"{page.relative_to(ROOT)}: {link}"
            for link in local
            if not (page.parent / (link.partition("#")[0] or page)).exists()
        ]
    assert lost == []


def test_each_thing_of_the_paper_has_one_row():
    first_cells = re.findall(r"^\| ([^|]+?) \|", PAPER_TO_CODE, flags=re.MULTILINE)
    rows = Counter(cell.partition(",")[0] for cell in first_cells)
    assert {thing: rows[thing] for thing in OF_THE_PAPER if rows[thing] != 1} == {}


def test_the_page_of_the_paper_names_what_can_be_imported_and_files_that_are_there():
    names = set(re.findall(r"`~?(ted_\w+(?:\.\w+)+)", PAPER_TO_CODE))
    paths = set(re.findall(r"`((?:tests|benchmarks)/[\w/.]+)`", PAPER_TO_CODE))
    assert names
    assert paths
    assert sorted(name for name in names if not importable(name)) == []
    assert sorted(path for path in paths if not (ROOT / path).exists()) == []


def importable(name: str) -> bool:
    first, *parts = name.split(".")
    place = importlib.import_module(first)
    try:
        for part in parts:
            if not hasattr(place, part):
                importlib.import_module(f"{place.__name__}.{part}")
            place = getattr(place, part)
    except ImportError:
        return False
    return True
