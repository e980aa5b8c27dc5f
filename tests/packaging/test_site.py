from __future__ import annotations

import inspect
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest
import ted_torch

from ted_core.config import RunOptions

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def loaded(folder: Path, name: str):
    sys.path.insert(0, str(folder))
    try:
        return import_module(name)
    finally:
        sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def examples():
    return loaded(DOCS / "_ext", "examples")


@pytest.fixture(scope="module")
def check_site():
    return loaded(DOCS, "check_site")


def site(folder: Path, **pages: str) -> Path:
    for name, body in pages.items():
        (folder / f"{name}.html").write_text(f"<html><body>{body}</body></html>")
    return folder


def test_the_build_runs_every_example_that_the_tests_run(examples):
    for path in sorted(DOCS.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        blocks = re.findall(r"^\s*```+ *python", text, flags=re.MULTILINE)
        cells = examples.as_notebook(text).count("\n```{code-cell}\n")
        assert cells == len(blocks), path


def test_a_page_without_examples_is_left_as_it_is(examples):
    assert (
        examples.as_notebook("# A\n\n```text\nb\n```\n") == "# A\n\n```text\nb\n```\n"
    )


def test_links_between_pages_and_to_their_anchors_hold(tmp_path, check_site):
    folder = site(
        tmp_path, a='<a href="b.html#x"></a><a href="#y"></a><p id="y">', b='<p id="x">'
    )
    assert check_site.broken_links(folder) == []


@pytest.mark.parametrize("link", ["c.html", "b.html#x", "#y", "c.png"])
def test_a_link_that_leads_nowhere_is_told(link, tmp_path, check_site):
    folder = site(tmp_path, a=f'<a href="{link}"></a>', b="")
    assert check_site.broken_links(folder) == [f"a.html: {link} leads nowhere"]


def test_other_sites_are_not_asked(tmp_path, check_site):
    folder = site(tmp_path, a='<a href="https://example.org/none"></a>')
    assert check_site.broken_links(folder) == []


def test_the_page_of_a_session_lists_every_option_of_a_run():
    public_names = loaded(DOCS / "_ext", "public_names")
    lines = inspect.getdoc(ted_torch.TED).splitlines()
    public_names._spell_out(None, "class", "ted_torch.TED", None, None, lines)
    section = "\n".join(lines).split("\n\n")[1]
    listed = re.findall(r"^(\w[\w, ]*) : ", section, flags=re.MULTILINE)
    names = {name for entry in listed for name in entry.split(", ")}
    assert RunOptions.__annotations__.keys() <= names
