"""Who may administer a tenant: whoever has the token file's token on one machine, whom RBAC lets on a cluster."""

import hmac
from typing import Final, Protocol

from toolorchestra.core.errors import ForbiddenError
from toolorchestra.kit.claims import audiences_of, read_claims
from toolorchestra.orchestrator.services.identities import Identities
from toolorchestra.orchestrator.storage.reviews import Action, Identity, Reviews

ADMINISTRATOR: Final = "admin"
_ROLES: Final = {"adjustments": "toolorchestra-budget-admin", "keys": "toolorchestra-admin"}
_VIEW_ROLE: Final = "toolorchestra-view"
_ACCOUNT: Final = "system:serviceaccount:"


class Authority(Protocol):
    """Decides on administrators."""

    async def admit(self, token: str, action: Action) -> str:
        """The name of whoever may do this, for records. Raises UnauthenticatedError or ForbiddenError."""
        ...


class AdminTokens:
    """The token of ``/admin/v1`` on a single machine: the content of a file that only its owner can read."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    async def admit(self, token: str, action: Action) -> str:
        """Whoever has the token may do everything. Without a token file nobody may."""
        del action
        if self._token is None or not hmac.compare_digest(self._token.encode(), token.encode()):
            raise ForbiddenError("this needs the administrator's token", hint="send it as Authorization: Bearer …")
        return ADMINISTRATOR


class KubernetesAuthority:
    """A user of the cluster may do what RBAC grants on virtual resources in the tenant's namespace.

    A token made for the platform's own audience is preferred; one for the API server is accepted, because that is what
    a person's kubeconfig holds. Rights are asked anew for each request.
    """

    def __init__(self, identities: Identities, reviews: Reviews, audience: str) -> None:
        self._identities = identities
        self._reviews = reviews
        self._audience = audience

    async def admit(self, token: str, action: Action) -> str:
        """The user's name."""
        own = self._audience in audiences_of(read_claims(token))
        identity = await self._identities.identify(token, self._audience if own else None)
        if not await self._reviews.may(identity, action):
            raise _not_allowed(identity, action)
        return identity.username


def _not_allowed(identity: Identity, action: Action) -> ForbiddenError:
    role = _ROLES.get(action.resource, _VIEW_ROLE)
    subject = f"--user={identity.username}"
    if identity.username.startswith(_ACCOUNT):
        subject = f"--serviceaccount={identity.username.removeprefix(_ACCOUNT)}"
    return ForbiddenError(
        f"{identity.username!r} may not {action.verb} {action.resource}.toolorchestra.dev in namespace {action.tenant!r}",
        hint=f"kubectl create rolebinding {role} --namespace {action.tenant} --clusterrole={role} {subject}",
    )
