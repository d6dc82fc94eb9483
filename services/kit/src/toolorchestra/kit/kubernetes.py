"""What the platform says to a Kubernetes API server, and nothing more: objects are the JSON that the server speaks.

``KubernetesApi`` is the seam; ``kubernetes_client.open_kubernetes`` opens the real one, ``testing.MemoryKubernetes`` is the
fake. Errors: ``ForbiddenError`` (RBAC), ``InvalidRequestError`` (the server refused the object; the message is the server's),
``NotFoundError`` (a kind, or the object of a subresource, that the server does not have), ``ConflictError``,
``UpstreamError`` (the server cannot be reached or fails; retryable).
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol, TypeAlias

from toolorchestra.core.errors import ToolOrchestraError

KubernetesObject: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ResourceType:
    """Where objects of a kind are found: ``/apis/{group}/{version}/[namespaces/{namespace}/]{plural}``; group "" is core."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """As written in a manifest, e.g. ``apps/v1``, ``v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version


def object_path(of: ResourceType, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
    """Where the server keeps all objects of a kind, one object, or a part of it."""
    root = f"/apis/{of.group}/{of.version}" if of.group else f"/api/{of.version}"
    parts = [root, f"namespaces/{namespace}" if namespace else None, of.plural, name, subresource]
    return "/".join(part for part in parts if part)


SECRETS: Final = ResourceType("", "v1", "secrets", "Secret")
PODS: Final = ResourceType("", "v1", "pods", "Pod")
EVENTS: Final = ResourceType("", "v1", "events", "Event")
JOBS: Final = ResourceType("batch", "v1", "jobs", "Job")
TOKEN_REVIEWS: Final = ResourceType("authentication.k8s.io", "v1", "tokenreviews", "TokenReview")
ACCESS_REVIEWS: Final = ResourceType("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview")


@dataclass(frozen=True, slots=True)
class Listing:
    """All objects of a kind at one moment, and the resource version from which a watch goes on."""

    items: Sequence[KubernetesObject]
    resource_version: str


class Change(StrEnum):
    """What a watch reports; a bookmark carries only a newer resource version."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change of one object."""

    change: Change
    object: KubernetesObject


class ExpiredError(ToolOrchestraError):
    """The resource version is too old to watch from (410): list again."""

    code = "watch_expired"
    http_status = 410
    retryable = True


class KubernetesApi(Protocol):
    """A client of one API server. ``namespace`` None means all namespaces in a list, and cluster scope elsewhere."""

    async def get(self, of: ResourceType, name: str, *, namespace: str | None) -> KubernetesObject | None:
        """One object, or None. A kind that the server does not have is None, too."""
        ...

    async def list(
        self,
        of: ResourceType,
        *,
        namespace: str | None,
        labels: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> Listing:
        """All objects with these labels and these fields (dotted paths that the kind can be selected by), read in pages."""
        ...

    def watch(self, of: ResourceType, *, namespace: str | None, since: str, timeout_s: int) -> AsyncIterator[WatchEvent]:
        """Changes after ``since``, with bookmarks; ends after ``timeout_s``. Raises ExpiredError when ``since`` is too old."""
        ...

    async def apply(self, of: ResourceType, body: KubernetesObject, *, subresource: str | None = None) -> KubernetesObject:
        """Server-side apply of the fields in ``body`` by the client's field manager, taking them over from others."""
        ...

    async def create(self, of: ResourceType, body: KubernetesObject, *, namespace: str | None) -> KubernetesObject:
        """Create an object, or ask a review. Raises ConflictError when the name is taken."""
        ...

    async def delete(self, of: ResourceType, name: str, *, namespace: str | None) -> None:
        """Delete an object with what it owns, in the background; one that is gone is no error."""
        ...

    async def log_tail(self, pod: str, *, namespace: str, lines: int, container: str | None = None) -> str:
        """The last lines of a pod's log; empty without any."""
        ...

    async def has(self, of: ResourceType) -> bool:
        """Whether the server serves this kind now (its CRD is installed)."""
        ...
