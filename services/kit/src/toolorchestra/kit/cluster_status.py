"""What the operator wrote into a resource's ``status``, as the data plane reads it: pure functions, lenient on purpose.

An observation is of one generation of the spec. While a newer spec is not observed yet, what stays true of the older
observation is kept, so that an edit does not interrupt service:

- a Tool whose backend is the same keeps its operations, and an endpoint that is the same its probed URL;
- a model served by an InferenceService keeps its URL for as long as it is that InferenceService: weights may change behind it;
- nothing bad is kept: the edit may have mended it.
"""

from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from pydantic import TypeAdapter

from toolorchestra.core.registry import DiscoveredOperation, Observation
from toolorchestra.core.resources import ExpertModel, Resource, Tool
from toolorchestra.core.resources.status import ExpertModelStatus, Lenient, OperationStatus, ToolStatus
from toolorchestra.kit.kubernetes import KubernetesObject

Status: TypeAlias = ToolStatus | ExpertModelStatus

NOT_OBSERVED: Final = "NotObserved"
_READERS: Final[dict[str, TypeAdapter[Any]]] = {
    "Tool": TypeAdapter(Lenient[ToolStatus]),
    "ExpertModel": TypeAdapter(Lenient[ExpertModelStatus]),
}


def read_status(document: KubernetesObject) -> Status | None:
    """The status of a Tool or ExpertModel as far as it can be read; None without one, and for other kinds."""
    reader = _READERS.get(document["kind"])
    found = reader.validate_python(document.get("status")) if reader is not None else None
    return found if isinstance(found, ToolStatus | ExpertModelStatus) else None


def observation_of(resource: Resource, status: Status | None) -> Observation | None:
    """What the status says of this very spec; None if it says nothing, or is of another generation."""
    if status is None or status.observed_generation != resource.metadata.generation:
        return None
    ready = next((one for one in status.conditions if one.type == "Ready"), None)
    if ready is None:
        return None
    return Observation(
        ready=ready.status == "True",
        reason=ready.reason,
        message=ready.message,
        operations=_accepted(status),
        base_url=_url(resource, status),
        details=_details(status),
    )


def carried(resource: Resource, earlier: Resource | None, seen: Observation | None) -> Observation | None:
    """What holds of the newer ``resource`` although it was seen of the ``earlier`` one."""
    if seen is None or not seen.ready or earlier is None:
        return None
    return seen if _backend(resource) == _backend(earlier) else None


def outlived(resource: Resource, status: Status | None) -> Observation | None:
    """Where a model is served by the status of an earlier generation, when that earlier spec is not known."""
    if not isinstance(resource, ExpertModel) or not isinstance(status, ExpertModelStatus) or resource.spec.endpoint is not None:
        return None
    ref, service = resource.spec.inference_service_ref, (status.inference_service or "").rpartition("/")[2]
    if not status.url or not service or (ref is not None and service != ref.name):
        return None
    return Observation(ready=False, reason=NOT_OBSERVED, message="its newest spec is not observed yet", base_url=status.url)


def hashes_of(status: Status | None) -> dict[str, str]:
    """The schema hash of each accepted operation, whatever generation saw it."""
    return {one.name: one.schema_hash for one in _accepted(status)}


def _backend(resource: Resource) -> tuple[object, ...]:
    match resource:
        case Tool(spec=spec):
            return spec.http, spec.openapi, spec.mcp, spec.plugin
        case ExpertModel(spec=spec):
            return spec.endpoint, spec.kserve is None, spec.inference_service_ref
        case _:
            return (resource.spec,)


def _accepted(status: Status | None) -> tuple[DiscoveredOperation, ...]:
    found = status.operations if isinstance(status, ToolStatus) else ()
    return tuple(_operation(one) for one in found if one.state == "Accepted")


def _operation(one: OperationStatus) -> DiscoveredOperation:
    return DiscoveredOperation(
        name=one.name,
        description=one.description,
        parameters=one.parameters,
        schema_hash=one.schema_hash,
        side_effects=one.side_effects,
        details=one.details,
    )


def _url(resource: Resource, status: Status) -> str | None:
    """Where a probe found the model. That of an endpoint lies where its spec says: keys are sent there."""
    if not isinstance(resource, ExpertModel) or not isinstance(status, ExpertModelStatus) or not status.url:
        return None
    endpoint = resource.spec.endpoint
    return status.url if endpoint is None or _origin(status.url) == _origin(endpoint.base_url) else None


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _details(status: Status) -> dict[str, Any]:
    """What people are shown. Latencies change with every probe and would make every catalog a new one."""
    if isinstance(status, ExpertModelStatus):
        return {"models": list(status.models)} if status.models else {}
    drifted = {one.name: one.schema_hash for one in status.operations if one.state == "Drifted"}
    return ({"sandbox": status.sandbox} if status.sandbox else {}) | ({"drifted": drifted} if drifted else {})
