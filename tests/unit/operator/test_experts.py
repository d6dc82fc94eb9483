"""What is decided for an ExpertModel from what was observed, and what is observed of it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.unit.operator.serving_samples import NOT_READY, READY, UID, expert, pod, service
from toolorchestra.core.errors import NotFoundError
from toolorchestra.core.registry import Observation
from toolorchestra.core.resources import ExpertModel
from toolorchestra.kit.kubernetes import PODS
from toolorchestra.kit.testing import MemoryKubernetes
from toolorchestra.operator.builders.inferenceservice import INFERENCE_SERVICES, inference_service
from toolorchestra.operator.plan import Condition, Plan, State
from toolorchestra.operator.services.experts import DEPLOYMENTS, POD_LABEL, ExpertObserved, expert_kind, reconcile
from toolorchestra.operator.services.index import Index
from toolorchestra.operator.services.kinds import Seen
from toolorchestra.operator.services.secrets import SecretCheck
from toolorchestra.operator.services.serving import LENT_TO

NOW = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
URL = "http://tiny-predictor.models.svc.cluster.local"
ANSWER = Observation(
    ready=True, reason="Ready", base_url=f"{URL}/v1", details={"modelListed": True, "models": ["tiny"], "latencyMs": 4}
)
REFUSED = Observation(ready=False, reason="Unreachable", message="connection refused")
ENDPOINT = {"baseUrl": "https://models.example.org/v1", "apiKeySecretRef": {"name": "provider", "key": "key"}}


def decided(model: ExpertModel, **observed: Any) -> Plan:
    return reconcile(model, ExpertObserved(**{"uid": UID, "now": NOW, **observed}), probe_interval_ms=60_000)


def told(plan: Plan) -> dict[str, tuple[str, str]]:
    return {one.type: (one.state.value, one.reason) for one in plan.conditions}


def message(plan: Plan, kind: str) -> str:
    return next(one.message for one in plan.conditions if one.type == kind)


def test_a_new_model_gets_its_inference_service():
    model = expert()
    plan = decided(model)

    assert [one.body for one in plan.apply] == [inference_service(model)]
    assert told(plan) == {
        "Accepted": ("True", "Accepted"),
        "Served": ("Unknown", "Creating"),
        "Reachable": ("Unknown", "NotServed"),
        "Ready": ("Unknown", "Creating"),
    }
    assert plan.again_ms == 5_000


def test_a_served_model_that_answers_is_ready_and_nothing_is_written():
    model = expert()
    body = service(READY) | {"spec": inference_service(model)["spec"]}
    body["metadata"] |= {key: inference_service(model)["metadata"][key] for key in ("labels", "annotations")}
    body |= {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService"}
    running = pod(conditions=[{"type": "Ready", "status": "True"}])
    plan = decided(model, service=body, pods=[running], probe=ANSWER)

    assert told(plan)["Ready"] == ("True", "Ready")
    assert (plan.apply, plan.delete, plan.again_ms) == ((), (), 60_000)
    assert plan.status == {
        "url": f"{URL}/v1",
        "inferenceService": "tiny",
        "deploymentMode": "Standard",
        "replicas": 1,
        "readyReplicas": 1,
        "models": ["tiny"],
        "latencyMs": 4,
        "probedAt": "2026-11-23T03:00:00Z",
        "functions": ["tiny"],
        "price": "0.15/0.60 per 1M",
    }


def test_an_edited_model_or_a_touched_inference_service_is_applied_again():
    model = expert()
    body = {**inference_service(model), "status": READY}
    body["metadata"] |= service()["metadata"]

    assert not decided(model, service=body).apply
    assert decided(expert(kserve={"storageUri": "pvc://weights/other"}), service=body).apply
    body["spec"]["predictor"]["minReplicas"] = 3
    assert decided(model, service=body).apply


def test_kserves_word_alone_is_not_enough():
    plan = decided(expert(), service=service(READY), probe=REFUSED)

    assert told(plan)["Served"] == ("True", "Served")
    assert told(plan)["Ready"] == ("False", "Unreachable")
    assert plan.again_ms == 5_000


def test_without_kserve_it_says_what_to_install_and_looks_again():
    plan = decided(expert(), kserve_installed=False)

    assert told(plan)["Ready"] == ("False", "KServeNotInstalled")
    assert "install KServe" in message(plan, "Ready")
    assert (plan.apply, plan.again_ms) == ((), 30_000)


def test_an_inference_service_of_somebody_else_is_left_alone():
    plan = decided(expert(), service=service(READY, owner="somebody"))

    assert told(plan)["Served"] == ("False", "NameTaken")
    assert told(plan)["Reachable"] == ("Unknown", "NotServed")
    assert not plan.apply
    assert "spec.inferenceServiceRef" in message(plan, "Served")


@pytest.mark.parametrize("name", ["4b", "a" * 49])
def test_a_name_that_kserve_cannot_serve_is_refused(name: str):
    plan = decided(expert(name=name))

    assert told(plan)["Accepted"] == ("False", "NameNotServable")
    assert not plan.apply


def test_a_metric_of_other_modes_is_refused():
    kserve = {"storageUri": "pvc://weights/tiny", "maxReplicas": 2, "scaleMetric": "rps"}

    assert told(decided(expert(kserve=kserve)))["Accepted"] == ("False", "ScaleMetricNotServable")


def test_a_taken_function_name_is_refused():
    plan = decided(expert(), collision="the Tool 'tiny' has the function 'tiny' too; rename one")

    assert told(plan)["Ready"] == ("False", "NameCollision")
    assert not plan.apply


WEIGHTS = {"storageUri": "pvc://weights/tiny"}
IMAGE = {"image": "registry.example.org/llama-server:1"}


@pytest.mark.parametrize(
    ("kserve", "reason", "said"),
    [
        (WEIGHTS | {"minReplicas": 0, "maxReplicas": 2}, "MinReplicasRaised", "spec.kserve.minReplicas: 0 is served as 1"),
        (WEIGHTS | {"scaleMetric": "cpu"}, "ScaleMetricUnused", "raise spec.kserve.maxReplicas"),
        (WEIGHTS | {"scaleMetric": "cpu", "maxReplicas": 2}, "Accepted", ""),
        (WEIGHTS | {"port": 9000}, "PortUnused", "spec.kserve.image"),
        (IMAGE | {"port": 9000}, "Accepted", ""),
        (IMAGE | {"modelFormat": "gguf"}, "ModelFormatUnused", "spec.kserve.modelFormat"),
    ],
)
def test_a_field_without_effect_is_told(kserve: dict[str, Any], reason: str, said: str):
    plan = decided(expert(kserve=kserve))

    assert told(plan)["Accepted"] == ("True", reason)
    assert said in message(plan, "Accepted")


def test_an_answer_that_may_fill_the_context_is_told():
    assert told(decided(expert(contextTokens=512, maxOutputTokens=512)))["Accepted"] == ("True", "LimitsTooHigh")


def test_an_unknown_price_is_accepted_with_a_warning():
    plan = decided(expert(pricing=None, endpoint={"baseUrl": "https://models.example.org/v1"}), probe=ANSWER)

    assert told(plan)["Accepted"] == told(plan)["Ready"] == ("True", "PriceUnknown")
    assert "calls are refused unless the BudgetPolicy" in message(plan, "Ready")
    assert plan.status["price"] == "unknown"


def test_a_list_price_and_a_price_per_second_are_shown():
    listed = expert(model="gpt-4o-mini", pricing=None, endpoint={"baseUrl": "https://api.openai.com/v1"})
    timed = expert(pricing={"input": "0", "output": "0", "perSecond": "0.002"})

    assert decided(listed).status["price"] == "0.15/0.60 per 1M"
    assert decided(timed).status["price"] == "0.00/0.00 per 1M, 0.002 per s"


@pytest.mark.parametrize(
    ("namespace", "body", "state", "reason"),
    [
        ("models", service(READY, owner=None), "True", "Served"),
        ("models", None, "False", "InferenceServiceNotFound"),
        ("lender", service(READY, owner=None, namespace="lender", annotations={LENT_TO: "models"}), "True", "Served"),
        ("lender", service(READY, owner=None, namespace="lender"), "False", "NotLent"),
        ("lender", None, "False", "NotLent"),
    ],
)
def test_a_borrowed_inference_service(namespace: str, body: dict[str, Any] | None, state: str, reason: str):
    plan = decided(expert(inferenceServiceRef={"name": "tiny", "namespace": namespace}), service=body, probe=None)

    assert told(plan)["Served"] == (state, reason)
    assert not plan.apply


def test_what_is_withdrawn_is_not_called_any_more():
    lent = service(READY, owner=None, namespace="lender", annotations={LENT_TO: "somebody-else"})
    plan = decided(expert(inferenceServiceRef={"name": "tiny", "namespace": "lender"}), service=lent)

    assert told(plan)["Ready"] == ("False", "NotLent")
    assert f"{LENT_TO}: models" in message(plan, "Ready")


def test_switching_to_an_endpoint_deletes_the_inference_service():
    body = service(READY)
    plan = decided(expert(endpoint={"baseUrl": "https://models.example.org/v1"}), leftover=body, probe=ANSWER)

    assert [one.body for one in plan.delete] == [body]
    assert told(plan)["Served"] == ("True", "Endpoint")


def test_a_key_that_cannot_be_read_stops_the_probe():
    unreadable = Condition("SecretsReadable", State.FALSE, "SecretMissing", "the Secret 'provider' was not found")
    plan = decided(expert(endpoint=ENDPOINT), secrets=unreadable)

    assert told(plan)["Reachable"] == ("Unknown", "SecretsNotReadable")
    assert told(plan)["Ready"] == ("False", "SecretMissing")


def test_a_server_that_lists_other_models_is_reachable_and_says_so():
    answer = Observation(
        ready=True, reason="Ready", message="the server lists other models than 'tiny': qwen",
        base_url="https://models.example.org/v1", details={"modelListed": False, "models": ["qwen"], "latencyMs": 1},
    )  # fmt: skip
    plan = decided(expert(endpoint={"baseUrl": "https://models.example.org/v1"}), probe=answer)

    assert told(plan)["Reachable"] == ("True", "ModelNotListed")
    assert "lists other models" in message(plan, "Ready")


@pytest.mark.parametrize(
    ("stored", "kept"),
    [(f"{URL}/openai/v1", f"{URL}/openai/v1"), ("http://elsewhere.models.svc/v1", None), (None, None)],
)
def test_a_failed_probe_keeps_the_url_that_was_found(stored: str | None, kept: str | None):
    plan = decided(expert(), service=service(READY), probe=REFUSED, stored={"url": stored} if stored else {})

    assert plan.status.get("url") == kept


def test_long_lists_of_models_fit_into_the_status():
    answer = Observation(ready=True, reason="Ready", base_url=f"{URL}/v1", details={"models": ["m" * 300] * 100})
    models = decided(expert(), service=service(READY), probe=answer).status["models"]

    assert (len(models), len(models[0])) == (64, 253)


class Probes:
    """Notes what it was asked to probe."""

    def __init__(self) -> None:
        self.asked: list[tuple[str | None, Sequence[str]]] = []

    async def probe_expert(self, _: ExpertModel, *, base_url: str | None = None, allow: Sequence[str] = ()) -> Observation:
        self.asked.append((base_url, allow))
        return ANSWER


class Secrets:
    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    async def read(self, *_: str) -> str:
        if self._error is not None:
            raise self._error
        return "key"


def seen(status: Mapping[str, Any] | None = None) -> Seen:
    return Seen(uid=UID, generation=1, status=status or {}, fresh=True, written_ms_ago=None, now=NOW)


async def look(
    model: ExpertModel, *objects: tuple[Any, dict[str, Any]], secrets: Secrets | None = None, installed: bool = True
) -> tuple[ExpertObserved, Probes]:
    api, probes = MemoryKubernetes(DEPLOYMENTS, *([INFERENCE_SERVICES] if installed else [])), Probes()
    for of, body in objects:
        api.put(of, body)
        identity = {key: body["metadata"][key] for key in ("name", "namespace")}
        await api.apply(of, {"metadata": identity, "status": body.get("status", {})}, subresource="status")
    check = SecretCheck(secrets or Secrets())
    kind = expert_kind(api, probes, check, Index(), probe_interval_ms=60_000)
    return await kind.gather(model, seen()), probes


async def test_a_served_model_is_asked_at_its_own_address_only():
    running = pod(conditions=[]) | {"metadata": {"name": "p", "namespace": "models", "labels": {POD_LABEL: "tiny"}}}
    observed, probes = await look(expert(), (INFERENCE_SERVICES, service(READY)), (PODS, running))

    assert probes.asked == [(URL, ["tiny-predictor.models.svc.cluster.local:80"])]
    assert [one["metadata"]["name"] for one in observed.pods] == ["p"]
    assert observed.probe == ANSWER


async def test_a_model_that_is_not_served_is_not_asked_but_its_deployment_is_read():
    deployment = {"metadata": {"name": "tiny-predictor", "namespace": "models"}, "status": {}}
    observed, probes = await look(expert(), (INFERENCE_SERVICES, service(NOT_READY)), (DEPLOYMENTS, deployment))

    assert (probes.asked, observed.probe) == ([], None)
    assert observed.deployment is not None


async def test_an_endpoint_is_asked_where_its_spec_says():
    observed, probes = await look(expert(endpoint=ENDPOINT), installed=False)

    assert probes.asked == [(None, ())]
    assert observed.secrets is not None
    assert observed.secrets.is_true


async def test_an_endpoint_without_its_key_is_not_asked():
    observed, probes = await look(expert(endpoint=ENDPOINT), secrets=Secrets(NotFoundError("no Secret 'provider'")))

    assert probes.asked == []
    assert observed.secrets is not None
    assert observed.secrets.reason == "SecretMissing"


async def test_the_inference_service_of_an_earlier_spec_is_found_and_that_of_others_is_not():
    endpoint = expert(endpoint=ENDPOINT)
    own, _ = await look(endpoint, (INFERENCE_SERVICES, service(READY)))
    foreign, _ = await look(endpoint, (INFERENCE_SERVICES, service(READY, owner="somebody")))

    assert own.leftover is not None
    assert foreign.leftover is None


async def test_whether_kserve_is_there_is_looked_at_each_time():
    absent, _ = await look(expert(), installed=False)
    present, _ = await look(expert())

    assert (absent.kserve_installed, present.kserve_installed) == (False, True)


async def test_a_lent_inference_service_is_read_where_it_is():
    lent = service(READY, owner=None, namespace="lender", annotations={LENT_TO: "models"})
    lent["status"]["address"]["url"] = "http://tiny-predictor.lender.svc.cluster.local"
    model = expert(inferenceServiceRef={"name": "tiny", "namespace": "lender"})
    observed, probes = await look(model, (INFERENCE_SERVICES, lent))

    assert observed.service is not None
    assert probes.asked == [("http://tiny-predictor.lender.svc.cluster.local", ["tiny-predictor.lender.svc.cluster.local:80"])]
    kind = expert_kind(MemoryKubernetes(), probes, SecretCheck(Secrets()), Index(), probe_interval_ms=1)
    assert kind.uses(model) == [("InferenceService", "lender", "tiny")]
