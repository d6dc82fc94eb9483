"""What an InferenceService, its pods and its Deployment say, as the condition Served."""

from typing import Any

import pytest

from tests.unit.operator.serving_samples import NOT_READY, READY, pod, service, unschedulable, waiting
from toolorchestra.kit.kubernetes import KubernetesObject
from toolorchestra.operator.plan import State
from toolorchestra.operator.services.serving import LENT_TO, address, lent_to, opening, served

NO_GPU = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
NO_CPU = "0/3 nodes are available: 3 Insufficient cpu."
PULL = 'Back-off pulling image "registry.example.org/llama-server:1"'
QUOTA = 'pods "tiny-predictor-1" is forbidden: exceeded quota: small, requested: cpu=8, used: cpu=0, limited: cpu=2'
LEVEL = 'pods "tiny-predictor-1" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'
NOT_ROOT = "container has runAsNonRoot and image will run as root"
ACCOUNT = 'error looking up service account team-a/reader: serviceaccount "reader" not found'


def failed(reason: str, message: str, *, transition: str = "BlockedByFailedLoad", **info: Any) -> dict[str, Any]:
    cause = {"reason": reason, "message": message, **info}
    return NOT_READY | {"modelStatus": {"transitionStatus": transition, "lastFailureInfo": cause}}


@pytest.mark.parametrize(
    ("status", "state", "reason"),
    [
        (None, State.UNKNOWN, "WaitingForKServe"),
        ({"conditions": []}, State.UNKNOWN, "WaitingForKServe"),
        (READY | {"observedGeneration": 0}, State.UNKNOWN, "WaitingForKServe"),
        (READY, State.TRUE, "Served"),
        (NOT_READY, State.FALSE, "MinimumReplicasUnavailable"),
        (failed("RuntimeNotRecognized", "no runtime", transition="InvalidSpec"), State.FALSE, "RuntimeNotRecognized"),
        (failed("ModelLoadFailed", "no such model", exitCode=1), State.FALSE, "ModelLoadFailed"),
        (READY | {"conditions": [{"type": "Stopped", "status": "True"}]}, State.FALSE, "Stopped"),
        (READY | {"conditions": [{"type": "Ready", "status": "Unknown"}]}, State.UNKNOWN, "NotReady"),
    ],
)
def test_kserves_words_become_the_condition(status: dict[str, Any] | None, state: State, reason: str):
    condition = served(service(status))

    assert (condition.state, condition.reason) == (state, reason)


@pytest.mark.parametrize(
    ("stuck", "reason", "said"),
    [
        (waiting("ImagePullBackOff", PULL), "ImagePullBackOff", "check spec.kserve.image"),
        (waiting("ErrImagePull", PULL), "ImagePullBackOff", "registry.example.org/llama-server:1"),
        (waiting("ErrImageNeverPull"), "ErrImageNeverPull", "onto the node"),
        (waiting("InvalidImageName", "couldn't parse"), "InvalidImageName", "correct spec.kserve.image"),
        (waiting("CreateContainerConfigError", 'secret "hf" not found'), "CreateContainerConfigError", "spec.kserve.env"),
        (waiting("CrashLoopBackOff", "back-off", last={"exitCode": 2, "message": "no GPU"}), "CrashLoopBackOff", "2: no GPU"),
        (waiting("CrashLoopBackOff", last={"exitCode": 137, "reason": "OOMKilled"}), "OOMKilled", "resources.limits.memory"),
        (unschedulable(NO_GPU), "InsufficientGpu", "lower spec.kserve.gpus"),
        (unschedulable(NO_CPU), "Unschedulable", "spec.kserve.resources"),
        (unschedulable('persistentvolumeclaim "w" not found'), "ClaimMissing", "correct spec.kserve.storageUri"),
        (waiting("CreateContainerConfigError", NOT_ROOT), "RunsAsRoot", "set spec.kserve.runAsUser"),
        (waiting("lower case word"), "ContainerWaiting", "lower case word"),
    ],
)
def test_a_pods_trouble_is_told_with_the_field_and_the_fix(stuck: KubernetesObject, reason: str, said: str):
    condition = served(service(NOT_READY), pods=[stuck])

    assert (condition.state, condition.reason) == (State.FALSE, reason)
    assert said in condition.message


@pytest.mark.parametrize("starting", [waiting("ContainerCreating"), waiting("PodInitializing"), pod()])
def test_a_pod_on_its_way_is_no_trouble(starting: KubernetesObject):
    assert served(service(NOT_READY), pods=[starting]).reason == "MinimumReplicasUnavailable"


def test_a_pod_that_is_being_deleted_is_not_blamed():
    old = waiting("ImagePullBackOff", PULL)
    old["metadata"]["deletionTimestamp"] = "2026-11-22T17:11:00Z"

    assert served(service(NOT_READY), pods=[old]).reason == "MinimumReplicasUnavailable"


@pytest.mark.parametrize(
    ("message", "reason", "fix"),
    [
        (QUOTA, "QuotaExceeded", "ResourceQuota"),
        (LEVEL, "PodSecurityViolation", "spec.kserve.runAsUser"),
        ("failed quota: memory: must specify limits.memory", "QuotaNeedsResources", "set it in spec.kserve.resources"),
        (ACCOUNT, "ServiceAccountMissing", "correct spec.kserve.serviceAccountName"),
        ("no", "PodsRefused", ""),
    ],
)
def test_pods_that_cannot_be_made_are_told_from_the_deployment(message: str, reason: str, fix: str):
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
    condition = served(service(NOT_READY), deployment={"metadata": {}, "status": {"conditions": [failure]}})

    assert condition.reason == reason
    assert message in condition.message
    assert fix in condition.message


def test_the_address_inside_the_cluster_comes_before_the_one_outside():
    assert address(service(READY)) == "http://tiny-predictor.models.svc.cluster.local"
    assert address(service({"url": "https://tiny.example.org"})) == "https://tiny.example.org"
    assert address(service()) is None


@pytest.mark.parametrize(
    ("url", "entry"),
    [
        ("http://tiny-predictor.models.svc.cluster.local", "tiny-predictor.models.svc.cluster.local:80"),
        ("https://tiny-predictor.models.svc", "tiny-predictor.models.svc:443"),
        ("http://tiny-predictor.models.svc.cluster.local:8080", "tiny-predictor.models.svc.cluster.local:8080"),
        ("http://vault.secrets.svc.cluster.local", None),
        ("http://tiny.models.svc.cluster.local.evil.org", None),
        ("http://models.svc", None),
        ("http://10.0.0.7", None),
        ("https://tiny.example.org", None),
        (None, None),
    ],
)
def test_the_guard_opens_only_the_services_own_namespace(url: str | None, entry: str | None):
    assert opening(service({"address": {"url": url}} if url else None)) == entry


@pytest.mark.parametrize(
    ("annotation", "lent"), [(None, False), ("", False), ("team-b", False), ("team-b, team-a", True), ("*", True)]
)
def test_an_inference_service_is_lent_by_its_owner(annotation: str | None, lent: bool):
    body = service(READY, annotations={LENT_TO: annotation} if annotation is not None else {})

    assert lent_to(body, "team-a") is lent
    assert lent_to(body, "models")
