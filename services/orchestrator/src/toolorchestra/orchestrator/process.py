"""The orchestrator's process: what it opens at its start and closes at its end, in order."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final

import structlog

from toolorchestra.executors.factory import open_toolbox
from toolorchestra.kit.egress import EgressGuard
from toolorchestra.kit.files import FileRegistry
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


@asynccontextmanager
async def open_process(settings: OrchestratorSettings) -> AsyncIterator[Factory]:
    """A running orchestrator without its HTTP server: registry watched, chores under way. Drains at the end."""
    async with AsyncExitStack() as stack:
        factory = Factory(await _open_context(settings, stack))
        await factory.discovery.enforce()
        await factory.discovery.catch_up()
        background = [
            asyncio.create_task(keep_running(part.run_forever), name=name)
            for name, part in (("discovery", factory.discovery), ("upkeep", factory.upkeep), ("outbox", factory.outbox))
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
    registry = await stack.enter_async_context(FileRegistry(settings.manifests, status_file=settings.status_file))
    written = ManifestSecrets(registry.secret_documents)
    secrets = ChainedSecrets(written, EnvironmentSecrets(os.environ))
    toolbox = await stack.enter_async_context(open_toolbox(EgressGuard(settings.egress_allow), secrets, allow_stdio=True))
    return ProcessContext(
        settings=settings,
        database=database,
        registry=registry,
        toolbox=toolbox,
        signals=signals,
        queue=queue,
        reload_secrets=lambda: written.load(registry.secret_documents),
        pepper=read_secret_file(settings.key_pepper_file).encode(),
        admin_token=read_secret_file(settings.admin_token_file) if settings.admin_token_file else None,
    )
