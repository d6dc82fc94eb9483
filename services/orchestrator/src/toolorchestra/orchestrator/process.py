"""The orchestrator's process: what it opens at its start and closes at its end, in order."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import structlog

from toolorchestra.core.calls import SecretReader
from toolorchestra.core.registry import WatchedRegistry
from toolorchestra.executors.factory import open_toolbox
from toolorchestra.kit.cluster_registry import ClusterRegistry
from toolorchestra.kit.cluster_secrets import ClusterSecrets
from toolorchestra.kit.egress import EgressGuard
from toolorchestra.kit.files import FileRegistry
from toolorchestra.kit.kubernetes import KubernetesApi
from toolorchestra.kit.secrets import ChainedSecrets, EnvironmentSecrets, ManifestSecrets
from toolorchestra.kit.valkey_signals import open_signals
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.schema import check_schema
from toolorchestra.orchestrator.factory import Factory, ProcessContext
from toolorchestra.orchestrator.services.authentication import read_secret_file
from toolorchestra.orchestrator.settings import OrchestratorSettings
from toolorchestra.orchestrator.storage.queue import CeleryQueue

logger = structlog.get_logger(__name__)

RESTART_S: Final = 1.0
FIELD_MANAGER: Final = "toolorchestra-orchestrator"  # names us in the API server's log; nothing is written


@asynccontextmanager
async def open_process(settings: OrchestratorSettings) -> AsyncIterator[Factory]:
    """A running orchestrator without its HTTP server: registry watched, chores under way. Drains at the end."""
    async with AsyncExitStack() as stack:
        context = await _open_context(settings, stack)
        factory = Factory(context)
        await factory.discovery.start()
        background: list[asyncio.Task[Any]] = [
            asyncio.create_task(keep_running(part.run_forever), name=name)
            for name, part in (
                ("discovery", factory.discovery),
                ("upkeep", factory.upkeep),
                ("outbox", factory.outbox),
                ("budgets", factory.budget_watch),
            )
        ]
        try:
            yield factory
        finally:
            await factory.drain()
            for task in background:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*background)


async def keep_running(work: Callable[[], Awaitable[None]], *, pause_s: float = RESTART_S) -> None:
    """Do ``work`` until cancelled; what fails is begun again after a pause."""
    while True:
        try:
            await work()
        except Exception:  # whatever went wrong: a process whose chores stand still would lose all its leases
            logger.exception("chores_failed")
        await asyncio.sleep(pause_s)


async def _open_context(settings: OrchestratorSettings, stack: AsyncExitStack) -> ProcessContext:
    database = await Database.open(settings.database_url.get_secret_value(), max_size=settings.database_connections)
    stack.push_async_callback(database.close)
    async with database.system() as connection:
        await check_schema(connection)
    signals = open_signals(settings.signal_url.get_secret_value() if settings.signal_url else None)
    stack.push_async_callback(signals.close)
    queue = CeleryQueue(settings.broker_url.get_secret_value()) if settings.broker_url else None
    if queue is not None:
        stack.callback(queue.close)
    kubernetes = await _open_kubernetes(settings, stack)
    source = await _open_source(settings, kubernetes, stack)
    toolbox = await stack.enter_async_context(
        open_toolbox(EgressGuard(settings.egress_allow), source.secrets, allow_stdio=not settings.on_cluster)
    )
    return ProcessContext(
        settings=settings,
        database=database,
        registry=source.registry,
        kubernetes=kubernetes,
        toolbox=toolbox,
        signals=signals,
        queue=queue,
        reload_secrets=source.reload_secrets,
        pepper=read_secret_file(settings.key_pepper_file, mounted=settings.on_cluster).encode(),
        admin_token=_admin_token(settings),
    )


def _admin_token(settings: OrchestratorSettings) -> str | None:
    file = settings.admin_token_file
    return read_secret_file(file, mounted=settings.on_cluster) if file else None


@dataclass(frozen=True, slots=True)
class _Source:
    """Where resources and secrets come from."""

    registry: WatchedRegistry
    secrets: SecretReader
    reload_secrets: Callable[[], None]


async def _open_kubernetes(settings: OrchestratorSettings, stack: AsyncExitStack) -> KubernetesApi | None:
    if not (settings.on_cluster or settings.by_kubernetes):
        return None
    from toolorchestra.kit.kubernetes_client import open_kubernetes  # noqa: PLC0415 - only a cluster is worth the half second

    return await stack.enter_async_context(open_kubernetes(field_manager=FIELD_MANAGER, kubeconfig=settings.kubeconfig))


async def _open_source(settings: OrchestratorSettings, kubernetes: KubernetesApi | None, stack: AsyncExitStack) -> _Source:
    if settings.on_cluster and kubernetes is not None:
        return await _cluster(settings, kubernetes, stack)
    return await _files(settings, stack)


async def _files(settings: OrchestratorSettings, stack: AsyncExitStack) -> _Source:
    registry = await stack.enter_async_context(FileRegistry(settings.manifests, status_file=settings.status_file))
    written = ManifestSecrets(registry.secret_documents)
    secrets = ChainedSecrets(written, EnvironmentSecrets(os.environ))
    return _Source(registry, secrets, lambda: written.load(registry.secret_documents))


async def _cluster(settings: OrchestratorSettings, kubernetes: KubernetesApi, stack: AsyncExitStack) -> _Source:
    """Secrets never come from this process' environment there: a tenant could name the platform's own."""
    registry = ClusterRegistry(kubernetes, namespaces=settings.watch_namespaces, again_s=settings.probe_interval_s)
    secrets = ClusterSecrets(kubernetes, readers=settings.secret_readers)
    return _Source(await stack.enter_async_context(registry), secrets, lambda: None)
