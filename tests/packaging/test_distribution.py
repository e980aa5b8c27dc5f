from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from importlib.metadata import distribution, entry_points, version
from importlib.util import find_spec
from pathlib import Path

import pytest

import ted_core

ROOT = Path(__file__).parents[2]
PACKAGES = {"ted_core", "ted_torch", "ted_keras"}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)  # noqa: S603 - our own command
    return folder


@pytest.fixture(scope="module")
def wheel_names(built):
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        return set(wheel.namelist())


def test_the_wheel_holds_the_three_packages_and_nothing_else(wheel_names):
    tops = {name.split("/")[0] for name in wheel_names}
    assert tops == PACKAGES | {f"ted_core-{ted_core.__version__}.dist-info"}


def test_the_wheel_holds_every_source_file_and_only_those(wheel_names):
    folders = [ROOT / "ted_core", *(ROOT / "adapters").glob("ted_*")]
    sources = {
        path.relative_to(folder.parent).as_posix()
        for folder in folders
        for path in folder.rglob("*")
        if path.suffix == ".py" or path.name == "py.typed"
    }
    assert {name for name in wheel_names if name.split("/")[0] in PACKAGES} == sources


def test_the_wheel_carries_the_licence(wheel_names):
    assert [name for name in wheel_names if name.endswith("licenses/LICENSE")]


def test_the_wheel_carries_the_readme_as_markdown(built):
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        (name,) = (n for n in wheel.namelist() if n.endswith("dist-info/METADATA"))
        told = message_from_bytes(wheel.read(name))
    assert told["Description-Content-Type"] == "text/markdown"
    assert told.get_payload() == (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_source_distribution_builds_the_same_packages(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert "ted_core/__init__.py" in names
    assert "adapters/ted_torch/__init__.py" in names
    assert "adapters/ted_keras/__init__.py" in names
    assert "adapters/__init__.py" not in names


def test_the_installed_version_is_that_of_the_source():
    assert version("ted-core") == ted_core.__version__


def test_the_command_line_is_installed():
    (script,) = entry_points(group="console_scripts", name="ted")
    assert script.value == "ted_core.cli:main"


def test_the_tests_import_what_is_installed():
    """An editable install is the checkout; beside a wheel the checkout stays unused."""
    told = json.loads(distribution("ted-core").read_text("direct_url.json") or "{}")
    editable = told.get("dir_info", {}).get("editable", False)
    for package in PACKAGES:
        path = Path(find_spec(package).origin).resolve()
        assert path.is_relative_to(ROOT.resolve()) == editable, path


def test_the_installed_packages_have_the_files_of_the_checkout():
    for folder in (ROOT / "ted_core", *(ROOT / "adapters").glob("ted_*")):
        installed = Path(find_spec(folder.name).origin).parent
        sources = [path.relative_to(folder) for path in folder.rglob("*.py")]
        same = [
            (installed / p).read_bytes() == (folder / p).read_bytes() for p in sources
        ]
        assert all(same), folder
