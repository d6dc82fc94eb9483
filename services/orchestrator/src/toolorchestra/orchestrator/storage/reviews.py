"""What the API server says of a token and of its bearer's rights. Tokens are sent to it alone, and kept nowhere."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from toolorchestra.core.errors import ForbiddenError, UnauthenticatedError, UnavailableError, UpstreamError
from toolorchestra.core.resources.meta import GROUP
from toolorchestra.kit.kubernetes import ACCESS_REVIEWS, TOKEN_REVIEWS, KubernetesApi, KubernetesObject, ResourceType


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated user of the cluster."""

    username: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Action:
    """What somebody wants to do: a verb on a virtual resource of the platform's group in the tenant's namespace."""

    verb: str
    resource: str
    tenant: str


class Reviews:
    """TokenReview and SubjectAccessReview. Both raise UnavailableError when the API server cannot be asked."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api

    async def identify(self, token: str, audience: str | None) -> Identity:
        """Whose token it is. ``audience`` None means the API server's own. Raises UnauthenticatedError, without the token."""
        spec = {"token": token} | ({"audiences": [audience]} if audience else {})
        status = await self._ask(TOKEN_REVIEWS, spec)
        if not status.get("authenticated"):
            raise UnauthenticatedError("the cluster does not accept this token", hint="it may have expired; get another one")
        if audience and audience not in (status.get("audiences") or ()):
            raise UnauthenticatedError(f"the cluster does not vouch for the audience {audience!r} of this token")
        user = status.get("user") or {}
        groups = tuple(user.get("groups") or ())
        return Identity(user.get("username", ""), user.get("uid") or "", groups, user.get("extra") or {})

    async def may(self, identity: Identity, action: Action) -> bool:
        """Whether RBAC (or whatever authorizes there) lets ``identity`` do ``action``."""
        attributes = {"group": GROUP, "resource": action.resource, "verb": action.verb, "namespace": action.tenant}
        spec = {
            "user": identity.username,
            "uid": identity.uid,
            "groups": list(identity.groups),
            "extra": dict(identity.extra),
            "resourceAttributes": attributes,
        }
        status = await self._ask(ACCESS_REVIEWS, spec)
        return bool(status.get("allowed")) and not status.get("denied")

    async def _ask(self, review: ResourceType, spec: KubernetesObject) -> KubernetesObject:
        """The review's status. What goes wrong here is our trouble with the API server, never a verdict on the caller."""
        try:
            found = await self._api.create(review, {"metadata": {}, "spec": spec}, namespace=None)
        except (ForbiddenError, UnauthenticatedError) as error:
            raise UnavailableError(
                f"the platform may not ask for a {review.kind}: {error.message}",
                hint="bind the chart's ClusterRole for reviews to the orchestrator's ServiceAccount",
            ) from error
        except UpstreamError as error:
            raise UnavailableError(error.message, hint=error.hint) from error
        status: KubernetesObject = found.get("status") or {}
        return status
