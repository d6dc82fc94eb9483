"""What there is to use, for one caller."""

from dataclasses import replace

import pytest

from toolorchestra.core.errors import ModelNotFoundError
from toolorchestra.core.registry import Observation, Problem
from toolorchestra.core.resources import BudgetPolicySpec
from toolorchestra.core.testing import a_catalog, a_tool, an_expert, an_orchestrator
from toolorchestra.orchestrator.services.budget import Budgets
from toolorchestra.orchestrator.services.catalogue import Catalogue
from toolorchestra.orchestrator.services.principal import Principal
from toolorchestra.orchestrator.testing import FixedRegistry

CALLER = Principal("default", "key")


def catalogue(*resources, **fields):
    registry = FixedRegistry(replace(a_catalog(*resources, observed=fields.pop("observed", None)), **fields))
    return Catalogue(registry, Budgets(registry, BudgetPolicySpec()))


def test_models_carry_kind_price_and_limits():
    data = catalogue(an_orchestrator(limits={"maxCost": "0.50"}), an_expert()).models(CALLER)["data"]
    expert, main = data
    assert [m["id"] for m in data] == ["expert", "main"]
    assert expert["toolorchestra"]["price_usd_per_million_tokens"] == {"input": "1.00", "output": "2.00"}
    assert main["toolorchestra"]["limits"]["maxCost"] == "0.50"
    assert main["toolorchestra"]["is_baseline"] is True


def test_the_digest_of_a_model_is_another_one_when_its_manifest_changes():
    def digests(*resources):
        return {m["id"]: m["toolorchestra"]["digest"] for m in catalogue(*resources).models(CALLER)["data"]}

    before = digests(an_orchestrator(), an_expert())
    assert before == digests(an_orchestrator(), an_expert())
    after = digests(an_orchestrator(limits={"maxCost": "0.50"}), an_expert(model="another-checkpoint"))
    assert all(before[name] != after[name] for name in ("main", "expert"))


def test_models_of_others_are_seen_only_where_they_are_shared_and_by_their_full_name():
    shared = an_expert("shared", namespace="platform", allowedNamespaces={"from": "All"})
    found = catalogue(shared, an_expert("own", namespace="platform"), an_orchestrator(namespace="other"))
    assert [m["id"] for m in found.models(CALLER)["data"]] == ["platform/shared"]


def test_a_model_outside_of_the_keys_scope_does_not_exist():
    found = catalogue(an_orchestrator(), an_expert())
    narrow = replace(CALLER, models=("main",))
    assert [m["id"] for m in found.models(narrow)["data"]] == ["main"]
    assert found.model(narrow, "main")["id"] == "main"
    with pytest.raises(ModelNotFoundError):
        found.model(narrow, "expert")


def test_tools_show_their_state_and_manifests_their_problems():
    observed = {
        ("Tool", "default", "lookup"): Observation(ready=True, reason="Ready", details={"rung": "none"}),
        ("Tool", "default", "broken"): Observation(ready=False, reason="Unreachable", message="no route"),
    }
    body = catalogue(
        a_tool("lookup"), a_tool("broken"), an_expert(), observed=observed, problems=(Problem("a.yaml", "unknown field"),)
    ).tools(CALLER)
    states = {tool["name"]: (tool["ready"], tool["reason"]) for tool in body["data"]}
    assert states["lookup"] == (True, "Ready")
    assert states["broken"] == (False, "Unreachable")
    assert states["expert"] == (None, "NotProbed")
    prices = {tool["name"]: tool.get("price") for tool in body["data"]}
    assert prices["lookup"] == {"per_call": "0.001", "per_second": "0.00"}
    assert prices["expert"] == {"input_per_million_tokens": "1.00", "output_per_million_tokens": "2.00"}
    assert {"source": "a.yaml", "message": "unknown field"} in body["problems"]


def test_tools_of_others_are_not_shown():
    assert catalogue(a_tool("lookup", namespace="other")).tools(CALLER)["data"] == []
