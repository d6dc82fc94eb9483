"""Builds the operator; the only place that knows how its parts hang together."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import structlog
from opentelemetry import trace

from toolorchestra.core.resources.meta import GROUP
from toolorchestra.executors.factory import open_toolbox
from toolorchestra.executors.plugin import Plugins
from toolorchestra.kit.cluster_secrets import ClusterSecrets
from toolorchestra.kit.egress import EgressGuard
from toolorchestra.kit.kubernetes import KubernetesApi
from toolorchestra.kit.kubernetes_client import open_kubernetes
from toolorchestra.ledger import sandboxes
from toolorchestra.ledger.database import Database
from toolorchestra.operator.services.announcing import Announcer
from toolorchestra.operator.services.budgets import PolicyLedger, budget_kind
from toolorchestra.operator.services.experts import expert_kind
from toolorchestra.operator.services.index import Index
from toolorchestra.operator.services.jobs import job_kinds
from toolorchestra.operator.services.kinds import Kind, Reference
from toolorchestra.operator.services.liveness import Watches
from toolorchestra.operator.services.metrics import Metrics
from toolorchestra.operator.services.noticing import Noticer
from toolorchestra.operator.services.orchestrators import orchestrator_kind
from toolorchestra.operator.services.queue import WorkQueue
from toolorchestra.operator.services.reconciling import Reconciler
from toolorchestra.operator.services.sandboxes import SandboxReports
from toolorchestra.operator.services.secrets import SecretCheck
from toolorchestra.operator.services.sweeping import Sweeper
from toolorchestra.operator.services.tools import tool_kind
from toolorchestra.operator.settings import OperatorSettings

logger = structlog.get_logger(__name__)
tracer = trace.get_tracer("toolorchestra.operator")

FIELD_MANAGER: Final = "toolorchestra-operator"
DATABASE_TIMEOUT_MS: Final = 3_000
FAULT_MS: Final = 60_000

Kinds = Mapping[str, Kind[Any, Any]]


@dataclass(frozen=True, slots=True)
class Operator:
    """The parts that handlers need."""

    settings: OperatorSettings
    kinds: Kinds
    noticer: Noticer
    sweeper: Sweeper
    watches: Watches
    queue: WorkQueue[Reference]
    reconciler: Reconciler
    metrics: Metrics

    async def run(self) -> None:
        """Work until cancelled. Nothing is decided before everything was seen once."""
        interval_ms = round(self.settings.resync_interval_s * 1_000)
        await self.sweeper.fill()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.sweeper.run_forever(interval_ms))
            tasks.create_task(self.sweeper.look_outside_forever(interval_ms))
            for _ in range(self.settings.concurrency):
                tasks.create_task(self.queue.work(self._work))

    async def _work(self, reference: Reference) -> None:
        """Reconcile one resource and make the appointment for the next time."""
        try:
            with tracer.start_as_current_span(f"reconcile {reference.kind}") as span:
                span.set_attributes({"k8s.namespace.name": reference.namespace, f"{GROUP}/name": reference.name})
                again_ms, written = await self.reconciler.reconcile(reference)
        except Exception:  # a fault of ours in one resource must not stop the work on all others
            logger.exception("reconcile_failed", resource=":".join(reference))
            again_ms, written = FAULT_MS, None
        if written is not None:
            self.noticer.resource(written)
        if again_ms is not None:
            self.queue.add(reference, after_ms=again_ms)


@asynccontextmanager
async def open_operator(settings: OperatorSettings) -> AsyncIterator[Operator]:
    """Builds everything, and closes its connections at the end."""
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(open_kubernetes(field_manager=FIELD_MANAGER))
        # No connection is opened yet: without a database everything but budgets goes on.
        dsn = settings.database_url.get_secret_value()
        database = await Database.open(dsn, min_size=0, max_size=settings.database_connections, timeout_ms=DATABASE_TIMEOUT_MS)
        await stack.enter_async_context(database)
        index = Index()
        yield build(settings, api, await _kinds(settings, api, database, index, stack), index)


def build(settings: OperatorSettings, api: KubernetesApi, kinds: Kinds, index: Index) -> Operator:
    """Put the frame around the kinds."""
    queue: WorkQueue[Reference] = WorkQueue()
    watches, metrics = Watches(silent_after_s=settings.watch_silence_s), Metrics()
    noticer = Noticer(index, queue, watches)
    index.depends(lambda resource: kinds[resource.kind].uses(resource))
    sweeper = Sweeper(api, index, kinds, noticer=noticer, queue=queue, watches=watches, namespaces=settings.watch_namespaces)
    announcer = Announcer(api, instance=settings.instance)
    resync_ms = round(settings.resync_interval_s * 1_000)
    reconciler = Reconciler(api, index, kinds, announcer=announcer, metrics=metrics, resync_ms=resync_ms)
    return Operator(settings, kinds, noticer, sweeper, watches, queue, reconciler, metrics)


async def _kinds(
    settings: OperatorSettings, api: KubernetesApi, database: Database, index: Index, stack: AsyncExitStack
) -> Kinds:
    secrets = ClusterSecrets(api, readers=settings.secret_readers)
    toolbox = await stack.enter_async_context(open_toolbox(EgressGuard(settings.egress_allow), secrets))
    check, plugins = SecretCheck(secrets), Plugins(secrets)
    reports = SandboxReports(partial(sandboxes.living, database))
    interval_ms = round(settings.probe_interval_s * 1_000)
    kinds: list[Kind[Any, Any]] = [
        tool_kind(toolbox.prober, plugins, check, index, sandboxes=reports, probe_interval_ms=interval_ms),
        expert_kind(api, toolbox.prober, check, index, probe_interval_ms=interval_ms),
        orchestrator_kind(index),
        budget_kind(PolicyLedger(database, settings.default_budget)),
        *job_kinds(api),
    ]
    return {kind.of.kind: kind for kind in kinds}
