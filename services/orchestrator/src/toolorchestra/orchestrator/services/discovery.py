"""Keeping up with the resources: policies into the ledger where that is our work, tools and models probed, secrets reread."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final, Protocol, TypeVar

import structlog

from toolorchestra.core.errors import ToolOrchestraError
from toolorchestra.core.registry import Catalog, Key, Observation, WatchedRegistry
from toolorchestra.core.resources import ExpertModel, Tool
from toolorchestra.executors.probe import ObservationKey
from toolorchestra.orchestrator.services.enforcement import Enforcement

R = TypeVar("R", Tool, ExpertModel)
logger = structlog.get_logger(__name__)

BACK_OFF_S: Final = 5.0


class Prober(Protocol):
    """Looks at every Tool and ExpertModel."""

    async def probe_all(
        self, catalog: Catalog, *, known: Mapping[ObservationKey, Mapping[str, str]] | None = None
    ) -> dict[ObservationKey, Observation]: ...


class _Shared:
    """Work that is done again for those who ask meanwhile, once for all of them."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._begun = 0

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        begun = self._begun
        async with self._lock:
            if self._begun > begun:
                return
            self._begun += 1
            await work()


class Discovery:
    """One per process. ``enforcement`` is None where the operator enforces policies."""

    def __init__(
        self,
        *,
        registry: WatchedRegistry,
        prober: Prober,
        enforcement: Enforcement | None,
        interval_s: float,
        reload_secrets: Callable[[], None],
    ) -> None:
        self._registry = registry
        self._prober = prober
        self._enforcement = enforcement
        self._interval_s = interval_s
        self._reload_secrets = reload_secrets
        self._probes: defaultdict[str | None, _Shared] = defaultdict(_Shared)  # by tenant; None: what is due

    async def start(self) -> None:
        """What must be so before the first request."""
        if self._enforcement is not None:
            await self._enforcement.enforce()
            await self._enforcement.catch_up()

    async def probe(self) -> None:
        """Look at all that is this process' to look at, and keep what was seen."""
        await self._probes[None].run(lambda: self._observe(self._registry.due()))

    async def check(self, tenant: str) -> None:
        """Look now at all that the tenant may use, whoever else does."""
        await self._probes[tenant].run(lambda: self._observe(_usable(self._registry.catalog(), tenant)))

    async def run_forever(self) -> None:
        """After each change, and at intervals: enforce, then probe."""
        specs: object = None
        while True:
            catalog = self._registry.catalog()
            now = (catalog.tools, catalog.experts, catalog.budgets)
            try:
                self._reload_secrets()
                if now != specs and self._enforcement is not None:
                    await self._enforcement.enforce()
                await self.probe()
                specs = now
            except ToolOrchestraError as error:
                logger.warning("discovery_failed", error=str(error))
                await asyncio.sleep(BACK_OFF_S)
                continue
            await self._until_due(now)

    async def _observe(self, catalog: Catalog) -> None:
        self._registry.observe(await self._prober.probe_all(catalog, known=self._registry.first_hashes()))

    async def _until_due(self, specs: tuple[object, ...]) -> None:
        """Wait for the next interval, or for a change of what is written (observations alone do not count)."""
        try:
            async with asyncio.timeout(self._interval_s):
                catalog = self._registry.catalog()
                while (catalog.tools, catalog.experts, catalog.budgets) == specs:
                    catalog = await self._registry.changed(catalog.version)
        except TimeoutError:
            return


def _usable(catalog: Catalog, tenant: str) -> Catalog:
    """What a tenant may use of a catalog, without models of which only the operator knows where they are served."""
    experts = _lent(catalog.experts, tenant)
    hidden = [k for k, e in experts.items() if e.spec.endpoint is None and ("ExpertModel", *k) in catalog.observed]
    kept = {key: expert for key, expert in experts.items() if key not in hidden}
    return replace(catalog, tools=_lent(catalog.tools, tenant), experts=kept)


def _lent(resources: Mapping[Key, R], tenant: str) -> dict[Key, R]:
    return {key: r for key, r in resources.items() if r.spec.allowed_namespaces.allows(owner=key[0], user=tenant)}
