"""Orchestrators follow the models that decide for them."""

from collections.abc import Iterator

import pytest

from tests.support.operators import OperatorSpace
from toolorchestra.executors.testing import CountingProvider


@pytest.fixture(scope="module")
def provider() -> Iterator[CountingProvider]:
    with CountingProvider() as running:
        yield running


def expert(url: str) -> dict[str, object]:
    price = {"input": "1", "output": "2"}
    return {"description": "Decides.", "model": "counting", "endpoint": {"baseUrl": url}, "pricing": price}


def managed(name: str, **spec: object) -> dict[str, object]:
    return {"policy": {"expertModelRef": {"name": name}}, **spec}


def test_a_baseline_needs_no_model(shared_space: OperatorSpace) -> None:
    shared_space.apply("Orchestrator", "plain", {"policy": {"baseline": "cascade"}})
    status = shared_space.wait("Orchestrator", "plain", "Ready", "True")["status"]
    assert (status["modelName"], status["policy"]) == ("plain", "cascade")


def test_it_follows_its_model_from_absence_to_ready_and_away(shared_space: OperatorSpace, provider: CountingProvider) -> None:
    shared_space.apply("Orchestrator", "led", managed("leader"))
    body = shared_space.wait("Orchestrator", "led", "PolicyReady", "False", reason="PolicyNotFound")
    assert "spec.policy.expertModelRef" in body["status"]["conditions"][1]["message"]
    shared_space.apply("ExpertModel", "leader", expert("http://127.0.0.1:9/v1"))
    shared_space.wait("Orchestrator", "led", "PolicyReady", "False", reason="PolicyNotReady")
    shared_space.apply("ExpertModel", "leader", expert(provider.url))
    shared_space.wait("Orchestrator", "led", "Ready", "True")
    assert shared_space.get("Orchestrator", "led")["status"]["policy"] == "ExpertModel/leader"
    shared_space.delete("ExpertModel", "leader")
    shared_space.wait("Orchestrator", "led", "Ready", "False", reason="PolicyNotFound")


def test_a_canary_that_is_not_there_is_told(shared_space: OperatorSpace) -> None:
    canary = {"policy": {"expertModelRef": {"name": "bird"}}, "weight": 10}
    shared_space.apply("Orchestrator", "mine", {"policy": {"baseline": "cheapest"}, "canary": canary})
    status = shared_space.wait("Orchestrator", "mine", "Ready", "False", reason="CanaryNotFound")["status"]
    assert status["canary"] == {"state": "CanaryNotFound", "weight": 10}


def test_a_model_of_another_tenant_that_is_not_lent_looks_like_none(shared_space: OperatorSpace) -> None:
    ref = {"name": "secret-model", "namespace": "kube-system"}
    shared_space.apply("Orchestrator", "curious", {"policy": {"expertModelRef": ref}})
    shared_space.wait("Orchestrator", "curious", "PolicyReady", "False", reason="PolicyNotFound")


def test_two_models_of_one_name_are_told(shared_space: OperatorSpace, provider: CountingProvider) -> None:
    shared_space.apply("ExpertModel", "same", expert(provider.url))
    shared_space.apply("Orchestrator", "same", {"policy": {"baseline": "cascade"}})
    shared_space.wait("Orchestrator", "same", "Accepted", "False", reason="NameCollision")
    shared_space.delete("ExpertModel", "same")
    shared_space.wait("Orchestrator", "same", "Ready", "True")
