"""The distributions share the namespace `toolorchestra`: one stray __init__.py would hide all the others."""

from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(ROOT.glob("*/*/src/toolorchestra")) + sorted(ROOT.glob("*/src/toolorchestra"))
SHARED = ("", "tools", "training")


def test_there_are_members_to_look_at():
    assert len(SOURCES) >= 11


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.relative_to(ROOT).parts[1])
def test_no_member_claims_the_shared_namespace(source):
    assert [name for name in SHARED if (source / name / "__init__.py").exists()] == []


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.relative_to(ROOT).parts[1])
def test_a_member_holds_one_package_and_says_that_it_is_typed(source):
    packages = [path for path in source.iterdir() if path.is_dir() and path.name != "__pycache__"]
    (package,) = packages
    if package.name in SHARED:
        (package,) = [path for path in package.iterdir() if path.is_dir() and path.name != "__pycache__"]
    assert (package / "py.typed").exists()


def test_operator_is_a_folder_and_never_a_package():
    assert (ROOT / "operator").is_dir()
    assert list((ROOT / "operator").glob("*.py")) == []
    assert list((ROOT / "operator").rglob("test_*.py")) == []


def test_tests_have_no_packages():
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_every_tool_of_the_workspace_is_found_by_its_entry_point():
    folders = {path.name for path in (ROOT / "tools").iterdir() if (path / "pyproject.toml").exists()}
    assert folders <= {entry.name for entry in entry_points(group="toolorchestra.tools")}
