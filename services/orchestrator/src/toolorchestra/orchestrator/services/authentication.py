"""Who asks: API keys, and on a cluster tokens of ServiceAccounts."""

from pathlib import Path
from time import monotonic
from typing import Final

from toolorchestra.core.errors import ForbiddenError, InvalidRequestError, UnauthenticatedError
from toolorchestra.core.registry import Registry
from toolorchestra.core.resources import BudgetPolicySpec
from toolorchestra.kit.claims import audiences_of, read_claims
from toolorchestra.ledger.keys import PREFIX, SERVICE_ACCOUNT
from toolorchestra.orchestrator.services.identities import Identities
from toolorchestra.orchestrator.services.principal import Principal
from toolorchestra.orchestrator.storage.accounts import AccountStore

CACHE_S: Final = 2.0  # a revoked key stops within this time; its holds are refused at once
CACHE_MOST: Final = 10_000
_USER: Final = "system:serviceaccount:"


class Authenticator:
    """Checks API keys; a good answer is remembered for a moment. What is none may be a ServiceAccount's token."""

    def __init__(self, accounts: AccountStore, service_accounts: "ServiceAccounts | None" = None) -> None:
        self._accounts = accounts
        self._service_accounts = service_accounts
        self._known: dict[str, tuple[float, Principal]] = {}

    async def authenticate(self, text: str) -> Principal:
        """The caller. Raises UnauthenticatedError."""
        if self._service_accounts is not None and not text.startswith(PREFIX):
            return await self._service_accounts.authenticate(text)
        known = self._known.get(text)
        if known is not None and known[0] > monotonic():
            return known[1]
        record = await self._accounts.authenticate(text)
        principal = Principal(record.tenant, record.id, models=record.scopes.models, tools=record.scopes.tools)
        if len(self._known) >= CACHE_MOST:
            self._known.clear()
        self._known[text] = (monotonic() + CACHE_S, principal)
        return principal


class ServiceAccounts:
    """ServiceAccount tokens as credentials: the tenant is the namespace, the key is ``sa:name``, with no limits of its own.

    ``namespaces``: the tenants served; empty means all.
    """

    def __init__(
        self,
        *,
        identities: Identities,
        accounts: AccountStore,
        registry: Registry,
        default: BudgetPolicySpec,
        audience: str,
        namespaces: tuple[str, ...],
    ) -> None:
        self._identities = identities
        self._accounts = accounts
        self._registry = registry
        self._default = default
        self._audience = audience
        self._namespaces = namespaces
        self._opened: set[Principal] = set()

    async def authenticate(self, token: str) -> Principal:
        """The caller. Raises UnauthenticatedError that says which audience, or ForbiddenError for a tenant not served."""
        claims = read_claims(token)
        if self._audience not in audiences_of(claims):
            raise self._wrong_audience(audiences_of(claims))
        identity = await self._identities.identify(token, self._audience)
        tenant, _, name = identity.username.removeprefix(_USER).partition(":")
        if not identity.username.startswith(_USER) or not name:
            raise UnauthenticatedError(f"{identity.username!r} is not a ServiceAccount", hint="people use an API key")
        if self._namespaces and tenant not in self._namespaces:
            raise ForbiddenError(f"namespace {tenant!r} is not served here", hint="add it to the chart's watchNamespaces")
        caller = Principal(tenant, f"{SERVICE_ACCOUNT}{name}")
        await self._open(caller)
        return caller

    async def _open(self, caller: Principal) -> None:
        """The first time, make sure that the ledger knows the account, and the tenant if no policy will tell of it."""
        if caller in self._opened:
            return
        has_policy = (caller.tenant, "default") in self._registry.catalog().budgets
        await self._accounts.open_service_account(caller.tenant, caller.key, default=None if has_policy else self._default)
        if len(self._opened) >= CACHE_MOST:
            self._opened.clear()
        self._opened.add(caller)

    def _wrong_audience(self, found: tuple[str, ...]) -> UnauthenticatedError:
        what = f"this token is for the audience {', '.join(found)}" if found else "this is neither an API key nor a token"
        return UnauthenticatedError(
            f"{what}; needed is a ServiceAccount token for the audience {self._audience!r}",
            hint=f"kubectl create token NAME --namespace TENANT --audience {self._audience}, or an API key",
        )


def read_secret_file(path: Path, *, mounted: bool = False) -> str:
    """The content of a secret file. Raises InvalidRequestError when others may read it, or it is not there.

    ``mounted``: its group may read it, because a Secret volume belongs to the group of the pod.
    """
    try:
        mode = path.stat().st_mode & (0o037 if mounted else 0o077)
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise InvalidRequestError(f"{path}: {error.strerror}", hint="create it with mode 0600") from error
    if mode or not text:
        raise InvalidRequestError(f"{path}: must not be empty, nor readable by others", hint=f"chmod 600 {path}")
    return text
