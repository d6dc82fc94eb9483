"""The operator as a process: Kopf watches, the operator works, until SIGTERM."""

import asyncio

import kopf

from toolorchestra.operator.factory import open_operator
from toolorchestra.operator.handlers.health import serve_health
from toolorchestra.operator.handlers.watching import registry_for, settings_for
from toolorchestra.operator.settings import OperatorSettings


async def run(settings: OperatorSettings) -> None:
    """Run until a signal, or until one of the two ends."""
    async with open_operator(settings) as operator, serve_health(operator), asyncio.TaskGroup() as tasks:
        working = tasks.create_task(operator.run(), name="operator")
        watching = kopf.operator(
            registry=registry_for(operator),
            settings=settings_for(),
            standalone=True,
            clusterwide=not settings.namespaces,
            namespaces=settings.namespaces,
        )
        await watching
        working.cancel()
