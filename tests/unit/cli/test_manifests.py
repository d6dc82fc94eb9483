"""The manifests that come with the product, and those that it writes, are right."""

from pathlib import Path

import pytest
import yaml

from toolorchestra.cli.embedded.local_model import MODEL_NAME
from toolorchestra.cli.platform.local_expert import (
    FILE_NAME,
    forget_local_expert,
    local_expert,
    write_local_expert,
)
from toolorchestra.cli.platform.services import SHIPPED_MANIFESTS
from toolorchestra.core.pricing import Price
from toolorchestra.core.resources import ExpertModel, Orchestrator, Tool, parse_documents, parse_resource
from toolorchestra.core.revision import price_of

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "infra" / "examples" / "manifests"


def resources(file: Path):
    return [parse_resource(document, source=file.name) for document in parse_documents(file.read_text(), source=file.name)]


def test_the_shipped_folder_has_one_orchestrator_and_the_tools():
    found = [resource for file in sorted(SHIPPED_MANIFESTS.glob("*.yaml")) for resource in resources(file)]
    assert sorted(r.metadata.name for r in found if isinstance(r, Tool)) == [
        "calculator",
        "local-search",
        "python",
        "web-search",
    ]
    (orchestrator,) = [resource for resource in found if isinstance(resource, Orchestrator)]
    assert orchestrator.metadata.name == "toolorchestra"
    assert orchestrator.spec.policy.baseline == "cascade"
    assert "baseline" in orchestrator.spec.description


@pytest.mark.parametrize("tool", ["calculator", "local_search", "python", "web_search"])
def test_the_shipped_manifest_of_a_tool_is_the_one_beside_its_code(tool):
    shipped = SHIPPED_MANIFESTS / f"{tool.replace('_', '-')}.yaml"
    assert shipped.read_text() == (ROOT / "tools" / tool / "tool.yaml").read_text()


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.yaml")), ids=lambda file: file.name)
def test_an_example_is_valid_and_every_model_in_it_has_a_price(file):
    found = resources(file)
    assert found
    for resource in found:
        if isinstance(resource, ExpertModel):
            assert price_of(resource) != Price()


def test_the_examples_are_the_promised_ones():
    names = {file.stem for file in EXAMPLES.glob("*.yaml")}
    assert {"strong-experts", "first-tool", "budget", "prompted-orchestrator"} <= names


def test_the_manager_of_the_example_is_among_the_example_experts():
    (orchestrator,) = resources(EXAMPLES / "prompted-orchestrator.yaml")
    experts = {resource.metadata.name for resource in resources(EXAMPLES / "strong-experts.yaml")}
    assert orchestrator.spec.policy.expert_model_ref.name in experts


def test_the_local_model_is_written_as_a_free_expert_that_only_its_owner_can_read(tmp_path):
    write_local_expert(tmp_path, "http://127.0.0.1:4711/v1")
    (expert,) = resources(tmp_path / FILE_NAME)
    assert (expert.metadata.name, expert.spec.model, price_of(expert)) == ("local", MODEL_NAME, Price())
    assert expert.spec.endpoint.base_url == "http://127.0.0.1:4711/v1"
    assert expert.spec.offers[0].name == "answer"
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_the_local_model_is_forgotten_when_it_is_not_wanted(tmp_path):
    write_local_expert(tmp_path, "http://127.0.0.1:4711/v1")
    forget_local_expert(tmp_path)
    forget_local_expert(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_that_is_written_reads_back_as_it_was_made(tmp_path):
    write_local_expert(tmp_path, "http://127.0.0.1:4711/v1")
    assert yaml.safe_load((tmp_path / FILE_NAME).read_text()) == local_expert("http://127.0.0.1:4711/v1")
