"""Builds the orchestrator's parts; the only place that knows how they hang together."""

from collections.abc import Callable
from dataclasses import dataclass

from toolorchestra.core.errors import ToolOrchestraError
from toolorchestra.executors.factory import Toolbox
from toolorchestra.kit.files import FileRegistry
from toolorchestra.kit.signals import SignalBus
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.schema import check_schema
from toolorchestra.orchestrator.services.administration import Administration
from toolorchestra.orchestrator.services.authentication import AdminTokens, Authenticator
from toolorchestra.orchestrator.services.budget import Budgets
from toolorchestra.orchestrator.services.catalogue import Catalogue
from toolorchestra.orchestrator.services.chat import ChatService
from toolorchestra.orchestrator.services.continuing import Continuer
from toolorchestra.orchestrator.services.direct import DirectCalls
from toolorchestra.orchestrator.services.discovery import Discovery
from toolorchestra.orchestrator.services.entry import Entry
from toolorchestra.orchestrator.services.hub import Hub
from toolorchestra.orchestrator.services.lookup import RunService
from toolorchestra.orchestrator.services.manager import RunManager
from toolorchestra.orchestrator.services.metrics import Metrics
from toolorchestra.orchestrator.services.opening import Opener
from toolorchestra.orchestrator.services.outbox import Outbox
from toolorchestra.orchestrator.services.passing import Settlement
from toolorchestra.orchestrator.services.passthrough import Passthrough
from toolorchestra.orchestrator.services.upkeep import Upkeep
from toolorchestra.orchestrator.services.waiting import Waiting
from toolorchestra.orchestrator.settings import OrchestratorSettings
from toolorchestra.orchestrator.storage.accounts import AccountStore
from toolorchestra.orchestrator.storage.queue import CallQueue
from toolorchestra.orchestrator.storage.revisions import RevisionStore
from toolorchestra.orchestrator.storage.runs import RunStore


@dataclass(frozen=True, slots=True)
class ProcessContext:
    """What exists once per process and is closed at its end."""

    settings: OrchestratorSettings
    database: Database
    registry: FileRegistry
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
        self._accounts = AccountStore(context.database, context.pepper)
        self._budgets = Budgets(context.registry, settings.default_budget)
        self._runs = RunStore(context.database, owner=settings.owner, lease_ms=settings.lease_ms)
        self._waiting = Waiting(context.database, self._runs, settings.owner)
        self.authenticator = Authenticator(self._accounts)
        self.admin_tokens = AdminTokens(context.admin_token)
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
        self.metrics.active_runs.set_function(lambda: self.manager.active)
        self.discovery = Discovery(
            registry=context.registry,
            prober=context.toolbox.prober,
            accounts=self._accounts,
            default=settings.default_budget,
            interval_s=settings.probe_interval_s,
            reload_secrets=context.reload_secrets,
        )
        self._entry = Entry(
            database=context.database,
            revisions=RevisionStore(context.database),
            owner=settings.owner,
            lease_ms=settings.lease_ms,
        )
        self._chat = ChatService(
            registry=context.registry,
            opener=Opener(context.registry, self._budgets, self._entry),
            continuer=Continuer(self._runs, self._entry, self.manager),
            manager=self.manager,
            runs=self._runs,
            accounts=self._accounts,
            keep_alive_s=settings.keep_alive_s,
        )
        self._settlement = Settlement(context.database)
        self._passthrough = Passthrough(
            registry=context.registry,
            budgets=self._budgets,
            entry=self._entry,
            models=context.toolbox.models,
            settlement=self._settlement,
        )
        self.upkeep = Upkeep(
            runs=self._runs,
            accounts=self._accounts,
            entry=self._entry,
            manager=self.manager,
            waiting=self._waiting,
            driven=lambda: self.manager.driven | self._settlement.driven,
            lease_ms=settings.lease_ms,
        )

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

    async def readiness(self) -> str | None:
        """Why no request should be sent here; None if all is well."""
        if self._draining:
            return "draining"
        try:
            async with self._context.database.system() as connection:
                await check_schema(connection)
        except ToolOrchestraError as error:
            return str(error)
        return None

    async def drain(self) -> None:
        """Take no more requests, and hand the runs over."""
        self._draining = True
        await self.manager.drain(self.settings.drain_ms / 1_000, keep=self._settlement.driven)
