"""Keys, policies, usage and budgets of tenants, each method one transaction."""

from collections.abc import Sequence
from datetime import datetime

from toolorchestra.core.resources import BudgetPolicySpec
from toolorchestra.ledger import alerts, keys, money, policies, reaper, usage
from toolorchestra.ledger.alerts import Alert, TenantWindow
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.keys import KeyLimits, KeyRecord, NewKey, Scopes
from toolorchestra.ledger.money import Unit
from toolorchestra.ledger.policies import WindowBudget
from toolorchestra.ledger.usage import UsageRow


class AccountStore:
    """The ledger's accounts as this service needs them."""

    def __init__(self, database: Database, pepper: bytes) -> None:
        self._database = database
        self._pepper = pepper

    async def authenticate(self, text: str) -> KeyRecord:
        """The key of that text. Raises UnauthenticatedError."""
        async with self._database.system() as connection:
            return await keys.authenticate(connection, text, pepper=self._pepper)

    async def create_key(
        self, tenant: str, *, name: str, scopes: Scopes, limits: KeyLimits, expires_at: datetime | None
    ) -> NewKey:
        async with self._database.system() as connection:
            return await keys.create(
                connection, tenant, name=name, pepper=self._pepper, scopes=scopes, limits=limits, expires_at=expires_at
            )

    async def open_service_account(self, tenant: str, key: str, *, default: BudgetPolicySpec | None) -> None:
        """An account for ``sa:name``; with ``default``, also a policy for a tenant that has none."""
        async with self._database.system() as connection:
            if default is not None:
                await policies.ensure_tenant(connection, tenant, default=default)
            await keys.ensure_service_account(connection, tenant, key)

    async def list_keys(self, tenant: str) -> list[KeyRecord]:
        async with self._database.system() as connection:
            return await keys.list_keys(connection, tenant)

    async def revoke_key(self, tenant: str, key: str) -> KeyRecord:
        async with self._database.system() as connection:
            return await keys.revoke(connection, tenant, key)

    async def apply_policy(self, tenant: str, spec: BudgetPolicySpec, generation: int) -> None:
        async with self._database.system() as connection:
            found = await policies.get_policy(connection, tenant)
            if found is None or found.source != "policy" or found.hash != policies.spec_hash(spec):
                await policies.apply_policy(connection, tenant, spec, generation=generation)

    async def policy_sources(self) -> dict[str, str]:
        """Tenants with a policy in the ledger: their own (``policy``) or the installation's (``default``)."""
        async with self._database.system() as connection:
            return await policies.sources(connection)

    async def default_policy(self, tenant: str, default: BudgetPolicySpec, *, deleted: bool = False) -> None:
        """The default for a tenant that has no policy, or (``deleted``) none any more."""
        async with self._database.system() as connection:
            if deleted:
                await policies.delete_policy(connection, tenant, default=default)
            else:
                await policies.ensure_tenant(connection, tenant, default=default)

    async def budget(self, tenant: str) -> list[WindowBudget]:
        async with self._database.tenant(tenant) as connection:
            return await policies.budget(connection, tenant)

    async def look_at_budgets(self) -> tuple[list[TenantWindow], list[Alert]]:
        """The fullest windows of all tenants, and the alerts that are now this caller's to tell."""
        return await alerts.look(self._database)

    async def remaining_nano_usd(self, tenant: str, key: str) -> int | None:
        """The least that any window of the tenant or the key leaves; None without a limit."""
        async with self._database.tenant(tenant) as connection:
            windows = [
                *await policies.budget(connection, tenant),
                *await policies.key_budget(connection, tenant, key),
            ]
        left = [w.remaining for w in windows if w.unit is Unit.MONEY and w.remaining is not None]
        return min(left, default=None)

    async def usage(self, tenant: str, since: datetime, until: datetime, group_by: Sequence[str]) -> list[UsageRow]:
        async with self._database.tenant(tenant) as connection:
            return await usage.usage(connection, tenant, since=since, until=until, group_by=group_by)

    async def focus_rows(self, tenant: str, since: datetime, until: datetime) -> list[dict[str, str]]:
        async with self._database.tenant(tenant) as connection:
            return await usage.focus_rows(connection, tenant, since=since, until=until)

    async def adjust(self, tenant: str, amount_nano_usd: int, *, reason: str, author: str) -> int:
        async with self._database.system() as connection:
            return await money.adjust(connection, tenant, amount_nano_usd=amount_nano_usd, reason=reason, author=author)

    async def reap(self) -> int:
        """Close holds whose time is over."""
        return await reaper.reap(self._database)
