"""The worker as a program: reads settings, prepares the process for its class, and lets Celery run until it is told to stop."""

import asyncio
import logging
import os
import socket
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
from celery import Celery, signals
from celery.platforms import SecurityWarning

from toolorchestra.core.errors import InvalidRequestError, ToolOrchestraError
from toolorchestra.kit.logging import configure_logging
from toolorchestra.kit.telemetry import configure_telemetry
from toolorchestra.worker import sandbox
from toolorchestra.worker.celery import POOLS, create_celery, replace_children_soon
from toolorchestra.worker.direct import Direct
from toolorchestra.worker.factory import Factory, environment
from toolorchestra.worker.heartbeat import Heartbeat
from toolorchestra.worker.runtime import OwnProcess, Runtime, SharedLoop, StopGate
from toolorchestra.worker.settings import WorkerClass, WorkerSettings
from toolorchestra.worker.tasks import CELERYS, register

SERVICE: Final = "worker"
# What these say of every single task is said better, and once, by the service.
_QUIET: Final = ("celery.app.trace", "celery.worker.strategy", "celery.pool", "kombu", "celery.bootsteps", "amqp")

logger = structlog.get_logger(__name__)


def main() -> int:
    """Run until SIGTERM or SIGINT. 0 after a clean stop, 1 when something is missing, 2 for wrong settings."""
    try:
        settings = WorkerSettings.load()
    except InvalidRequestError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    configure_logging(settings.log, service=SERVICE)
    _tame_celery()
    _remove(settings.ready_file)  # of an earlier worker
    try:
        with _RUNTIMES[settings.worker_class](settings) as (factory, runtime):
            return serve(settings, factory, runtime)
    except ToolOrchestraError as error:
        logger.critical("worker_not_started", reason=str(error))
        return 1


def serve(settings: WorkerSettings, factory: Factory, runtime: Runtime) -> int:
    """Consume the class's queue; Celery's exit status."""
    app = create_celery(settings)
    direct = Direct(runtime) if isinstance(runtime, SharedLoop) else None
    register(app, runtime, factory.pulse(), strategy=direct or CELERYS)
    name = f"{socket.gethostname()}.{os.getpid()}"
    heartbeat = Heartbeat(app, name, interval_s=settings.heartbeat_s) if settings.liveness_file is not None else None
    reporter = factory.sandbox_reporter(name)
    worker = _celery_worker(app, settings)
    if heartbeat is not None:
        heartbeat.consume()
    with _told(settings, runtime, [one.start for one in (heartbeat, reporter) if one is not None], direct):
        worker.start()
    if reporter is not None:
        reporter.withdraw()
    status = worker.exitcode or 0
    logger.info("stopped", status=status)
    return int(status)


@contextmanager
def _side_by_side(settings: WorkerSettings) -> Iterator[tuple[Factory, Runtime]]:
    """Calls of one process, on one loop."""
    factory = Factory(settings, environment())
    asyncio.run(factory.check_database())
    telemetry = configure_telemetry(SERVICE, settings.telemetry)
    try:
        with SharedLoop(factory.open_service, drain_ms=settings.drain_ms) as shared:
            yield factory, shared
    finally:
        telemetry.shutdown()


@contextmanager
def _one_by_one(settings: WorkerSettings) -> Iterator[tuple[Factory, Runtime]]:
    """Calls in children. Until those are forked there are no threads and no connections, which they must not share."""
    factory = Factory(settings, environment())
    sandbox.forget_secrets()
    asyncio.run(factory.check_database())
    asyncio.run(factory.observe_sandbox())
    asyncio.run(factory.warm_up())
    gate = StopGate()

    def in_child(**_: Any) -> None:
        gate.in_child()

    signals.worker_process_init.connect(in_child)
    telemetry = partial(configure_telemetry, SERVICE, settings.telemetry)
    yield factory, OwnProcess(factory.open_service, gate=gate, telemetry=telemetry, drain_ms=settings.drain_ms)


def _celery_worker(app: Celery, settings: WorkerSettings) -> Any:
    return app.Worker(
        hostname=f"{settings.worker_class.value}@{socket.gethostname()}.{os.getpid()}",
        pool_cls=POOLS[settings.worker_class],
        concurrency=settings.calls_at_once,
        queues=[settings.worker_class.queue],
        loglevel=logging.getLevelName(logging.getLogger().level),
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )


@contextmanager
def _told(
    settings: WorkerSettings, runtime: Runtime, begin: Sequence[Callable[[Any], None]], direct: Direct | None
) -> Iterator[None]:
    """Hear from Celery when the worker takes calls and when it is to stop. ``begin``: what gets the consumer then."""
    ready_file = settings.ready_file

    def ready(sender: Any, **_: Any) -> None:
        for start in begin:
            start(sender)
        if direct is None:
            replace_children_soon(sender)
        else:
            direct.hold_up(sender.pool)
        logger.info("ready", queue=settings.worker_class.queue, calls_at_once=settings.calls_at_once)
        if ready_file is not None:
            ready_file.touch()

    def stopping(**_: Any) -> None:
        runtime.stop_soon()
        _remove(ready_file)

    signals.worker_ready.connect(ready)
    signals.worker_shutting_down.connect(stopping)
    try:
        yield
    finally:
        signals.worker_ready.disconnect(ready)
        signals.worker_shutting_down.disconnect(stopping)
        _remove(ready_file)


def _remove(file: Path | None) -> None:
    if file is not None:
        file.unlink(missing_ok=True)


def _tame_celery() -> None:
    """Celery logs through the set-up that is there already, and does not warn of root: it would not run pickles anyway."""
    warnings.filterwarnings("ignore", category=SecurityWarning)
    logging.captureWarnings(capture=True)
    signals.setup_logging.connect(_leave_logging, weak=False)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


_RUNTIMES: Final = {WorkerClass.CALLS: _side_by_side, WorkerClass.SANDBOX: _one_by_one}


def _leave_logging(**_: Any) -> None:
    """A receiver of this signal is what keeps Celery from configuring logging."""
