"""The restricted Pod Security Standard, checked independently of the cluster that enforces it.

Written from https://kubernetes.io/docs/concepts/security/pod-security-standards/.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

VOLUMES: Final = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def violations(spec: Mapping[str, Any]) -> list[str]:
    """What a pod's spec says that the restricted standard forbids, or does not say that it demands."""
    return [*_of_pod(spec), *(text for container in _containers(spec) for text in _of_container(container, spec))]


def _containers(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [item for kind in ("initContainers", "containers", "ephemeralContainers") for item in spec.get(kind, [])]


def _of_pod(spec: Mapping[str, Any]) -> Iterator[str]:
    yield from (name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name))
    for volume in spec.get("volumes", []):
        kinds = set(volume) - {"name"}
        if not kinds <= VOLUMES:
            yield f"volume {volume['name']} is a {', '.join(kinds)}"
    if spec.get("securityContext", {}).get("sysctls"):
        yield "sysctls"


def _of_container(container: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterator[str]:
    own, name = container.get("securityContext", {}), container["name"]
    both = {**spec.get("securityContext", {}), **own}
    if own.get("privileged"):
        yield f"{name} is privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield f"{name} may escalate"
    if own.get("capabilities", {}).get("drop") != ["ALL"] or set(own["capabilities"].get("add", [])) - {"NET_BIND_SERVICE"}:
        yield f"{name} has capabilities"
    if both.get("runAsNonRoot") is not True or both.get("runAsUser") == 0:
        yield f"{name} has no runAsNonRoot"
    if both.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield f"{name} has no seccomp profile"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield f"{name} has a port of the host"
    if own.get("procMount", "Default") != "Default":
        yield f"{name} sees all of /proc"
