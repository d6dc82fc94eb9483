"""ExpertModels on a real API server with KServe's CRDs. The test plays what no API server has: KServe's controller and a node.

The pods' addresses are a real OpenAI-compatible server on this machine, so what the operator finds it finds by asking.
"""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from infra.cluster.steps import ClusterError, wait_for
from tests.controlplane.operator.everywhere import operator_everywhere
from tests.support.cluster import kserve_crds
from tests.support.operators import OperatorSpace, condition_of
from toolorchestra.executors.testing import CountingProvider, ProviderConfig

KSERVE = {"image": "registry.example.org/llama-server:1"}
PULL = 'Back-off pulling image "registry.example.org/llama-server:1"'
NO_GPU = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."


@pytest.fixture(scope="module")
def new_space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], OperatorSpace]]:
    with operator_everywhere(tmp_path_factory.mktemp("operator")) as new_space:
        yield new_space


@pytest.fixture
def bare(new_space: Callable[[], OperatorSpace]) -> OperatorSpace:
    """A namespace, with KServe or without, whatever an earlier test left."""
    return new_space()


@pytest.fixture
def space(bare: OperatorSpace) -> OperatorSpace:
    """A namespace on a cluster that has KServe's CRDs."""
    install_kserve(bare)
    return bare


@pytest.fixture
def provider() -> Iterator[CountingProvider]:
    """A model server like KServe's own for Hugging Face, which has its API below /openai."""
    with CountingProvider(ProviderConfig(models=["tiny"], base_path="/openai/v1")) as running:
        yield running


def install_kserve(space: OperatorSpace) -> None:
    if space.cluster.kubectl.succeeds("get", "inferenceservices", "--all-namespaces"):
        return
    space.cluster.kubectl("apply", "--server-side", "-f", kserve_crds())
    wait_for("KServe's kinds", lambda: space.cluster.kubectl.succeeds("get", "inferenceservices", "--all-namespaces"))


def served_by_kserve(**kserve: object) -> dict[str, object]:
    return {"description": "d", "model": "tiny", "pricing": {"input": "0", "output": "0"}, "kserve": {**KSERVE, **kserve}}


def borrowed(name: str, namespace: str | None = None) -> dict[str, object]:
    ref = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"description": "d", "model": "tiny", "pricing": {"input": "0", "output": "0"}, "inferenceServiceRef": ref}


def address_of(provider: CountingProvider) -> str:
    return provider.url.removesuffix("/openai/v1")


def say(space: OperatorSpace, *, ready: bool, url: str | None = None, name: str = "tiny", **more: Any) -> None:
    """What KServe's controller writes: not ready with its usual reason, or ready and where."""
    state = {"status": "True"} if ready else {"status": "False", "reason": "MinimumReplicasUnavailable"}
    conditions = [{"type": kind, **state} for kind in ("PredictorReady", "Ready")]
    generation = space.get("inferenceservice", name)["metadata"]["generation"]
    status = {"observedGeneration": generation, "deploymentMode": "Standard", "conditions": conditions, **more}
    patch(space, "inferenceservice", name, status | ({"address": {"url": url}} if url else {}))


def patch(space: OperatorSpace, kind: str, name: str, status: dict[str, Any]) -> None:
    body = json.dumps({"status": status})
    space.cluster.kubectl("patch", kind, name, "-n", space.namespace, "--subresource=status", "--type=merge", "-p", body)


def run_pod(space: OperatorSpace, status: dict[str, Any], name: str = "tiny-predictor-1") -> None:
    """A pod of the InferenceService, in the state that a node or the scheduler writes."""
    container = {"name": "kserve-container", "image": KSERVE["image"]}
    metadata = {"name": name, "namespace": space.namespace, "labels": {"serving.kserve.io/inferenceservice": "tiny"}}
    spec = {"containers": [container], "serviceAccountName": "default"}
    wait_for("the account", lambda: space.cluster.kubectl.succeeds("get", "sa", "default", "-n", space.namespace))
    space.cluster.kubectl.apply(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}))
    patch(space, "pod", name, status)


def until(happened: Callable[[], Any], what: str) -> Any:
    """What it returns once that is something."""
    deadline = time.monotonic() + 30
    while not (found := attempt(happened)):
        assert time.monotonic() < deadline, f"{what}: not within 30 s"
        time.sleep(0.1)
    return found


def attempt(happened: Callable[[], Any]) -> Any:
    try:
        return happened()
    except ClusterError:
        return None


def made(space: OperatorSpace, name: str = "tiny") -> dict[str, Any]:
    """The InferenceService, once the operator has made it."""
    found: dict[str, Any] = until(lambda: space.get("inferenceservice", name), f"InferenceService {name}")
    return found


def test_from_no_kserve_to_a_model_that_answers(bare: OperatorSpace, provider: CountingProvider) -> None:
    kserve_is_there = bare.cluster.kubectl.succeeds("get", "inferenceservices", "--all-namespaces")
    assert not kserve_is_there, "this test comes first: the others install KServe"
    bare.apply("ExpertModel", "tiny", served_by_kserve())
    body = bare.wait("ExpertModel", "tiny", "Served", "False", reason="KServeNotInstalled")
    assert "install KServe" in condition_of(body, "Ready")["message"]

    install_kserve(bare)
    service = made(bare)
    assert [owner["kind"] for owner in service["metadata"]["ownerReferences"]] == ["ExpertModel"]
    bare.wait("ExpertModel", "tiny", "Served", "Unknown", reason="WaitingForKServe")

    say(bare, ready=False)
    bare.wait("ExpertModel", "tiny", "Ready", "False", reason="MinimumReplicasUnavailable")

    run_pod(bare, {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})
    say(bare, ready=True, url=address_of(provider))
    status = bare.wait("ExpertModel", "tiny", "Ready", "True")["status"]
    assert status["url"] == f"{address_of(provider)}/openai/v1"
    assert (status["models"], status["deploymentMode"], status["readyReplicas"]) == (["tiny"], "Standard", 1)


def test_kserves_word_is_checked_by_our_own_probe(space: OperatorSpace) -> None:
    space.apply("ExpertModel", "tiny", served_by_kserve())
    made(space)
    say(space, ready=True, url="http://127.0.0.1:9")
    body = space.wait("ExpertModel", "tiny", "Reachable", "False", reason="Unreachable")
    assert condition_of(body, "Served")["status"] == "True"
    assert condition_of(body, "Ready")["status"] == "False"


def test_an_address_in_another_namespace_is_not_called(space: OperatorSpace) -> None:
    space.apply("ExpertModel", "tiny", served_by_kserve())
    made(space)
    say(space, ready=True, url="http://10.96.0.1")
    space.wait("ExpertModel", "tiny", "Reachable", "False", reason="EgressDenied")


@pytest.mark.parametrize(
    ("status", "reason", "said"),
    [
        (
            {"containerStatuses": [{"name": "kserve-container", "image": "x", "imageID": "", "ready": False, "restartCount": 0,
                                    "state": {"waiting": {"reason": "ErrImagePull", "message": PULL}}}]},
            "ImagePullBackOff",
            "check spec.kserve.image",
        ),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": NO_GPU}]},
            "InsufficientGpu",
            "lower spec.kserve.gpus",
        ),
    ],
)  # fmt: skip
def test_what_keeps_the_pods_is_told(space: OperatorSpace, status: dict[str, Any], reason: str, said: str) -> None:
    space.apply("ExpertModel", "tiny", served_by_kserve())
    made(space)
    run_pod(space, {"phase": "Pending", **status})
    say(space, ready=False)
    body = space.wait("ExpertModel", "tiny", "Ready", "False", reason=reason)
    assert said in condition_of(body, "Ready")["message"]


def test_a_failed_model_carries_kserves_words(space: OperatorSpace) -> None:
    space.apply("ExpertModel", "tiny", served_by_kserve())
    made(space)
    info = {"reason": "RuntimeNotRecognized", "message": "Waiting for runtime to become available"}
    say(space, ready=False, modelStatus={"transitionStatus": "InvalidSpec", "lastFailureInfo": info})
    space.wait("ExpertModel", "tiny", "Served", "False", reason="RuntimeNotRecognized")


def test_an_edit_reaches_the_inference_service_and_a_foreign_hand_is_put_right(space: OperatorSpace) -> None:
    def args() -> Any:
        return space.get("inferenceservice", "tiny")["spec"]["predictor"]["containers"][0].get("args")

    space.apply("ExpertModel", "tiny", served_by_kserve(args=["--threads", "2"]))
    assert until(lambda: made(space) and args(), "arguments") == ["--threads", "2"]
    space.apply("ExpertModel", "tiny", served_by_kserve())
    until(lambda: args() is None, "the argument that is gone")

    replicas = json.dumps({"spec": {"predictor": {"minReplicas": 0}}})
    space.cluster.kubectl("patch", "inferenceservice", "tiny", "-n", space.namespace, "--type=merge", "-p", replicas)
    until(lambda: space.get("inferenceservice", "tiny")["spec"]["predictor"]["minReplicas"] == 1, "the replicas")

    uid = made(space)["metadata"]["uid"]
    space.delete("inferenceservice", "tiny")
    assert until(lambda: made(space)["metadata"]["uid"] != uid, "a new InferenceService")


def test_from_kserve_to_an_endpoint_the_inference_service_goes(space: OperatorSpace, provider: CountingProvider) -> None:
    space.apply("ExpertModel", "tiny", served_by_kserve())
    made(space)
    spec = served_by_kserve() | {"endpoint": {"baseUrl": provider.url}}
    del spec["kserve"], spec["pricing"]
    space.apply("ExpertModel", "tiny", spec)
    body = space.wait("ExpertModel", "tiny", "Ready", "True")
    assert body["status"]["price"] == "unknown"
    assert "calls are refused" in condition_of(body, "Accepted")["message"]
    assert not space.cluster.kubectl.succeeds("get", "inferenceservice", "tiny", "-n", space.namespace)


def test_an_inference_service_of_somebody_else_is_left_alone(space: OperatorSpace) -> None:
    foreign(space, "tiny")
    space.apply("ExpertModel", "tiny", served_by_kserve())
    space.wait("ExpertModel", "tiny", "Served", "False", reason="NameTaken")
    assert space.get("inferenceservice", "tiny")["spec"]["predictor"]["containers"][0]["image"] == "somebody-else:1"


def test_an_existing_inference_service_is_used_and_missed(space: OperatorSpace, provider: CountingProvider) -> None:
    space.apply("ExpertModel", "borrower", borrowed("theirs"))
    space.wait("ExpertModel", "borrower", "Ready", "False", reason="InferenceServiceNotFound")
    foreign(space, "theirs")
    say(space, name="theirs", ready=True, url=address_of(provider))
    space.wait("ExpertModel", "borrower", "Ready", "True")
    space.delete("inferenceservice", "theirs")
    space.wait("ExpertModel", "borrower", "Ready", "False", reason="InferenceServiceNotFound")


def test_an_inference_service_of_another_namespace_is_lent_and_withdrawn(
    space: OperatorSpace, provider: CountingProvider, new_space: Callable[[], OperatorSpace]
) -> None:
    lender = new_space()
    foreign(lender, "theirs")
    say(lender, name="theirs", ready=True, url=address_of(provider))
    lend = ["annotate", "inferenceservice", "theirs", "-n", lender.namespace]
    space.apply("ExpertModel", "borrower", borrowed("theirs", lender.namespace))
    space.wait("ExpertModel", "borrower", "Ready", "False", reason="NotLent")
    space.cluster.kubectl(*lend, f"toolorchestra.dev/allowed-namespaces={space.namespace}")
    space.wait("ExpertModel", "borrower", "Ready", "True")
    space.cluster.kubectl(*lend, "toolorchestra.dev/allowed-namespaces-")
    space.wait("ExpertModel", "borrower", "Ready", "False", reason="NotLent")


def foreign(space: OperatorSpace, name: str) -> None:
    """An InferenceService that a user wrote."""
    container = {"name": "kserve-container", "image": "somebody-else:1"}
    body = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService"}
    metadata = {"name": name, "namespace": space.namespace}
    space.cluster.kubectl.apply(json.dumps({**body, "metadata": metadata, "spec": {"predictor": {"containers": [container]}}}))
