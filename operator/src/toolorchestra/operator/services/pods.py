"""Why pods do not run, in one word and one sentence, read from what the kubelet and the scheduler write. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from toolorchestra.kit.kubernetes import KubernetesObject

MAX_TEXT: Final = 1_500
_REASON: Final = re.compile(r"[A-Z][A-Za-z0-9]{0,127}")
# On the way, not a problem.
_STARTING: Final = frozenset({"ContainerCreating", "PodInitializing"})
# The kubelet alternates between these two words; a condition must not.
_SAME: Final[Mapping[str, str]] = {"ErrImagePull": "ImagePullBackOff"}
_OUT_OF_MEMORY: Final = "OOMKilled"
_FIXES: Final[Mapping[str, str]] = {
    "ImagePullBackOff": "check {at}.image, and the pull secret of the pod's ServiceAccount",
    "ErrImageNeverPull": "load the image onto the node, or check {at}.image",
    "InvalidImageName": "correct {at}.image",
    "CreateContainerConfigError": "check {at}.env: each Secret must exist in this namespace, with its key",
    "RunsAsRoot": "set {at}.runAsUser to the id of a user that the image can run as",
    "ClaimMissing": "create the PersistentVolumeClaim, or correct {claim}",
    "ServiceAccountMissing": "create the ServiceAccount, or correct {at}.serviceAccountName",
    "InsufficientGpu": "add a node with free GPUs, or lower {at}.gpus",
    "Unschedulable": "check {at}.resources, {at}.nodeSelector and {at}.tolerations, or add nodes",
    _OUT_OF_MEMORY: "raise {at}.resources.limits.memory",
    "CrashLoopBackOff": "see its log: kubectl logs --namespace {namespace} {pod} --previous",
    "QuotaExceeded": "lower {at}.resources, or raise the namespace's ResourceQuota",
    "QuotaNeedsResources": "set it in {at}.resources: the namespace's ResourceQuota counts it",
    "PodSecurityViolation": "the namespace's Pod Security level refuses the pod; set {at}.runAsUser, or lower the level",
}
# What controllers and the scheduler say has no code of its own; the first part that is found counts.
_REFUSALS: Final = (
    ("exceeded quota", "QuotaExceeded"),
    ("failed quota", "QuotaNeedsResources"),
    ("violates podsecurity", "PodSecurityViolation"),
    ("error looking up service account", "ServiceAccountMissing"),
)
_UNSCHEDULABLE: Final = (("/gpu", "InsufficientGpu"), ("persistentvolumeclaim", "ClaimMissing"))


@dataclass(frozen=True, slots=True)
class Trouble:
    """``reason``: a CamelCase word that stays the same; ``message`` names the field and the fix."""

    reason: str
    message: str


def trouble_of(pods: Sequence[KubernetesObject], *, at: str) -> Trouble | None:
    """What keeps the newest pod that has a problem; ``at`` is the path of the spec that describes the pod."""
    staying = (pod for pod in pods if "deletionTimestamp" not in pod["metadata"])
    newest_first = sorted(staying, key=lambda pod: str(pod["metadata"].get("creationTimestamp")), reverse=True)
    return next((trouble for pod in newest_first for trouble in _troubles(pod, at)), None)


def refused(message: str, *, at: str) -> Trouble | None:
    """What keeps pods from being made at all, from a controller's ``FailedCreate``; None for any other text."""
    lower = message.lower()
    reason = next((reason for part, reason in _REFUSALS if part in lower), "PodsRefused")
    return _trouble(reason, message, at) if message else None


def is_ready(pod: KubernetesObject) -> bool:
    """Whether the pod takes requests."""
    return condition(pod, "Ready").get("status") == "True"


def terminated(pod: KubernetesObject) -> Mapping[str, Any] | None:
    """How the pod's container ended: the first that failed, else the first; None while one runs."""
    containers = (pod.get("status") or {}).get("containerStatuses") or []
    ends: list[Mapping[str, Any] | None] = [(one.get("state") or {}).get("terminated") for one in containers]
    if not ends or None in ends:
        return None
    return next((end for end in ends if end and end.get("exitCode")), ends[0])


def condition(body: KubernetesObject, kind: str) -> Mapping[str, Any]:
    """A condition from an object's status; empty if it has none of this type."""
    conditions = (body.get("status") or {}).get("conditions") or []
    return next((one for one in conditions if one.get("type") == kind), {})


def word(reason: Any, default: str) -> str:
    """A reason that others wrote, as a condition can carry it."""
    text = str(reason or "")
    return text if _REASON.fullmatch(text) else default


def shortened(text: str) -> str:
    """Text for a condition. Of a long one the end is kept: there a log says what went wrong."""
    stripped = text.strip()
    return stripped if len(stripped) <= MAX_TEXT else f"…{stripped[-MAX_TEXT:]}"


def _troubles(pod: KubernetesObject, at: str) -> Iterator[Trouble]:
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        message = str(scheduled.get("message", ""))
        yield _trouble(next((reason for part, reason in _UNSCHEDULABLE if part in message), "Unschedulable"), message, at)
    status = pod.get("status") or {}
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        yield from _container_troubles(container, pod, at)


def _container_troubles(container: Mapping[str, Any], pod: KubernetesObject, at: str) -> Iterator[Trouble]:
    waiting = (container.get("state") or {}).get("waiting") or {}
    last = (container.get("lastState") or {}).get("terminated") or (container.get("state") or {}).get("terminated") or {}
    metadata = pod["metadata"]
    if last.get("reason") == _OUT_OF_MEMORY:
        text = f"the container {container['name']!r} used more memory than its limit"
        yield _trouble(_OUT_OF_MEMORY, text, at)
    reason = waiting.get("reason")
    if not reason or reason in _STARTING:
        return
    said = str(waiting.get("message") or reason)
    ended = f"; it ended with exit code {last['exitCode']}" if last.get("exitCode") else ""
    log = f": {shortened(str(last['message']))}" if ended and last.get("message") else ""
    where = {"pod": metadata["name"], "namespace": metadata.get("namespace", "")}
    named = "RunsAsRoot" if "runAsNonRoot" in said else _SAME.get(reason, word(reason, "ContainerWaiting"))
    yield _trouble(named, f"{said}{ended}{log}", at, **where)


def _trouble(reason: str, message: str, at: str, *, pod: str = "", namespace: str = "") -> Trouble:
    claim = f"{at}.storageUri" if at.endswith("kserve") else f"{at}.claim"
    fix = _FIXES.get(reason, "").format(at=at, pod=pod, namespace=namespace, claim=claim)
    return Trouble(reason, f"{shortened(message)} ({fix})" if fix else shortened(message))
