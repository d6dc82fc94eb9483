"""How many calls of one tool or model this process makes at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from toolorchestra.core.functions import ExpertTarget, ToolTarget


class Slots:
    """One semaphore per tool and model, as wide as its ``spec.concurrency``; a changed width takes effect at once."""

    def __init__(self) -> None:
        self._semaphores: dict[tuple[str, str, str], tuple[int, asyncio.Semaphore]] = {}

    @asynccontextmanager
    async def hold(self, target: ToolTarget | ExpertTarget) -> AsyncIterator[None]:
        """Waits for a free place and keeps it."""
        async with self._semaphore(target):
            yield

    def _semaphore(self, target: ToolTarget | ExpertTarget) -> asyncio.Semaphore:
        key, width = (target.kind, target.namespace, target.name), target.spec.concurrency
        known = self._semaphores.get(key)
        if known is None or known[0] != width:
            known = (width, asyncio.Semaphore(width))
            self._semaphores[key] = known
        return known[1]
