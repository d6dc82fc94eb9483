"""BudgetPolicies from manifests into the ledger. On a cluster this is the operator's work, and nobody else's."""

from toolorchestra.core.registry import Key, Registry
from toolorchestra.core.resources import BudgetPolicySpec
from toolorchestra.orchestrator.storage.accounts import AccountStore


class Enforcement:
    """One per process."""

    def __init__(self, registry: Registry, accounts: AccountStore, default: BudgetPolicySpec) -> None:
        self._registry = registry
        self._accounts = accounts
        self._default = default
        self._enforced: dict[Key, BudgetPolicySpec] = {}

    async def enforce(self) -> None:
        """Write new and changed policies to the ledger; a deleted one gives way to the default."""
        budgets = self._registry.catalog().budgets
        for key, policy in budgets.items():
            if self._enforced.get(key) != policy.spec:
                await self._accounts.apply_policy(key[0], policy.spec, policy.metadata.generation)
                self._enforced[key] = policy.spec
        for key in [k for k in self._enforced if k not in budgets]:
            await self._accounts.default_policy(key[0], self._default, deleted=True)
            del self._enforced[key]

    async def catch_up(self) -> None:
        """What changed while no process ran: policies deleted, another default. A broken manifest deletes nothing."""
        catalog = self._registry.catalog()
        own = {namespace for namespace, _ in catalog.budgets}
        for tenant, source in (await self._accounts.policy_sources()).items():
            if tenant not in own and not (source == "policy" and catalog.problems):
                await self._accounts.default_policy(tenant, self._default, deleted=source == "policy")
