"""Every folder of tools/ has what a tool needs: a manifest that is valid, an entry point that fits it, a page about it."""

from importlib.metadata import entry_points
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from toolorchestra.core.plugins import ENTRY_POINT_GROUP
from toolorchestra.core.resources import Tool, parse_resource

TOOLS = Path(__file__).parents[3] / "tools"
FOLDERS = sorted(path.parent for path in TOOLS.glob("*/pyproject.toml"))


def manifest(folder: Path) -> Tool:
    tool = parse_resource(yaml.safe_load((folder / "tool.yaml").read_text()), source=f"{folder.name}/tool.yaml")
    assert isinstance(tool, Tool)
    return tool


def test_there_are_tools() -> None:
    assert {"calculator", "python", "local_search", "web_search"} <= {folder.name for folder in FOLDERS}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_manifest_names_a_plug_in_that_is_installed_and_takes_its_settings(folder: Path) -> None:
    backend = manifest(folder).spec.plugin
    assert backend is not None
    (point,) = entry_points(group=ENTRY_POINT_GROUP, name=backend.name)
    plugin = point.load()(backend.config)
    assert callable(plugin.run)
    assert callable(plugin.check)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_parameters_are_a_schema_with_one_required_text(folder: Path) -> None:
    schema = manifest(folder).spec.parameters
    Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False
    (required,) = schema["required"]
    assert schema["properties"][required]["type"] == "string"
    assert all(field["description"] for field in schema["properties"].values())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_there_is_a_page_about_it(folder: Path) -> None:
    assert (folder / "README.md").read_text().startswith(f"# {folder.name}\n")
    assert f"({folder.name}/README.md)" in (TOOLS / "README.md").read_text()
