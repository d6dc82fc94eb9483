"""Builds the Job of a ToolScaleDataset, TrainingRun or Evaluation, and the ConfigMap with its configuration. Pure.

What the container finds: its configuration in ``$TOOLORCHESTRA_CONFIG`` (JSON), the resource's name in ``$TOOLORCHESTRA_NAME``,
the claim at ``/data``, the dataset of a training at ``/dataset``, a writable ``/tmp``; all else is read-only. What it may tell
stands in ``services.results``.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from kubernetes import client

from toolorchestra.core.durations import parse_duration_ms
from toolorchestra.core.resources import Evaluation, ToolScaleDataset, TrainingRun
from toolorchestra.core.resources.jobs import JobSpec
from toolorchestra.kit.kubernetes import JOBS, KubernetesObject, ResourceType
from toolorchestra.operator.builders.labels import labels_for
from toolorchestra.operator.builders.pods import environment, pod_security, requirements, tolerations, unprivileged
from toolorchestra.operator.builders.typed import DIGEST_CHARACTERS, as_json, digest

JobResource: TypeAlias = ToolScaleDataset | TrainingRun | Evaluation

CONFIG_MAPS: Final = ResourceType("", "v1", "configmaps", "ConfigMap")
QUEUE_LABEL: Final = "kueue.x-k8s.io/queue-name"
CONTAINER: Final = "job"
CONFIG_VARIABLE: Final = "TOOLORCHESTRA_CONFIG"
NAME_VARIABLE: Final = "TOOLORCHESTRA_NAME"
CONFIG_FILE: Final = "config.json"
CONFIG_FOLDER: Final = "/etc/toolorchestra"
DATA_FOLDER: Final = "/data"
DATASET_FOLDER: Final = "/dataset"
TOLD_TO_STOP: Final = 75  # EX_TEMPFAIL: it saved what it had, and goes on when it is started again
# What starting again cannot mend: a configuration or a command line that is wrong; in training, a gate that was not passed.
FINAL: Final[Mapping[str, Sequence[int]]] = {"ToolScaleDataset": (2,), "TrainingRun": (2, 3), "Evaluation": (2,)}
MAX_NAME: Final = 63
_GROUP: Final = 65532  # owns the claim's files, so that a user that is not root can write them


@dataclass(frozen=True, slots=True)
class Dataset:
    """Where the worlds of a ToolScaleDataset lie: a claim of the same namespace, and a folder on it; empty for all of it."""

    claim: str
    folder: str


def job_name(kind: str, name: str) -> str:
    """``kind-name`` in lower case, shortened with a hash where a Kubernetes name ends."""
    full = f"{kind.lower()}-{name}"
    if len(full) <= MAX_NAME:
        return full
    return f"{full[: MAX_NAME - DIGEST_CHARACTERS - 1].rstrip('-')}-{digest(full)}"


def config_map(resource: JobResource) -> KubernetesObject:
    """The job's configuration, as it will read it."""
    body: KubernetesObject = as_json(
        client.V1ConfigMap(
            api_version=CONFIG_MAPS.api_version,
            kind=CONFIG_MAPS.kind,
            metadata=_metadata(resource),
            data={CONFIG_FILE: json.dumps(resource.spec.config, sort_keys=True, ensure_ascii=False)},
        )
    )
    return body


def job(resource: JobResource, dataset: Dataset | None = None) -> KubernetesObject:
    """The Job. With a queue it starts suspended: Kueue lets it go once there is quota.

    It has no ``ttlSecondsAfterFinished``: a Job that vanished before its end was recorded would have to run again. The
    operator deletes it, ``spec.ttl`` after its end.
    """
    spec = resource.spec
    body: KubernetesObject = as_json(
        client.V1Job(
            api_version=JOBS.api_version,
            kind=JOBS.kind,
            metadata=_metadata(resource, {QUEUE_LABEL: spec.queue} if spec.queue else {}),
            spec=client.V1JobSpec(
                suspend=True if spec.queue else None,
                backoff_limit=spec.backoff_limit,
                active_deadline_seconds=_seconds(spec.timeout),
                pod_failure_policy=_failure_policy(FINAL[resource.kind]),
                template=_template(resource, dataset),
            ),
        )
    )
    return body


def _metadata(resource: JobResource, labels: dict[str, str] | None = None) -> client.V1ObjectMeta:
    name, namespace = resource.metadata.name, resource.metadata.namespace
    return client.V1ObjectMeta(
        name=job_name(resource.kind, name), namespace=namespace, labels=labels_for(resource.kind, name) | (labels or {})
    )


def _seconds(duration: str | None) -> int | None:
    """Whole seconds, at least one."""
    return None if duration is None else max(1, -(-parse_duration_ms(duration) // 1_000))


def _failure_policy(final: Sequence[int]) -> client.V1PodFailurePolicy:
    """Which ends of a pod do not count as a failed attempt, because others ended it, and which end the Job at once."""
    disrupted = client.V1PodFailurePolicyOnPodConditionsPattern(type="DisruptionTarget", status="True")
    rules = [
        client.V1PodFailurePolicyRule(action="Ignore", on_pod_conditions=[disrupted]),
        client.V1PodFailurePolicyRule(action="Ignore", on_exit_codes=_exit_codes(TOLD_TO_STOP)),
        client.V1PodFailurePolicyRule(action="FailJob", on_exit_codes=_exit_codes(*final)),
    ]
    return client.V1PodFailurePolicy(rules=rules)


def _exit_codes(*codes: int) -> client.V1PodFailurePolicyOnExitCodesRequirement:
    return client.V1PodFailurePolicyOnExitCodesRequirement(container_name=CONTAINER, operator="In", values=list(codes))


def _template(resource: JobResource, dataset: Dataset | None) -> client.V1PodTemplateSpec:
    spec = resource.spec
    return client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels=labels_for(resource.kind, resource.metadata.name)),
        spec=client.V1PodSpec(
            restart_policy="Never",
            termination_grace_period_seconds=_seconds(spec.grace),
            service_account_name=spec.service_account_name,
            automount_service_account_token=spec.service_account_name is not None,
            node_selector=spec.node_selector or None,
            tolerations=tolerations(spec.tolerations),
            security_context=pod_security(non_root=True, user=spec.run_as_user, group=_GROUP if spec.claim else None),
            containers=[_container(resource, dataset)],
            volumes=_volumes(resource, dataset),
        ),
    )


def _container(resource: JobResource, dataset: Dataset | None) -> client.V1Container:
    spec = resource.spec
    given = [
        client.V1EnvVar(name=CONFIG_VARIABLE, value=f"{CONFIG_FOLDER}/{CONFIG_FILE}"),
        client.V1EnvVar(name=NAME_VARIABLE, value=resource.metadata.name),
        client.V1EnvVar(name="HOME", value="/tmp"),  # noqa: S108 - a volume of the pod's own, the only writable place
    ]
    written = {one.name for one in spec.env}
    return client.V1Container(
        name=CONTAINER,
        image=spec.image,
        command=spec.command or None,
        args=spec.args or None,
        env=[*(one for one in given if one.name not in written), *environment(spec.env)],
        resources=requirements(spec.resources, spec.gpus),
        security_context=unprivileged(read_only_root=True),
        # The end of the log, if the job left no message of its own.
        termination_message_policy="FallbackToLogsOnError",
        volume_mounts=_mounts(spec, dataset),
    )


def _mounts(spec: JobSpec, dataset: Dataset | None) -> list[client.V1VolumeMount]:
    mounts = [
        client.V1VolumeMount(name="config", mount_path=CONFIG_FOLDER, read_only=True),
        client.V1VolumeMount(name="tmp", mount_path="/tmp"),  # noqa: S108 - as above
    ]
    if spec.claim:
        mounts.append(client.V1VolumeMount(name="data", mount_path=DATA_FOLDER))
    if dataset:
        folder = dataset.folder or None
        mounts.append(client.V1VolumeMount(name="dataset", mount_path=DATASET_FOLDER, sub_path=folder, read_only=True))
    if spec.gpus:
        mounts.append(client.V1VolumeMount(name="shm", mount_path="/dev/shm"))  # noqa: S108 - as above
    return mounts


def _volumes(resource: JobResource, dataset: Dataset | None) -> list[client.V1Volume]:
    spec, source = resource.spec, client.V1ConfigMapVolumeSource(name=job_name(resource.kind, resource.metadata.name))
    volumes = [
        client.V1Volume(name="config", config_map=source),
        client.V1Volume(name="tmp", empty_dir=client.V1EmptyDirVolumeSource()),
    ]
    claims = {"data": spec.claim, "dataset": dataset.claim if dataset else None}
    for name, claim in claims.items():
        if claim:
            found = client.V1PersistentVolumeClaimVolumeSource(claim_name=claim)
            volumes.append(client.V1Volume(name=name, persistent_volume_claim=found))
    if spec.gpus:  # processes that share GPUs exchange tensors here; the default of 64 MiB is too small for that
        volumes.append(client.V1Volume(name="shm", empty_dir=client.V1EmptyDirVolumeSource(medium="Memory")))
    return volumes
