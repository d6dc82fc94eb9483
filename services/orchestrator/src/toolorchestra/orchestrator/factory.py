"""Builds the orchestrator's parts; the only place that knows how they hang together."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from toolorchestra.core.errors import ToolOrchestraError
from toolorchestra.core.registry import WatchedRegistry
from toolorchestra.executors.factory import Toolbox
from toolorchestra.kit.kubernetes import KubernetesApi
from toolorchestra.kit.signals import SignalBus
from toolorchestra.ledger import sandboxes
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.schema import check_schema
from toolorchestra.orchestrator.services.administration import Administration
from toolorchestra.orchestrator.services.authentication import Authenticator, ServiceAccounts
from toolorchestra.orchestrator.services.authority import AdminTokens, Authority, KubernetesAuthority
from toolorchestra.orchestrator.services.budget import Budgets
from toolorchestra.orchestrator.services.budgetwatch import BudgetWatch
from toolorchestra.orchestrator.services.catalogue import Catalogue
from toolorchestra.orchestrator.services.chat import ChatService
from toolorchestra.orchestrator.services.continuing import Continuer
from toolorchestra.orchestrator.services.direct import DirectCalls
from toolorchestra.orchestrator.services.discovery import Discovery
from toolorchestra.orchestrator.services.enforcement import Enforcement
from toolorchestra.orchestrator.services.entry import Entry
from toolorchestra.orchestrator.services.hub import Hub
from toolorchestra.orchestrator.services.identities import Identities
from toolorchestra.orchestrator.services.lookup import RunService
from toolorchestra.orchestrator.services.manager import RunManager
from toolorchestra.orchestrator.services.metrics import Metrics
from toolorchestra.orchestrator.services.opening import Opener
from toolorchestra.orchestrator.services.outbox import Outbox
from toolorchestra.orchestrator.services.passing import Settlement
from toolorchestra.orchestrator.services.passthrough import Passthrough
from toolorchestra.orchestrator.services.repeating import Repeats
from toolorchestra.orchestrator.services.sandboxes import SandboxProber
from toolorchestra.orchestrator.services.upkeep import Upkeep
from toolorchestra.orchestrator.services.waiting import Waiting
from toolorchestra.orchestrator.settings import OrchestratorSettings
from toolorchestra.orchestrator.storage.accounts import AccountStore
from toolorchestra.orchestrator.storage.queue import CallQueue
from toolorchestra.orchestrator.storage.reviews import Reviews
from toolorchestra.orchestrator.storage.revisions import RevisionStore
from toolorchestra.orchestrator.storage.runs import RunStore

TICK_S: Final = 1.0  # on a cluster, how often to see whether the operator left something unobserved


@dataclass(frozen=True, slots=True)
class ProcessContext:
    """What exists once per process and is closed at its end."""

    settings: OrchestratorSettings
    database: Database
    registry: WatchedRegistry
    kubernetes: KubernetesApi | None
    toolbox: Toolbox
    signals: SignalBus
    queue: CallQueue | None
    reload_secrets: Callable[[], None]
    pepper: bytes
    admin_token: str | None


class Factory:
    """Services over one process context."""

    def __init__(self, context: ProcessContext) -> None:
        self.settings = settings = context.settings
        self.metrics = Metrics()
        self._context = context
        self._draining = False
        self.closing = asyncio.Event()  # the last moment to answer who still waits
        self._accounts = AccountStore(context.database, context.pepper)
        self._budgets = Budgets(context.registry, settings.default_budget)
        self._runs = RunStore(context.database, owner=settings.owner, lease_ms=settings.lease_ms)
        self._waiting = Waiting(context.database, self._runs, settings.owner)
        self.authority, service_accounts = self._identity(context)
        self.authenticator = Authenticator(self._accounts, service_accounts)
        self.outbox = Outbox(context.signals)
        self.manager = RunManager(
            database=context.database,
            hub=Hub(),
            runs=self._runs,
            signals=context.signals,
            outbox=self.outbox,
            queue=context.queue,
            executor=context.toolbox.executors,
            models=context.toolbox.models,
            metrics=self.metrics,
            has_signals=settings.signal_url is not None,
        )
        self.budget_watch = BudgetWatch(self._accounts, self.metrics)
        self.metrics.active_runs.set_function(lambda: self.manager.active)
        self.discovery = Discovery(
            registry=context.registry,
            prober=SandboxProber(context.toolbox.prober, partial(sandboxes.living, context.database)),
            enforcement=None if settings.on_cluster else self._enforcement(),
            interval_s=TICK_S if settings.on_cluster else settings.probe_interval_s,
            reload_secrets=context.reload_secrets,
        )
        self._entry = Entry(
            database=context.database,
            revisions=RevisionStore(context.database),
            owner=settings.owner,
            lease_ms=settings.lease_ms,
        )
        repeats = Repeats(self._runs)
        self._chat = ChatService(
            registry=context.registry,
            opener=Opener(context.registry, self._budgets, self._entry),
            continuer=Continuer(self._runs, self._entry, self.manager),
            manager=self.manager,
            repeats=repeats,
            accounts=self._accounts,
            keep_alive_s=settings.keep_alive_s,
        )
        self._passthrough = Passthrough(
            registry=context.registry,
            budgets=self._budgets,
            entry=self._entry,
            manager=self.manager,
            models=context.toolbox.models,
            settlement=Settlement(context.database),
            repeats=repeats,
            keep_alive_s=settings.keep_alive_s,
        )
        self.upkeep = Upkeep(
            runs=self._runs,
            accounts=self._accounts,
            entry=self._entry,
            manager=self.manager,
            waiting=self._waiting,
            signals=context.signals,
            lease_ms=settings.lease_ms,
        )

    def _enforcement(self) -> Enforcement:
        return Enforcement(self._context.registry, self._accounts, self.settings.default_budget)

    def _identity(self, context: ProcessContext) -> tuple[Authority, ServiceAccounts | None]:
        """Who vouches for administrators, and for callers without an API key."""
        if not self.settings.by_kubernetes or context.kubernetes is None:
            return AdminTokens(context.admin_token), None
        reviews, audience = Reviews(context.kubernetes), self.settings.token_audience
        identities = Identities(reviews)
        service_accounts = ServiceAccounts(
            identities=identities,
            accounts=self._accounts,
            registry=context.registry,
            default=self.settings.default_budget,
            audience=audience,
            namespaces=self.settings.watch_namespaces,
        )
        return KubernetesAuthority(identities, reviews, audience), service_accounts

    def chat(self) -> ChatService:
        return self._chat

    def passthrough(self) -> Passthrough:
        return self._passthrough

    def runs(self) -> RunService:
        return RunService(self._runs, self.manager, self._waiting, self.settings.keep_alive_s)

    def catalogue(self) -> Catalogue:
        return Catalogue(self._context.registry, self._budgets)

    def admin(self) -> Administration:
        return Administration(self._accounts, self._context.registry, self.settings.default_budget)

    def direct(self) -> DirectCalls:
        return DirectCalls(self._context.registry, self._budgets, self._entry, self.manager)

    @property
    def draining(self) -> bool:
        """Whether this process stops."""
        return self._draining

    def not_ready(self) -> str | None:
        """Why the registry cannot be served from yet; None if it can."""
        return self._context.registry.not_ready()

    async def readiness(self) -> str | None:
        """Why no request should be sent here; None if all is well."""
        if self._draining:
            return "draining"
        if (reason := self.not_ready()) is not None:
            return reason
        try:
            async with self._context.database.system() as connection:
                await check_schema(connection)
        except ToolOrchestraError as error:
            return str(error)
        return None

    async def drain(self) -> None:
        """Take no more requests, and hand the runs over."""
        self._draining = True
        await self.manager.drain(self.settings.drain_ms / 1_000)
