"""Builds what executes calls, in the loop and the process where they run; the only place that knows how it hangs together."""

import gc
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from billiard.util import get_pdeathsig

from toolorchestra.core.calls import SecretReader
from toolorchestra.core.sandbox import SandboxFindings
from toolorchestra.executors.factory import open_toolbox
from toolorchestra.kit.cluster_secrets import ClusterSecrets, NoSecrets
from toolorchestra.kit.egress import EgressGuard
from toolorchestra.kit.secrets import ChainedSecrets, EnvironmentSecrets
from toolorchestra.kit.valkey_signals import open_signals
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.schema import check_schema
from toolorchestra.worker import sandbox
from toolorchestra.worker.reporting import SandboxReporter
from toolorchestra.worker.services.execution import Abilities, CallService
from toolorchestra.worker.services.pulse import Pulse
from toolorchestra.worker.settings import WorkerClass, WorkerSettings
from toolorchestra.worker.storage.calls import LedgerCalls
from toolorchestra.worker.storage.revisions import LedgerRevisions
from toolorchestra.worker.storage.secrets import FolderSecrets

CHILD_CONNECTIONS = 2  # one call, and its lease
FIELD_MANAGER = "toolorchestra-worker"  # names us in the API server's log; nothing is written
CONNECT_MS = 5_000  # then the call is tried again or given back; waiting longer would hide it


class Factory:
    """Builds a worker's parts from its settings and the environment that holds secrets."""

    def __init__(self, settings: WorkerSettings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._environ = environ
        self._guard = EgressGuard(settings.egress_allow)
        self._findings: SandboxFindings | None = None  # of a sandbox worker

    @asynccontextmanager
    async def open_service(self) -> AsyncIterator[CallService]:
        """A service with connections of its own. Raises UnavailableError without a database of a fitting schema."""
        settings = self._settings
        async with AsyncExitStack() as stack:
            database = await stack.enter_async_context(await self._open_database())
            toolbox = await stack.enter_async_context(
                open_toolbox(
                    self._guard,
                    await self._open_secrets(stack),
                    allow_stdio=bool(settings.manifests),
                )
            )
            signals = open_signals(settings.signal_url.get_secret_value() if settings.signal_url else None)
            stack.push_async_callback(signals.close)
            rung = self._findings.rung if self._findings is not None else None
            abilities = Abilities(settings.worker_class, rung, settings.lease_ms)
            service = CallService(
                LedgerCalls(database), LedgerRevisions(database), toolbox.executors, signals, abilities, pulse=self.pulse()
            )
            await stack.enter_async_context(service.listening())
            yield service

    async def check_database(self) -> None:
        """Raises UnavailableError if this program cannot work with the database."""
        async with await self._open_database() as database, database.login() as connection:
            await check_schema(connection)

    async def observe_sandbox(self) -> None:
        """Find out, and tell the log, which isolation code gets here."""
        addresses = sandbox.neighbours(self._settings.database_url.get_secret_value(), self._environ)
        self._findings = await sandbox.observe(addresses)
        sandbox.report(self._findings)

    def sandbox_reporter(self, worker: str) -> SandboxReporter | None:
        """Tells others what was observed; None where nothing was."""
        if self._findings is None:
            return None
        url, interval_s = self._settings.database_url.get_secret_value(), self._settings.heartbeat_s
        return SandboxReporter(url, worker, self._findings, interval_s=interval_s)

    async def warm_up(self) -> None:
        """Do once, before children are forked, what each of them would have to do again: imports, root certificates."""
        with suppress(OSError):  # systems without this signal
            get_pdeathsig()
        async with self.open_service():
            gc.collect()
        gc.freeze()  # Celery collects before each fork; what stays for good need not be looked at, nor copied

    async def _open_secrets(self, stack: AsyncExitStack) -> SecretReader:
        """Where secrets come from: manifests, then the environment; on a cluster the API server alone.

        There the environment is the platform's own, and the sandbox has no token to ask with.
        """
        settings = self._settings
        if not settings.on_cluster:
            return ChainedSecrets(FolderSecrets(settings.manifests), EnvironmentSecrets(self._environ))
        if settings.worker_class is WorkerClass.SANDBOX:
            return NoSecrets()
        from toolorchestra.kit.kubernetes_client import open_kubernetes  # noqa: PLC0415 - only a cluster is worth the half second

        opened = open_kubernetes(field_manager=FIELD_MANAGER, kubeconfig=settings.kubeconfig)
        return ClusterSecrets(await stack.enter_async_context(opened), readers=settings.secret_readers)

    def pulse(self) -> Pulse:
        """The sign of life of this worker."""
        return Pulse(self._settings.liveness_file)

    async def _open_database(self) -> Database:
        settings = self._settings
        most = settings.database_connections if settings.worker_class is WorkerClass.CALLS else CHILD_CONNECTIONS
        return await Database.open(settings.database_url.get_secret_value(), max_size=most, timeout_ms=CONNECT_MS)


def environment() -> dict[str, str]:
    """The environment as it is now, to keep when ``sandbox.forget_secrets`` empties it."""
    return dict(os.environ)
