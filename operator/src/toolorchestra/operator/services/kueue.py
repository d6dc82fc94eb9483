"""What Kueue says of a Job, from its Workload. Pure."""

from typing import Final

from toolorchestra.kit.kubernetes import KubernetesObject, ResourceType
from toolorchestra.operator.plan import Condition, State
from toolorchestra.operator.services.pods import condition, shortened, word

# The newer version first; a server may have either.
WORKLOADS: Final = tuple(ResourceType("kueue.x-k8s.io", v, "workloads", "Workload") for v in ("v1beta2", "v1beta1"))
JOB_UID_LABEL: Final = "kueue.x-k8s.io/job-uid"
INSTALL: Final = "spec.queue is set: install Kueue (https://kueue.sigs.k8s.io), or create this again without spec.queue"
_FIXES: Final = {
    "Inadmissible": "create this LocalQueue and its ClusterQueue, or create this again with another queue",
    "Pending": "it starts once the queue has room for it; a platform admin can raise the ClusterQueue's quota",
}


def admitted(queue: str | None, workload: KubernetesObject | None, *, installed: bool) -> Condition:
    """The condition Admitted: whether the Job may start."""
    if queue is None:
        return Condition("Admitted", State.TRUE, "NoQueue")
    if not installed:
        return Condition("Admitted", State.FALSE, "KueueNotInstalled", INSTALL)
    if workload is None:
        text = f"Kueue has not taken up the Job; if this stays, see that Kueue runs and that the LocalQueue {queue!r} exists"
        return Condition("Admitted", State.UNKNOWN, "WaitingForKueue", text)
    if condition(workload, "Admitted").get("status") == "True":
        return Condition("Admitted", State.TRUE, "Admitted", _text(workload, "Admitted"))
    return _waiting(workload, queue)


def _waiting(workload: KubernetesObject, queue: str) -> Condition:
    reserved, evicted = condition(workload, "QuotaReserved"), condition(workload, "Evicted")
    if reserved.get("status") == "True":
        text = f"quota is reserved, admission checks are not done: {_text(workload, 'QuotaReserved')}"
        return Condition("Admitted", State.UNKNOWN, "QuotaReserved", text)
    if evicted.get("status") == "True":
        text = f"taken back by Kueue ({word(evicted.get('reason'), 'Evicted')}): {_text(workload, 'Evicted')}"
        return Condition("Admitted", State.FALSE, "Evicted", text)
    # `Pending` waits for quota, `Inadmissible` for a LocalQueue or ClusterQueue.
    reason = word(reserved.get("reason"), "Pending")
    text = f"{_text(workload, 'QuotaReserved')} (spec.queue is {queue!r}: {_FIXES.get(reason, _FIXES['Pending'])})"
    return Condition("Admitted", State.FALSE, reason, text)


def _text(workload: KubernetesObject, kind: str) -> str:
    return shortened(str(condition(workload, kind).get("message", "")))
