"""The operator as a process: Kopf watches, the operator works, until SIGTERM."""

import asyncio
import signal
import threading

import kopf

from toolorchestra.operator.factory import open_operator
from toolorchestra.operator.handlers.health import serve_health
from toolorchestra.operator.handlers.watching import registry_for, settings_for
from toolorchestra.operator.settings import OperatorSettings


async def run(settings: OperatorSettings) -> None:
    """Run until a signal, or until one of the two ends.

    Kopf has a thread and a loop of its own: when it stops it ends all tasks around it, whosever they are.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_operator(settings) as operator, serve_health(operator), asyncio.TaskGroup() as tasks:
        working = tasks.create_task(operator.run())
        working.add_done_callback(lambda _: stop.set())
        watching = kopf.operator(
            registry=registry_for(operator),
            settings=settings_for(),
            standalone=True,
            clusterwide=not settings.watch_namespaces,
            namespaces=settings.watch_namespaces,
            stop_flag=stop,
        )
        await asyncio.to_thread(asyncio.run, watching)
        working.cancel()
