"""Keeping up with the manifests: policies into the ledger, tools and models probed, secrets read again."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import structlog

from toolorchestra.core.errors import ToolOrchestraError
from toolorchestra.core.registry import Catalog, Key, Observation
from toolorchestra.core.resources import BudgetPolicySpec
from toolorchestra.executors.probe import ObservationKey
from toolorchestra.orchestrator.storage.accounts import AccountStore

logger = structlog.get_logger(__name__)

BACK_OFF_S: Final = 5.0


class ObservedRegistry(Protocol):
    """A registry that keeps what is observed of its resources."""

    def catalog(self) -> Catalog: ...

    def observe(self, kind: str, namespace: str, name: str, observation: Observation) -> None: ...

    async def changed(self, since: int) -> Catalog: ...


class Prober(Protocol):
    """Looks at every Tool and ExpertModel."""

    async def probe_all(
        self, catalog: Catalog, *, known: Mapping[ObservationKey, Mapping[str, str]] | None = None
    ) -> dict[ObservationKey, Observation]: ...


class Discovery:
    """One per process."""

    def __init__(
        self,
        *,
        registry: ObservedRegistry,
        prober: Prober,
        accounts: AccountStore,
        default: BudgetPolicySpec,
        interval_s: float,
        reload_secrets: Callable[[], None],
    ) -> None:
        self._registry = registry
        self._prober = prober
        self._accounts = accounts
        self._default = default
        self._interval_s = interval_s
        self._reload_secrets = reload_secrets
        self._enforced: dict[Key, BudgetPolicySpec] = {}
        self._probing = asyncio.Lock()
        self._begun = 0

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

    async def probe(self) -> None:
        """Probe everything now and keep what was seen. Who asks while others wait for the next probe shares that one."""
        begun = self._begun
        async with self._probing:
            if self._begun > begun:
                return
            self._begun += 1
            catalog = self._registry.catalog()
            for key, seen in (await self._prober.probe_all(catalog, known=_first_hashes(catalog))).items():
                self._registry.observe(*key, seen)

    async def run_forever(self) -> None:
        """After each change, and at intervals: enforce, then probe."""
        specs: object = None
        while True:
            catalog = self._registry.catalog()
            now = (catalog.tools, catalog.experts, catalog.budgets)
            try:
                self._reload_secrets()
                if now != specs:
                    await self.enforce()
                await self.probe()
                specs = now
            except ToolOrchestraError as error:
                logger.warning("discovery_failed", error=str(error))
                await asyncio.sleep(BACK_OFF_S)
                continue
            await self._until_due(now)

    async def _until_due(self, specs: tuple[object, ...]) -> None:
        """Wait for the next interval, or for a change of what is written (observations alone do not count)."""
        try:
            async with asyncio.timeout(self._interval_s):
                catalog = self._registry.catalog()
                while (catalog.tools, catalog.experts, catalog.budgets) == specs:
                    catalog = await self._registry.changed(catalog.version)
        except TimeoutError:
            return


def _first_hashes(catalog: Catalog) -> Mapping[ObservationKey, Mapping[str, str]]:
    """The schema hashes seen so far: a remote tool whose schema changes later is drift."""
    return {
        key: {operation.name: operation.schema_hash for operation in seen.operations}
        for key, seen in catalog.observed.items()
        if seen.operations
    }
