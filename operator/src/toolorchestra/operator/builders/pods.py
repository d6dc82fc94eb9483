"""The parts of a pod that an InferenceService and a Job have in common."""

from collections.abc import Mapping, Sequence

from kubernetes import client

from toolorchestra.core.resources.pods import GPU, EnvVar, ResourceRequirements, Toleration


def environment(variables: Sequence[EnvVar]) -> list[client.V1EnvVar]:
    """Variables with their value, or with the key of the Secret that the kubelet reads."""
    return [client.V1EnvVar(name=one.name, value=one.value, value_from=_secret(one)) for one in variables]


def _secret(variable: EnvVar) -> client.V1EnvVarSource | None:
    ref = variable.secret_key_ref
    if ref is None:
        return None
    return client.V1EnvVarSource(secret_key_ref=client.V1SecretKeySelector(name=ref.name, key=ref.key))


def requirements(resources: ResourceRequirements, gpus: int) -> client.V1ResourceRequirements | None:
    """Requests and limits as written, and the GPUs as a limit: Kubernetes takes it as the request, too."""
    limits = _quantities({**resources.limits, GPU: gpus} if gpus else resources.limits)
    requests = _quantities(resources.requests)
    return client.V1ResourceRequirements(limits=limits, requests=requests) if limits or requests else None


def _quantities(amounts: Mapping[str, int | str]) -> dict[str, str] | None:
    return {name: str(amount) for name, amount in amounts.items()} or None


def tolerations(written: Sequence[Toleration]) -> list[client.V1Toleration] | None:
    """Tolerations as written; None without any."""
    return [client.V1Toleration(**one.model_dump()) for one in written] or None


def unprivileged(*, read_only_root: bool) -> client.V1SecurityContext:
    """What a container of ours never needs is taken from it."""
    return client.V1SecurityContext(
        allow_privilege_escalation=False,
        capabilities=client.V1Capabilities(drop=["ALL"]),
        read_only_root_filesystem=read_only_root or None,
    )


def pod_security(*, non_root: bool, user: int | None = None, group: int | None = None) -> client.V1PodSecurityContext:
    """The system calls of the runtime's default profile; no root where ``non_root``; volumes writable by ``group``."""
    return client.V1PodSecurityContext(
        run_as_non_root=non_root or None,
        run_as_user=user,
        fs_group=group,
        seccomp_profile=client.V1SeccompProfile(type="RuntimeDefault"),
    )
