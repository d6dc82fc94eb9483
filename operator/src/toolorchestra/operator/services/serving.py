"""What an InferenceService says of itself: whether it serves, where, and why not. Pure.

KServe writes its status late and sometimes not at all, so what is missing is unknown, never good.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from toolorchestra.core.resources.meta import GROUP
from toolorchestra.kit.kubernetes import KubernetesObject
from toolorchestra.operator.plan import Condition, State
from toolorchestra.operator.services.pods import condition, refused, shortened, trouble_of, word

LENT_TO: Final = f"{GROUP}/allowed-namespaces"  # an annotation of the InferenceService, by its owner
INSTALL: Final = "install KServe (https://kserve.github.io), or use spec.endpoint; it is found once its CRDs are there"
_FAILED: Final = ("BlockedByFailedLoad", "InvalidSpec")
_FIXES: Final[Mapping[str, str]] = {
    "RuntimeNotRecognized": "correct {at}.runtime: it names a ServingRuntime of this namespace, or a ClusterServingRuntime",
    "RuntimeDisabled": "choose another {at}.runtime, or enable this one",
    "RuntimeUnhealthy": "see the pods of {at}.runtime",
    "NoSupportingRuntime": "correct {at}.modelFormat, or install a ServingRuntime that supports it",
    "InvalidPredictorSpec": "correct {at}",
    "ModelLoadFailed": "check {at}.storageUri, and its credentials with {at}.serviceAccountName",
}
_PORTS: Final = {"http": 80, "https": 443}


def served(
    service: KubernetesObject,
    *,
    pods: Sequence[KubernetesObject] = (),
    deployment: KubernetesObject | None = None,
    at: str = "spec.kserve",
) -> Condition:
    """The condition Served. The most specific cause counts: the model's failure, a pod's trouble, then KServe's words."""
    status, ready = service.get("status") or {}, condition(service, "Ready")
    if condition(service, "Stopped").get("status") == "True":
        return _served(State.FALSE, "Stopped", "remove the annotation serving.kserve.io/stop of the InferenceService")
    if not ready or status.get("observedGeneration", 0) < service["metadata"].get("generation", 0):
        text = "KServe's controller has not looked at the InferenceService yet; if this stays, see that it runs"
        return _served(State.UNKNOWN, "WaitingForKServe", text)
    if ready.get("status") == "True":
        return _served(State.TRUE, "Served")
    return _failure(status, at) or _held_up(pods, deployment, at) or _as_kserve_says(service, ready)


def address(service: KubernetesObject) -> str | None:
    """Where it answers: the address inside the cluster, else the one outside."""
    status = service.get("status") or {}
    url = (status.get("address") or {}).get("url") or status.get("url")
    return str(url) if url else None


def opening(service: KubernetesObject) -> str | None:
    """The entry of the egress guard for its address in the cluster: host and port, in its own namespace only.

    So a status that somebody else forged leads no further than the namespace of who may forge it.
    """
    parts = urlsplit(address(service) or "")
    labels = (parts.hostname or "").split(".")
    if labels[1:3] != [service["metadata"].get("namespace", ""), "svc"] or labels[3:] not in ([], ["cluster", "local"]):
        return None
    return f"{parts.hostname}:{parts.port or _PORTS.get(parts.scheme, 80)}"


def lent_to(service: KubernetesObject, namespace: str) -> bool:
    """Whether the InferenceService may be used from ``namespace``."""
    metadata = service["metadata"]
    allowed = str((metadata.get("annotations") or {}).get(LENT_TO, "")).replace(",", " ").split()
    return metadata.get("namespace") == namespace or "*" in allowed or namespace in allowed


def _failure(status: Mapping[str, Any], at: str) -> Condition | None:
    model = status.get("modelStatus") or {}
    info = model.get("lastFailureInfo") or {}
    if model.get("transitionStatus") not in _FAILED or not info.get("reason"):
        return None
    code = f" (exit code {info['exitCode']})" if info.get("exitCode") else ""
    reason = word(info["reason"], "ModelFailed")
    fix = f" ({_FIXES[reason].format(at=at)})" if reason in _FIXES else ""
    return _served(State.FALSE, reason, f"{shortened(str(info.get('message', '')))}{code}{fix}")


def _held_up(pods: Sequence[KubernetesObject], deployment: KubernetesObject | None, at: str) -> Condition | None:
    trouble = trouble_of(pods, at=at)
    if trouble is None and deployment is not None:
        failure = condition(deployment, "ReplicaFailure")
        trouble = refused(str(failure.get("message", "")), at=at) if failure.get("status") == "True" else None
    return _served(State.FALSE, trouble.reason, trouble.message) if trouble else None


def _as_kserve_says(service: KubernetesObject, ready: Mapping[str, Any]) -> Condition:
    predictor = condition(service, "PredictorReady")
    cause = predictor if predictor.get("status") == "False" else ready
    state = State.FALSE if ready.get("status") == "False" else State.UNKNOWN
    return _served(state, word(cause.get("reason"), "NotReady"), shortened(str(cause.get("message", ""))))


def _served(state: State, reason: str, message: str = "") -> Condition:
    return Condition("Served", state, reason, message)
