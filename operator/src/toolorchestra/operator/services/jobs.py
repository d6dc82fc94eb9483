"""ToolScaleDataset, TrainingRun, Evaluation: a Job is made once, let go by Kueue where a queue is named, and its end recorded.

What has ended never runs again: not when its Job is deleted, nor when it went with its ``ttl``. What has not ended is made
again if its Job is deleted by hand. So the operator deletes a Job after its ``ttl`` itself: one that was gone before its
end was recorded would run twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from toolorchestra.core.durations import parse_duration_ms
from toolorchestra.core.errors import ToolOrchestraError
from toolorchestra.core.resources import Evaluation, ToolScaleDataset, TrainingRun
from toolorchestra.kit.kubernetes import EVENTS, JOBS, PODS, KubernetesApi, KubernetesObject, ResourceType
from toolorchestra.operator.builders.job import CONFIG_MAPS, CONTAINER, JobResource, config_map, job, job_name
from toolorchestra.operator.plan import Condition, Owned, Plan, State
from toolorchestra.operator.services.datasets import DATASETS, dataset_at, dataset_named, missing
from toolorchestra.operator.services.kinds import TYPES, Kind, Reference, Seen
from toolorchestra.operator.services.kueue import JOB_UID_LABEL, WORKLOADS, admitted
from toolorchestra.operator.services.objects import owned_by
from toolorchestra.operator.services.pods import condition, refused, trouble_of
from toolorchestra.operator.services.results import SUCCEEDED, Report, Result, is_report, last_end, newest_report, result_of

POD_LABEL: Final = "batch.kubernetes.io/controller-uid"
LOG_LINES: Final = 20
LOOK_AGAIN_MS: Final = 10_000
KUEUE_ABSENT_MS: Final = 30_000
# Of a TrainingRun, told by the job itself; and the reason until it does.
_STEPS: Final = {"Trained": "NotTrained", "GatePassed": "NotJudged", "Published": "NotPublished"}
_KEPT: Final = ("job", "workload", "startedAt", "completedAt", "exitCode", "metrics", "location")

R = TypeVar("R", bound=JobResource)


@dataclass(frozen=True, slots=True)
class JobObserved:
    """What the world says about such a resource. ``refusal`` is why the Job's pods cannot be made, ``log`` the end of the
    log of a pod that runs, or failed without a message; ``stored`` is the resource's status as last written; ``dataset`` the
    ToolScaleDataset that it names, looked at until there is a Job.
    """

    uid: str
    now: datetime
    stored: Mapping[str, Any] = field(default_factory=dict)
    job: KubernetesObject | None = None
    pods: Sequence[KubernetesObject] = ()
    workload: KubernetesObject | None = None
    kueue_installed: bool = False
    refusal: str = ""
    log: str = ""
    dataset: KubernetesObject | None = None


def job_kinds(
    api: KubernetesApi,
) -> tuple[Kind[ToolScaleDataset, JobObserved], Kind[TrainingRun, JobObserved], Kind[Evaluation, JobObserved]]:
    """How the three kinds are reconciled."""
    gathering = _Gathering(api)
    return _kind(ToolScaleDataset, gathering), _kind(TrainingRun, gathering), _kind(Evaluation, gathering)


def _kind(model: type[R], gathering: "_Gathering") -> Kind[R, JobObserved]:
    steps = tuple(_STEPS) if model is TrainingRun else ()
    return Kind(
        of=TYPES[model.__name__],
        model=model,
        conditions=("Accepted", "Admitted", "Running", *steps),
        headline="Complete",
        gather=gathering.gather,
        reconcile=reconcile,
        uses=_uses,
        children=(JOBS, WORKLOADS[0]),
    )


def _uses(resource: JobResource) -> Sequence[Reference]:
    needed = dataset_named(resource)
    return (needed,) if needed else ()


class _Gathering:
    """Reads what ``reconcile`` needs to know."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api

    async def gather(self, resource: JobResource, seen: Seen) -> JobObserved:
        namespace, name = resource.metadata.namespace, job_name(resource.kind, resource.metadata.name)
        has_ended = "completedAt" in seen.status
        found = await self._api.get(JOBS, name, namespace=namespace) if resource.spec.ttl or not has_ended else None
        if has_ended:
            return JobObserved(uid=seen.uid, now=seen.now, stored=seen.status, job=found)
        installed, workload = await self._queued(resource, found)
        pods = await self._pods(found) if found else ()
        return JobObserved(
            uid=seen.uid,
            now=seen.now,
            stored=seen.status,
            job=found,
            pods=pods,
            workload=workload,
            kueue_installed=installed,
            refusal=await self._refusal(found) if found and not pods else "",
            log=await self._log(found, pods) if found else "",
            dataset=None if found else await self._dataset(resource),
        )

    async def _dataset(self, resource: JobResource) -> KubernetesObject | None:
        needed = dataset_named(resource)
        return await self._api.get(DATASETS, needed.name, namespace=needed.namespace) if needed else None

    async def _pods(self, found: KubernetesObject) -> Sequence[KubernetesObject]:
        """The pods of this very Job: one of the same name that was deleted may still have some."""
        metadata = found["metadata"]
        return (await self._api.list(PODS, namespace=metadata["namespace"], labels={POD_LABEL: metadata["uid"]})).items

    async def _queued(self, resource: JobResource, found: KubernetesObject | None) -> tuple[bool, KubernetesObject | None]:
        """Whether Kueue is there, and its Workload for the Job."""
        version = await self._kueue() if resource.spec.queue else None
        if version is None or found is None:
            return version is not None, None
        labels = {JOB_UID_LABEL: found["metadata"]["uid"]}
        workloads = (await self._api.list(version, namespace=resource.metadata.namespace, labels=labels)).items
        return True, workloads[0] if workloads else None

    async def _kueue(self) -> ResourceType | None:
        for version in WORKLOADS:
            if await self._api.has(version):
                return version
        return None

    async def _refusal(self, found: KubernetesObject) -> str:
        """A Job's status does not say that its pods are refused, by a quota or Pod Security; only its events do."""
        metadata = found["metadata"]
        fields = {"involvedObject.uid": metadata["uid"], "reason": "FailedCreate"}
        events = (await self._api.list(EVENTS, namespace=metadata["namespace"], fields=fields)).items
        newest = max(events, key=lambda event: str(event.get("lastTimestamp")), default={})
        return str(newest.get("message", ""))

    async def _log(self, found: KubernetesObject, pods: Sequence[KubernetesObject]) -> str:
        """Of a pod that runs, for the reports in it; of one that failed, for people, if it left no text of its own."""
        running = [pod for pod in pods if _runs(pod)]
        if running:
            try:
                return await self._log_tail(running)
            except ToolOrchestraError:  # its node is silent: no figures for now, and all else is told as it is
                return ""
        end, failed = last_end(pods), condition(found, "Failed").get("status") == "True"
        message = str(end.get("message") or "")
        if not failed or not end.get("exitCode") or (message and not is_report(message)):
            return ""
        return await self._log_tail(pods)

    async def _log_tail(self, pods: Sequence[KubernetesObject]) -> str:
        newest = max(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp")))["metadata"]
        return await self._api.log_tail(newest["name"], namespace=newest["namespace"], lines=LOG_LINES, container=CONTAINER)


def reconcile(resource: JobResource, observed: JobObserved) -> Plan:
    """What to make, what to remove, and what to say of such a resource."""
    if "completedAt" in observed.stored:
        return _ended(resource, observed)
    found = observed.job
    if found is not None and not owned_by(found, observed.uid):
        return _name_taken(resource, found)
    needed = dataset_named(resource) if found is None else None
    if needed is not None and (lacking := missing(needed, observed.dataset)):
        return _held_up(resource, lacking)
    result = result_of(found, observed.pods, log=observed.log) if found else None
    told = result.report if result else newest_report(observed.log)
    parts = _conditions(resource, observed, result)
    return Plan(
        conditions=[*parts, *_steps(resource, observed.stored, told), _complete(parts, ended=result is not None)],
        status=_status(resource, observed, told, result),
        apply=_new(resource, observed.dataset) if found is None else [],
        again_ms=_again_ms(resource, observed, result),
    )


def _new(resource: JobResource, dataset: KubernetesObject | None) -> list[Owned]:
    made = job(resource, dataset_at(dataset) if dataset else None)
    return [Owned(CONFIG_MAPS, config_map(resource)), Owned(JOBS, made)]


def _conditions(resource: JobResource, observed: JobObserved, result: Result | None) -> list[Condition]:
    accepted = Condition("Accepted", State.TRUE, "Accepted")
    if result is not None:
        admission = Condition("Admitted", State.TRUE, "Admitted" if resource.spec.queue else "NoQueue")
        return [accepted, admission, Condition("Running", State.FALSE, result.reason, result.message)]
    admission = admitted(resource.spec.queue, observed.workload, installed=observed.kueue_installed)
    return [accepted, admission, _running(observed, admission)]


def _running(observed: JobObserved, admission: Condition) -> Condition:
    if observed.job is None:
        return Condition("Running", State.FALSE, "Creating", "the Job is being made")
    trouble = trouble_of(observed.pods, at="spec") or (refused(observed.refusal, at="spec") if observed.refusal else None)
    if trouble is not None:
        return Condition("Running", State.FALSE, trouble.reason, trouble.message)
    if any(_runs(pod) for pod in observed.pods):
        return Condition("Running", State.TRUE, "Running")
    if not admission.is_true:
        return Condition("Running", State.FALSE, "NotAdmitted", "the Job waits for its queue")
    return Condition("Running", State.FALSE, "Starting", "the pod is being started")


def _complete(parts: Sequence[Condition], *, ended: bool) -> Condition:
    """False only after a failure; until the end it is unknown, for the reason that holds it up."""
    running = next(one for one in parts if one.type == "Running")
    if ended:
        state = State.TRUE if running.reason == SUCCEEDED else State.FALSE
        return Condition("Complete", state, running.reason, running.message)
    held_up = next((one for one in parts if not one.is_true), running)
    return Condition("Complete", State.UNKNOWN, held_up.reason, held_up.message)


def _runs(pod: KubernetesObject) -> bool:
    return (pod.get("status") or {}).get("phase") == "Running"


def _steps(resource: JobResource, stored: Mapping[str, Any], told: Report) -> list[Condition]:
    """What the job itself told of its steps, now or before."""
    named = _STEPS if isinstance(resource, TrainingRun) else {}
    before = {one["type"]: _stored(one) for one in stored.get("conditions") or ()}
    known = {kind: Condition(kind, State.UNKNOWN, until) for kind, until in named.items()} | before | dict(told.conditions)
    return [known[kind] for kind in named]


def _status(resource: JobResource, observed: JobObserved, told: Report, result: Result | None) -> dict[str, Any]:
    stored, started = observed.stored, ((observed.job or {}).get("status") or {}).get("startTime")
    workload = observed.workload["metadata"]["name"] if observed.workload else stored.get("workload")
    status = {"job": job_name(resource.kind, resource.metadata.name), "workload": workload, "startedAt": started}
    status |= {"metrics": dict(told.metrics) or stored.get("metrics"), "location": told.location}
    if result is not None:
        status |= {"completedAt": result.at, "exitCode": result.exit_code}
    return {key: value for key, value in status.items() if value is not None}


def _again_ms(resource: JobResource, observed: JobObserved, result: Result | None) -> int | None:
    """Pods and events are not watched, so they are looked at until the end."""
    if result is not None:
        left_ms = _left_ms(resource.spec.ttl, result.at, observed.now)
        return None if left_ms is None else max(left_ms, LOOK_AGAIN_MS)
    return KUEUE_ABSENT_MS if resource.spec.queue and not observed.kueue_installed else LOOK_AGAIN_MS


def _name_taken(resource: JobResource, found: KubernetesObject) -> Plan:
    """A Job of an earlier resource of this name is on its way out; another stays until somebody acts."""
    name = found["metadata"]["name"]
    text = f"there is a Job {name!r} that is not this {resource.kind}'s: delete it, or choose another metadata.name"
    return _held_up(resource, Condition("Accepted", State.FALSE, "NameTaken", text))


def _held_up(resource: JobResource, accepted: Condition) -> Plan:
    """No Job is made for now; nothing else is known, for the same reason."""
    rest = [Condition(kind, State.UNKNOWN, accepted.reason) for kind in ("Admitted", "Running")]
    complete = Condition("Complete", State.UNKNOWN, accepted.reason, accepted.message)
    return Plan(conditions=[accepted, *rest, *_steps(resource, {}, Report()), complete], again_ms=LOOK_AGAIN_MS)


def _ended(resource: JobResource, observed: JobObserved) -> Plan:
    """Nothing changes any more, but the Job goes once its time is over."""
    left_ms = _left_ms(resource.spec.ttl, str(observed.stored["completedAt"]), observed.now)
    found = observed.job if observed.job and owned_by(observed.job, observed.uid) else None
    over = found is not None and left_ms is not None and left_ms <= 0
    kept = [_stored(one) for one in observed.stored["conditions"] if one["type"] != "Complete"]
    return Plan(
        # An error on the way may have been written over Complete; how it ended stands in Running, too.
        conditions=[*kept, _complete(kept, ended=True)],
        status={key: observed.stored[key] for key in _KEPT if key in observed.stored},
        delete=[Owned(JOBS, found), Owned(CONFIG_MAPS, config_map(resource))] if found and over else [],
        again_ms=left_ms if found and left_ms is not None and left_ms > 0 else None,
    )


def _left_ms(ttl: str | None, ended: str, now: datetime) -> int | None:
    if ttl is None:
        return None
    since = now - datetime.fromisoformat(ended).astimezone(UTC)
    return parse_duration_ms(ttl) - int(since.total_seconds() * 1_000)


def _stored(written: Mapping[str, Any]) -> Condition:
    return Condition(written["type"], State(written["status"]), written["reason"], written.get("message", ""))
