"""InferenceServices and pods with the status that KServe, the scheduler and the kubelet write, as seen on real clusters."""

from copy import deepcopy
from typing import Any

from toolorchestra.core.resources import ExpertModel, parse_resource
from toolorchestra.kit.kubernetes import KubernetesObject

UID = "uid-of-the-expert"
READY: dict[str, Any] = {
    "address": {"url": "http://tiny-predictor.models.svc.cluster.local"},
    "components": {"predictor": {"url": "http://tiny-predictor-models.cluster.local"}},
    "conditions": [
        {"type": "IngressReady", "status": "True"},
        {"type": "PredictorReady", "status": "True", "reason": "NewReplicaSetAvailable"},
        {"type": "Ready", "status": "True"},
        {"type": "Stopped", "status": "False", "severity": "Info"},
    ],
    "deploymentMode": "Standard",
    "modelStatus": {
        "copies": {"failedCopies": 0, "totalCopies": 1},
        "states": {"activeModelState": "Loaded", "targetModelState": "Loaded"},
        "transitionStatus": "UpToDate",
    },
    "observedGeneration": 1,
    "url": "http://tiny-models.cluster.local",
}
NOT_READY: dict[str, Any] = {
    "conditions": [
        {
            "type": "PredictorReady",
            "status": "False",
            "reason": "MinimumReplicasUnavailable",
            "message": "Deployment does not have minimum availability.",
        },
        {"type": "Ready", "status": "False", "reason": "MinimumReplicasUnavailable"},
    ],
    "modelStatus": {"transitionStatus": "InProgress"},
    "observedGeneration": 1,
}


def expert(**spec: Any) -> ExpertModel:
    """An ExpertModel ``tiny`` in ``models``; served by KServe unless the spec says otherwise."""
    serving = {} if {"endpoint", "inferenceServiceRef"} & spec.keys() else {"kserve": {"storageUri": "pvc://weights/tiny"}}
    body = {
        "apiVersion": "toolorchestra.dev/v1alpha1",
        "kind": "ExpertModel",
        "metadata": {"name": spec.pop("name", "tiny"), "namespace": "models"},
        "spec": {"description": "d", "model": "tiny", "pricing": {"input": "0.15", "output": "0.60"}, **serving, **spec},
    }
    resource = parse_resource(body, source="test")
    assert isinstance(resource, ExpertModel)
    return resource


def service(
    status: dict[str, Any] | None = None, *, owner: str | None = UID, namespace: str = "models", **metadata: Any
) -> KubernetesObject:
    owners = [{"kind": "ExpertModel", "name": "tiny", "uid": owner, "controller": True}] if owner else []
    return {
        "metadata": {"name": "tiny", "namespace": namespace, "generation": 1, "ownerReferences": owners, **metadata},
        **({"status": deepcopy(status)} if status else {}),
    }


def pod(**status: Any) -> KubernetesObject:
    metadata = {"name": "tiny-predictor-1", "namespace": "models", "creationTimestamp": "2026-11-22T17:10:46Z"}
    return {"metadata": metadata, "status": status}


def waiting(reason: str, message: str = "", *, last: dict[str, Any] | None = None) -> KubernetesObject:
    """A pod whose container waits; ``last`` is how it ended before."""
    container: dict[str, Any] = {"name": "kserve-container", "state": {"waiting": {"reason": reason, "message": message}}}
    return pod(containerStatuses=[container | ({"lastState": {"terminated": last}} if last else {})])


def unschedulable(message: str) -> KubernetesObject:
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return pod(conditions=[scheduled])
