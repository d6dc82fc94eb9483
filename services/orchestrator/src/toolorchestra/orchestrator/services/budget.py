"""The tenant's policy as the data plane sees it: from the registry if it is there, else the installation's default."""

from toolorchestra.core.registry import Registry
from toolorchestra.core.resources import BudgetPolicySpec


class Budgets:
    """Reads BudgetPolicies; what a policy allows in money is enforced by the ledger alone."""

    def __init__(self, registry: Registry, default: BudgetPolicySpec) -> None:
        self._registry = registry
        self._default = default

    def spec(self, tenant: str) -> BudgetPolicySpec:
        """The policy that holds for ``tenant``."""
        found = self._registry.catalog().budgets.get((tenant, "default"))
        return found.spec if found else self._default
